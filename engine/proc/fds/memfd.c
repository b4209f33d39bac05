/* memfd_create(2): name, contents, seals; and shared anonymous memory opened as a file, which is
 * the same but for how it is made.  Contents are kept once for an inode, whether it is open, mapped
 * or both. */
#include "engine/proc/fds/fds_internal.h"
#include "engine/proc/fds/ghost.h"
#include "engine/proc/fds/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "store/seal.h"

#define PREFIX "/memfd:"
/* What the kernel calls memory of mmap(MAP_SHARED | MAP_ANONYMOUS). */
#define ANONYMOUS "/dev/zero (deleted)"
/* Numbers of other file systems. */
#define SHMID_HUGE 0x40000000u
#define SHMID_SECRET 0x20000000u

/* One inode being brought back. */
struct memfd {
	const MemfdInodeEntry *entry;
	int master;
	bool given; /* the description memfd_create(2) made has gone to a file */
	bool sealed;
	bool anonymous;		 /* of mmap, not of memfd_create */
	bool secret;		 /* of memfd_secret */
	struct sealed *contents; /* if so, checked */
	int refused;		 /* or why not, which has been said */
};

struct memfds {
	struct memfd *list;
	size_t n;
};

bool is_hidden_memory(const struct taken_file *f)
{
	static dev_t dev;
	struct stat st;
	int fd;

	if (!dev && (fd = memfd_create("", MFD_CLOEXEC)) >= 0) {
		if (fstat(fd, &st) == 0)
			dev = st.st_dev;
		close(fd);
	}
	if (taken_file_fs(f) == HUGETLBFS_MAGIC)
		return strcmp(f->link, "/anon_hugepage (deleted)") == 0;
	return dev && f->st.st_dev == dev;
}

static bool is_anonymous(const struct taken_file *f)
{
	return strcmp(f->link, ANONYMOUS) == 0 && is_hidden_memory(f);
}

static bool memfd_probe(const struct taken_file *f)
{
	uint64_t fs = taken_file_fs(f);

	if (is_secret_memory(f))
		return true;
	if (!S_ISREG(f->st.st_mode) || (f->flags & O_PATH) || !fs)
		return false;
	if (strncmp(f->link, PREFIX, strlen(PREFIX)) == 0)
		return fs == TMPFS_MAGIC || fs == HUGETLBFS_MAGIC;
	return is_anonymous(f);
}

static int get_seals(const struct taken_file *f)
{
	char path[64];
	int fd, seals;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", f->local);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	seals = fcntl(fd, F_GET_SEALS);
	close(fd);
	return seals;
}

/* MFD_HUGE_* is the logarithm of the page size in the upper bits. */
static uint32_t huge_flag(uint64_t page_bytes)
{
	uint32_t log = 0;

	while (page_bytes >> (log + 1))
		log++;
	return log << MFD_HUGE_SHIFT;
}

/* It has no name and no seals; the contents follow when all is known (dump_secret.c). */
static int put_secret(struct fds_take *take, struct taken_file *f, uint32_t inode_id)
{
	MemfdInodeEntry *inode = fds_take_alloc(take, sizeof(*inode));

	if (!inode)
		return R_FAILED;
	memfd_inode_entry__init(inode);
	inode->name = fds_take_strdup(take, "secretmem");
	if (!inode->name)
		return R_FAILED;
	inode->uid = f->st.st_uid;
	inode->gid = f->st.st_gid;
	inode->size = (uint64_t)f->st.st_size;
	inode->shmid = (uint32_t)f->st.st_ino | SHMID_SECRET;
	inode->inode_id = inode_id;
	inode->has_mode = 1;
	inode->mode = f->st.st_mode & 07777;
	fds_take_put(take, IMAGE_MEMFD, &inode->base, NULL, 0);
	return R_OK;
}

