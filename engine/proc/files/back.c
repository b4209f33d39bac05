/* What is put back: reading and checking it, the order, and the way back. */
#include "engine/proc/files/back_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"

/* A path that leads nowhere but down: absolute, no empty part, no "." or "..". */
static bool is_plain_path(const char *path)
{
	size_t len = strlen(path);

	if (path[0] != '/' || len >= PATH_MAX - BACK_NAME_BYTES)
		return false;
	for (const char *at = path; *at; at = strchr(at + 1, '/') ?: at + strlen(at)) {
		size_t part = strcspn(at + 1, "/");

		if (part == 0 || part > NAME_MAX || (part == 1 && at[1] == '.') ||
		    (part == 2 && at[1] == '.' && at[2] == '.'))
			return false;
	}
	return true;
}

static bool is_below(const char *path, const char *folder)
{
	size_t len = strlen(folder);

	return strncmp(path, folder, len) == 0 && path[len] == '/';
}

/* What an image may say: members lie below the last folder that was named as one to be stored. */
static int check_entry(struct back *back, const SnapDataEntry *entry, const char **root)
{
	struct object object;
	bool sound = is_plain_path(entry->path);

	if (entry->root)
		*root = entry->path;
	if (entry->in_folder)
		sound = sound && *root && is_below(entry->path, *root);
	if (entry->root)
		sound = sound && S_ISDIR(entry->mode);
	if (!entry->in_folder && !entry->root)
		sound = sound && S_ISREG(entry->mode) && !entry->same_as;
	if (S_ISLNK(entry->mode))
		sound = sound && entry->target && *entry->target;
	if (entry->same_as)
		sound = sound && *root && is_plain_path(entry->same_as) &&
			is_below(entry->same_as, *root);
	else if (S_ISREG(entry->mode))
		sound = sound && entry->object &&
			store_object(back->view, back->generation, entry->object, &object) == R_OK;
	if (sound)
		return R_OK;
	warn("generation %llu: the entry of file %s makes no sense; run 'snap verify'",
	     (unsigned long long)back->generation, entry->path);
	return R_DAMAGED;
}

static int read_entries(struct back *back, const void *data, size_t len)
{
	const char *name = image_kind(IMAGE_SNAP_DATA)->name, *root = NULL;
	struct image_reader reader;
	ProtobufCMessage *message;
	int rc = image_open(&reader, IMAGE_SNAP_DATA, name, data, len);

	while (rc == R_OK && (rc = image_next(&reader, &message)) == R_OK) {
		if (back->n == back->room) {
			size_t room = back->room ? 2 * back->room : 64;
			void *more = realloc(back->entries, room * sizeof(*back->entries));

			if (!more) {
				warn("out of memory");
				image_free_message(message);
				return R_FAILED;
			}
			back->entries = more;
			back->room = room;
		}
		back->entries[back->n++] = (SnapDataEntry *)message;
		rc = check_entry(back, back->entries[back->n - 1], &root);
	}
	return rc == R_NOT_FOUND ? R_OK : rc;
}

/* The folder something is put into has to be there, unless it is put back itself. */
static int check_places(const struct back *back)
{
	char folder[PATH_MAX];
	int rc = R_OK;

	for (size_t i = 0; i < back->n; i++) {
		int fd;

		if (back->entries[i]->in_folder)
			continue;
		back_split(back->entries[i]->path, folder, sizeof(folder));
		fd = back_open_folder(folder);
		if (fd >= 0) {
			close(fd);
			continue;
		}
		warn_errno("%s: cannot be put back into its folder; make that first",
			   back->entries[i]->path);
		rc = R_UNSUPPORTED;
	}
	return rc;
}

int back_plan(struct store_view *view, uint64_t generation, const struct progress *progress,
	      struct back **out)
{
	struct back *back = calloc(1, sizeof(*back));
	struct object object;
	void *data;
	size_t len;
	int rc;

