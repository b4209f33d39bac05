#include "engine/rebuild/rebuild.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/warn.h"
#include "engine/image/image.h"

/* Loads the bytes of an image; R_NOT_FOUND if the generation has none of that name. */
static int load_bytes(struct rebuild *r, const char *name, void **data, size_t *len)
{
	struct object object;
	int rc;

	rc = store_object(r->view, r->gen.number, name, &object);
	if (rc)
		return rc;
	rc = store_read_object(r->view, &object, data, len);
	if (rc == R_DAMAGED)
		warn("generation %llu: image %s is damaged", (unsigned long long)r->gen.number,
		     name);
	return rc;
}

/* Loads an image of one message.  `*message` stays NULL on R_NOT_FOUND, which is not reported. */
static int load_one(struct rebuild *r, enum image_kind_id id, const char *name, void *message)
{
	ProtobufCMessage *one = NULL;
	void *data;
	size_t len;
	int rc;

	rc = load_bytes(r, name, &data, &len);
	if (rc)
		return rc;
	rc = image_read_one(id, name, data, len, &one);
	free(data);
	if (rc == R_OK)
		memcpy(message, &one, sizeof(one));
	return rc;
}

/* The same for one that belongs to a number; a missing one is damage if it is `needed`. */
static int load_numbered(struct rebuild *r, enum image_kind_id id, uint32_t number, bool needed,
			 void *message)
{
	char name[64];
	int rc;

	snprintf(name, sizeof(name), "%s-%u", image_kind(id)->name, number);
	rc = load_one(r, id, name, message);
	if (rc != R_NOT_FOUND || !needed)
		return rc == R_NOT_FOUND ? R_OK : rc;
	warn("generation %llu: image %s is missing", (unsigned long long)r->gen.number, name);
	return R_DAMAGED;
}

static struct rebuild_task *task_new(struct rebuild *r, size_t n_threads)
{
	struct rebuild_task **grown, *t;

	grown = realloc(r->tasks, (r->n_tasks + 1) * sizeof(*grown));
	if (!grown)
		return NULL;
	r->tasks = grown;
	t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->threads = calloc(n_threads, sizeof(*t->threads));
	if (!t->threads) {
		free(t);
		return NULL;
	}
	t->r = r;
	t->n_threads = n_threads;
	r->tasks[r->n_tasks++] = t;
	return t;
}

struct rebuild_task *plan_add_helper(struct rebuild *r, pid_t pid)
{
	struct rebuild_task *t = task_new(r, 1);

	if (!t) {
		warn("out of memory");
		return NULL;
	}
	t->kind = TASK_HELPER;
	t->pid = pid;
	t->threads[0].task = t;
	t->threads[0].tid = pid;
	return t;
}

/* The leader may stand anywhere among the threads of the image; here it is the first. */
static void name_threads(struct rebuild_task *t, const PstreeEntry *entry)
{
	size_t next = 1;

	t->threads[0].task = t;
	t->threads[0].tid = t->pid;
	for (size_t i = 0; i < entry->n_threads; i++) {
		if ((pid_t)entry->threads[i] == t->pid || next == t->n_threads)
			continue;
		t->threads[next].task = t;
		t->threads[next++].tid = (pid_t)entry->threads[i];
	}
	t->n_threads = next;
}

static int damaged_task(const struct rebuild_task *t, const char *what)
{
	warn("generation %llu: task %d: %s", (unsigned long long)t->r->gen.number, t->pid, what);
	return R_DAMAGED;
}

static int read_threads(struct rebuild_task *t)
{
	int rc;

	for (size_t i = 0; i < t->n_threads; i++) {
		struct rebuild_thread *th = &t->threads[i];

		/* Of a dead task only its own counts: CRIU tells of a thread 0 besides. */
		if (th->tid <= 0)
			return damaged_task(t, "the tree has a number that is no process's");
		rc = load_numbered(t->r, IMAGE_CORE, (uint32_t)th->tid, true, &th->core);
		if (rc)
			return rc;
		if (i == 0 && !th->core->tc)
			return damaged_task(t, "its core image has no part about the task");
		if (i == 0 && th->core->tc->task_state == TASK_STATE_ZOMBIE)
			return R_OK;
		if (th->core->mtype != CORE_ENTRY__MARCH__X86_64) {
			warn("generation %llu: task %d was taken on another kind of processor",
			     (unsigned long long)t->r->gen.number, t->pid);
			return R_UNSUPPORTED;
		}
		if (!th->core->thread_info || !th->core->thread_core)
			return damaged_task(t, "a core image has no registers");
		rc = load_numbered(t->r, IMAGE_SNAP_THREAD, (uint32_t)th->tid, false, &th->extra);
		if (rc == R_OK)
			rc = xstate_make(th);
		if (rc)
			return rc;
	}
	return R_OK;
}

static int read_ids(struct rebuild_task *t)
{
	TaskKobjIdsEntry *ids = NULL;
	int rc;

	rc = load_numbered(t->r, IMAGE_IDS, (uint32_t)t->pid, false, &ids);
	if (rc)
		return rc;
	if (!ids && !t->threads[0].core->ids)
		return damaged_task(t, "no image tells which table of descriptors it has");
	t->files_id = ids ? ids->files_id : t->threads[0].core->ids->files_id;
	t->fs_id = ids ? ids->fs_id : t->threads[0].core->ids->fs_id;
	if (ids)
		image_free_message(&ids->base);
	return R_OK;
}

/* Any other would let the task run, and the restore wait for it. */
static int check_stop(const struct rebuild_task *t)
{
	const TaskCoreEntry *tc = t->threads[0].core->tc;
	int32_t sig = tc->has_stop_signo ? tc->stop_signo : 0;

	if (sig == 0 || sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU)
		return R_OK;
	warn("generation %llu: task %d: was stopped by signal %d, which stops nothing",
	     (unsigned long long)t->r->gen.number, t->pid, sig);
	return R_DAMAGED;
}

