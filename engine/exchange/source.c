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
#include "engine/exchange/archive_internal.h"

/* Compares a member's name with that of a file below the prefix. */
static int compare(const char *member, const char *prefix, const char *name)
{
	size_t len = strlen(prefix);
	int order = strncmp(member, prefix, len);

	return order ? order : strcmp(member + len, name);
}

static int open_member(const struct dump_source *source, const char *name, struct dump_file *file)
{
	size_t low = 0, high = source->n_members;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct tar_member *m = &source->members[mid];
		int order = compare(m->name, source->prefix, name);

		if (order == 0) {
			*file = (struct dump_file){ source->tar, false, m->offset, m->size };
			return R_OK;
		}
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
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
	if (source->dirfd < 0 && file.size > ARCHIVE_IMAGE_MAX_BYTES &&
	    max_bytes > ARCHIVE_IMAGE_MAX_BYTES) {
		warn("%s: %s%s has %" PRIu64 " bytes, too many for an image in an archive; unpack "
		     "it and import the folder",
		     source->path, source->prefix, name, file.size);
		return R_UNSUPPORTED;
	}
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

static bool has_dump(const struct dump_source *source)
{
	struct dump_file file;

	return open_member(source, "inventory.img", &file) == R_OK;
}

int source_parent(const struct dump_source *source, struct dump_source *parent, char **prefix)
{
	char folder[ARCHIVE_MEMBER_NAME_MAX + 1];
	const struct tar_link *link = NULL;

	*prefix = NULL;
	for (size_t i = 0; i < source->n_links && !link; i++)
		if (compare(source->links[i].name, source->prefix, "parent") == 0)
			link = &source->links[i];
	if (!link)
		return R_NOT_FOUND;
	/* That it stays within the archive was checked when it was read. */
	if (!dump_archive_resolve(link->name, link->target, folder))
		return R_DAMAGED;
	*prefix = malloc(strlen(folder) + 2);
	if (!*prefix) {
		warn("out of memory");
		return R_FAILED;
	}
	strcpy(*prefix, folder);
	if (*folder)
		strcat(*prefix, "/");
	*parent = *source;
	parent->prefix = *prefix;
	if (has_dump(parent))
		return R_OK;
	warn("%s: %sparent leads to %s, which is not in the archive; unpack both archives into one "
	     "folder and import %s of it",
	     source->path, source->prefix, *prefix, source->prefix);
	return R_DAMAGED;
}