	*out = back;
	if (!back) {
		warn("out of memory");
		return R_FAILED;
	}
	back->view = view;
	back->generation = generation;
	back->progress = progress;
	rc = store_object(view, generation, image_kind(IMAGE_SNAP_DATA)->name, &object);
	if (rc == R_NOT_FOUND) {
		warn("generation %llu was taken without files; give take --with-files or "
		     "--with-path",
		     (unsigned long long)generation);
		return rc;
	}
	if (rc == R_OK)
		rc = store_read_object(view, &object, &data, &len);
	if (rc != R_OK)
		return rc;
	rc = read_entries(back, data, len);
	free(data);
	return rc == R_OK ? check_places(back) : rc;
}

bool back_has(const struct back *back, const char *path)
{
	for (size_t i = 0; back && i < back->n; i++)
		if (S_ISREG(back->entries[i]->mode) && strcmp(back->entries[i]->path, path) == 0)
			return true;
	return false;
}

size_t back_count(const struct back *back)
{
	return back ? back->changed : 0;
}

int back_open_folder(const char *path)
{
	struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};

	return (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
}

const char *back_split(const char *path, char *folder, size_t room)
{
	const char *slash = strrchr(path, '/');

	snprintf(folder, room, "%.*s", slash == path ? 1 : (int)(slash - path), path);
	return slash + 1;
}

struct back_step *back_note(struct back *back, enum back_verb verb, const char *folder,
			    const char *name, const char *other)
{
	struct back_step *step;

	if (back->n_steps == back->room_steps) {
		size_t room = back->room_steps ? 2 * back->room_steps : 64;
		void *more = realloc(back->steps, room * sizeof(*back->steps));

		if (!more)
			goto err;
		back->steps = more;
		back->room_steps = room;
	}
	step = &back->steps[back->n_steps];
	*step = (struct back_step){ .verb = verb,
				    .folder = strdup(folder),
				    .name = strdup(name),
				    .other = other ? strdup(other) : NULL };
	if (step->folder && step->name && (step->other || !other)) {
		back->n_steps++;
		return step;
	}
	free(step->folder);
	free(step->name);
	free(step->other);
err:
	warn("out of memory");
	return NULL;
}

