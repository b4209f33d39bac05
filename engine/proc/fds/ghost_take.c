/* Keeping deleted inodes: what is known is taken over, the rest read or cloned. */
#include "engine/proc/fds/ghost_internal.h"
#include "engine/proc/fds/ghost.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "dedup/dedup.h"
#include "engine/proc/files/reflink.h"

/* Times are taken from a clock that ticks every 10 ms at most; where they have no fraction, every 2
 * s. */
#define SETTLED_NS 20000000ll
#define SETTLED_COARSE_NS 3000000000ll

bool ghost_settled(const struct stat *st, enum extents_means means)
{
	struct timespec now;
	int64_t age;

	/* Where there is no FIEMAP (tmpfs), a write through a mapping need not show in any time. */
	if (means != EXTENTS_FIEMAP)
		return false;
	clock_gettime(CLOCK_REALTIME, &now);
	age = (now.tv_sec - st->st_ctim.tv_sec) * 1000000000ll + now.tv_nsec - st->st_ctim.tv_nsec;
	return age > (st->st_ctim.tv_nsec ? SETTLED_NS : SETTLED_COARSE_NS);
}

SnapGhostEntry *ghost_known(const struct fds_prepared *prepared, uint32_t id, const struct stat *st,
			    const struct timespec *btime)
{
	for (size_t i = 0; prepared && i < prepared->n_old; i++) {
		SnapGhostEntry *old = prepared->old[i];

		if (old->id == id && old->settled && old->dev == st->st_dev &&
		    old->ino == st->st_ino && old->size == (uint64_t)st->st_size &&
		    old->blocks == (uint64_t)st->st_blocks &&
		    old->ctime_sec == st->st_ctim.tv_sec &&
		    old->ctime_nsec == (uint32_t)st->st_ctim.tv_nsec &&
		    old->btime_sec == btime->tv_sec && old->btime_nsec == (uint32_t)btime->tv_nsec)
			return old;
	}
	return NULL;
}

static void describe(const struct ghost_taken *ghost, const struct timespec *btime,
		     SnapGhostEntry *entry)
{
	const struct stat *st = &ghost->f->st;

	entry->id = ghost->id;
	entry->has_dev = entry->has_ino = entry->has_size = entry->has_blocks = true;
	entry->dev = st->st_dev;
	entry->ino = st->st_ino;
	entry->size = (uint64_t)st->st_size;
	entry->blocks = (uint64_t)st->st_blocks;
	entry->has_ctime_sec = entry->has_ctime_nsec = true;
	entry->ctime_sec = st->st_ctim.tv_sec;
	entry->ctime_nsec = (uint32_t)st->st_ctim.tv_nsec;
	entry->has_btime_sec = entry->has_btime_nsec = true;
	entry->btime_sec = btime->tv_sec;
	entry->btime_nsec = (uint32_t)btime->tv_nsec;
	entry->has_atime_sec = entry->has_atime_nsec = true;
	entry->atime_sec = st->st_atim.tv_sec;
	entry->atime_nsec = (uint32_t)st->st_atim.tv_nsec;
	entry->has_mtime_sec = entry->has_mtime_nsec = true;
	entry->mtime_sec = st->st_mtim.tv_sec;
	entry->mtime_nsec = (uint32_t)st->st_mtim.tv_nsec;
}

/* The plan's lists, as the image has them. */
static int describe_plan(struct fds_take *take, const struct contents_plan *plan,
			 SnapGhostEntry *entry)
{
	entry->has_pages = true;
	entry->pages = plan->pages;
	entry->partial_pages = fds_take_alloc(take, (plan->n_partial + 1) * sizeof(uint64_t));
	entry->partial_sectors = fds_take_alloc(take, (plan->n_partial + 1) * sizeof(uint32_t));
	entry->reserved = fds_take_alloc(take, (plan->n_reserved + 1) * sizeof(*entry->reserved));
	if (!entry->partial_pages || !entry->partial_sectors || !entry->reserved)
		return R_FAILED;
	for (size_t i = 0; i < plan->n_partial; i++) {
		entry->partial_pages[i] = plan->partial[i].index;
		entry->partial_sectors[i] = plan->partial[i].sectors;
	}
	entry->n_partial_pages = entry->n_partial_sectors = plan->n_partial;
	for (size_t i = 0; i < plan->n_reserved; i++) {
		SnapExtent *x = fds_take_alloc(take, sizeof(*x));

		if (!x)
			return R_FAILED;
		snap_extent__init(x);
		x->start = plan->reserved[i].start;
		x->len = plan->reserved[i].end - plan->reserved[i].start;
		entry->reserved[i] = x;
	}
	entry->n_reserved = plan->n_reserved;
	return R_OK;
}

