/* Putting files back, one at a time. */
#include "engine/proc/files/back_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/io.h"
#include "base/progress.h"
#include "base/result.h"
#include "base/warn.h"

/* One entry being put back. */
struct place {
	struct back *back;
	const SnapDataEntry *entry;
	char folder[PATH_MAX];
	const char *name;
	int dir;
	bool there;
	struct stat st; /* of what is there */
};

static int failed(const struct place *p, const char *what)
{
	warn_errno("%s: cannot be put back: %s", p->entry->path, what);
	return R_FAILED;
}

int back_dress(const SnapDataEntry *entry, const char *path)
{
	const struct timespec times[2] = {
		{ .tv_nsec = UTIME_OMIT },
		{ entry->mtime_sec, entry->mtime_nsec },
	};
	bool link = S_ISLNK(entry->mode);
	bool ok = (link ? lchown(path, entry->uid, entry->gid)
			: chown(path, entry->uid, entry->gid)) == 0;

	/* A change of owner takes away set-id bits and capabilities: these come behind. */
	if (ok && !link)
		ok = chmod(path, entry->mode & 07777) == 0;
	for (size_t i = 0; ok && i < entry->n_xattrs; i++) {
		const SnapDataXattr *x = entry->xattrs[i];

		ok = (link ? lsetxattr(path, x->name, x->value.data, x->value.len, 0)
			   : setxattr(path, x->name, x->value.data, x->value.len, 0)) == 0;
	}
	if (ok)
		ok = utimensat(AT_FDCWD, path, times, link ? AT_SYMLINK_NOFOLLOW : 0) == 0;
	if (ok)
		return R_OK;
	warn_errno("%s: owner, mode, attributes or times cannot be put back", entry->path);
	return R_FAILED;
}

static int dress_fd(const SnapDataEntry *entry, int fd)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return back_dress(entry, path);
}

/* Makes what the entry is under a new name beside it. */
static int make_new(struct place *p, char name[BACK_NAME_BYTES])
{
	const SnapDataEntry *entry = p->entry;
	char path[PATH_MAX];
	int fd, rc;

	if (back_names_new(&p->back->names, p->dir, p->folder, p->name, name) != R_OK)
		return R_FAILED;
	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", p->dir, name);
	if (entry->same_as) {
		/* The entry it is the same as stands before it, and so is in place. */
		char folder[PATH_MAX];
		const char *first = back_split(entry->same_as, folder, sizeof(folder));
		int from = back_open_folder(folder);

		rc = from >= 0 && linkat(from, first, p->dir, name, 0) == 0 ? R_OK : R_FAILED;
		if (from >= 0)
			close(from);
		return rc == R_OK ? rc : failed(p, "as a hard link");
	}
	if (S_ISREG(entry->mode)) {
		fd = openat(p->dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd < 0)
			return failed(p, "no new file beside it");
		rc = back_contents(p->back, entry, fd);
		if (rc == R_OK)
			rc = dress_fd(entry, fd);
		close(fd);
	} else {
		if ((S_ISLNK(entry->mode) ? symlinkat(entry->target, p->dir, name)
					  : mknodat(p->dir, name, entry->mode, entry->rdev)) != 0)
			return failed(p, "it cannot be made");
		rc = back_dress(entry, path);
	}
	if (rc != R_OK)
		unlinkat(p->dir, name, 0);
	return rc;
}

/* At one instant, what was there has the new name and the entry its own. */
static int replace(struct place *p)
{
	char name[BACK_NAME_BYTES];
	int rc = make_new(p, name);

	if (rc != R_OK)
		return rc;
	if (p->there) {
		if (io_exchange_files(p->dir, p->name, name) != R_OK) {
			failed(p, "it cannot be exchanged");
			goto err;
		}
		if (back_note(p->back, BACK_EXCHANGED, p->folder, p->name, name))
			return R_OK;
		io_exchange_files(p->dir, p->name, name);
	} else {
		if (io_move_new(p->dir, name, p->name) != R_OK) {
			failed(p, "it cannot be given its name");
			goto err;
		}
		if (back_note(p->back, BACK_MADE, p->folder, p->name, NULL))
			return R_OK;
		unlinkat(p->dir, p->name, 0);
		return R_FAILED;
	}
err:
	unlinkat(p->dir, name, 0);
	return R_FAILED;
}

