/* Regular files: offsets, flags, append, one description under two numbers and in two tasks, two
 * descriptions of one file, O_PATH, a folder being read, devices. */
#include "target.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

int main(void)
{
	int rw = open("file", O_RDWR | O_CREAT | O_TRUNC, 0640), twin, second, append, path, folder;
	int null, zero, far, go[2];
	char back[100], link[200] = { 0 };
	struct stat st;
	pid_t child;

	CHECK(rw >= 0 && write(rw, "0123456789abcdef", 16) == 16);
	twin = dup(rw);
	far = fcntl(rw, F_DUPFD_CLOEXEC, 300);
	second = open("file", O_RDONLY | O_NOATIME);
	append = open("log", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_DSYNC, 0600);
	CHECK(write(append, "start", 5) == 5);
	path = open("file", O_PATH | O_CLOEXEC);
	mkdir("dir", 0700);
	folder = open("dir", O_RDONLY | O_DIRECTORY);
	null = open("/dev/null", O_WRONLY);
	zero = open("/dev/zero", O_RDWR);
	CHECK(lseek(rw, 3, SEEK_SET) == 3 && lseek(second, 7, SEEK_SET) == 7);
	CHECK(far == 300 && second >= 0 && path >= 0 && folder >= 0 && null >= 0 && zero >= 0);
	CHECK(!pipe(go));
	child = fork();
	if (!child) {
		CHECK(read(go[0], back, 1) == 1);
		CHECK(read(twin, back, 2) == 2 && !memcmp(back, "56", 2));
		_exit(0);
	}

	target_ready();

	CHECK(read(rw, back, 2) == 2 && !memcmp(back, "34", 2));
	CHECK(write(go[1], "x", 1) == 1);
	expect_child_ok(child);
	CHECK(read(far, back, 1) == 1 && back[0] == '7'); /* one offset for all of them */
	CHECK(lseek(twin, 0, SEEK_CUR) == 8);
	CHECK(read(second, back, 1) == 1 && back[0] == '7');
	CHECK(fcntl(far, F_GETFD) == FD_CLOEXEC && fcntl(rw, F_GETFD) == 0);
	CHECK(fcntl(second, F_GETFL) & O_NOATIME);
	CHECK((fcntl(append, F_GETFL) & (O_APPEND | O_DSYNC)) == (O_APPEND | O_DSYNC));
	CHECK(lseek(append, 0, SEEK_SET) == 0 && write(append, "end", 3) == 3);
	CHECK(!fstat(append, &st) && st.st_size == 8);
	CHECK(fcntl(path, F_GETFL) & O_PATH);
	CHECK(read(path, back, 1) < 0 && !fstat(path, &st) && st.st_size == 16);
	CHECK(readlink("/proc/self/fd/300", link, sizeof(link) - 1) > 0 && strstr(link, "/file"));
	CHECK(!fchdir(folder) && getcwd(link, sizeof(link)) && strstr(link, "/dir"));
	CHECK(write(null, "x", 1) == 1 && read(zero, back, 10) == 10 && !back[9]);
	CHECK(!fstat(zero, &st) && st.st_rdev == makedev(1, 5));
	target_pass();
}
