#include "engine/rebuild/rebuild.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/io.h"
#include "base/warn.h"
#include "engine/engine.h"
#include "engine/image/image.h"
#include "engine/proc/files/restore.h"
#include "engine/proc/freeze.h"
#include "engine/proc/stat.h"

#define MAPS_MAX_BYTES (4u << 20)

/* How long ended tasks may take to be reaped by their parents. */
#define VANISH_TRIES 1000
#define VANISH_PAUSE_US 10000
#define TELL_TRIES 50 /* half a second */

/* Bytes that the kernel's own pages take here, data pages and code. */
static int own_vdso_bytes(uint64_t *bytes)
{
	uint64_t low = UINT64_MAX, high = 0;
	char *text, *line, *save = NULL;
	size_t len;

	if (io_read_file(AT_FDCWD, "/proc/self/maps", MAPS_MAX_BYTES, &text, &len)) {
		warn_errno("/proc/self/maps");
		return R_FAILED;
	}
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		unsigned long long start, end;

		if (!strstr(line, "[vdso]") && !strstr(line, "[vvar"))
			continue;
		if (sscanf(line, "%llx-%llx", &start, &end) != 2)
			continue;
		low = start < low ? start : low;
		high = end > high ? end : high;
	}
	free(text);
	*bytes = high > low ? high - low : 0;
	return R_OK;
}

static int check_vdso(struct rebuild *r)
{
	uint64_t own;
	int rc = own_vdso_bytes(&own);

	for (size_t i = 0; rc == R_OK && i < r->n_tasks; i++) {
		const struct rebuild_task *t = r->tasks[i];
		uint64_t start, end;

		if (!t->mm || !layout_has_vdso(t->mm, &start, &end) || end - start == own)
			continue;
		warn("task %d: was taken under a kernel whose vdso takes %llu bytes, this one's "
		     "takes %llu; restore under the kernel it was taken under",
		     t->pid, (unsigned long long)(end - start), (unsigned long long)own);
		return R_UNSUPPORTED;
	}
	return rc;
}

static int check_registers(struct rebuild *r)
{
	size_t own = arch_xstate_bytes();

	for (size_t i = 0; i < r->n_tasks; i++) {
		const struct rebuild_task *t = r->tasks[i];

		if (!t->mm)
			continue;
		for (size_t k = 0; k < t->n_threads; k++) {
			const struct rebuild_thread *th = &t->threads[k];

			if (th->xstate && th->xstate_bytes == own && own <= ARCH_XSTATE_MAX_BYTES)
				continue;
			warn("task %d thread %d: its extended registers (%zu bytes) do not fit "
			     "this processor (%zu)",
			     t->pid, th->tid, th->xstate ? th->xstate_bytes : 0, own);
			return R_UNSUPPORTED;
		}
	}
	return R_OK;
}

/* What several tasks share beyond files and folders cannot be made by the calls used here. */
static int check_sharing(struct rebuild *r)
{
	for (size_t i = 0; i < r->n_tasks; i++) {
		const struct rebuild_task *t = r->tasks[i];

		for (size_t k = 0; t->mm && k < i; k++) {
			const struct rebuild_task *other = r->tasks[k];

			if (!other->mm || other == t->parent || t->files_id != other->files_id)
				continue;
			if (t->parent && t->parent->files_id == t->files_id)
				continue;
			warn("task %d: shares its descriptors with task %d, which is not its "
			     "parent",
			     t->pid, other->pid);
			return R_UNSUPPORTED;
		}
	}
	return R_OK;
}

/* Mappings of images of CRIU's for which a take would have been refused. */
static const char *unsupported(const VmaEntry *vma)
{
	if (vma->status & VMA_STATUS_AIORING)
		return "the ring of an asynchronous I/O context (io_setup)";
	if (vma->flags & MAP_HUGETLB && !(vma->status & VMA_STATUS_MEMFD))
		return "made of huge pages (hugetlb)";
	return NULL;
}

