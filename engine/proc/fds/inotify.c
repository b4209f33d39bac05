/* inotify(7): watches with their descriptors' numbers.  Added when everything else is restored, so
 * that the restore itself causes no events. */
#include "engine/proc/fds/fds.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/progress.h"
#include "base/result.h"
#include "base/warn.h"

#define HANDLE_WORDS (MAX_HANDLE_SZ / sizeof(uint64_t))
/* What inotify_add_watch(2) takes and keeps; fdinfo tells bits of the kernel's own besides. */
#define MASK_BITS (IN_ALL_EVENTS | IN_EXCL_UNLINK | IN_ONESHOT)
/* Numbers rise by one with each new watch; getting to a high one takes as many calls. */
#define WD_MAX 10000000
/* So many calls take some milliseconds: after them it is asked whether to stop. */
#define WATCHES_AT_ONCE 4096

static bool inotify_probe(const struct taken_file *f)
{
	return strcmp(f->link, "anon_inode:inotify") == 0 ||
	       strcmp(f->link, "anon_inode:[inotify]") == 0;
}

/* Opens a directory of the mounted file system `dev`; -1 if none is mounted here. */
static int open_mount(uint32_t dev)
{
	char line[2 * PATH_MAX], path[PATH_MAX];
	FILE *mounts = fopen("/proc/self/mountinfo", "re");
	unsigned int major_no, minor_no;
	int fd = -1;

	while (mounts && fd < 0 && fgets(line, sizeof(line), mounts)) {
		/* Spaces in the path are written as \040; such a mount is passed over. */
		if (sscanf(line, "%*d %*d %u:%u %*s %4095s", &major_no, &minor_no, path) == 3 &&
		    (major_no << 20 | minor_no) == dev)
			fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	}
	if (mounts)
		fclose(mounts);
	return fd;
}

/* The path of a watched inode, found by its handle.  R_OK or R_NOT_FOUND. */
static int find_path(const InotifyWdEntry *wd, const uint8_t *handle, char *path, size_t size)
{
	union {
		struct file_handle head;
		char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} fh = { 0 };
	int mount = open_mount(wd->s_dev), fd;
	char self[64];
	struct stat st;
	ssize_t len = -1;

	if (mount < 0)
		return R_NOT_FOUND;
	fh.head.handle_bytes = wd->f_handle->bytes;
	fh.head.handle_type = (int)wd->f_handle->type;
	memcpy(fh.head.f_handle, handle, wd->f_handle->bytes);
	fd = open_by_handle_at(mount, &fh.head, O_PATH | O_CLOEXEC);
	close(mount);
	if (fd < 0)
		return R_NOT_FOUND;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	len = readlink(self, path, size - 1);
	close(fd);
	if (len < 0)
		return R_NOT_FOUND;
	path[len] = '\0';
	return lstat(path, &st) == 0 && st.st_ino == wd->i_ino ? R_OK : R_NOT_FOUND;
}

static int parse_handle(const char *text, uint32_t bytes, uint8_t *handle)
{
	if (bytes > MAX_HANDLE_SZ || strspn(text, "0123456789abcdef") < (size_t)bytes * 2)
		return R_FAILED;
	for (uint32_t i = 0; i < bytes; i++) {
		unsigned int byte;

		sscanf(text + 2 * i, "%2x", &byte);
		handle[i] = (uint8_t)byte;
	}
	return R_OK;
}

/* "wd:1 ino:5b3 sdev:fe00000 mask:2 ignored_mask:0 fhandle-bytes:8 fhandle-type:1 f_handle:…" */
static int parse_watch(struct fds_take *take, struct taken_file *f, const char *line,
		       InotifyWdEntry *wd)
{
	FhEntry *fh = fds_take_alloc(take, sizeof(*fh));
	uint8_t handle[MAX_HANDLE_SZ] = { 0 };
	char text[2 * MAX_HANDLE_SZ + 1], path[PATH_MAX];

	if (!fh)
		return R_FAILED;
	inotify_wd_entry__init(wd);
	fh_entry__init(fh);
	fh->handle = fds_take_alloc(take, MAX_HANDLE_SZ);
	if (!fh->handle)
		return R_FAILED;
	if (sscanf(line,
		   "wd:%" SCNu32 " ino:%" SCNx64 " sdev:%" SCNx32 " mask:%" SCNx32
		   " ignored_mask:%" SCNx32 " fhandle-bytes:%" SCNx32 " fhandle-type:%" SCNx32
		   " f_handle:%256[0-9a-f]",
		   &wd->wd, &wd->i_ino, &wd->s_dev, &wd->mask, &wd->ignored_mask, &fh->bytes,
		   &fh->type, text) != 8 ||
	    parse_handle(text, fh->bytes, handle) != R_OK) {
		warn("%s: watches inode %" PRIu64
		     " of a file system that cannot name it; cannot be "
		     "snapshotted",
		     taken_file_name(f), wd->i_ino);
		return R_UNSUPPORTED;
	}
	wd->id = f->id;
	wd->mask &= MASK_BITS;
	wd->f_handle = fh;
	memcpy(fh->handle, handle, sizeof(handle));
	fh->n_handle = HANDLE_WORDS;
	if (find_path(wd, handle, path, sizeof(path)) != R_OK) {
		warn("%s: watches inode %" PRIu64 ", which has no path any more; cannot be "
		     "snapshotted",
		     taken_file_name(f), wd->i_ino);
		return R_UNSUPPORTED;
	}
	fh->path = fds_take_strdup(take, path);
	return fh->path ? R_OK : R_FAILED;
}

