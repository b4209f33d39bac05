#include "engine/rebuild/rebuild.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/io.h"
#include "base/warn.h"
#include "engine/image/image.h"

#define MAPS_MAX_BYTES (4u << 20)

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