static int put_inode(struct fds_take *take, struct taken_file *f, uint32_t inode_id)
{
	MemfdInodeEntry *inode = fds_take_alloc(take, sizeof(*inode));
	const char *prefix = is_anonymous(f) ? "" : PREFIX;
	char *name = fds_take_strdup(take, f->link + strlen(prefix)), object[32];
	int seals = get_seals(f);
	struct statfs fs;
	size_t len;

	if (!inode || !name)
		return R_FAILED;
	if (seals < 0 || fstatfs(f->local, &fs) != 0) {
		warn_errno("%s: cannot ask for its seals", taken_file_name(f));
		return R_FAILED;
	}
	len = strlen(name);
	if (len > 10 && strcmp(name + len - 10, " (deleted)") == 0)
		name[len - 10] = '\0';
	memfd_inode_entry__init(inode);
	inode->name = name;
	inode->uid = f->st.st_uid;
	inode->gid = f->st.st_gid;
	inode->size = (uint64_t)f->st.st_size;
	/* Shared memory is numbered by inode; huge pages live in another file system. */
	inode->shmid = (uint32_t)f->st.st_ino;
	inode->seals = (uint32_t)seals;
	inode->inode_id = inode_id;
	inode->has_mode = 1;
	inode->mode = f->st.st_mode & 07777;
	if (fs.f_type == HUGETLBFS_MAGIC) {
		inode->has_hugetlb_flag = 1;
		inode->hugetlb_flag = huge_flag((uint64_t)fs.f_bsize);
		inode->shmid |= SHMID_HUGE;
	}
	fds_take_put(take, IMAGE_MEMFD, &inode->base, NULL, 0);
	snprintf(object, sizeof(object), "pages-shmem-%u", inode->shmid);
	return contents_take(take, f, object);
}

bool fds_take_has_shmem(struct fds_take *take, uint64_t ino)
{
	for (size_t i = 0; i < take->n_files; i++)
		if (take->files[i]->kind == &fd_kind_memfd && take->files[i]->st.st_ino == ino &&
		    is_anonymous(take->files[i]))
			return true;
	return false;
}

static int memfd_dump(struct fds_take *take, struct taken_file *f)
{
	MemfdFileEntry *memfd = fds_take_alloc(take, sizeof(*memfd));
	SnapFileEntry more = SNAP_FILE_ENTRY__INIT;
	bool fresh;

	if (!memfd)
		return R_FAILED;
	memfd_file_entry__init(memfd);
	memfd->id = f->id;
	memfd->flags = f->flags;
	memfd->pos = f->pos;
	memfd->fown = &f->fown;
	memfd->inode_id = fds_take_inode_id(take, "memfd", f->st.st_dev, f->st.st_ino, &fresh);
	f->entry.memfd = memfd;
	more.id = f->id;
	if (is_secret_memory(f)) {
		more.has_secret = more.secret = true;
		fds_take_put(take, IMAGE_SNAP_FILES, &more.base, NULL, 0);
		if (fresh && put_secret(take, f, memfd->inode_id) != R_OK)
			return R_FAILED;
		return secret_note(take, f, (uint32_t)f->st.st_ino | SHMID_SECRET);
	}
	if (is_anonymous(f)) {
		more.has_shared_memory = more.shared_memory = true;
		fds_take_put(take, IMAGE_SNAP_FILES, &more.base, NULL, 0);
	}
	return fresh ? put_inode(take, f, memfd->inode_id) : R_OK;
}

static int load_inode(struct fds_restore *restore, const ProtobufCMessage *message,
		      const void *payload, size_t bytes)
{
	struct memfds *memfds = fds_restore_kinds(restore)->memfds;
	struct memfd *more = realloc(memfds->list, (memfds->n + 1) * sizeof(*more));

	(void)payload;
	(void)bytes;
	if (!more) {
		warn("no memory for the list of memfds; free some and try again");
		return R_FAILED;
	}
	memfds->list = more;
	memfds->list[memfds->n++] =
	    (struct memfd){ .entry = (const MemfdInodeEntry *)message, .master = -1 };
	return R_OK;
}

static struct memfd *find_memfd(struct fds_restore *restore, const struct restored_file *f)
{
	struct memfds *memfds = fds_restore_kinds(restore)->memfds;

	for (size_t i = 0; memfds && f->entry->memfd && i < memfds->n; i++) {
		if (memfds->list[i].entry->inode_id == f->entry->memfd->inode_id)
			return &memfds->list[i];
	}
	return NULL;
}

