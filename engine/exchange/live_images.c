/* The images criu writes into its directory while its pages come by a socket. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "engine/exchange/live_internal.h"

/* How often is looked whether criu is through. */
#define LOOK_NS 50000000
#define INVENTORY_MAX_BYTES ((size_t)1 << 20)
/* Two magic words and the length of an entry. */
#define STATS_HEAD_BYTES 12

static int open_folder(const char *path, int *fd)
{
	*fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*fd >= 0)
		return R_OK;
	warn_errno("%s", path);
	return errno == ENOENT || errno == ENOTDIR ? R_NOT_FOUND : R_FAILED;
}

static int check_empty(const struct live_images *images)
{
	int fd = openat(images->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = R_OK;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	if (!dir) {
		warn_errno("%s", images->path);
		if (fd >= 0)
			close(fd);
		return R_FAILED;
	}
	while (rc == R_OK && (entry = readdir(dir))) {
		size_t len = strlen(entry->d_name);

		if (len < 4 || strcmp(entry->d_name + len - 4, ".img") != 0)
			continue;
		warn("%s holds %s of an earlier dump; give an empty directory", images->path,
		     entry->d_name);
		rc = R_UNSUPPORTED;
	}
	closedir(dir);
	return rc;
}

int live_images_open(const struct live_options *options, struct live_images *images)
{
	int rc;

	*images = (struct live_images){ .path = options->images,
					.work = options->work ? options->work : options->images,
					.dirfd = -1,
					.workfd = -1,
					.timeout_s = options->timeout_s };
	rc = open_folder(images->path, &images->dirfd);
	if (rc == R_OK)
		rc = open_folder(images->work, &images->workfd);
	if (rc == R_OK)
		rc = check_empty(images);
	if (rc == R_OK &&
	    fstatat(images->workfd, LIVE_LAST_FILE, &images->before, AT_SYMLINK_NOFOLLOW) != 0)
		images->before.st_nlink = 0;
	if (rc != R_OK)
		live_images_close(images);
	return rc;
}

void live_images_close(struct live_images *images)
{
	if (images->dirfd >= 0)
		close(images->dirfd);
	if (images->workfd >= 0)
		close(images->workfd);
	images->dirfd = images->workfd = -1;
}

char *live_images_read(const struct live_images *images, const char *name, size_t *len)
{
	char *data;

	return io_read_file(images->dirfd, name, INVENTORY_MAX_BYTES, &data, len) == R_OK ? data
											  : NULL;
}

bool live_images_predump(const struct live_images *images)
{
	struct stat st;

	return fstatat(images->dirfd, "pstree.img", &st, AT_SYMLINK_NOFOLLOW) != 0;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Is the last file there, another one than before, and as long as it says? */
static bool is_through(const struct live_images *images)
{
	struct stat st;
	uint8_t *data;
	uint32_t bytes = 0;
	size_t len;
	bool whole;

	if (fstatat(images->workfd, LIVE_LAST_FILE, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
	    !S_ISREG(st.st_mode) || (images->before.st_nlink && same_file(&images->before, &st)) ||
	    io_read_file(images->workfd, LIVE_LAST_FILE, INVENTORY_MAX_BYTES, (char **)&data,
			 &len) != R_OK)
		return false;
	if (len >= STATS_HEAD_BYTES)
		for (int i = 3; i >= 0; i--)
			bytes = bytes << 8 | data[STATS_HEAD_BYTES - 4 + i];
	whole = len >= STATS_HEAD_BYTES && len - STATS_HEAD_BYTES == bytes;
	free(data);
	return whole;
}

/* Changes whenever a file comes or goes. */
static int64_t folder_time(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec
				   : 0;
}

int live_images_wait(const struct live_images *images, const struct progress *progress)
{
	const struct timespec pause = { .tv_nsec = LOOK_NS };
	uint64_t timeout_s = images->timeout_s ? images->timeout_s : LIVE_IMAGES_S;
	uint64_t rounds = timeout_s * (1000000000 / LOOK_NS);
	int64_t before = 0;

	for (uint64_t quiet = 0; quiet < rounds; quiet++) {
		int64_t now = folder_time(images->dirfd);

		if (is_through(images))
			return R_OK;
		if (now != before)
			quiet = 0;
		before = now;
		if (!progress_tell(progress, "waiting for the images", 0, 0, PROGRESS_BYTES))
			return R_FAILED;
		nanosleep(&pause, NULL);
	}
	warn("%s/%s, which criu writes last, did not come within %llu s: has the dump failed (its "
	     "log tells), or does criu have another --work-dir?",
	     images->work, LIVE_LAST_FILE, (unsigned long long)timeout_s);
	return R_FAILED;
}
