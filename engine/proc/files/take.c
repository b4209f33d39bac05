/* The pass over all files of a take, when the tree runs again. */
#include "engine/proc/files/files.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/dump.h"
#include "engine/proc/fds/fds.h"

struct pass {
	struct dump_ctx *ctx;
	const struct files_options *options;
	struct file_summary *summary;
	const struct file_memory *memory;
	struct file_leases leases;
	struct taken_file **files;
	size_t n_files, room_files;
	struct file_inode *inodes;
	size_t n_inodes;
	uint32_t max_id;
	uint8_t *uses; /* by id of the file: USED_* */
};

#define USED_MAPPED 1u
#define USED_EXECUTABLE 2u
#define USED_PRIVATE 4u
#define USED_SHARED_WRITE 8u

static uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int list_file(struct taken_file *f, void *arg)
{
	struct pass *p = arg;

	if (f->id > p->max_id)
		p->max_id = f->id;
	if (!f->named || !S_ISREG(f->st.st_mode))
		return 0;
	if (p->n_files == p->room_files) {
		size_t room = p->room_files ? 2 * p->room_files : 256;
		void *more = realloc(p->files, room * sizeof(*p->files));

		if (!more)
			return R_FAILED;
		p->files = more;
		p->room_files = room;
	}
	p->files[p->n_files++] = f;
	return 0;
}