/* Others hold the inode: it stays, with a copy of what it held beside it until all is well. */
static int write_in_place(struct place *p)
{
	int fd = openat(p->dir, p->name, O_RDWR | O_NOFOLLOW | O_CLOEXEC), copy, rc = R_FAILED;
	char name[BACK_NAME_BYTES];
	struct back_step *step;

	if (fd < 0)
		return failed(p, "it cannot be written to");
	if (back_names_new(&p->back->names, p->dir, p->folder, p->name, name) != R_OK) {
		close(fd);
		return R_FAILED;
	}
	copy = openat(p->dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (copy < 0 || io_copy_file(fd, copy) != R_OK) {
		failed(p, "no copy of what is there can be made");
		goto err;
	}
	step = back_note(p->back, BACK_WRITTEN, p->folder, p->name, name);
	if (!step)
		goto err;
	step->st = p->st;
	close(copy);
	rc = back_contents(p->back, p->entry, fd);
	if (rc == R_OK)
		rc = dress_fd(p->entry, fd);
	close(fd);
	return rc;

err:
	if (copy >= 0) {
		unlinkat(p->dir, name, 0);
		close(copy);
	}
	close(fd);
	return R_FAILED;
}

/* Nothing moved any of its times since: it is what it was. */
static bool is_untouched(const struct place *p)
{
	const SnapDataEntry *e = p->entry;
	const struct stat *st = &p->st;

	if (!p->there || (uint64_t)st->st_ino != e->ino || (uint64_t)st->st_dev != e->dev ||
	    st->st_mode != e->mode || st->st_mtim.tv_sec != e->mtime_sec ||
	    (uint32_t)st->st_mtim.tv_nsec != e->mtime_nsec || st->st_ctim.tv_sec != e->ctime_sec ||
	    (uint32_t)st->st_ctim.tv_nsec != e->ctime_nsec)
		return false;
	return (uint64_t)st->st_size == e->size && (!S_ISREG(e->mode) || e->settled);
}

/* Has the link the inode it shall have already? */
static bool is_linked(const struct place *p)
{
	struct stat first;

	return p->there && lstat(p->entry->same_as, &first) == 0 && first.st_ino == p->st.st_ino &&
	       first.st_dev == p->st.st_dev;
}

static int move_aside(struct place *p, const char *name)
{
	char other[BACK_NAME_BYTES];

	if (back_names_new(&p->back->names, p->dir, p->folder, name, other) != R_OK)
		return R_FAILED;
	if (io_move_new(p->dir, name, other) != R_OK)
		return failed(p, "what is in its place cannot be moved");
	if (back_note(p->back, BACK_ASIDE, p->folder, name, other))
		return R_OK;
	io_move_new(p->dir, other, name);
	return R_FAILED;
}

static int put_folder(struct place *p)
{
	struct back_step *step;
	int rc = R_OK;

	if (p->there && S_ISDIR(p->st.st_mode)) {
		step = back_note(p->back, BACK_CHANGED, p->folder, p->name, NULL);
		if (step)
			step->st = p->st;
		return step ? R_OK : R_FAILED;
	}
	if (p->there)
		rc = move_aside(p, p->name);
	if (rc == R_OK && mkdirat(p->dir, p->name, 0700) != 0)
		rc = failed(p, "the folder cannot be made");
	if (rc == R_OK && !back_note(p->back, BACK_MADE, p->folder, p->name, NULL))
		rc = R_FAILED;
	return rc;
}

static int put_entry(struct place *p)
{
	if (S_ISDIR(p->entry->mode))
		return put_folder(p);
	if (p->entry->same_as ? is_linked(p) : is_untouched(p))
		return R_OK;
	p->back->changed++;
	if (p->there && S_ISDIR(p->st.st_mode)) {
		if (move_aside(p, p->name) != R_OK)
			return R_FAILED;
		p->there = false;
	}
	if (p->there && S_ISREG(p->entry->mode) && S_ISREG(p->st.st_mode) && !p->entry->same_as &&
	    back_is_held(p->back, &p->st))
		return write_in_place(p);
	return replace(p);
}

static int open_place(struct back *back, const SnapDataEntry *entry, struct place *p)
{
	p->back = back;
	p->entry = entry;
	p->name = back_split(entry->path, p->folder, sizeof(p->folder));
	p->dir = back_open_folder(p->folder);
	if (p->dir < 0)
		return failed(p, "its folder cannot be opened");
	p->there = fstatat(p->dir, p->name, &p->st, AT_SYMLINK_NOFOLLOW) == 0;
	return R_OK;
}

static int order_paths(const void *a, const void *b)
{
	return strcmp((*(SnapDataEntry *const *)a)->path, (*(SnapDataEntry *const *)b)->path);
}

/* What came into a folder since is moved aside, but for what no take stores: sockets, what is
 * mounted there, and what a restore (this one, too) keeps there for the moment. */
static int clear_folder(struct back *back, const SnapDataEntry *folder, SnapDataEntry **sorted)
{
	struct place p = { .back = back, .entry = folder, .dir = back_open_folder(folder->path) };
	char path[PATH_MAX];
	struct stat own, st;
	struct dirent *member;
	int copy, rc = R_OK;
	DIR *dir = NULL;

	copy = p.dir < 0 ? -1 : fcntl(p.dir, F_DUPFD_CLOEXEC, 0);
	if (copy < 0 || fstat(p.dir, &own) != 0 || !(dir = fdopendir(copy))) {
		if (copy >= 0)
			close(copy);
		rc = failed(&p, "it cannot be listed");
		goto out;
	}
	snprintf(p.folder, sizeof(p.folder), "%s", folder->path);
	while (rc == R_OK && (member = readdir(dir))) {
		SnapDataEntry key = { .path = path }, *want = &key;

		if (strcmp(member->d_name, ".") == 0 || strcmp(member->d_name, "..") == 0 ||
		    back_left_is_live(p.dir, member->d_name))
			continue;
		if ((size_t)snprintf(path, sizeof(path), "%s/%s", folder->path, member->d_name) >=
			sizeof(path) ||
		    bsearch(&want, sorted, back->n, sizeof(*sorted), order_paths) ||
		    fstatat(p.dir, member->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
		    S_ISSOCK(st.st_mode) || st.st_dev != own.st_dev)
			continue;
		rc = move_aside(&p, member->d_name);
		back->changed++;
	}
out:
	if (dir)
		closedir(dir);
	if (p.dir >= 0)
		close(p.dir);
	return rc;
}

/* Everything in place, and on the disk before anything old is let go of. */
static int finish_folders(struct back *back)
{
	int rc = R_OK;

	for (size_t i = back->n; rc == R_OK && i-- > 0;) {
		struct place p;

		rc = open_place(back, back->entries[i], &p);
		if (rc == R_OK && S_ISDIR(p.entry->mode)) {
			int fd =
			    openat(p.dir, p.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

			rc = fd < 0 ? failed(&p, "it cannot be opened") : dress_fd(p.entry, fd);
			if (fd >= 0)
				close(fd);
		}
		if (rc == R_OK && !p.entry->in_folder && syncfs(p.dir) != 0)
			rc = failed(&p, "its file system cannot be synced");
		if (p.dir >= 0)
			close(p.dir);
	}
	return rc;
}

int back_put(struct back *back)
{
	SnapDataEntry **sorted = calloc(back->n + 1, sizeof(*sorted));
	int rc = sorted ? R_OK : R_FAILED;

	if (!sorted)
		warn("out of memory");
	else if (back->n) {
		memcpy(sorted, back->entries, back->n * sizeof(*sorted));
		qsort(sorted, back->n, sizeof(*sorted), order_paths);
	}
	for (size_t i = 0; rc == R_OK && i < back->n; i++) {
		struct place p;

		if (!progress_tell(back->progress, "putting files back", i, back->n,
				   PROGRESS_ITEMS)) {
			rc = R_FAILED;
			break;
		}
		rc = open_place(back, back->entries[i], &p);
		if (rc == R_OK)
			rc = put_entry(&p);
		if (p.dir >= 0)
			close(p.dir);
		if (rc == R_OK && S_ISDIR(back->entries[i]->mode))
			rc = clear_folder(back, back->entries[i], sorted);
	}
	free(sorted);
	return rc == R_OK ? finish_folders(back) : rc;
}
