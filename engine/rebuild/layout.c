#include "engine/rebuild/rebuild.h"

#include <asm/prctl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/warn.h"
#include "engine/image/image.h"
#include "engine/proc/fds/fds.h"

#ifndef ARCH_MAP_VDSO_64
#define ARCH_MAP_VDSO_64 0x2003
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 8
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif
#define NAME_BYTES 80 /* of such a name, with the NUL */
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

static bool is_private(const VmaEntry *vma)
{
	return vma->status & (VMA_STATUS_ANON_PRIVATE | VMA_STATUS_FILE_PRIVATE) ||
	       vma->flags & MAP_PRIVATE;
}

static int found_one(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	(void)index;
	(void)numbers;
	(void)n;
	(void)arg;
	return R_BUSY;
}

/* True if the store has pages of this range, for which it has to be writable first. */
static bool has_contents(struct rebuild_task *t, const VmaEntry *vma)
{
	if (!t->has_pages || !is_private(vma))
		return false;
	return store_object_walk(t->r->view, &t->pages, vma->start / PAGE_BYTES,
				 vma->end / PAGE_BYTES, found_one, NULL) != R_OK;
}

bool layout_has_vdso(const MmEntry *mm, uint64_t *start, uint64_t *end)
{
	*start = UINT64_MAX;
	*end = 0;
	for (size_t i = 0; i < mm->n_vmas; i++) {
		const VmaEntry *vma = mm->vmas[i];

		if (!(vma->status & (VMA_STATUS_VDSO | VMA_STATUS_VVAR)))
			continue;
		if (vma->start < *start)
			*start = vma->start;
		if (vma->end > *end)
			*end = vma->end;
	}
	return *end != 0;
}

/* The kernel maps its own pages wherever it is told, as long as nothing else is there. */
static int map_vdso(struct rebuild_task *t)
{
	struct rebuild_thread *th = &t->threads[0];
	uint64_t start, end;

	if (!layout_has_vdso(t->mm, &start, &end))
		return R_OK;
	return remote_must(th, "arch_prctl(ARCH_MAP_VDSO_64)", SYS_arch_prctl, ARCH_MAP_VDSO_64,
			   start, 0, 0, 0, 0);
}

static int descriptor_of(struct rebuild_task *t, const VmaEntry *vma, int *fd)
{
	struct rebuild *r = t->r;

	if (vma->status & VMA_STATUS_ANON_SHARED)
		*fd = shmem_fd(r, vma->shmid);
	else
		*fd = fds_restore_fd(r->fds, (uint32_t)vma->shmid);
	if (*fd >= 0)
		return R_OK;
	warn("task %d: nothing to map at 0x%llx (file %llu of the images)", t->pid,
	     (unsigned long long)vma->start, (unsigned long long)vma->shmid);
	return R_DAMAGED;
}

static int map_one(struct rebuild_task *t, const VmaEntry *vma, uint32_t prot)
{
	struct rebuild_thread *th = &t->threads[0];
	int flags = is_private(vma) ? MAP_PRIVATE : MAP_SHARED, fd = -1, rc;
	uint64_t offset = 0;
	int64_t ret;

	if ((vma->flags & MAP_TYPE) == MAP_DROPPABLE)
		flags = MAP_DROPPABLE;
	flags |= MAP_FIXED_NOREPLACE;
	flags |= (int)(vma->flags & (MAP_GROWSDOWN | MAP_NORESERVE | MAP_STACK));
	if (vma->status & VMA_STATUS_ANON_PRIVATE ||
	    (vma->flags & MAP_ANONYMOUS && !(vma->status & VMA_STATUS_ANON_SHARED))) {
		flags |= MAP_ANONYMOUS;
	} else {
		rc = descriptor_of(t, vma, &fd);
		if (rc)
			return rc;
		offset = vma->pgoff;
	}
	rc = remote_try(th, &ret, SYS_mmap, vma->start, vma->end - vma->start, prot,
			(uint64_t)flags, (uint64_t)(int64_t)fd, offset);
	if (rc)
		return rc;
	if (ret == (int64_t)vma->start)
		return R_OK;
	errno = ret < 0 ? (int)-ret : EEXIST;
	warn_errno("task %d: mmap of 0x%llx-0x%llx%s%s", t->pid, (unsigned long long)vma->start,
		   (unsigned long long)vma->end, fd >= 0 ? " " : "",
		   fd >= 0 && !(vma->status & VMA_STATUS_ANON_SHARED) &&
			   fds_restore_path(t->r->fds, (uint32_t)vma->shmid)
		       ? fds_restore_path(t->r->fds, (uint32_t)vma->shmid)
		       : "");
	return R_FAILED;
}

static int advise(struct rebuild_task *t, const VmaEntry *vma)
{
	for (int advice = 0; advice < 64; advice++) {
		int rc;

		if (!(vma->madv >> advice & 1))
			continue;
		rc = remote_must(&t->threads[0], "madvise", SYS_madvise, vma->start,
				 vma->end - vma->start, (uint64_t)advice, 0, 0, 0);
		if (rc)
			return rc;
	}
	return R_OK;
}

static bool is_secret(const struct rebuild_task *t, const VmaEntry *vma)
{
	return vma->status & VMA_STATUS_MEMFD &&
	       fds_restore_is_secret(t->r->fds, (uint32_t)vma->shmid);
}

/*
 * Secret memory is locked and left out of core dumps by its mmap(2).  A mapping that came by fork
 * is not locked, and no munlock(2) makes it so; but moving the pages of a mapping away from where
 * it stays does (MREMAP_DONTUNMAP).
 */
