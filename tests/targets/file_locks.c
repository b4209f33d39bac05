/* flock, POSIX and open-file-description locks, held by two tasks; leases. */
#include "target.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

static int make(const char *name)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);

	CHECK(fd >= 0 && write(fd, "0123456789", 10) == 10);
	return fd;
}

static struct flock lock(short type, off_t start, off_t len)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len };

	return l;
}

int main(void)
{
	int whole = make("flock"), posix = make("posix"), ofd = make("ofd"), lease = make("lease");
	int other;
	struct flock l;
	volatile int *step;
	pid_t child;

	target_init();
	step = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(!flock(whole, LOCK_EX));
	l = lock(F_WRLCK, 2, 3);
	CHECK(!fcntl(posix, F_SETLK, &l));
	l = lock(F_RDLCK, 4, 0);
	CHECK(!fcntl(ofd, F_OFD_SETLK, &l));
	close(lease);
	lease = open("lease", O_RDONLY);
	NEED(!fcntl(lease, F_SETLEASE, F_RDLCK));
	child = fork();
	if (!child) {
		int mine = open("posix", O_RDWR);

		l = lock(F_WRLCK, 7, 2);
		CHECK(!fcntl(mine, F_SETLK, &l));
		*step = 1;
		while (!target_is_judged())
			usleep(5000);
		l = lock(F_WRLCK, 0, 5);
		CHECK(!fcntl(mine, F_GETLK, &l));
		CHECK(l.l_type == F_WRLCK && l.l_pid == getppid() && l.l_start == 2 &&
		      l.l_len == 3);
		while (*step != 2)
			usleep(1000);
		_exit(0);
	}
	while (!*step)
		usleep(1000);

	target_ready();

	other = open("flock", O_RDWR);
	CHECK(flock(other, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK);
	CHECK(!flock(whole, LOCK_UN) && !flock(other, LOCK_EX | LOCK_NB));
	l = lock(F_WRLCK, 6, 4);
	CHECK(!fcntl(posix, F_GETLK, &l));
	CHECK(l.l_type == F_WRLCK && l.l_pid == child && l.l_start == 7 && l.l_len == 2);
	other = open("ofd", O_RDWR);
	l = lock(F_WRLCK, 0, 0);
	CHECK(!fcntl(other, F_OFD_GETLK, &l));
	CHECK(l.l_type == F_RDLCK && l.l_start == 4 && l.l_len == 0 && l.l_pid == -1);
	CHECK(fcntl(lease, F_GETLEASE) == F_RDLCK);
	*step = 2;
	expect_child_ok(child);
	target_pass();
}