static const char *next_watch(const char *at)
{
	while (at && strncmp(at, "inotify wd:", 11) != 0) {
		at = strchr(at, '\n');
		if (at)
			at++;
	}
	return at;
}

static int inotify_dump(struct fds_take *take, struct taken_file *f)
{
	InotifyFileEntry *ify = fds_take_alloc(take, sizeof(*ify));
	int pending = 0, result = R_OK;
	InotifyWdEntry *rows;
	size_t n = 0;

	if (!ify)
		return R_FAILED;
	inotify_file_entry__init(ify);
	if (ioctl(f->local, FIONREAD, &pending) == 0 && pending > 0) {
		warn(
		    "%s: has %d bytes of events not yet read, which cannot be kept; try again when "
		    "they are",
		    taken_file_name(f), pending);
		return R_UNSUPPORTED;
	}
	for (const char *at = next_watch(f->info); at; at = next_watch(at + 1))
		n++;
	rows = fds_take_alloc(take, (n + 1) * sizeof(*rows));
	ify->wd = fds_take_alloc(take, (n + 1) * sizeof(*ify->wd));
	if (!rows || !ify->wd)
		return R_FAILED;
	for (const char *at = next_watch(f->info); at; at = next_watch(at + 1)) {
		InotifyWdEntry *row = &rows[ify->n_wd];
		int one = parse_watch(take, f, at + strlen("inotify "), row);

		ify->wd[ify->n_wd++] = row;
		if (one != R_OK)
			result = one;
	}
	ify->id = f->id;
	ify->flags = f->flags;
	ify->fown = &f->fown;
	f->entry.ify = ify;
	return result;
}

static int inotify_check(struct fds_restore *restore, struct restored_file *f)
{
	const InotifyFileEntry *ify = f->entry->ify;
	struct stat st;

	(void)restore;
	if (!ify)
		return R_DAMAGED;
	for (size_t i = 0; i < ify->n_wd; i++) {
		const char *path = ify->wd[i]->f_handle->path;

		if (ify->wd[i]->wd > WD_MAX) {
			warn("open file %u: inotify watch %u is beyond what can be reached", f->id,
			     ify->wd[i]->wd);
			return R_UNSUPPORTED;
		}
		if (path && lstat(path, &st) == 0)
			continue;
		warn_errno("%s: watched by inotify; put it back and try again",
			   path ? path : "(a path not recorded)");
		return R_FAILED;
	}
	return R_OK;
}

static int inotify_open(struct fds_restore *restore, struct restored_file *f)
{
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	if (fd < 0) {
		warn_errno("open file %u: cannot make an inotify", f->id);
		return R_FAILED;
	}
	return fds_restore_adopt(restore, f, fd);
}

/* Numbers are given in rising order, so a watch is added and removed until its turn comes. */
static int add_watch(struct fds_restore *restore, struct restored_file *f, const InotifyWdEntry *wd)
{
	for (;;) {
		int got = inotify_add_watch(f->local, wd->f_handle->path,
					    wd->mask | IN_DONT_FOLLOW | IN_MASK_CREATE);

		if (got == (int)wd->wd)
			return R_OK;
		if (got < 0 || got > (int)wd->wd) {
			warn_errno("open file %u: cannot watch %s again", f->id,
				   wd->f_handle->path);
			return R_FAILED;
		}
		inotify_rm_watch(f->local, got);
		if (got % WATCHES_AT_ONCE == 0 &&
		    !progress_tell(fds_restore_progress(restore), "numbering watches",
				   (uint64_t)got, wd->wd, PROGRESS_ITEMS))
			return R_FAILED;
	}
}

/* Removing a watch is an event of its own. */
static void drain(int fd)
{
	char events[16384];

	while (read(fd, events, sizeof(events)) > 0)
		;
}

static int by_number(const void *a, const void *b)
{
	const InotifyWdEntry *left = *(InotifyWdEntry *const *)a;
	const InotifyWdEntry *right = *(InotifyWdEntry *const *)b;

	return (left->wd > right->wd) - (left->wd < right->wd);
}

static int inotify_finish(struct fds_restore *restore, struct restored_file *f,
			  const struct fds_task *task, int fd)
{
	const InotifyFileEntry *ify = f->entry->ify;
	int flags = fcntl(f->local, F_GETFL);

	(void)task;
	(void)fd;
	qsort(ify->wd, ify->n_wd, sizeof(*ify->wd), by_number);
	for (size_t i = 0; i < ify->n_wd; i++) {
		if (add_watch(restore, f, ify->wd[i]) != R_OK)
			return R_FAILED;
		drain(f->local);
	}
	if (!(ify->flags & O_NONBLOCK) && fcntl(f->local, F_SETFL, flags & ~O_NONBLOCK) != 0) {
		warn_errno("open file %u: cannot set the flags of an inotify", f->id);
		return R_FAILED;
	}
	return R_OK;
}

static void inotify_describe(const FileEntry *entry, char *buf, size_t len)
{
	snprintf(buf, len, "%zu watches", entry->ify->n_wd);
}

const struct fd_kind fd_kind_inotify = {
	.name = "inotify",
	.type = FD_TYPES__INOTIFY,
	.probe = inotify_probe,
	.dump = inotify_dump,
	.check = inotify_check,
	.open = inotify_open,
	.finish = inotify_finish,
	.describe = inotify_describe,
};