static int loosen_secret(struct rebuild_task *t, const VmaEntry *vma)
{
	struct rebuild_thread *th = &t->threads[0];
	uint64_t bytes = vma->end - vma->start;
	int64_t moved;
	int rc = R_OK;

	if (!(vma->flags & MAP_LOCKED)) {
		rc = remote_try(th, &moved, SYS_mremap, vma->start, bytes, bytes,
				MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0, 0);
		if (rc == R_OK && moved > 0)
			rc = remote_must(th, "munmap", SYS_munmap, (uint64_t)moved, bytes, 0, 0, 0,
					 0);
	}
	if (rc == R_OK && !(vma->madv >> MADV_DONTDUMP & 1))
		rc = remote_must(th, "madvise(MADV_DODUMP)", SYS_madvise, vma->start, bytes,
				 MADV_DODUMP, 0, 0, 0);
	return rc;
}

int layout_map_range(struct rebuild_task *t, size_t i)
{
	const VmaEntry *vma = t->mm->vmas[i];
	uint32_t prot = vma->prot;
	int rc;

	if (!(prot & PROT_WRITE) && has_contents(t, vma)) {
		prot = PROT_READ | PROT_WRITE;
		t->vmas[i].opened = true;
	}
	if (is_secret(t, vma))
		secret_may_lock(t->pid);
	rc = map_one(t, vma, prot);
	if (rc == R_OK && is_secret(t, vma))
		rc = loosen_secret(t, vma);
	if (rc == R_OK && vma->has_madv)
		rc = advise(t, vma);
	t->vmas[i].mapped = true;
	return rc;
}

int layout_map(struct rebuild_task *t)
{
	int rc = map_vdso(t);

	for (size_t i = 0; rc == R_OK && i < t->mm->n_vmas; i++) {
		if (t->mm->vmas[i]->status & (VMA_OF_KERNEL | VMA_STATUS_GUARD))
			continue;
		if (!t->vmas[i].mapped)
			rc = layout_map_range(t, i);
	}
	return rc;
}

/* Guards first: the kernel installs none in a locked range. */
static int install_guards(struct rebuild_task *t)
{
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i < t->mm->n_vmas; i++) {
		const VmaEntry *vma = t->mm->vmas[i];

		if (vma->status & VMA_STATUS_GUARD)
			rc = remote_must(&t->threads[0], "madvise(MADV_GUARD_INSTALL)", SYS_madvise,
					 vma->start, vma->end - vma->start, MADV_GUARD_INSTALL, 0,
					 0, 0);
	}
	return rc;
}

static int lock_failed(const struct rebuild_task *t, const VmaEntry *vma, int64_t ret)
{
	errno = (int)-ret;
	warn_errno("task %d: mlock of 0x%llx-0x%llx%s", t->pid, (unsigned long long)vma->start,
		   (unsigned long long)vma->end,
		   errno == EPERM || errno == ENOMEM ? ", of which less is allowed here (ulimit -l)"
						     : "");
	return R_FAILED;
}

/*
 * Marked first, and only then brought in: where a page cannot be (no access, a guard, behind the
 * end of its file) the kernel says ENOMEM of a range that is locked all the same, as the target had
 * it, and ENOMEM of one that is not, because of a limit.  Memory that is short is EAGAIN.
 */
static int lock_range(struct rebuild_task *t, const VmaEntry *vma)
{
	uint64_t bytes = vma->end - vma->start;
	int64_t ret;
	int rc =
	    remote_try(&t->threads[0], &ret, SYS_mlock2, vma->start, bytes, MLOCK_ONFAULT, 0, 0, 0);

	if (rc == R_OK && ret < 0)
		return lock_failed(t, vma, ret);
	if (rc || vma->flags & VMA_FLAG_LOCK_ONFAULT)
		return rc;
	rc = remote_try(&t->threads[0], &ret, SYS_mlock2, vma->start, bytes, 0, 0, 0, 0);
	if (rc == R_OK && ret < 0 && ret != -ENOMEM)
		return lock_failed(t, vma, ret);
	return rc;
}

/* Only shown in /proc; a kernel may be built without it. */
static int name_ranges(struct rebuild_task *t)
{
	char *name = (char *)t->r->data;
	int64_t ret = 0;
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && t->extra && i < t->extra->n_vma_names; i++) {
		const SnapVmaName *given = t->extra->vma_names[i];

		snprintf(name, NAME_BYTES, "%s", given->name);
		rc = remote_try(&t->threads[0], &ret, SYS_prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME,
				given->start, given->end - given->start, remote_address(name), 0);
		if (rc == R_OK && ret < 0) {
			note("task %d: its memory at 0x%llx was called %s, which this kernel "
			     "cannot do",
			     t->pid, (unsigned long long)given->start, given->name);
			break;
		}
	}
	return rc;
}

int layout_seal(struct rebuild_task *t)
{
	struct rebuild_thread *th = &t->threads[0];
	int rc = install_guards(t);

	if (rc == R_OK)
		rc = name_ranges(t);

	for (size_t i = 0; rc == R_OK && i < t->mm->n_vmas; i++) {
		const VmaEntry *vma = t->mm->vmas[i];

		if (vma->status & (VMA_OF_KERNEL | VMA_STATUS_GUARD))
			continue;
		if (t->vmas[i].opened)
			rc = remote_must(th, "mprotect", SYS_mprotect, vma->start,
					 vma->end - vma->start, vma->prot, 0, 0, 0);
		if (rc == R_OK && vma->flags & MAP_LOCKED && !is_secret(t, vma))
			rc = lock_range(t, vma);
	}
	return rc;
}
