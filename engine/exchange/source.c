#include "engine/exchange/source.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"

static int open_member(const struct dump_source *source, const char *name, struct dump_file *file)
{
	size_t prefix = strlen(source->prefix);

	/* Of two with one name, unpacking would leave the last. */
	for (size_t i = source->n_members; i > 0; i--) {
		const struct tar_member *m = &source->members[i - 1];

		if (strncmp(m->name, source->prefix, prefix) != 0 ||
		    strcmp(m->name + prefix, name) != 0)
			continue;
		*file = (struct dump_file){ source->tar, false, m->offset, m->size };
		return R_OK;
	}
	return R_NOT_FOUND;
}

int source_open(const struct dump_source *source, const char *name, struct dump_file *file)
{
	struct stat st;

	if (source->dirfd < 0)
		return open_member(source, name, file);
	*file = (struct dump_file){ .own = true };
	/* A pipe of that name would keep us waiting. */
	file->fd =
	    openat(source->dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (file->fd < 0 && errno == ENOENT)
		return R_NOT_FOUND;
	if (file->fd < 0 && (errno == ELOOP || errno == ENXIO))
		goto no_file;
	if (file->fd < 0 || fstat(file->fd, &st) != 0) {
		warn_errno("%s/%s", source->path, name);
		dump_file_close(file);
		return R_FAILED;
	}
	if (!S_ISREG(st.st_mode))
		goto no_file;
	file->size = (uint64_t)st.st_size;
	return R_OK;
no_file:
	warn("%s/%s is a link, a pipe or a device, not a file", source->path, name);
	dump_file_close(file);
	return R_UNSUPPORTED;
}

void dump_file_close(struct dump_file *file)
{
	if (file->own && file->fd >= 0)
		close(file->fd);
	file->fd = -1;
}

int dump_file_read(const struct dump_file *file, void *buf, size_t len, uint64_t offset)
{
	int rc;

	if (offset > file->size || len > file->size - offset)
		return R_DAMAGED;
	rc = io_pread_all(file->fd, buf, len, (off_t)(file->base + offset));
	return rc == R_NOT_FOUND ? R_DAMAGED : rc;
}

int source_read(const struct dump_source *source, const char *name, uint64_t max_bytes, char **data,
		size_t *len)
{
	struct dump_file file;
	int rc = source_open(source, name, &file);

	if (rc != R_OK)
		return rc;
	if (file.size > max_bytes) {
		warn("%s/%s has %" PRIu64 " bytes, which is more than such an image can have",
		     source->path, name, file.size);
		dump_file_close(&file);
		return R_DAMAGED;
	}
	*len = (size_t)file.size;
	*data = malloc(*len + 1);
	if (!*data) {
		warn("out of memory");
		rc = R_FAILED;
	} else {
		(*data)[*len] = '\0';
		rc = dump_file_read(&file, *data, *len, 0);
		if (rc == R_DAMAGED)
			warn("%s/%s became shorter while it was read", source->path, name);
		else if (rc != R_OK)
			warn_errno("%s/%s", source->path, name);
	}
	dump_file_close(&file);
	if (rc != R_OK)
		free(*data);
	return rc;
}