static int put_ghost_file(struct fds_take *take, const struct ghost_taken *ghost)
{
	GhostFileEntry entry = GHOST_FILE_ENTRY__INIT;
	Timeval atim = TIMEVAL__INIT, mtim = TIMEVAL__INIT;
	const struct stat *st = &ghost->f->st;
	char target[PATH_MAX];
	ssize_t len;

	entry.uid = st->st_uid;
	entry.gid = st->st_gid;
	entry.mode = st->st_mode;
	entry.has_dev = entry.has_ino = entry.has_rdev = entry.has_size = 1;
	entry.dev = (uint32_t)st->st_dev;
	entry.ino = st->st_ino;
	entry.rdev = (uint32_t)st->st_rdev;
	entry.size = (uint64_t)st->st_size;
	atim.tv_sec = (uint64_t)st->st_atim.tv_sec;
	atim.tv_usec = (uint64_t)st->st_atim.tv_nsec / 1000;
	mtim.tv_sec = (uint64_t)st->st_mtim.tv_sec;
	mtim.tv_usec = (uint64_t)st->st_mtim.tv_nsec / 1000;
	entry.atim = &atim;
	entry.mtim = &mtim;
	if (S_ISREG(st->st_mode))
		entry.has_chunks = entry.chunks = true;
	if (S_ISLNK(st->st_mode)) {
		len = readlinkat(ghost->f->local, "", target, sizeof(target) - 1);
		if (len < 0) {
			warn_errno("%s: cannot read where it leads", taken_file_name(ghost->f));
			return R_FAILED;
		}
		target[len] = '\0';
		entry.symlnk_target = target;
	}
	return fds_take_put_one(take, IMAGE_GHOST_FILE, ghost->id, &entry.base);
}

static int read_now(struct fds_take *take, struct ghost_taken *ghost, SnapGhostEntry *entry)
{
	struct taken_file *f = ghost->f;
	char name[32];
	int fd, result;

	/* Opening it would break the lease, which its holder would be told. */
	if (ghost->leased) {
		warn("%s: deleted, with a lease on it; cannot be snapshotted", taken_file_name(f));
		return R_UNSUPPORTED;
	}
	fd = contents_open(f->local);
	if (fd < 0) {
		warn_errno("%s: cannot be opened to read it", taken_file_name(f));
		return R_FAILED;
	}
	result = contents_plan(fd, (uint64_t)f->st.st_size, false, &ghost->plan);
	if (result == R_OK)
		result = ghost_traits_take(take, f, fd, entry);
	if (result == R_OK)
		result = describe_plan(take, &ghost->plan, entry);
	ghost_object_name(name, ghost->id);
	/* Where it can be cloned, it is read when the tree runs again. */
	if (result == R_OK)
		ghost->clone = reflink_open(fd, f->link);
	if (result == R_OK && ghost->clone < 0)
		result = contents_put(take->ingest, name, fd, &ghost->plan);
	entry->has_settled = true;
	entry->settled = !ghost->mapped && ghost_settled(&f->st, ghost->plan.means);
	close(fd);
	if (result != R_OK)
		warn("%s: cannot keep what it holds", taken_file_name(f));
	return result;
}

