#include "folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

int folder_make(void **state)
{
	struct folder *f = calloc(1, sizeof(*f));

	strcpy(f->path, "/tmp/snap-unit.XXXXXX");
	assert_non_null(mkdtemp(f->path));
	f->fd = open(f->path, O_RDONLY | O_DIRECTORY);
	assert_true(f->fd >= 0);
	*state = f;
	return 0;
}

size_t folder_count(const struct folder *f)
{
	struct dirent *entry;
	size_t n = 0;
	DIR *dir = opendir(f->path);

	while ((entry = readdir(dir)))
		n += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
	closedir(dir);
	return n;
}

int folder_remove(void **state)
{
	struct folder *f = *state;

	unlinkat(f->fd, "file", 0);
	close(f->fd);
	assert_int_equal(rmdir(f->path), 0);
	free(f);
	return 0;
}