static int load_origin(struct fds_restore *restore, const ProtobufCMessage *message,
		       const void *payload, size_t bytes)
{
	const SnapFileEntry *entry = (const SnapFileEntry *)message;
	struct restored_file *f;
	struct memfd *memfd;

	(void)payload;
	(void)bytes;
	if (!entry->shared_memory && !entry->secret)
		return R_OK;
	f = fds_restore_known(restore, entry->id);
	memfd = f ? find_memfd(restore, f) : NULL;
	if (memfd) {
		memfd->anonymous = entry->shared_memory;
		memfd->secret = entry->secret;
	}
	return R_OK;
}

static int memfd_load(struct fds_restore *restore)
{
	struct fds_restore_kinds *kinds = fds_restore_kinds(restore);
	int result;

	kinds->memfds = calloc(1, sizeof(*kinds->memfds));
	if (!kinds->memfds) {
		warn("no memory for the list of memfds; free some and try again");
		return R_FAILED;
	}
	result = fds_restore_each(restore, IMAGE_MEMFD, NULL, load_inode);
	return result ? result : fds_restore_each(restore, IMAGE_SNAP_FILES, NULL, load_origin);
}

static int memfd_check(struct fds_restore *restore, struct restored_file *f)
{
	struct memfd *memfd = find_memfd(restore, f);

	if (memfd && memfd->secret && !memfd->contents && !memfd->refused)
		memfd->refused = secret_check(restore, memfd->entry, &memfd->contents);
	if (memfd && memfd->refused)
		return memfd->refused;
	if (memfd)
		return R_OK;
	warn("open file %u: its memfd is not in the images; run 'snap verify'", f->id);
	return R_DAMAGED;
}

/* Shared anonymous memory has no name to open it by, but its link in map_files has. */
static int make_anonymous(const MemfdInodeEntry *entry)
{
	size_t bytes = entry->size ? entry->size : 1;
	char link[96];
	void *map;
	int fd;

	map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE,
		   -1, 0);
	if (map == MAP_FAILED)
		return -1;
	bytes = (bytes + 4095) & ~4095ull;
	snprintf(link, sizeof(link), "/proc/self/map_files/%lx-%lx", (unsigned long)(uintptr_t)map,
		 (unsigned long)((uintptr_t)map + bytes));
	fd = open(link, O_RDWR | O_CLOEXEC);
	munmap(map, bytes);
	return fd;
}

bool fds_restore_is_secret(struct fds_restore *restore, uint32_t id)
{
	const struct restored_file *f = fds_restore_known(restore, id);
	const struct memfd *memfd = f && f->kind == &fd_kind_memfd ? find_memfd(restore, f) : NULL;

	return memfd && memfd->secret;
}

static int make_secret(struct fds_restore *restore, struct memfd *memfd)
{
	int fd = secret_make(memfd->entry, memfd->contents);

	if (fd >= 0)
		memfd->master = fds_restore_high(restore, fd);
	return memfd->master < 0 ? R_FAILED : R_OK;
}

static int make_memfd(struct fds_restore *restore, struct memfd *memfd)
{
	const MemfdInodeEntry *entry = memfd->entry;
	unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	char object[32];
	int fd;

	if (memfd->secret)
		return make_secret(restore, memfd);
	if (entry->has_hugetlb_flag)
		flags |= MFD_HUGETLB | entry->hugetlb_flag;
	fd = memfd->anonymous ? make_anonymous(entry) : memfd_create(entry->name, flags);
	memfd->master = fd < 0 ? -1 : fds_restore_high(restore, fd);
	if (memfd->master < 0) {
		warn_errno("memory %s of %llu bytes: cannot make it", entry->name,
			   (unsigned long long)entry->size);
		return R_FAILED;
	}
	snprintf(object, sizeof(object), "pages-shmem-%u", entry->shmid);
	if (contents_restore(restore, memfd->master, object, entry->size, NULL) != R_OK)
		return R_FAILED;
	if (fchown(memfd->master, entry->uid, entry->gid) == 0 &&
	    (!entry->has_mode || fchmod(memfd->master, entry->mode) == 0))
		return R_OK;
	warn_errno("memory %s: cannot give it its owner and mode", entry->name);
	return R_FAILED;
}

