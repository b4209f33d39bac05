#include "engine/proc/files/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/list.h"
#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/files/back.h"
#include "engine/proc/files/files.h"

#define KINDS_MAX 16

/* What was decided about a path. */
struct decision {
	const char *name; /* as in the images */
	uint64_t ino;
	const RegFileEntry *reg;
	struct cookie seen; /* what it was found to be */
	char *path;	    /* where it is now, if elsewhere */
	const char *stored; /* object to open a copy of; NULL: the file itself */
	int result;
};

struct files_restore {
	enum restore_files policy;
	void (*fn)(const struct file_difference *difference, void *arg);
	void *arg;
	const SnapFileEntry **more; /* ascending by id */
	size_t n_more, room_more;
	struct decision *decisions;
	size_t n_decisions, room_decisions;
	const char **shared; /* names of those mapped shared */
	size_t n_shared, room_shared;
	size_t refused, refused_stored, refused_missing;
	struct stored_copies copies;
	const struct back *back;
};

struct files_restore *
files_restore_new(enum restore_files policy,
		  void (*fn)(const struct file_difference *difference, void *arg), void *arg)
{
	struct files_restore *files = calloc(1, sizeof(*files));

	if (!files) {
		warn("out of memory");
		return NULL;
	}
	files->policy = policy;
	files->fn = fn;
	files->arg = arg;
	files->copies.mount = -1;
	return files;
}

void files_restore_free(struct files_restore *files)
{
	if (!files)
		return;
	files_restore_done(files);
	for (size_t i = 0; i < files->n_decisions; i++)
		free(files->decisions[i].path);
	free(files->decisions);
	free(files->shared);
	free(files->more);
	free(files);
}

void files_restore_set_back(struct files_restore *files, const struct back *back)
{
	files->back = back;
}

static bool is_mapped_shared(const struct files_restore *files, const char *name)
{
	for (size_t i = 0; i < files->n_shared; i++)
		if (strcmp(files->shared[i], name) == 0)
			return true;
	return false;
}

int files_restore_mapped_shared(struct files_restore *files, const char *name)
{
	const char **list;

	if (is_mapped_shared(files, name))
		return R_OK;
	list =
	    list_grow(files->shared, files->n_shared, &files->room_shared, sizeof(*files->shared));
	if (!list)
		return R_FAILED;
	files->shared = list;
	files->shared[files->n_shared++] = name;
	return R_OK;
}

void files_restore_done(struct files_restore *files)
{
	stored_close(&files->copies);
}

static int load_more(struct fds_restore *restore, const ProtobufCMessage *message,
		     const void *payload, size_t bytes)
{
	struct files_restore *files = fds_restore_files(restore);
	const SnapFileEntry **list;

	(void)payload;
	(void)bytes;
	list = list_grow(files->more, files->n_more, &files->room_more, sizeof(*files->more));
	if (!list)
		return R_FAILED;
	files->more = list;
	files->more[files->n_more++] = (const SnapFileEntry *)message;
	return R_OK;
}

static int order_more(const void *a, const void *b)
{
	uint32_t x = (*(const SnapFileEntry *const *)a)->id;
	uint32_t y = (*(const SnapFileEntry *const *)b)->id;

	return x < y ? -1 : x > y;
}

int files_restore_load(struct files_restore *files, struct fds_restore *restore)
{
	int rc = fds_restore_each(restore, IMAGE_SNAP_FILES, NULL, load_more);

	if (files->n_more)
		qsort(files->more, files->n_more, sizeof(*files->more), order_more);
	return rc;
}

static const SnapFileEntry *more_of(const struct files_restore *files, uint32_t id)
{
	const SnapFileEntry key = { .id = id }, *want = &key, *const * found;

	if (files->n_more == 0)
		return NULL;
	found = bsearch(&want, files->more, files->n_more, sizeof(*files->more), order_more);
	return found ? *found : NULL;
}

static struct decision *decision_of(struct files_restore *files, const RegFileEntry *reg)
{
	const SnapFileEntry *more = more_of(files, reg->id);

	for (size_t i = files->n_decisions; i-- > 0;)
		if ((!more || files->decisions[i].ino == more->ino) &&
		    strcmp(files->decisions[i].name, reg->name) == 0)
			return &files->decisions[i];
	return NULL;
}

static struct decision *decision_new(struct files_restore *files, const RegFileEntry *reg)
{
	const SnapFileEntry *more = more_of(files, reg->id);
	struct decision *list;

	list = list_grow(files->decisions, files->n_decisions, &files->room_decisions,
			 sizeof(*files->decisions));
	if (!list)
		return NULL;
	files->decisions = list;
	files->decisions[files->n_decisions] =
	    (struct decision){ .name = reg->name, .reg = reg, .ino = more ? more->ino : 0 };
	return &files->decisions[files->n_decisions++];
}

