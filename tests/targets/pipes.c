/* Pipes: contents, capacity, flags, packets, closed ends, ends held by different tasks. */
#include "target.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define FULL_BYTES 65536

int main(void)
{
	static unsigned char content[FULL_BYTES], back[FULL_BYTES + 1];
	int full[2], big[2], packets[2], halves[2], readerless[2], up[2];
	pid_t child;

	signal(SIGPIPE, SIG_IGN);
	pattern_fill(content, sizeof(content), 8);
	CHECK(!pipe2(full, O_NONBLOCK) && !pipe(big) && !pipe2(packets, O_DIRECT | O_NONBLOCK));
	CHECK(!pipe(halves) && !pipe(readerless) && !pipe2(up, O_CLOEXEC));
	CHECK(write(full[1], content, FULL_BYTES) == FULL_BYTES);
	CHECK(write(full[1], "x", 1) < 0 && errno == EAGAIN);
	CHECK(fcntl(big[1], F_SETPIPE_SZ, 1 << 18) == 1 << 18);
	CHECK(write(big[1], content, 10) == 10);
	CHECK(write(packets[1], "one", 3) == 3 && write(packets[1], "three", 5) == 5);
	CHECK(write(halves[1], "left over", 9) == 9);
	close(halves[1]);
	close(readerless[0]);
	child = fork();
	if (!child) {
		close(up[0]);
		CHECK(read(big[0], back, 10) == 10 && !memcmp(back, content, 10));
		CHECK(read(big[0], back, 2) == 2); /* blocks until judged */
		CHECK(write(up[1], "done", 4) == 4);
		_exit(0);
	}
	close(up[1]);
	close(big[0]);

	target_ready();

	CHECK(read(full[0], back, sizeof(back)) == FULL_BYTES);
	CHECK(!memcmp(back, content, FULL_BYTES));
	CHECK(read(full[0], back, 1) < 0 && errno == EAGAIN);
	CHECK(fcntl(big[1], F_GETPIPE_SZ) == 1 << 18);
	CHECK(fcntl(packets[1], F_GETFL) & O_DIRECT);
	CHECK(read(packets[0], back, 100) == 3 && !memcmp(back, "one", 3));
	CHECK(read(packets[0], back, 100) == 5 && !memcmp(back, "three", 5));
	CHECK(read(halves[0], back, 100) == 9 && read(halves[0], back, 100) == 0);
	CHECK(write(readerless[1], "x", 1) < 0 && errno == EPIPE);
	CHECK(fcntl(up[0], F_GETFD) == FD_CLOEXEC);
	CHECK(write(big[1], "go", 2) == 2);
	CHECK(read(up[0], back, 100) == 4 && read(up[0], back, 100) == 0);
	expect_child_ok(child);
	target_pass();
}
