/* Which descriptors share a description, and the kind of each. */
#include "engine/proc/fds/fds_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"

int take_kcmp_order(pid_t pid1, pid_t pid2, int type, unsigned long a, unsigned long b)
{
	long order = syscall(SYS_kcmp, pid1, pid2, type, a, b);

	if (order < 0 || order > 2) {
		warn_errno("kcmp of pid %d (%lu) and pid %d (%lu)", (int)pid1, a, (int)pid2, b);
		return 2;
	}
	return order == 0 ? 0 : order == 1 ? -1 : 1;
}

int take_search(const struct fds_take *take, size_t n,
		int (*order)(const struct fds_take *take, pid_t pid, int fd, size_t at), pid_t pid,
		int fd, size_t *at)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int side = order(take, pid, fd, mid);

		if (side == 2)
			return R_FAILED;
		if (side == 0) {
			*at = mid;
			return R_OK;
		}
		if (side < 0)
			high = mid;
		else
			low = mid + 1;
	}
	*at = low;
	return R_NOT_FOUND;
}

static int order_files(const struct fds_take *take, pid_t pid, int fd, size_t at)
{
	return take_kcmp_order(pid, take->self, KCMP_FILE, (unsigned long)fd,
			       (unsigned long)take->by_kcmp[at]->local);
}

int take_search_file(struct fds_take *take, pid_t pid, int fd, size_t *at)
{
	return take_search(take, take->n_by_kcmp, order_files, pid, fd, at);
}

struct taken_file *fds_take_find(struct fds_take *take, pid_t pid, int fd)
{
	size_t at;

	return take_search_file(take, pid, fd, &at) == R_OK ? take->by_kcmp[at] : NULL;
}

struct taken_file *fds_take_find_local(struct fds_take *take, int local)
{
	return fds_take_find(take, getpid(), local);
}

static int dump_file(struct fds_take *take, struct taken_file *f)
{
	file_entry__init(&f->entry);
	f->entry.id = f->id;
	for (size_t i = 0; fd_kinds[i]; i++) {
		if (!fd_kinds[i]->probe(f))
			continue;
		f->kind = fd_kinds[i];
		f->entry.type = f->kind->type;
		return f->kind->dump(take, f);
	}
	if (S_ISSOCK(f->st.st_mode))
		warn("%s: sockets of this family cannot be snapshotted", taken_file_name(f));
	else
		warn("%s: files of this kind cannot be snapshotted", taken_file_name(f));
	return R_UNSUPPORTED;
}

/* Adds a file whose local, pid and fd are given, looks at it and dumps it.  Takes over `local`. */
static int add_file(struct fds_take *take, const struct taken_file *model, struct taken_file **out)
{
	struct taken_file *f;

	if (grow(&take->files, take->n_files, &take->room_files, sizeof(*take->files)) != R_OK ||
	    !(f = fds_take_alloc(take, sizeof(*f)))) {
		close(model->local);
		return take_note_result(take, R_FAILED);
	}
	*f = *model;
	f->id = (uint32_t)take->n_files + 1;
	take->files[take->n_files++] = f;
	if (out)
		*out = f;
	return taken_file_look(take, f);
}

int take_add_description(struct fds_take *take, pid_t pid, int fd, int local, size_t at,
			 const char *info, struct taken_file **out)
{
	struct taken_file model = { .pid = pid, .fd = fd, .local = local };

	if (info && !(model.info = fds_take_strdup(take, info))) {
		close(local);
		return take_note_result(take, R_FAILED);
	}
	if (grow(&take->by_kcmp, take->n_by_kcmp, &take->room_by_kcmp, sizeof(*out)) != R_OK) {
		close(local);
		return take_note_result(take, R_FAILED);
	}
	if (add_file(take, &model, out) != R_OK)
		return take_note_result(take, R_FAILED);
	memmove(take->by_kcmp + at + 1, take->by_kcmp + at,
		(take->n_by_kcmp - at) * sizeof(*take->by_kcmp));
	take->by_kcmp[at] = *out;
	take->n_by_kcmp++;
	return take_note_result(take, dump_file(take, *out));
}