int fds_restore_shmem(struct fds_restore *restore, uint64_t shmid, bool *failed)
{
	struct memfds *memfds = fds_restore_kinds(restore)->memfds;

	*failed = false;
	for (size_t i = 0; memfds && i < memfds->n; i++) {
		struct memfd *memfd = &memfds->list[i];

		if (!memfd->anonymous || memfd->entry->shmid != (uint32_t)shmid)
			continue;
		if (memfd->master < 0)
			*failed = make_memfd(restore, memfd) != R_OK;
		return *failed ? -1 : memfd->master;
	}
	return -1;
}

static int memfd_open(struct fds_restore *restore, struct restored_file *f)
{
	const MemfdFileEntry *entry = f->entry->memfd;
	struct memfd *memfd = find_memfd(restore, f);
	uint32_t files_id;
	char path[64];
	int fd;

	if (memfd->master < 0 && make_memfd(restore, memfd) != R_OK)
		return R_FAILED;
	/* Secret memory cannot be opened again: all there is is this description. */
	if (memfd->secret) {
		fd = fcntl(memfd->master, F_DUPFD_CLOEXEC, 0);
		if (fd < 0 || fds_restore_adopt(restore, f, fd) != R_OK)
			return R_FAILED;
		return fds_restore_flags(f, entry->flags, -1);
	}
	/* What memfd_create(2) gave does not count as open for writing, so that the memfd can be
	 * executed; one opened anew does.  Mappings hold it, too, and share it as they have no
	 * offset. */
	if ((entry->flags & O_ACCMODE) == O_RDWR &&
	    (!memfd->given || !fds_restore_holder(restore, f->id, &files_id, &fd))) {
		if (fds_restore_holder(restore, f->id, &files_id, &fd))
			memfd->given = true;
		fd = fcntl(memfd->master, F_DUPFD_CLOEXEC, 0);
		if (fd < 0 || fds_restore_adopt(restore, f, fd) != R_OK)
			return R_FAILED;
		return fds_restore_flags(f, entry->flags, (int64_t)entry->pos);
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", memfd->master);
	fd = open(path, (int)(entry->flags & ~(uint32_t)(O_ASYNC | O_CREAT | O_EXCL | O_TRUNC)));
	if (fd < 0) {
		warn_errno("memfd %s: cannot open it again", memfd->entry->name);
		return R_FAILED;
	}
	return fds_restore_adopt_as(restore, f, fd, 0, (int64_t)entry->pos);
}

/* Seals come when everything is written and mapped, as some forbid just that. */
static int memfd_finish(struct fds_restore *restore, struct restored_file *f,
			const struct fds_task *task, int fd)
{
	struct memfd *memfd = find_memfd(restore, f);
	int now;

	(void)task;
	(void)fd;
	if (memfd->sealed || memfd->secret)
		return R_OK;
	memfd->sealed = true;
	now = fcntl(memfd->master, F_GET_SEALS);
	if (now >= 0 && ((uint32_t)now == memfd->entry->seals ||
			 fcntl(memfd->master, F_ADD_SEALS, (int)memfd->entry->seals) == 0))
		return R_OK;
	warn_errno("memfd %s: cannot seal it again (%x)", memfd->entry->name, memfd->entry->seals);
	return R_FAILED;
}

static void memfd_done(struct fds_restore *restore)
{
	struct fds_restore_kinds *kinds = fds_restore_kinds(restore);

	for (size_t i = 0; kinds->memfds && i < kinds->memfds->n; i++) {
		if (kinds->memfds->list[i].master >= 0)
			close(kinds->memfds->list[i].master);
		sealed_close(kinds->memfds->list[i].contents);
	}
	if (kinds->memfds)
		free(kinds->memfds->list);
	free(kinds->memfds);
	kinds->memfds = NULL;
}

static void memfd_describe(const FileEntry *entry, char *buf, size_t len)
{
	snprintf(buf, len, "memfd %u at %" PRIu64, entry->memfd->inode_id, entry->memfd->pos);
}

const struct fd_kind fd_kind_memfd = {
	.name = "memfd",
	.type = FD_TYPES__MEMFD,
	.probe = memfd_probe,
	.dump = memfd_dump,
	.load = memfd_load,
	.check = memfd_check,
	.open = memfd_open,
	.finish = memfd_finish,
	.done = memfd_done,
	.describe = memfd_describe,
};