static bool same_stat(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_blocks == b->st_blocks && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
	       a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* What was read before the freeze; NULL if it was not or is not valid any more. */
static struct ghost_read *find_read(struct fds_take *take, const struct ghost_taken *ghost)
{
	for (size_t i = 0; take->prepared && i < take->prepared->n_reads; i++) {
		struct ghost_read *read = &take->prepared->reads[i];

		if (read->id == ghost->id && read->settled && same_stat(&read->st, &ghost->f->st)) {
			read->used = true;
			return read;
		}
	}
	return NULL;
}

/* Everything was known before: nothing is looked at. */
static void take_over(const SnapGhostEntry *old, SnapGhostEntry *entry)
{
	entry->has_settled = entry->settled = true;
	entry->has_pages = old->has_pages;
	entry->pages = old->pages;
	entry->has_inode_flags = old->has_inode_flags;
	entry->inode_flags = old->inode_flags;
	entry->n_xattrs = old->n_xattrs;
	entry->xattrs = old->xattrs;
	entry->n_reserved = old->n_reserved;
	entry->reserved = old->reserved;
	entry->n_partial_pages = old->n_partial_pages;
	entry->partial_pages = old->partial_pages;
	entry->n_partial_sectors = old->n_partial_sectors;
	entry->partial_sectors = old->partial_sectors;
}

static int take_read(struct fds_take *take, struct ghost_taken *ghost, struct ghost_read *read,
		     SnapGhostEntry *entry)
{
	int fd = ghost->leased ? -1 : contents_open(ghost->f->local), result;

	result = ghost_traits_take(take, ghost->f, fd, entry);
	if (fd >= 0)
		close(fd);
	if (result == R_OK)
		result = describe_plan(take, &read->plan, entry);
	entry->has_settled = entry->settled = true;
	return result;
}

static int take_data(struct fds_take *take, struct ghost_taken *ghost, const struct timespec *btime,
		     SnapGhostEntry *entry)
{
	const SnapGhostEntry *old = ghost_known(take->prepared, ghost->id, &ghost->f->st, btime);
	struct ghost_read *read;
	char name[32];
	int result;

	ghost_object_name(name, ghost->id);
	if (old) {
		result = object_same(take->ingest, name, old->size, old->pages);
		if (result == R_OK)
			take_over(old, entry);
		if (result != R_NOT_FOUND)
			return result;
	}
	read = find_read(take, ghost);
	if (read)
		return take_read(take, ghost, read, entry);
	object_drop(take->ingest, name);
	return read_now(take, ghost, entry);
}

static int take_traits(struct fds_take *take, struct ghost_taken *ghost, SnapGhostEntry *entry)
{
	int fd = S_ISDIR(ghost->f->st.st_mode) ? contents_open(ghost->f->local) : -1;
	int result = ghost_traits_take(take, ghost->f, fd, entry);

	if (fd >= 0)
		close(fd);
	return result;
}

static int take_ghost(struct fds_take *take, struct ghost_taken *ghost)
{
	SnapGhostEntry entry = SNAP_GHOST_ENTRY__INIT;
	struct taken_file *f = ghost->f;
	struct timespec btime;
	int result;

	if (S_ISREG(f->st.st_mode) && take->ghost_max_bytes &&
	    (uint64_t)f->st.st_blocks * 512 > take->ghost_max_bytes) {
		warn("%s: deleted, with %lld bytes of data; --ghost-limit allows %llu",
		     taken_file_name(f), (long long)f->st.st_blocks * 512,
		     (unsigned long long)take->ghost_max_bytes);
		return R_UNSUPPORTED;
	}
	if (!take->ingest)
		return R_OK;
	btime = ghost_btime(f->local);
	describe(ghost, &btime, &entry);
	if (S_ISREG(f->st.st_mode))
		result = take_data(take, ghost, &btime, &entry);
	else
		result = take_traits(take, ghost, &entry);
	if (result != R_OK)
		return result;
	fds_take_put(take, IMAGE_SNAP_GHOSTS, &entry.base, NULL, 0);
	return put_ghost_file(take, ghost);
}

/* What any description and mapping of it is. */
static void look_at_holders(struct fds_take *take)
{
	for (size_t i = 0; i < take->n_files; i++) {
		const struct taken_file *f = take->files[i];

		if (f->st.st_nlink > 0)
			continue;
		for (size_t k = 0; k < take->n_ghosts; k++) {
			struct ghost_taken *ghost = &take->ghosts[k];

			if (ghost->f->st.st_ino != f->st.st_ino ||
			    ghost->f->st.st_dev != f->st.st_dev)
				continue;
			ghost->mapped |= f->path_only && (f->flags & O_ACCMODE) == O_RDWR;
			ghost->leased |= f->info && strstr(f->info, "LEASE");
		}
	}
}

int ghosts_take(struct fds_take *take)
{
	struct fds_prepared *prepared = take->prepared;
	int result = R_OK;

	look_at_holders(take);
	/* Nothing is read for a take that is refused. */
	if (take->result == R_OK || !take->ingest) {
		for (size_t i = 0; i < take->n_ghosts && result != R_FAILED; i++) {
			int one = take_ghost(take, &take->ghosts[i]);

			if (one != R_OK)
				result = one;
		}
	}
	/* Those that nobody has open any more are no part of the generation. */
	for (size_t i = 0; prepared && take->ingest && i < prepared->n_reads; i++) {
		char name[32];
		size_t k = 0;

		while (k < take->n_ghosts && take->ghosts[k].id != prepared->reads[i].id)
			k++;
		ghost_object_name(name, prepared->reads[i].id);
		if (k == take->n_ghosts)
			object_drop(take->ingest, name);
	}
	return result;
}

uint64_t fds_take_ghost_bytes(const struct fds_take *take)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < take->n_ghosts; i++)
		pages += take->ghosts[i].plan.pages;
	for (size_t i = 0; take->prepared && i < take->prepared->n_reads; i++)
		pages += take->prepared->reads[i].plan.pages;
	return pages * PAGE_BYTES;
}

int fds_take_store(struct fds_take *take)
{
	for (size_t i = 0; i < take->n_ghosts; i++) {
		struct ghost_taken *ghost = &take->ghosts[i];
		char name[32];

		if (ghost->clone < 0)
			continue;
		ghost_object_name(name, ghost->id);
		if (contents_put(take->ingest, name, ghost->clone, &ghost->plan) != R_OK)
			return R_FAILED;
		detail("%s: cloned while the tree stood still, and read afterwards",
		       ghost->f->link);
		close(ghost->clone);
		ghost->clone = -1;
	}
	return R_OK;
}

void ghosts_take_end(struct fds_take *take)
{
	for (size_t i = 0; i < take->n_ghosts; i++) {
		if (take->ghosts[i].clone >= 0)
			close(take->ghosts[i].clone);
		contents_plan_free(&take->ghosts[i].plan);
	}
	free(take->ghosts);
	take->ghosts = NULL;
	take->n_ghosts = 0;
}
