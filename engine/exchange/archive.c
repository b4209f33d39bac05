#include "engine/exchange/archive.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/result.h"
#include "engine/exchange/archive_internal.h"

int dump_archive_read(int fd, const char *path, const struct progress *progress,
		      struct dump_archive *archive)
{
	int rc;

	*archive = (struct dump_archive){ .path = path, .fd = -1 };
	rc = dump_archive_uncompress(archive, fd, progress);
	if (rc == R_OK)
		rc = dump_archive_list(archive);
	return rc == R_OK ? dump_archive_check(archive) : rc;
}

void dump_archive_close(struct dump_archive *archive)
{
	for (size_t i = 0; i < archive->n_members; i++) {
		free(archive->members[i].at.name);
		free(archive->members[i].link);
	}
	free(archive->members);
	free(archive->files);
	free(archive->links);
	free(archive->folder);
	if (archive->own_fd)
		close(archive->fd);
	*archive = (struct dump_archive){ .fd = -1 };
}

void dump_archive_source(const struct dump_archive *archive, struct dump_source *source)
{
	*source = (struct dump_source){ .path = archive->path,
					.dirfd = -1,
					.tar = archive->fd,
					.members = archive->files,
					.n_members = archive->n_files,
					.links = archive->links,
					.n_links = archive->n_links,
					.prefix = archive->folder };
}