/* Reads of the file what `then` can be compared with. */
static int read_like(const char *path, const struct cookie *then, struct cookie *now)
{
	uint64_t ignored = 0;
	int fd, rc = R_OK;

	if ((!then->build_id_bytes && !then->verity_bytes && then->sum.kind == SUM_NONE) ||
	    now->size < then->size || !S_ISREG(now->mode))
		return R_OK;
	fd = file_open_quietly(AT_FDCWD, path);
	if (fd < 0) {
		warn_errno("%s: cannot be read to compare it", path);
		return R_FAILED;
	}
	if (now->size == then->size && (then->build_id_bytes || then->verity_bytes))
		rc = cookie_read(fd, COOKIE_BUILD_ID, now, &ignored);
	if (rc != R_FAILED && then->sum.kind != SUM_NONE)
		rc = sum_file(fd, then->size, then->sum.kind, then->sum.pages, &now->sum, &ignored);
	if (rc == R_FAILED)
		warn_errno("%s: cannot be read to compare it", path);
	close(fd);
	return rc == R_FAILED ? rc : R_OK;
}

/* The differences of what `path` leads to now.  With `shared`, its times do not tell all. */
static int look_at(const char *path, bool shared, const struct cookie *then, struct cookie *now,
		   unsigned int *differences)
{
	struct statx stx;
	int rc;

	*now = (struct cookie){ 0 };
	if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &stx) !=
	    0) {
		if (errno != ENOENT && errno != ENOTDIR) {
			warn_errno("%s: cannot look at it", path);
			return R_FAILED;
		}
		*differences = DIFFERS_MISSING;
		return R_OK;
	}
	cookie_of_statx(&stx, now);
	*differences = 0;
	if (!shared && cookie_same_stat(then, now))
		return R_OK;
	rc = read_like(path, then, now);
	if (rc == R_OK)
		*differences = cookie_compare(then, now);
	return rc;
}

static void tell(struct files_restore *files, const struct decision *d, const struct cookie *then,
		 const struct cookie *now, unsigned int differences, bool stored,
		 enum file_outcome outcome)
{
	const char *kinds[KINDS_MAX];
	struct file_difference told = { .path = d->name,
					.kinds = kinds,
					.renamed_to = d->path,
					.stored = stored,
					.outcome = outcome };
	char text[512];

	for (unsigned int bit = 1; bit && told.n_kinds < KINDS_MAX - 1; bit <<= 1)
		if (differences & bit && cookie_word(bit))
			kinds[told.n_kinds++] = cookie_word(bit);
	if (d->path)
		kinds[told.n_kinds++] = "renamed";
	cookie_explain(then, now, differences, text, sizeof(text));
	told.text = text;
	switch (outcome) {
	case FILE_REFUSED:
		warn("%s: %s%s", d->name, text, stored ? " (its contents are stored)" : "");
		break;
	case FILE_FROM_STORE:
		note("%s: %s; its stored contents are used", d->name, text);
		break;
	case FILE_IGNORED:
		note("%s: %s; used all the same", d->name, text);
		break;
	case FILE_ACCEPTED:
		if (d->path)
			note("%s: is now %s%s%s", d->name, d->path, *text ? ", " : "", text);
		else
			detail("%s: %s", d->name, text);
		break;
	}
	if (files->fn)
		files->fn(&told, files->arg);
}

/* It has another name, but is what it was: the restored task gets it under that name. */
static int try_renamed(struct decision *d, bool shared, const struct cookie *then,
		       const SnapFileEntry *more, struct cookie *now, unsigned int *differences)
{
	struct cookie there;
	unsigned int others;
	char *path;
	int rc;

	if (!more || renamed_find(d->name, then, more, &path) != R_OK)
		return R_OK;
	rc = look_at(path, shared, then, &there, &others);
	/* Its number may have been given to another inode: then it is not the one that was renamed.
	 */
	if (rc != R_OK || others & ~(unsigned int)DIFFERS_GROWN) {
		free(path);
		return rc;
	}
	d->path = path;
	*now = there;
	*differences = others;
	return R_OK;
}

