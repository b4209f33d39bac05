/* Whole folders: everything in them, with all that a stat and extended attributes tell. */
#include "engine/proc/files/back_left.h"
#include "engine/proc/files/data.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"

#define DEPTH_MAX 128 /* each level holds a descriptor */

struct walk {
	struct data_take *take;
	uint64_t dev; /* what is mounted below is not part of it */
	char path[PATH_MAX];
};

int data_xattrs(struct data_take *take, SnapDataEntry *entry, const char *path)
{
	bool link = S_ISLNK(entry->mode);
	char names[XATTR_LIST_MAX > 65536 ? 65536 : XATTR_LIST_MAX];
	ssize_t len =
	    link ? llistxattr(path, names, sizeof(names)) : listxattr(path, names, sizeof(names));
	size_t n = 0;

	if (len <= 0)
		return R_OK; /* or a file system without them */
	for (ssize_t at = 0; at < len; at += (ssize_t)strlen(names + at) + 1)
		n++;
	entry->xattrs = data_alloc(take, n * sizeof(*entry->xattrs));
	if (!entry->xattrs)
		return R_FAILED;
	for (ssize_t at = 0; at < len; at += (ssize_t)strlen(names + at) + 1) {
		char value[XATTR_SIZE_MAX];
		ssize_t got = link ? lgetxattr(path, names + at, value, sizeof(value))
				   : getxattr(path, names + at, value, sizeof(value));
		SnapDataXattr *xattr;
		size_t name_len = strlen(names + at) + 1;

		if (got < 0)
			continue;
		xattr = data_alloc(take, sizeof(*xattr) + name_len + (size_t)got);
		if (!xattr)
			return R_FAILED;
		snap_data_xattr__init(xattr);
		xattr->name = (char *)(xattr + 1);
		memcpy(xattr->name, names + at, name_len);
		xattr->value.data = (uint8_t *)xattr->name + name_len;
		xattr->value.len = (size_t)got;
		memcpy(xattr->value.data, value, (size_t)got);
		entry->xattrs[entry->n_xattrs++] = xattr;
	}
	return R_OK;
}

static int folder(struct walk *w, int fd, unsigned int depth);

static int read_link(struct walk *w, int dir, const char *name, SnapDataEntry *entry)
{
	char target[PATH_MAX];
	ssize_t len = readlinkat(dir, name, target, sizeof(target) - 1);

	if (len < 0) {
		warn_errno("%s: cannot be read to be stored", w->path);
		return R_FAILED;
	}
	target[len] = '\0';
	entry->target = data_alloc(w->take, (size_t)len + 1);
	if (!entry->target)
		return R_FAILED;
	memcpy(entry->target, target, (size_t)len + 1);
	return R_OK;
}

static int regular(struct walk *w, int dir, const char *name, SnapDataEntry *entry,
		   const struct stat *st)
{
	const char *first = st->st_nlink > 1 ? data_known_inode(w->take, st) : NULL;
	int fd, rc;

	if (first) {
		entry->same_as = (char *)first;
		return R_OK;
	}
	if (data_note_inode(w->take, st, entry->path) != R_OK)
		return R_FAILED;
	if (data_is_leased(w->take, st)) {
		warn("%s: has a lease, which reading it for --with-path would break", w->path);
		return R_UNSUPPORTED;
	}
	fd = file_open_quietly(dir, name);
	if (fd < 0) {
		warn_errno("%s: cannot be read to be stored", w->path);
		return R_FAILED;
	}
	rc = data_contents(w->take, entry, fd, data_is_mapped_to_write(w->take, st));
	close(fd);
	return rc;
}

static int subfolder(struct walk *w, int dir, const char *name, unsigned int depth)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NOATIME), rc;

	if (fd < 0 && errno == EPERM)
		fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		warn_errno("%s: cannot be read to be stored", w->path);
		return R_FAILED;
	}
	rc = folder(w, fd, depth + 1);
	close(fd);
	return rc;
}

/* w->path is the path of `name` in the folder `dir`. */
static int member(struct walk *w, int dir, const char *name, unsigned int depth)
{
	char magic[PATH_MAX];
	SnapDataEntry *entry;
	struct stat st;
	int rc;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		/* Others may delete things at any time. */
		return errno == ENOENT ? R_OK : R_FAILED;
	if (S_ISSOCK(st.st_mode)) {
		detail("%s: is a socket, which is not stored", w->path);
		return R_OK;
	}
	if (st.st_dev != w->dev) {
		note("%s: another file system is mounted there; it is not stored", w->path);
		return R_OK;
	}
	entry = data_entry(w->take, w->path);
	if (!entry)
		return R_FAILED;
	data_describe(entry, &st);
	entry->in_folder = entry->has_in_folder = 1;
	snprintf(magic, sizeof(magic), "/proc/self/fd/%d/%s", dir, name);
	rc = data_xattrs(w->take, entry, magic);
	if (rc == R_OK && S_ISLNK(st.st_mode))
		rc = read_link(w, dir, name, entry);
	if (rc == R_OK && S_ISREG(st.st_mode))
		rc = regular(w, dir, name, entry, &st);
	if (rc == R_OK && S_ISDIR(st.st_mode))
		rc = subfolder(w, dir, name, depth);
	return rc;
}

static int folder(struct walk *w, int fd, unsigned int depth)
{
	struct dirent **names;
	size_t len = strlen(w->path);
	int n, rc = R_OK;

	if (depth > DEPTH_MAX) {
		warn("%s: folders more than %d deep are not stored", w->path, DEPTH_MAX);
		return R_UNSUPPORTED;
	}
	n = scandirat(fd, ".", &names, NULL, alphasort);
	if (n < 0) {
		warn_errno("%s: cannot be listed", w->path);
		return R_FAILED;
	}
	for (int i = 0; i < n; i++) {
		const char *name = names[i]->d_name;

		/* What a restore keeps there for the moment, or a killed one left, is no part. */
		if (rc == R_OK && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
		    !back_left_is_name(name)) {
			if ((size_t)snprintf(w->path + len, sizeof(w->path) - len, "/%s", name) >=
			    sizeof(w->path) - len) {
				warn("%s: a path below it is too long", w->path);
				rc = R_UNSUPPORTED;
			} else {
				rc = member(w, fd, name, depth);
			}
			w->path[len] = '\0';
		}
		free(names[i]);
	}
	free(names);
	return rc;
}

int data_folder(struct data_take *take, const char *path)
{
	struct walk *w = calloc(1, sizeof(*w));
	SnapDataEntry *entry;
	struct stat st;
	int fd = -1, rc = R_FAILED;

	/* Where it really is: nothing on the way may be a link when it is put back. */
	if (!w || !realpath(path, w->path)) {
		warn_errno("--with-path: %s", path);
		goto out;
	}
	w->take = take;
	fd = open(w->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0) {
		warn_errno("--with-path: %s", w->path);
		goto out;
	}
	w->dev = st.st_dev;
	entry = data_entry(take, w->path);
	if (!entry)
		goto out;
	data_describe(entry, &st);
	entry->root = entry->has_root = 1;
	rc = data_xattrs(take, entry, w->path);
	if (rc == R_OK)
		rc = folder(w, fd, 0);
out:
	if (fd >= 0)
		close(fd);
	free(w);
	return rc;
}