static int order_files(const void *a, const void *b)
{
	const struct taken_file *x = *(struct taken_file *const *)a;
	const struct taken_file *y = *(struct taken_file *const *)b;

	if (x->st.st_ino != y->st.st_ino)
		return x->st.st_ino < y->st.st_ino ? -1 : 1;
	if (x->st.st_dev != y->st.st_dev)
		return x->st.st_dev < y->st.st_dev ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

/* What the tree's mappings use each file for. */
static void note_uses(struct pass *p)
{
	for (size_t i = 0; i < p->ctx->n_tasks; i++) {
		const MmEntry *mm = &p->ctx->tasks[i].mm;

		if (mm->exe_file_id && mm->exe_file_id <= p->max_id)
			p->uses[mm->exe_file_id] |= USED_MAPPED | USED_EXECUTABLE;
		for (size_t k = 0; k < mm->n_vmas; k++) {
			const VmaEntry *vma = mm->vmas[k];

			if (!(vma->status & (VMA_STATUS_FILE_PRIVATE | VMA_STATUS_FILE_SHARED)) ||
			    vma->status & VMA_STATUS_ANON_SHARED || vma->shmid > p->max_id)
				continue;
			p->uses[vma->shmid] |= USED_MAPPED;
			if (vma->prot & 4 /* PROT_EXEC */)
				p->uses[vma->shmid] |= USED_EXECUTABLE;
			if (vma->status & VMA_STATUS_FILE_PRIVATE)
				p->uses[vma->shmid] |= USED_PRIVATE;
			else if ((vma->fdflags & O_ACCMODE) == O_RDWR)
				p->uses[vma->shmid] |= USED_SHARED_WRITE;
		}
	}
}

/* Only appended to, or only read: what is there stays the beginning of what will be there. */
static bool only_grows(const struct file_inode *inode)
{
	if (inode->mapped)
		return false;
	for (size_t i = 0; i < inode->n; i++) {
		uint32_t flags = inode->files[i]->flags;

		if ((flags & O_ACCMODE) == O_RDWR && !(flags & (O_APPEND | O_PATH)))
			return false;
	}
	return true;
}

static int gather(struct pass *p)
{
	if (fds_take_each(p->ctx->fds, list_file, p) != 0)
		return R_FAILED;
	p->uses = calloc(p->max_id + 1, 1);
	p->inodes = calloc(p->n_files + 1, sizeof(*p->inodes));
	if (!p->uses || !p->inodes)
		return R_FAILED;
	note_uses(p);
	if (p->n_files)
		qsort(p->files, p->n_files, sizeof(struct taken_file *), order_files);
	for (size_t i = 0; i < p->n_files; i++) {
		struct taken_file *f = p->files[i];
		struct file_inode *inode = p->n_inodes ? &p->inodes[p->n_inodes - 1] : NULL;

		if (!inode || inode->files[0]->st.st_ino != f->st.st_ino ||
		    inode->files[0]->st.st_dev != f->st.st_dev) {
			inode = &p->inodes[p->n_inodes++];
			inode->files = &p->files[i];
			inode->name = f->link;
		}
		inode->n++;
		inode->mapped |= (p->uses[f->id] & USED_MAPPED) != 0;
		inode->executable |= (p->uses[f->id] & USED_EXECUTABLE) != 0;
		inode->private_map |= (p->uses[f->id] & USED_PRIVATE) != 0;
		inode->shared_write |= (p->uses[f->id] & USED_SHARED_WRITE) != 0;
	}
	return R_OK;
}

/* The file as the freeze saw it, without another call. */
static void identify(struct pass *p, struct file_inode *inode)
{
	const struct stat *st = &inode->files[0]->st;
	struct cookie *c = &inode->cookie;
	int64_t changed_ns;

	*c = (struct cookie){
		.dev = st->st_dev,
		.ino = st->st_ino,
		.size = (uint64_t)st->st_size,
		.mode = st->st_mode,
		.has_times = true,
		.mtime_sec = st->st_mtim.tv_sec,
		.mtime_nsec = (uint32_t)st->st_mtim.tv_nsec,
		.ctime_sec = st->st_ctim.tv_sec,
		.ctime_nsec = (uint32_t)st->st_ctim.tv_nsec,
		.has_btime = inode->files[0]->has_btime,
		.btime_sec = inode->files[0]->btime.tv_sec,
		.btime_nsec = (uint32_t)inode->files[0]->btime.tv_nsec,
		.grows = only_grows(inode),
	};
	changed_ns = c->ctime_sec * 1000000000ll + c->ctime_nsec;
	inode->settled =
	    !inode->shared_write && changed_ns + FILES_SETTLED_NS < p->options->frozen_at_ns;
}

static bool is_stored(const struct pass *p, const struct file_inode *inode)
{
	if (!p->options->store_mapped)
		return false;
	return inode->executable ||
	       (inode->private_map && inode->cookie.size <= FILES_MAPPED_MAX_BYTES);
}

static bool has_sum(const struct cookie *cookie, enum sum_kind wanted)
{
	return wanted == SUM_NONE || cookie->sum.kind == SUM_FULL || cookie->sum.kind == wanted;
}

/* Takes over what the last generation noted.  False if there is nothing, or not enough. */
static bool remember(struct pass *p, struct file_inode *inode)
{
	const struct object *object;
	const SnapFileEntry *more;
	const RegFileEntry *reg;
	struct cookie then;
	bool grows = inode->cookie.grows;

	if (p->options->read_all || !inode->settled)
		return false;
	more = file_memory_find(p->memory, &inode->cookie, &reg);
	if (!more || more->cookie < (uint32_t)p->options->level)
		return false;
	cookie_from_images(reg, more, &then);
	if (!has_sum(&then, cookie_sum_kind(p->options->level, &inode->cookie)))
		return false;
	if (is_stored(p, inode)) {
		/* Its name says which path it was first met under, which need not be this one. */
		object = more->stored ? file_memory_object(p->memory, more->stored) : NULL;
		if (!object)
			return false;
		if (object_take_over(p->ctx->ingest, more->stored, object,
				     (inode->cookie.size + PAGE_BYTES - 1) / PAGE_BYTES) != R_OK)
			return false;
		inode->stored = more->stored;
	}
	inode->cookie = then;
	inode->cookie.grows = grows;
	inode->level = (enum cookie_level)more->cookie;
	inode->handle_type = more->handle_type;
	inode->handle_bytes = more->handle.len < sizeof(inode->handle) ? more->handle.len : 0;
	if (inode->handle_bytes)
		memcpy(inode->handle, more->handle.data, inode->handle_bytes);
	p->summary->cached++;
	return true;
}

static void read_handle(int fd, struct file_inode *inode)
{
	union {
		struct file_handle head;
		uint8_t room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} h = { .head = { .handle_bytes = MAX_HANDLE_SZ } };
	int mount;

	if (name_to_handle_at(fd, "", &h.head, &mount, AT_EMPTY_PATH) != 0 ||
	    h.head.handle_bytes > sizeof(inode->handle))
		return;
	inode->handle_type = h.head.handle_type;
	inode->handle_bytes = h.head.handle_bytes;
	memcpy(inode->handle, h.room + sizeof(h.head), h.head.handle_bytes);
}

/* Is the open file as it was during the freeze, as far as its first bytes matter? */
static bool is_as_frozen(int fd, const struct file_inode *inode)
{
	const struct cookie *c = &inode->cookie;
	struct stat st;

	if (fstat(fd, &st) != 0 || st.st_dev != c->dev || st.st_ino != c->ino)
		return false;
	if (c->grows && (uint64_t)st.st_size >= c->size)
		return true;
	return (uint64_t)st.st_size == c->size && st.st_mtim.tv_sec == c->mtime_sec &&
	       (uint32_t)st.st_mtim.tv_nsec == c->mtime_nsec && st.st_ctim.tv_sec == c->ctime_sec &&
	       (uint32_t)st.st_ctim.tv_nsec == c->ctime_nsec;
}

static const char *object_name(struct pass *p, const char *path)
{
	char name[BLOB_NAME_BYTES];
	unsigned int twin = 0;
	bool taken;

	do {
		blob_name("file", path, twin, name);
		taken = false;
		for (size_t i = 0; !taken && i < p->n_inodes; i++)
			taken = p->inodes[i].stored && strcmp(p->inodes[i].stored, name) == 0;
		twin++;
	} while (taken);
	return fds_take_strdup(p->ctx->fds, name);
}

static int store_contents(struct pass *p, struct file_inode *inode, int fd)
{
	const char *name = object_name(p, inode->name);
	int rc;

	if (!name)
		return R_FAILED;
	/* From now on the name is taken, whatever comes of it. */
	inode->stored = name;
	rc = blob_store(p->ctx->ingest, name, fd, inode->cookie.size, &inode->cookie.sum);
	p->summary->bytes_read += inode->cookie.size;
	return rc;
}

static void forget_contents(struct file_inode *inode, const char *why)
{
	inode->cookie.build_id_bytes = inode->cookie.verity_bytes = 0;
	inode->cookie.sum = (struct file_sum){ 0 };
	inode->stored = NULL;
	inode->settled = false;
	detail("%s: %s; its contents are not noted", inode->name, why);
}

/* R_OK also where the file cannot be read: then the cookie is what stat tells. */
static int read_open(struct pass *p, struct file_inode *inode, int fd)
{
	enum cookie_level level = p->options->level;
	bool store = is_stored(p, inode);
	int rc;

	if (!is_as_frozen(fd, inode)) {
		forget_contents(inode, "changed since the freeze");
		return R_OK;
	}
	read_handle(fd, inode);
	p->summary->read++;
	/* Whoever reads all of it anyway sums all of it up. */
	rc = cookie_read(fd, store && level > COOKIE_BUILD_ID ? COOKIE_BUILD_ID : level,
			 &inode->cookie, &p->summary->bytes_read);
	if (rc == R_FAILED)
		forget_contents(inode, strerror(errno));
	if (rc == R_OK && store)
		rc = store_contents(p, inode, fd);
	if (rc == R_FAILED && store)
		return rc;
	if (rc != R_OK || !is_as_frozen(fd, inode))
		forget_contents(inode, "written to while it was read");
	inode->level = level;
	return R_OK;
}

/* Does the path still lead to it? */
static bool is_named_now(const struct file_inode *inode)
{
	struct stat st;

	return lstat(inode->name, &st) == 0 && st.st_dev == inode->cookie.dev &&
	       st.st_ino == inode->cookie.ino;
}

static int read_file_of(struct pass *p, struct file_inode *inode)
{
	uint64_t dev = (uint64_t)major(inode->cookie.dev) << 32 | minor(inode->cookie.dev);
	int fd, rc;

	inode->level = COOKIE_STAT;
	if (!is_named_now(inode)) {
		forget_contents(inode, "its path leads elsewhere since the freeze");
		return R_OK;
	}
	if (p->options->level == COOKIE_STAT && !is_stored(p, inode))
		return R_OK;
	if (file_is_leased(&p->leases, dev, inode->cookie.ino)) {
		forget_contents(inode, "has a lease, which reading would break");
		return R_OK;
	}
	fd = file_open_quietly(AT_FDCWD, inode->name);
	if (fd < 0) {
		forget_contents(inode, strerror(errno));
		return R_OK;
	}
	rc = read_open(p, inode, fd);
	close(fd);
	return rc;
}

static void fill_more(const struct file_inode *inode, SnapFileEntry *more)
{
	const struct cookie *c = &inode->cookie;

	more->has_ctime_sec = more->has_ctime_nsec = 1;
	more->ctime_sec = c->ctime_sec;
	more->ctime_nsec = c->ctime_nsec;
	more->has_btime_sec = more->has_btime_nsec = c->has_btime;
	more->btime_sec = c->btime_sec;
	more->btime_nsec = c->btime_nsec;
	more->has_verity = c->verity_bytes > 0;
	more->verity.len = c->verity_bytes;
	more->verity.data = (uint8_t *)c->verity;
	more->has_content_hash = c->sum.kind != SUM_NONE;
	more->content_hash.len = SUM_HASH_BYTES;
	more->content_hash.data = (uint8_t *)c->sum.hash;
	more->has_cookie = 1;
	more->cookie = inode->level;
	more->has_settled = inode->settled;
	more->settled = inode->settled;
	more->has_grows = c->grows;
	more->grows = c->grows;
	more->has_handle_type = more->has_handle = inode->handle_bytes > 0;
	more->handle_type = inode->handle_type;
	more->handle.len = inode->handle_bytes;
	more->handle.data = (uint8_t *)inode->handle;
	more->stored = (char *)inode->stored;
}

static int fill_entries(struct pass *p, struct file_inode *inode)
{
	const struct cookie *c = &inode->cookie;
	uint32_t *words = NULL;

	if (c->build_id_bytes) {
		words = fds_take_alloc(p->ctx->fds, c->build_id_bytes);
		if (!words)
			return R_FAILED;
		memcpy(words, c->build_id, c->build_id_bytes);
	}
	for (size_t i = 0; i < inode->n; i++) {
		RegFileEntry *reg = inode->files[i]->entry.reg;

		reg->n_build_id = c->build_id_bytes / sizeof(*words);
		reg->build_id = words;
		reg->has_checksum = reg->has_checksum_config = c->sum.kind != SUM_NONE;
		reg->checksum = c->sum.crc;
		reg->checksum_config = c->sum.kind;
		reg->has_checksum_parameter = c->sum.kind == SUM_SAMPLED;
		reg->checksum_parameter = c->sum.pages;
		fill_more(inode, inode->files[i]->more);
	}
	return R_OK;
}

static int take_inode(struct pass *p, struct file_inode *inode)
{
	int rc = R_OK;

	identify(p, inode);
	if (!remember(p, inode))
		rc = read_file_of(p, inode);
	if (inode->stored) {
		p->summary->stored++;
		p->summary->bytes_stored += inode->cookie.size;
	}
	return rc == R_OK ? fill_entries(p, inode) : rc;
}

int files_take(struct dump_ctx *ctx, const struct files_options *options,
	       struct file_summary *summary)
{
	struct pass p = { .ctx = ctx, .options = options, .summary = summary };
	uint64_t begun = clock_ns();
	int rc = gather(&p);

	if (rc != R_OK)
		warn("no memory for a list of files; free some and try again");
	p.memory = options->memory;
	summary->files = p.n_inodes;
	for (size_t i = 0; rc == R_OK && i < p.n_inodes; i++)
		rc = take_inode(&p, &p.inodes[i]);
	if (rc == R_OK)
		rc = fds_take_finish_files(ctx->fds);
	summary->ns += clock_ns() - begun;
	free(p.leases.list);
	free(p.uses);
	free(p.inodes);
	free(p.files);
	return rc;
}