static int check_mappings(struct rebuild *r)
{
	for (size_t i = 0; i < r->n_tasks; i++) {
		const MmEntry *mm = r->tasks[i]->mm;

		for (size_t k = 0; mm && k < mm->n_vmas; k++) {
			const char *what = unsupported(mm->vmas[k]);

			if (!what)
				continue;
			warn("task %d: 0x%llx-0x%llx is %s, which is not supported",
			     r->tasks[i]->pid, (unsigned long long)mm->vmas[k]->start,
			     (unsigned long long)mm->vmas[k]->end, what);
			return R_UNSUPPORTED;
		}
	}
	return R_OK;
}

int check_environment(struct rebuild *r)
{
	int rc = check_registers(r);

	if (rc == R_OK)
		rc = check_mappings(r);
	if (rc == R_OK)
		rc = check_vdso(r);
	return rc ? rc : check_sharing(r);
}

static int own_boot_id(uint8_t id[16])
{
	char *text;
	size_t len, n = 0;

	if (io_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &text, &len)) {
		warn_errno("/proc/sys/kernel/random/boot_id");
		return R_FAILED;
	}
	for (size_t i = 0; i + 1 < len && n < 16;) {
		char pair[3] = { text[i], text[i + 1], 0 };

		if (text[i] == '-') {
			i++;
			continue;
		}
		id[n++] = (uint8_t)strtoul(pair, NULL, 16);
		i += 2;
	}
	free(text);
	return R_OK;
}

struct identity {
	struct rebuild *r;
	uint64_t start;
	uint8_t boot[16];
};

/* Any generation of the lineage can be the proof: each names the process it was taken of. */
static int same_target(const struct generation *gen, void *arg)
{
	const struct identity *living = arg;

	if (strcmp(gen->lineage, living->r->gen.lineage) != 0 ||
	    (pid_t)gen->root_pid != living->r->root->pid || gen->root_start != living->start ||
	    memcmp(gen->boot_id, living->boot, sizeof(gen->boot_id)) != 0)
		return 0;
	return 1;
}

/* True if the caller knows the living target and it still is that one. */
static bool known_living(const struct restore_options *opts)
{
	struct proc_stat stat;

	return opts->living_pid && proc_stat_read(opts->living_pid, 0, &stat) == R_OK &&
	       stat.start_time == opts->living_start;
}

static int prove_living(struct rebuild *r, const struct restore_options *opts)
{
	struct identity identity = { .r = r };
	struct proc_stat stat;
	int rc;

	if (known_living(opts)) {
		r->living = opts->living_pid;
		r->living_start = opts->living_start;
		return R_OK;
	}
	rc = proc_stat_read(r->root->pid, 0, &stat);
	if (rc)
		return rc == R_NOT_FOUND ? R_OK : rc;
	rc = own_boot_id(identity.boot);
	if (rc)
		return rc;
	identity.start = stat.start_time;
	rc = store_generation_each(r->view, same_target, &identity);
	if (rc == 1) {
		r->living = r->root->pid;
		r->living_start = identity.start;
		return R_OK;
	}
	if (rc)
		return rc;
	warn("pid %d is in use by a process (%s) that is not known to be the target of lineage "
	     "%s; end it yourself if it is",
	     stat.pid, stat.comm, r->gen.lineage);
	return R_BUSY;
}

/* True if `pid` is `root` or one of its descendants. */
static bool descends_from(pid_t pid, pid_t root)
{
	struct proc_status status;
	struct proc_stat stat;

	if (proc_status_read(pid, 0, &status) == R_OK)
		pid = status.tgid;
	while (pid > 1 && pid != root) {
		if (proc_stat_read(pid, 0, &stat) != R_OK)
			return false;
		pid = stat.ppid;
	}
	return pid == root;
}

static bool in_use(pid_t tid)
{
	return kill(tid, 0) == 0 || errno == EPERM;
}

