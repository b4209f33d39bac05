/* Shared anonymous memory opened as a file (by way of /proc/self/map_files): mapped and open, open
 * only, mapped privately beyond its end; a child shares the memory, and the offset. */
#include "target.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096UL

static int open_mapping(void *at, size_t bytes, int flags)
{
	char path[96];

	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (long)at, (long)(at + bytes));
	return open(path, flags);
}

static void expect_link(int fd)
{
	char path[64], link[256] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	CHECK(readlink(path, link, sizeof(link) - 1) > 0);
	if (strcmp(link, "/dev/zero (deleted)") != 0)
		target_fail("descriptor %d is %s", fd, link);
}

int main(void)
{
	unsigned char *shared, *gone, *own, *again;
	struct stat both, closed, now;
	int rw, ro, only;
	atomic_int *word;
	char text[8];
	pid_t child;

	shared = mmap(NULL, 5 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	gone = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(shared != MAP_FAILED && gone != MAP_FAILED);
	word = (atomic_int *)shared;
	pattern_fill(shared + PAGE, 4 * PAGE, 5);
	rw = open_mapping(shared, 5 * PAGE, O_RDWR);
	ro = open_mapping(shared, 5 * PAGE, O_RDONLY | O_CLOEXEC);
	only = open_mapping(gone, 2 * PAGE, O_RDWR);
	NEED(rw >= 0 && ro >= 0 && only >= 0);
	CHECK(!munmap(gone, 2 * PAGE) && !ftruncate(only, 0) && !fcntl(only, F_SETFL, O_APPEND));
	CHECK(write(only, "hello", 5) == 5 && lseek(only, 3, SEEK_SET) == 3);
	CHECK(lseek(rw, 7, SEEK_SET) == 7 && !fchmod(rw, 0640));
	own = mmap(NULL, 5 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, rw, PAGE);
	again = mmap(NULL, 5 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, rw, 2 * PAGE);
	CHECK(own != MAP_FAILED && again != MAP_FAILED);
	own[PAGE] = 22;
	CHECK(!fstat(rw, &both) && !fstat(only, &closed) && both.st_ino != closed.st_ino);
	child = fork();
	CHECK(child >= 0);
	if (!child) {
		while (*word != 1)
			usleep(1000);
		CHECK(lseek(rw, 0, SEEK_CUR) == 7 && lseek(rw, 11, SEEK_SET) == 11);
		shared[4 * PAGE] = 77;
		*word = 2;
		_exit(0);
	}

	target_ready();

	expect_link(rw);
	expect_link(ro);
	expect_link(only);
	CHECK(!fstat(rw, &now) && now.st_size == 5 * PAGE && (now.st_mode & 07777) == 0640);
	CHECK(!fstat(ro, &both) && both.st_ino == now.st_ino);
	CHECK(!fstat(only, &now) && now.st_size == 5 && now.st_ino != both.st_ino);
	CHECK((fcntl(only, F_GETFL) & (O_APPEND | O_ACCMODE)) == (O_APPEND | O_RDWR));
	CHECK((fcntl(ro, F_GETFL) & O_ACCMODE) == O_RDONLY && fcntl(ro, F_GETFD) == FD_CLOEXEC);
	CHECK(lseek(only, 0, SEEK_CUR) == 3);
	CHECK(pread(only, text, 5, 0) == 5 && !memcmp(text, "hello", 5));
	CHECK(pattern_differs(shared + PAGE, 4 * PAGE, 5) == 4 * PAGE);
	/* one memory, seen in five ways */
	CHECK(own[PAGE] == 22 && own[0] == shared[PAGE] && again[0] == shared[2 * PAGE]);
	again[1] = 99;
	CHECK(shared[2 * PAGE + 1] == 99);
	shared[3 * PAGE] = 88;
	CHECK(own[2 * PAGE] == 88 && pread(ro, text, 1, 3 * PAGE) == 1 && text[0] == 88);
	CHECK(pwrite(rw, "x", 1, 3 * PAGE + 1) == 1 && shared[3 * PAGE + 1] == 'x');
	*word = 1;
	for (int i = 0; i < 5000 && *word != 2; i++)
		usleep(1000);
	CHECK(*word == 2 && shared[4 * PAGE] == 77 && lseek(rw, 0, SEEK_CUR) == 11);
	expect_child_ok(child);
	target_pass();
}