static int read_task(struct rebuild *r, const PstreeEntry *entry)
{
	struct rebuild_task *t;
	char name[32];
	int rc;

	t = task_new(r, entry->n_threads + 1);
	if (!t) {
		warn("out of memory");
		return R_FAILED;
	}
	t->pid = (pid_t)entry->pid;
	t->pgid = (pid_t)entry->pgid;
	t->sid = (pid_t)entry->sid;
	name_threads(t, entry);
	if (r->n_tasks == 1) {
		r->root = t;
	} else {
		t->parent = task_find(r, (pid_t)entry->ppid);
		if (!t->parent || t->parent == t)
			return damaged_task(t, "its parent does not stand before it in the tree");
	}
	rc = read_threads(t);
	if (rc)
		return rc;
	switch (t->threads[0].core->tc->task_state) {
	case TASK_STATE_ZOMBIE:
		t->kind = TASK_ZOMBIE;
		t->n_threads = 1;
		return R_OK;
	case TASK_STATE_STOPPED:
		t->kind = TASK_STOPPED;
		break;
	default:
		t->kind = TASK_ALIVE;
	}
	rc = t->kind == TASK_STOPPED ? check_stop(t) : R_OK;
	if (rc == R_OK)
		rc = read_ids(t);
	if (rc)
		return rc;
	rc = load_numbered(r, IMAGE_MM, (uint32_t)t->pid, true, &t->mm);
	if (rc)
		return rc;
	rc = load_numbered(r, IMAGE_FS, (uint32_t)t->pid, true, &t->fs);
	if (rc)
		return rc;
	rc = load_numbered(r, IMAGE_SNAP_TASK, (uint32_t)t->pid, false, &t->extra);
	if (rc)
		return rc;
	snprintf(name, sizeof(name), "pages-%d", t->pid);
	rc = store_object(r->view, r->gen.number, name, &t->pages);
	t->has_pages = rc == R_OK;
	return rc == R_NOT_FOUND ? R_OK : rc;
}

static int read_tree(struct rebuild *r, const void *data, size_t len)
{
	struct image_reader reader;
	ProtobufCMessage *message;
	int rc;

	rc = image_open(&reader, IMAGE_PSTREE, "pstree", data, len);
	while (rc == R_OK) {
		rc = image_next(&reader, &message);
		if (rc)
			break;
		rc = read_task(r, (const PstreeEntry *)message);
		image_free_message(message);
	}
	if (rc != R_NOT_FOUND)
		return rc;
	if (r->root)
		return R_OK;
	warn("generation %llu: its tree of tasks is empty", (unsigned long long)r->gen.number);
	return R_DAMAGED;
}

static int read_shmems(struct rebuild *r)
{
	struct image_reader reader;
	ProtobufCMessage *message;
	void *data;
	size_t len;
	int rc;

	rc = load_bytes(r, "snap-shmem", &data, &len);
	if (rc)
		return rc == R_NOT_FOUND ? R_OK : rc;
	rc = image_open(&reader, IMAGE_SNAP_SHMEM, "snap-shmem", data, len);
	while (rc == R_OK && (rc = image_next(&reader, &message)) == R_OK) {
		const SnapShmemEntry *entry = (const SnapShmemEntry *)message;
		struct rebuild_shmem *grown;

		grown = realloc(r->shmems, (r->n_shmems + 1) * sizeof(*grown));
		if (!grown) {
			warn("out of memory");
			rc = R_FAILED;
		} else {
			r->shmems = grown;
			r->shmems[r->n_shmems++] = (struct rebuild_shmem){ .shmid = entry->shmid,
									   .bytes = entry->size,
									   .listed = true,
									   .fd = -1 };
		}
		image_free_message(message);
	}
	free(data);
	return rc == R_NOT_FOUND ? R_OK : rc;
}

int plan_read(struct rebuild *r)
{
	void *data;
	size_t len;
	int rc;

	rc = load_bytes(r, "pstree", &data, &len);
	if (rc == R_NOT_FOUND) {
		warn("generation %llu: image pstree is missing", (unsigned long long)r->gen.number);
		return R_DAMAGED;
	}
	if (rc)
		return rc;
	rc = read_tree(r, data, len);
	free(data);
	if (rc)
		return rc;
	rc = load_one(r, IMAGE_SECCOMP, "seccomp", &r->seccomp);
	if (rc != R_OK && rc != R_NOT_FOUND)
		return rc;
	rc = load_one(r, IMAGE_CGROUP, "cgroup", &r->cgroups);
	if (rc != R_OK && rc != R_NOT_FOUND)
		return rc;
	return read_shmems(r);
}

void plan_free(struct rebuild *r)
{
	for (size_t i = 0; i < r->n_tasks; i++) {
		struct rebuild_task *t = r->tasks[i];

		for (size_t k = 0; k < t->n_threads; k++) {
			if (t->threads[k].core)
				image_free_message(&t->threads[k].core->base);
			free(t->threads[k].xstate_made);
			if (t->threads[k].extra)
				image_free_message(&t->threads[k].extra->base);
		}
		if (t->mm)
			image_free_message(&t->mm->base);
		if (t->fs)
			image_free_message(&t->fs->base);
		if (t->extra)
			image_free_message(&t->extra->base);
		free(t->vmas);
		free(t->threads);
		free(t);
	}
	free(r->tasks);
	free(r->shmems);
	if (r->seccomp)
		image_free_message(&r->seccomp->base);
	if (r->cgroups)
		image_free_message(&r->cgroups->base);
	*r = (struct rebuild){ 0 };
}
