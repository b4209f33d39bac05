/* Deleted, in less usual ways: a hard link left in another directory, a socket and a symbolic link
 * held by their path, a private mapping that was written to, a program whose file is gone, one file
 * in several tasks and several descriptions. */
#include "target.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static ino_t inode(int fd)
{
	struct stat st;

	CHECK(!fstat(fd, &st));
	return st.st_ino;
}

int main(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "socket" };
	int linked, other, bound, sock, symbolic, private, first, second, appending, go[2];
	unsigned char page[8192], back[8192];
	char where[100], proc[64];
	unsigned char *map;
	struct stat st;
	ssize_t len;
	pid_t child;

	pattern_fill(page, sizeof(page), 7);
	CHECK(!mkdir("here", 0700) && !mkdir("there", 0700) && !mkdir("there/deep", 0700));
	linked = open("here/file", O_RDWR | O_CREAT, 0600);
	CHECK(write(linked, "linked", 6) == 6);
	CHECK(!link("here/file", "there/deep/file") && !unlink("here/file"));
	bound = socket(AF_UNIX, SOCK_DGRAM, 0);
	CHECK(!bind(bound, (struct sockaddr *)&address, sizeof(address)) && !close(bound));
	sock = open("socket", O_PATH);
	CHECK(!symlink("to nowhere", "symbolic"));
	symbolic = open("symbolic", O_PATH | O_NOFOLLOW);
	private = open("private", O_RDWR | O_CREAT | O_TRUNC, 0600);
	CHECK(write(private, page, sizeof(page)) == sizeof(page));
	map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, private, 0);
	CHECK(map != MAP_FAILED && !close(private));
	map[0] = 'P';
	first = open("shared", O_RDWR | O_CREAT | O_TRUNC, 0600);
	second = open("shared", O_RDONLY);
	appending = open("shared", O_WRONLY | O_APPEND);
	CHECK(write(first, "shared", 6) == 6 && !pipe(go));
	CHECK(!unlink("socket") && !unlink("symbolic") && !unlink("private") && !unlink("shared"));
	child = fork();
	if (!child) {
		close(first);
		CHECK(read(go[0], back, 1) == 1);
		CHECK(write(appending, "+", 1) == 1);
		_exit(0);
	}
	close(appending);

	target_ready();

	CHECK(access("here/file", F_OK) && access("socket", F_OK) && access("private", F_OK));
	CHECK(pread(linked, back, 100, 0) == 6 && !memcmp(back, "linked", 6));
	other = open("there/deep/file", O_RDONLY);
	CHECK(other >= 0 && inode(other) == inode(linked));
	CHECK(!fstat(linked, &st) && st.st_nlink == 1);
	CHECK(!fstat(sock, &st) && S_ISSOCK(st.st_mode) && st.st_nlink == 0);
	CHECK(!fstat(symbolic, &st) && S_ISLNK(st.st_mode) && st.st_nlink == 0);
	CHECK((len = readlinkat(symbolic, "", where, sizeof(where))) == 10);
	CHECK(!memcmp(where, "to nowhere", 10));
	CHECK(map[0] == 'P' && !memcmp(map + 1, page + 1, 8191));
	snprintf(proc, sizeof(proc), "/proc/self/map_files/%lx-%lx", (long)map, (long)map + 8192);
	private = open(proc, O_RDONLY);
	CHECK(pread(private, back, 8192, 0) == 8192 && !memcmp(back, page, 8192));
	CHECK(inode(first) == inode(second));
	CHECK(pwrite(first, "S", 1, 0) == 1 && write(go[1], "x", 1) == 1);
	expect_child_ok(child);
	CHECK(pread(second, back, 100, 0) == 7 && !memcmp(back, "Shared+", 7));
	target_pass();
}
