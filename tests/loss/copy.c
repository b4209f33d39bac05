#include "copy.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct {
	struct copy *copy;
	const char *dir;
} loading;

static int load_one(const char *path, const struct stat *st, int flag)
{
	struct copy *copy = loading.copy;
	struct copy_file *file = &copy->files[copy->n];
	int fd;

	if (flag != FTW_F || strstr(path, "lock.mdb"))
		return 0;
	if (copy->n == COPY_FILES_MAX)
		return -1;
	snprintf(file->name, sizeof(file->name), "%s", path + strlen(loading.dir) + 1);
	file->len = (size_t)st->st_size;
	file->bytes = malloc(file->len + 1);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (!file->bytes || fd < 0 || read(fd, file->bytes, file->len) != (ssize_t)file->len)
		return -1;
	close(fd);
	copy->n++;
	return 0;
}

bool copy_load(struct copy *copy, const char *dir)
{
	memset(copy, 0, sizeof(*copy));
	loading.copy = copy;
	loading.dir = dir;
	return ftw(dir, load_one, 16) == 0 && copy->n > 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

void copy_remove(const char *dir)
{
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void copy_write(const struct copy *copy, const char *dir)
{
	char path[4096];

	copy_remove(dir);
	mkdir(dir, 0700);
	snprintf(path, sizeof(path), "%s/packs", dir);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/index", dir);
	mkdir(path, 0700);
	for (size_t i = 0; i < copy->n; i++) {
		const struct copy_file *file = &copy->files[i];
		int fd;

		snprintf(path, sizeof(path), "%s/%s", dir, file->name);
		fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (fd < 0 || write(fd, file->bytes, file->len) != (ssize_t)file->len) {
			perror(path);
			exit(2);
		}
		close(fd);
	}
}