int fds_register_local(struct fds_take *take, int local, uint32_t *id)
{
	struct taken_file *f = NULL;
	size_t at;
	int result = take_search_file(take, getpid(), local, &at);

	if (result == R_OK) {
		*id = take->by_kcmp[at]->id;
		close(local);
		return R_OK;
	}
	if (result != R_NOT_FOUND) {
		close(local);
		return take_note_result(take, result);
	}
	result = take_add_description(take, 0, -1, local, at, NULL, &f);
	if (f)
		*id = f->id;
	return result;
}

int fds_take_twin(struct fds_take *take, const struct taken_file *f, const struct fd_kind *kind,
		  uint32_t *id)
{
	struct taken_file model = *f, *twin;

	model.local = fcntl(f->local, F_DUPFD_CLOEXEC, 0);
	if (model.local < 0) {
		warn_errno("%s: no descriptor for it", taken_file_name(f));
		return take_note_result(take, R_FAILED);
	}
	if (add_file(take, &model, &twin) != R_OK)
		return take_note_result(take, R_FAILED);
	*id = twin->id;
	twin->kind = kind;
	file_entry__init(&twin->entry);
	twin->entry.id = twin->id;
	twin->entry.type = kind->type;
	return take_note_result(take, kind->dump(take, twin));
}

/* A mapping of something without a path, such as a socket, belongs to a description we know. */
static struct taken_file *find_inode(struct fds_take *take, const struct stat *st)
{
	for (size_t i = 0; i < take->n_by_kcmp; i++) {
		struct taken_file *f = take->by_kcmp[i];

		if (f->st.st_dev == st->st_dev && f->st.st_ino == st->st_ino)
			return f;
	}
	return NULL;
}

static struct taken_file *find_path_file(struct fds_take *take, const struct stat *st, int flags,
					 const char *link)
{
	for (size_t i = 0; i < take->n_files; i++) {
		struct taken_file *f = take->files[i];

		if (f->path_only && f->st.st_dev == st->st_dev && f->st.st_ino == st->st_ino &&
		    f->flags == (uint32_t)flags && strcmp(f->link, link) == 0)
			return f;
	}
	return NULL;
}

/* `pid` is for messages; `path` may be a magic link of /proc. */
static int register_path(struct fds_take *take, pid_t pid, const char *path, int flags,
			 uint32_t *id)
{
	struct taken_file model = { .pid = pid, .fd = -1, .path_only = true }, *f = NULL;
	char self[64], link[PATH_MAX];
	struct stat st;
	ssize_t len = -1;

	model.flags = (uint32_t)flags;
	model.local = open(path, O_PATH | O_CLOEXEC);
	if (model.local >= 0) {
		snprintf(self, sizeof(self), "/proc/self/fd/%d", model.local);
		len = readlink(self, link, sizeof(link) - 1);
	}
	if (len < 0 || fstat(model.local, &st) != 0) {
		warn_errno("pid %d: cannot open %s%s", (int)pid, path,
			   errno == EPERM
			       ? " (it takes CAP_CHECKPOINT_RESTORE: run snap as root, or "
				 "give it that; see docs/privileges.md)"
			       : "");
		if (model.local >= 0)
			close(model.local);
		return take_note_result(take, R_FAILED);
	}
	link[len] = '\0';
	f = S_ISSOCK(st.st_mode) ? find_inode(take, &st) : find_path_file(take, &st, flags, link);
	if (f) {
		close(model.local);
		*id = f->id;
		return R_OK;
	}
	/* Has been read already. */
	model.link = fds_take_strdup(take, link);
	if (!model.link) {
		close(model.local);
		return take_note_result(take, R_FAILED);
	}
	if (add_file(take, &model, &f) != R_OK)
		return take_note_result(take, R_FAILED);
	*id = f->id;
	return take_note_result(take, dump_file(take, f));
}

int fds_register_path_file(struct fds_take *take, pid_t pid, const char *what, int flags,
			   uint32_t *id)
{
	char path[96];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, what);
	return register_path(take, pid, path, flags, id);
}

int fds_register_path(struct fds_take *take, const char *path, int flags, uint32_t *id)
{
	return register_path(take, 0, path, flags, id);
}
