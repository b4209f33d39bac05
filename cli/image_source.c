#include "cli/image_source.h"

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "cli/commands.h"
#include "engine/image/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int open_generation(const struct options *options, struct image_source *source)
{
	uint64_t number = options_generation(options);
	int result = open_to_read(options, &source->store, &source->view);

	if (result != R_OK)
		return result;
	result = store_generation(source->view, number, &source->gen);
	if (result == R_NOT_FOUND)
		warn("there is no generation %llu in %s; see snap ls", (unsigned long long)number,
		     options->store_dir);
	if (result != R_OK)
		close_reading(source->store, source->view);
	return result;
}

int image_source_open(const struct options *options, const char *dir, struct image_source *source)
{
	*source = (struct image_source){ .dirfd = -1, .dir = dir };
	if (options->generation_count)
		return open_generation(options, source);
	source->dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (source->dirfd >= 0)
		return R_OK;
	warn_errno("cannot open the folder %s", dir);
	return R_FAILED;
}

void image_source_close(struct image_source *source)
{
	if (source->dirfd >= 0)
		close(source->dirfd);
	else
		close_reading(source->store, source->view);
}

int image_source_load(const struct image_source *source, const char *name, void **data, size_t *len)
{
	struct object object;
	char file[300];
	int result;

	if (source->dirfd < 0) {
		result = store_object(source->view, source->gen.number, name, &object);
		if (result != R_OK)
			return result;
		if (object.length_bytes > IMAGE_FILE_MAX_BYTES) {
			warn("image %s: is too large to be one", name);
			return R_FAILED;
		}
		return store_read_object(source->view, &object, data, len);
	}
	snprintf(file, sizeof(file), "%s.img", name);
	if (io_read_file(source->dirfd, file, IMAGE_FILE_MAX_BYTES, (char **)data, len) == R_OK)
		return R_OK;
	if (errno == ENOENT)
		return R_NOT_FOUND;
	warn_errno("cannot read %s/%s", source->dir, file);
	return R_FAILED;
}

int image_read_file(const char *path, void **data, size_t *len)
{
	int result = path ? io_read_file(AT_FDCWD, path, IMAGE_FILE_MAX_BYTES, (char **)data, len)
			  : io_read_fd(STDIN_FILENO, IMAGE_FILE_MAX_BYTES, (char **)data, len);

	if (result != R_OK)
		warn_errno("cannot read %s", path ? path : "standard input");
	return result;
}

bool image_is_contents(const char *object)
{
	return !image_kind_by_name(object);
}