/* Most parents reap at once; of the others the user should know why nothing happens. */
static void tell_wait(pid_t tid, int tries)
{
	struct proc_stat ended, parent;

	if (tries != TELL_TRIES || proc_stat_read(tid, 0, &ended) != R_OK ||
	    proc_stat_read(ended.ppid, 0, &parent) != R_OK)
		return;
	note(
	    "pid %d is needed; its process has ended, but its parent, pid %d (%s), has yet to take "
	    "note of that; waiting up to %d s for it",
	    tid, parent.pid, parent.comm, VANISH_TRIES * VANISH_PAUSE_US / 1000000);
}

/* What has ended is as good as free, but its number is not until its parent (init, mostly) has
 * reaped it: that is worth a wait. */
static bool freed_soon(struct rebuild *r, pid_t tid)
{
	for (int i = 0; in_use(tid); i++) {
		struct proc_status status;
		int rc = proc_status_read(tid, 0, &status);

		if (rc == R_OK && status.state != 'Z' && status.state != 'X')
			return false;
		if (i == VANISH_TRIES || stop_asked(r))
			return false;
		tell_wait(tid, i);
		usleep(VANISH_PAUSE_US);
	}
	return true;
}

int check_pids(struct rebuild *r, const struct restore_options *opts)
{
	int rc = R_OK;

	if (opts->replace)
		rc = prove_living(r, opts);
	for (size_t i = 0; rc == R_OK && i < r->n_tasks; i++)
		for (size_t k = 0; k < r->tasks[i]->n_threads; k++) {
			pid_t tid = r->tasks[i]->threads[k].tid;

			if (!in_use(tid))
				continue;
			if (r->living && descends_from(tid, r->living))
				continue;
			if (freed_soon(r, tid))
				continue;
			if (stop_asked(r))
				return R_FAILED;
			warn("pid %d is in use; end that process%s, then restore again", tid,
			     tid == r->root->pid && !opts->replace
				 ? " (or give --replace if it is the target itself)"
				 : "");
			return R_BUSY;
		}
	return rc;
}

static bool any_in_use(const struct rebuild *r, pid_t *tid)
{
	for (size_t i = 0; i < r->n_tasks; i++)
		for (size_t k = 0; k < r->tasks[i]->n_threads; k++) {
			*tid = r->tasks[i]->threads[k].tid;
			if (in_use(*tid))
				return true;
		}
	return false;
}

/* Holds the living target still.  Its number may have become somebody else's since it was proven to
 * be the target; of who is held, nobody can take the number over.  R_OK, R_NOT_FOUND, R_BUSY. */
static int hold_living(const struct rebuild *r, struct tree *tree)
{
	int rc = tree_freeze(r->living, tree);

	if (rc || tree->tasks[0].start_time == r->living_start)
		return rc;
	warn("process %d, which was to be replaced, has ended meanwhile, and its pid is in use by "
	     "another process (%s), which is left alone; restore again",
	     r->living, tree->tasks[0].comm);
	return tree_release(tree) == R_OK ? R_BUSY : R_FAILED;
}

int replace_living(struct rebuild *r)
{
	struct tree tree;
	pid_t tid = 0;
	int rc, files;

	/* Held still first, so that it neither makes children while it is being ended, nor writes
	 * to files that have been compared. */
	rc = hold_living(r, &tree);
	if (rc && rc != R_NOT_FOUND)
		return rc;
	files = files_restore_again(r->files);
	if (files != R_OK) {
		if (rc == R_OK)
			tree_release(&tree);
		return files;
	}
	if (rc == R_OK && tree_kill(&tree) != R_OK)
		return R_FAILED;
	r->living_ended = true;
	for (int i = 0; i < VANISH_TRIES; i++) {
		if (!any_in_use(r, &tid))
			return R_OK;
		tell_wait(tid, i);
		usleep(VANISH_PAUSE_US);
	}
	warn("pid %d is still taken: its parent has not reaped it; end or wake that parent, then "
	     "restore again",
	     tid);
	return R_BUSY;
}
