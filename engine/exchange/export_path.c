/* The directory an export goes into. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/exchange/exchange.h"

static DIR *open_list(int dirfd)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (fd >= 0 && !dir)
		close(fd);
	return dir;
}

static bool is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* R_OK: nothing is in it. */
static int check_empty(int dirfd, const char *path)
{
	DIR *dir = open_list(dirfd);
	const struct dirent *entry;
	int rc = R_OK;

	if (!dir) {
		warn_errno("%s", path);
		return R_FAILED;
	}
	while ((entry = readdir(dir)))
		if (!is_dots(entry->d_name))
			rc = R_FAILED;
	closedir(dir);
	if (rc != R_OK)
		warn("%s is not empty; name a directory that is empty or does not exist", path);
	return rc;
}

/* It was empty before. */
static void take_back(int dirfd)
{
	DIR *dir = open_list(dirfd);
	const struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (!is_dots(entry->d_name))
			unlinkat(dirfd, entry->d_name, 0);
	if (dir)
		closedir(dir);
}

int exchange_export_path(struct store_view *view, const struct generation *gen, const char *path,
			 const struct export_options *options, struct export_result *result)
{
	bool made = mkdir(path, 0700) == 0;
	int dirfd, rc;

	if (!made && errno != EEXIST) {
		warn_errno("%s", path);
		return R_FAILED;
	}
	dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0) {
		warn_errno("%s", path);
		rc = R_FAILED;
		goto out;
	}
	rc = check_empty(dirfd, path);
	if (rc == R_OK) {
		rc = exchange_export_dir(view, gen, dirfd, path, options, result);
		if (rc != R_OK)
			take_back(dirfd);
	}
	close(dirfd);
out:
	if (rc != R_OK && made)
		rmdir(path);
	return rc;
}