static int decide(struct files_restore *files, struct decision *d, const RegFileEntry *reg)
{
	const SnapFileEntry *more = more_of(files, reg->id);
	struct cookie then, now;
	unsigned int differences, bad;
	bool stored = more && more->stored, shared = is_mapped_shared(files, d->name);
	int rc;

	if (back_has(files->back, d->name))
		return R_OK;
	cookie_from_images(reg, more, &then);
	rc = look_at(d->name, shared, &then, &now, &differences);
	if (rc == R_OK && differences & ~(unsigned int)DIFFERS_TOLD_ONLY &&
	    differences & (DIFFERS_MISSING | DIFFERS_INODE | DIFFERS_TYPE))
		rc = try_renamed(d, shared, &then, more, &now, &differences);
	if (rc != R_OK)
		return rc;
	d->seen = now;
	bad = differences & ~(unsigned int)DIFFERS_TOLD_ONLY;
	if (!bad) {
		if (differences || d->path)
			tell(files, d, &then, &now, differences, stored, FILE_ACCEPTED);
		return R_OK;
	}
	if (files->policy == RESTORE_FILES_STORED && stored) {
		d->stored = more->stored;
		tell(files, d, &then, &now, differences, stored, FILE_FROM_STORE);
		return R_OK;
	}
	if (files->policy == RESTORE_FILES_IGNORE && !(bad & (DIFFERS_MISSING | DIFFERS_TYPE))) {
		tell(files, d, &then, &now, differences, stored, FILE_IGNORED);
		return R_OK;
	}
	tell(files, d, &then, &now, differences, stored, FILE_REFUSED);
	files->refused++;
	files->refused_stored += stored;
	files->refused_missing += (differences & DIFFERS_MISSING) != 0;
	return R_UNSUPPORTED;
}

int files_restore_check(struct files_restore *files, const RegFileEntry *reg)
{
	struct decision *d = decision_of(files, reg);

	if (!d) {
		d = decision_new(files, reg);
		if (!d)
			return R_FAILED;
		d->result = decide(files, d, reg);
		if (d->result != R_OK)
			return d->result;
	}
	if (d->stored && (reg->flags & O_ACCMODE) != O_RDONLY && !(reg->flags & O_PATH)) {
		warn("%s: is open for writing, which its stored contents cannot be; restore with "
		     "--files=ignore",
		     reg->name);
		return R_UNSUPPORTED;
	}
	return d->result == R_UNSUPPORTED ? R_UNSUPPORTED : R_OK;
}

/* Has nobody written to it since it was compared? */
static bool is_as_seen(const struct files_restore *files, const struct decision *d)
{
	const char *path = d->path ? d->path : d->name;
	struct cookie now = { 0 };
	struct statx stx;

	if (d->stored)
		return true;
	if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &stx) != 0)
		return false;
	cookie_of_statx(&stx, &now);
	if (!cookie_same_stat(&d->seen, &now))
		return false;
	/* What has been read of it is read once more. */
	return !is_mapped_shared(files, d->name) ||
	       (read_like(path, &d->seen, &now) == R_OK && cookie_compare(&d->seen, &now) == 0);
}

int files_restore_again(struct files_restore *files)
{
	int rc = R_OK;

	for (size_t i = 0; rc != R_FAILED && i < files->n_decisions; i++) {
		struct decision *d = &files->decisions[i];
		int one;

		if (back_has(files->back, d->name) || is_as_seen(files, d))
			continue;
		free(d->path);
		d->path = NULL;
		one = decide(files, d, d->reg);
		/* Whether the stored contents will do for all who have it open is not asked twice.
		 */
		if (one == R_OK && d->stored) {
			warn("%s: was written to after it had been compared; restore again",
			     d->name);
			one = R_UNSUPPORTED;
		}
		if (one != R_OK)
			rc = one;
	}
	files_restore_conclude(files);
	return rc;
}

void files_restore_conclude(const struct files_restore *files)
{
	char missing[64] = "";

	if (!files->refused)
		return;
	if (files->refused_missing)
		snprintf(missing, sizeof(missing), ", but %zu %s missing", files->refused_missing,
			 files->refused_missing == 1 ? "is" : "are");
	warn(
	    "%zu file%s %s not what the generation was taken with, and nothing was changed: put %s "
	    "back, or restore with --files=stored (%zu of %zu %s stored) or with --files=ignore "
	    "(uses what is there%s)",
	    files->refused, files->refused == 1 ? "" : "s", files->refused == 1 ? "is" : "are",
	    files->refused == 1 ? "it" : "them", files->refused_stored, files->refused,
	    files->refused_stored == 1 ? "is" : "are", missing);
}

int files_restore_open(struct files_restore *files, struct fds_restore *restore,
		       const RegFileEntry *reg, int flags)
{
	const struct decision *d = decision_of(files, reg);
	const char *path = d && d->path ? d->path : reg->name;
	struct cookie then;
	int fd;

	if (d && d->stored) {
		cookie_from_images(reg, more_of(files, reg->id), &then);
		return stored_open(&files->copies, restore, d->stored, reg, &then);
	}
	fd = open(path, flags);
	if (fd < 0)
		warn_errno("%s: cannot open it again", path);
	return fd;
}
