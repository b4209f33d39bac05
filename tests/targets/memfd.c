/* memfds: contents, name, offset, seals, a shared and a private mapping, shared with a child. */
#include "target.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BYTES (64 * 4096L)

int main(void)
{
	unsigned char *shared, *private, byte;
	int fd = memfd_create("target memory", MFD_ALLOW_SEALING), sealed;
	struct stat st;
	char link[64] = { 0 };
	pid_t child;
	int go[2];

	CHECK(fd >= 0 && !ftruncate(fd, BYTES));
	shared = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	private = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	CHECK(shared != MAP_FAILED && private != MAP_FAILED);
	pattern_fill(shared, BYTES / 2, 4);
	private[4096] = 'p';
	CHECK(lseek(fd, 5000, SEEK_SET) == 5000);
	sealed = memfd_create("sealed", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	CHECK(write(sealed, "fixed", 5) == 5);
	CHECK(!fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK));
	CHECK(!pipe(go));
	child = fork();
	if (!child) {
		CHECK(read(go[0], &byte, 1) == 1);
		CHECK(shared[BYTES - 1] == 'A');
		shared[BYTES - 2] = 'B';
		_exit(0);
	}

	target_ready();

	CHECK(pattern_differs(shared, BYTES / 2, 4) == BYTES / 2);
	CHECK(private[4096] == 'p');
	private[4096] = shared[4096];
	CHECK(pattern_differs(private, BYTES / 2, 4) == BYTES / 2);
	CHECK(lseek(fd, 0, SEEK_CUR) == 5000);
	CHECK(!fstat(fd, &st) && st.st_size == BYTES);
	CHECK(readlink("/proc/self/fd/3", link, sizeof(link) - 1) > 0);
	CHECK(strstr(link, "memfd:target memory"));
	CHECK(fcntl(sealed, F_GET_SEALS) == (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK));
	CHECK(fcntl(sealed, F_GETFD) == FD_CLOEXEC);
	CHECK(fcntl(fd, F_GET_SEALS) == 0);
	CHECK(write(sealed, "x", 1) < 0);
	byte = 'A';
	CHECK(pwrite(fd, &byte, 1, BYTES - 1) == 1);
	CHECK(write(go[1], "g", 1) == 1);
	expect_child_ok(child);
	CHECK(pread(fd, &byte, 1, BYTES - 2) == 1 && byte == 'B');
	target_pass();
}