/* Removes what `name` is, with everything in it. */
static int remove_all(int dir, const char *name)
{
	struct dirent *entry;
	DIR *list;
	int fd;

	if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
		return R_OK;
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	list = fd < 0 ? NULL : fdopendir(fd);
	if (!list) {
		if (fd >= 0)
			close(fd);
		return R_FAILED;
	}
	while ((entry = readdir(list)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			remove_all(dirfd(list), entry->d_name);
	closedir(list);
	return unlinkat(dir, name, AT_REMOVEDIR) == 0 ? R_OK : R_FAILED;
}

/* Writes what a file was over what it is. */
static int copy_back(int dir, const struct back_step *step)
{
	int from = openat(dir, step->other, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	int to = openat(dir, step->name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	const struct timespec times[2] = { step->st.st_atim, step->st.st_mtim };
	int rc = R_FAILED;

	if (from >= 0 && to >= 0 && io_copy_file(from, to) == R_OK &&
	    fchown(to, step->st.st_uid, step->st.st_gid) == 0 &&
	    fchmod(to, step->st.st_mode & 07777) == 0 && futimens(to, times) == 0)
		rc = R_OK;
	if (from >= 0)
		close(from);
	if (to >= 0)
		close(to);
	return rc == R_OK && unlinkat(dir, step->other, 0) == 0 ? R_OK : R_FAILED;
}

static int undo_step(const struct back_step *step)
{
	int dir = back_open_folder(step->folder), rc = R_FAILED;
	struct timespec times[2] = { step->st.st_atim, step->st.st_mtim };

	if (dir < 0)
		return R_FAILED;
	switch (step->verb) {
	case BACK_EXCHANGED:
		rc = io_exchange_files(dir, step->name, step->other);
		if (rc == R_OK)
			rc = remove_all(dir, step->other);
		break;
	case BACK_MADE:
		rc = remove_all(dir, step->name);
		break;
	case BACK_ASIDE:
		rc = io_move_new(dir, step->other, step->name);
		break;
	case BACK_WRITTEN:
		rc = copy_back(dir, step);
		break;
	case BACK_CHANGED:
		rc = fchownat(dir, step->name, step->st.st_uid, step->st.st_gid,
			      AT_SYMLINK_NOFOLLOW) == 0 &&
			     fchmodat(dir, step->name, step->st.st_mode & 07777, 0) == 0 &&
			     utimensat(dir, step->name, times, AT_SYMLINK_NOFOLLOW) == 0
			 ? R_OK
			 : R_FAILED;
		break;
	}
	close(dir);
	return rc;
}

static void free_steps(struct back *back)
{
	for (size_t i = 0; i < back->n_steps; i++) {
		free(back->steps[i].folder);
		free(back->steps[i].name);
		free(back->steps[i].other);
	}
	back->n_steps = 0;
}

int back_undo(struct back *back)
{
	int rc = R_OK;

	if (!back)
		return R_OK;
	for (size_t i = back->n_steps; i-- > 0;) {
		const struct back_step *step = &back->steps[i];

		if (undo_step(step) == R_OK)
			continue;
		warn_errno("%s/%s: what was there before could not be put in its place again%s%s",
			   step->folder, step->name, step->other ? "; it is in " : "",
			   step->other ? step->other : "");
		rc = R_FAILED;
	}
	back_names_end(&back->names);
	/* That has moved the times of folders once more. */
	for (size_t i = back->n_steps; i-- > 0;)
		if (back->steps[i].verb == BACK_CHANGED)
			undo_step(&back->steps[i]);
	free_steps(back);
	return rc;
}

/* Taking old things away has moved the times of the folders they were in. */
static void set_times(const struct back *back)
{
	for (size_t i = back->n; i-- > 0;) {
		const SnapDataEntry *entry = back->entries[i];
		const struct timespec times[2] = {
			{ .tv_nsec = UTIME_OMIT },
			{ entry->mtime_sec, entry->mtime_nsec },
		};
		int fd = S_ISDIR(entry->mode) ? back_open_folder(entry->path) : -1;

		if (fd < 0)
			continue;
		if (futimens(fd, times) != 0)
			warn_errno("%s: its time cannot be put back", entry->path);
		close(fd);
	}
}

/* What a restore that was killed left beside the files that are back now: nobody wants it any more.
 * In folders that are stored whole it was in the way like anything else that came in. */
static void remove_left(const struct back *back)
{
	char folder[PATH_MAX];
	size_t removed = 0;

	for (size_t i = 0; i < back->n; i++) {
		const char *name = back_split(back->entries[i]->path, folder, sizeof(folder));
		int dir = back->entries[i]->in_folder ? -1 : back_open_folder(folder);

		if (dir < 0)
			continue;
		removed += back_left_remove(dir, name);
		close(dir);
	}
	if (removed)
		note("%zu file%s removed that a killed restore had left", removed,
		     removed == 1 ? "" : "s");
}

void back_keep(struct back *back)
{
	for (size_t i = back ? back->n_steps : 0; i-- > 0;) {
		const struct back_step *step = &back->steps[i];
		int dir;

		if (!step->other)
			continue;
		dir = back_open_folder(step->folder);
		if (dir < 0 || remove_all(dir, step->other) != R_OK)
			warn_errno("%s/%s: is what %s was before; it could not be removed",
				   step->folder, step->other, step->name);
		if (dir >= 0)
			close(dir);
	}
	if (!back)
		return;
	free_steps(back);
	back_names_end(&back->names);
	remove_left(back);
	set_times(back);
}

void back_free(struct back *back)
{
	if (!back)
		return;
	free_steps(back);
	back_names_end(&back->names);
	for (size_t i = 0; i < back->n; i++)
		image_free_message(&back->entries[i]->base);
	free(back->entries);
	free(back->steps);
	free(back->held);
	free(back);
}
