/* Where in a target remote calls are made from: its code, and room on a stack. */
#include "engine/proc/inject_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/maps.h"
#include "engine/proc/stat.h"
#include "engine/proc/trace.h"

#define PAGE_BYTES 4096ULL

/* Below the frame there is room for arguments, and below these for the frame of a handler that runs
 * in the instant between our death and the thread's way home. */
#define SLACK_BYTES (2 * PAGE_BYTES)
#define DATA_BYTES (2 * PAGE_BYTES)
#define AREA_PAGES_MAX (4 + (ARCH_FRAME_MAX_BYTES + PAGE_BYTES - 1) / PAGE_BYTES)

/* How far below a stack pointer memory is nobody's: the red zone, what the kernel pushes for a
 * signal, and enough for what the owner may do in the microseconds another thread needs home. */
#define KEEP_OFF_UNUSED_BYTES (16 * 1024ULL)
#define KEEP_OFF_USED_BYTES (64 * 1024ULL)

/* True if no page of the area was ever touched (or is swapped out): reading would touch it. */
static bool is_untouched(pid_t pid, uint64_t area, size_t bytes)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/pagemap", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	uint64_t entries[AREA_PAGES_MAX];
	size_t pages = bytes / PAGE_BYTES;
	off_t offset = (off_t)(area / PAGE_BYTES * sizeof entries[0]);
	bool untouched = pages <= AREA_PAGES_MAX &&
			 io_pread_all(fd, entries, pages * sizeof entries[0], offset) == R_OK;
	for (size_t i = 0; untouched && i < pages; i++)
		untouched = entries[i] >> 62 == 0;
	close(fd);
	return untouched;
}

static bool is_zero(const uint8_t *p, size_t len)
{
	return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

/* A snap that was killed leaves its frame, marked with its own address. */
static bool is_leftover(const struct inject_site *site, const uint8_t *content)
{
	struct arch_regs there = { 0 };
	there.user.rsp = site->frame;
	uint64_t mark_address;
	uint64_t frame = arch_frame_candidate(&there, 0, &mark_address);
	return arch_frame_mark_valid(content + (mark_address - site->area), frame);
}

/*
 * Decides whether the site's area may be written, and remembers what is to be put back.  `unused`
 * says that whatever the area holds is below a stack in use and so belongs to nobody.
 */
static int area_take(struct inject_site *site, bool unused)
{
	if (is_untouched(site->pid, site->area, site->area_bytes))
		return R_OK;
	uint8_t *content = malloc(site->area_bytes);
	if (!content || trace_read(site->pid, site->area, content, site->area_bytes) != R_OK) {
		free(content);
		return R_NOT_FOUND;
	}
	if (is_zero(content, site->area_bytes) || is_leftover(site, content)) {
		free(content);
		return R_OK;
	}
	if (!unused) {
		free(content);
		return R_NOT_FOUND;
	}
	site->saved = content;
	return R_OK;
}

static void area_place(struct inject_site *site, uint64_t area, size_t frame_bytes)
{
	site->area = area;
	site->area_bytes =
	    SLACK_BYTES + DATA_BYTES + ((frame_bytes + PAGE_BYTES - 1) & -PAGE_BYTES);
	site->data = area + SLACK_BYTES;
	site->data_bytes = DATA_BYTES;
	site->frame = area + site->area_bytes - frame_bytes;
}

/* The main thread's stack.  Of one that its owner has locked or marked in part, only the upper
 * piece bears the name. */
struct main_stack {
	const struct mapping *lowest; /* NULL: there is none */
	uint64_t end;
};

static struct main_stack find_main_stack(const struct mappings *maps)
{
	struct main_stack stack = { 0 };
	for (size_t i = 0; i < maps->n; i++) {
		const struct mapping *m = &maps->list[i];
		if (!mapping_is_named(m, "[stack]"))
			continue;
		stack.end = m->end;
		while (m > maps->list && m[-1].grows && m[-1].end == m->start)
			m--;
		stack.lowest = m;
	}
	return stack;
}

/* The far end of the main thread's stack: usually never touched. */
static int area_on_main_stack(struct inject_site *site, const struct mappings *maps, uint64_t sp,
			      size_t frame_bytes)
{
	struct main_stack stack = find_main_stack(maps);
	const struct mapping *m = stack.lowest;
	if (!m)
		return R_NOT_FOUND;
	area_place(site, m->start, frame_bytes);
	uint64_t end = site->area + site->area_bytes;
	if (end > m->end || strncmp(m->perms, "rw", 2) != 0)
		return R_NOT_FOUND;
	if (sp >= m->start && sp < stack.end && sp < end + KEEP_OFF_UNUSED_BYTES)
		return R_NOT_FOUND;
	/* What is below a piece in use may be another stack to its owner. */
	bool in_use = sp >= m->start && sp < m->end;
	return area_take(site, in_use && sp >= end + KEEP_OFF_USED_BYTES);
}

/*
 * A main stack that is used down to its end grows by being looked at below it, as it would if its
 * owner stepped there; zeroes below the stack pointer harm nobody.  R_OK: worth another look.
 */
static int grow_main_stack(const struct inject_site *site, const struct mappings *maps,
			   size_t frame_bytes)
{
	struct inject_site wanted;
	char path[64], byte;
	int fd, rc = R_NOT_FOUND;

	snprintf(path, sizeof path, "/proc/%d/mem", site->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return R_NOT_FOUND;
	area_place(&wanted, 0, frame_bytes);
	const struct mapping *m = find_main_stack(maps).lowest;
	uint64_t more = wanted.area_bytes + KEEP_OFF_UNUSED_BYTES + PAGE_BYTES;
	if (m && m->start > more)
		rc = io_pread_all(fd, &byte, 1, (off_t)(m->start - more));
	close(fd);
	return rc == R_OK ? R_OK : R_NOT_FOUND;
}

/* The stack pointer of a held thread, as the kernel prints it: its last number but one. */
static uint64_t stack_pointer_of(pid_t pid, pid_t tid)
{
	char path[80];
	char *text;
	size_t len;
	uint64_t sp = 0;
	snprintf(path, sizeof path, "/proc/%d/task/%d/syscall", pid, tid);
	if (io_read_file(AT_FDCWD, path, 4096, &text, &len) != R_OK)
		return 0;
	char *pc = strrchr(text, ' ');
	if (pc) {
		*pc = '\0';
		char *before = strrchr(text, ' ');
		if (before)
			sp = strtoull(before, NULL, 16);
	}
	free(text);
	return sp;
}

/* Deep below a stack in use, where a signal handler might have left its garbage. */
static int area_below(struct inject_site *site, const struct mappings *maps, uint64_t sp,
		      size_t frame_bytes)
{
	for (size_t i = 0; i < maps->n; i++) {
		const struct mapping *m = &maps->list[i];
		if (sp < m->start || sp >= m->end)
			continue;
		if (m->inode || strncmp(m->perms, "rw", 2) != 0 || m->perms[3] != 'p')
			return R_NOT_FOUND;
		area_place(site, 0, frame_bytes);
		uint64_t room = KEEP_OFF_USED_BYTES + site->area_bytes + PAGE_BYTES;
		if (sp - m->start < room)
			return R_NOT_FOUND;
		uint64_t end = (sp - KEEP_OFF_USED_BYTES) & -PAGE_BYTES;
		area_place(site, end - site->area_bytes, frame_bytes);
		return area_take(site, true);
	}
	return R_NOT_FOUND;
}

static int area_on_any_stack(struct inject_site *site, const struct mappings *maps,
			     size_t frame_bytes)
{
	pid_t *tids;
	size_t count;
	int rc = proc_threads(site->pid, &tids, &count);
	if (rc)
		return rc;
	rc = R_NOT_FOUND;
	for (size_t i = 0; rc == R_NOT_FOUND && i < count; i++) {
		uint64_t sp = stack_pointer_of(site->pid, tids[i]);
		if (sp)
			rc = area_below(site, maps, sp, frame_bytes);
	}
	free(tids);
	return rc;
}

/* R_BUSY: the stack has grown, look again. */
static int find_area(const struct tracee *leader, const struct mappings *maps, bool may_grow,
		     struct inject_site *site)
{
	size_t frame_bytes = arch_frame_bytes(&leader->xstate);
	int rc = area_on_main_stack(site, maps, arch_sp(&leader->regs), frame_bytes);
	if (rc == R_NOT_FOUND)
		rc = area_on_any_stack(site, maps, frame_bytes);
	if (rc == R_NOT_FOUND && may_grow && grow_main_stack(site, maps, frame_bytes) == R_OK)
		return R_BUSY;
	if (rc == R_NOT_FOUND) {
		warn("process %d has no stack with room for remote calls (%llu KiB unused below "
		     "it); it "
		     "cannot be captured",
		     leader->pid, KEEP_OFF_USED_BYTES / 1024);
		return R_UNSUPPORTED;
	}
	return rc;
}

/* In these mappings.  R_BUSY: the stack has grown, look again. */
static int find_site(const struct tracee *leader, const struct mappings *maps, bool may_grow,
		     struct inject_site *site)
{
	*site = (struct inject_site){ .pid = leader->pid };
	inject_code_find(leader->pid, maps, site->gadgets);
	site->syscall_ret = site->gadgets[ARCH_GADGET_SYSCALL_RETURN];
	site->sigreturn = site->gadgets[ARCH_GADGET_SIGRETURN];
	if (site->syscall_ret && site->sigreturn)
		return find_area(leader, maps, may_grow, site);
	warn("process %d has no %s in its code, which remote calls need; it cannot be captured",
	     leader->pid, site->syscall_ret ? "signal return" : "system call");
	return R_UNSUPPORTED;
}

/* As they are now. */
static int read_now(pid_t pid, struct maps *maps)
{
	int rc = maps_read(pid, maps);
	if (rc == R_NOT_FOUND)
		warn("process %d ended while it was being captured", pid);
	return rc == R_NOT_FOUND ? R_FAILED : rc;
}

/*
 * Whoever has read the ranges before goes on with them: of a stack that is watched or marked only
 * as far as it went then, the kernel would make two mappings, the lower one with no name.
 */
static void tell_growth(struct maps *read, const struct maps *now)
{
	for (size_t i = 0, k = 0; i < now->n; i++) {
		const struct vma *vma = &now->vmas[i];
		while (k < read->n && read->vmas[k].end < vma->end)
			k++;
		if (k < read->n && read->vmas[k].end == vma->end &&
		    vma->marks & VMA_MARK_GROWSDOWN && vma->start < read->vmas[k].start &&
		    (k == 0 || read->vmas[k - 1].end <= vma->start))
			read->vmas[k].start = vma->start;
	}
}

static int find_in(const struct tracee *leader, const struct maps *maps, bool may_grow,
		   struct inject_site *site)
{
	struct mappings all;
	int rc = mappings_of(leader->pid, maps, &all);
	if (rc != R_OK)
		return rc;
	rc = find_site(leader, &all, may_grow, site);
	mappings_free(&all);
	return rc;
}

int inject_site_find(const struct tracee *leader, struct inject_site *site)
{
	struct maps maps;
	int rc = read_now(leader->pid, &maps);
	if (rc != R_OK)
		return rc;
	rc = inject_site_find_in(leader, &maps, site);
	maps_free(&maps);
	return rc;
}

int inject_site_find_in(const struct tracee *leader, struct maps *read, struct inject_site *site)
{
	int rc = find_in(leader, read, true, site);
	if (rc != R_BUSY)
		return rc;
	struct maps now;
	rc = read_now(leader->pid, &now);
	if (rc != R_OK)
		return rc;
	tell_growth(read, &now);
	rc = find_in(leader, &now, false, site);
	maps_free(&now);
	return rc;
}

int inject_site_close(struct inject_site *site)
{
	if (site->disposable || !site->area)
		return R_OK;
	uint8_t *content = site->saved ? site->saved : calloc(1, site->area_bytes);
	/* The marked frame last, so that what an interrupted wiping leaves is still known as ours.
	 * Below the data nobody has written. */
	size_t below = site->frame - site->area, slack = site->data - site->area;
	int rc = R_FAILED;
	if (content && trace_write(site->pid, site->data, content + slack, below - slack) == R_OK)
		rc = trace_write(site->pid, site->frame, content + below, site->area_bytes - below);
	if (rc && errno == ESRCH)
		rc = R_NOT_FOUND;
	else if (rc)
		warn_errno("cannot clean the stack of process %d at %#llx", site->pid,
			   (unsigned long long)site->area);
	free(content);
	site->saved = NULL;
	site->area = 0;
	return rc;
}
