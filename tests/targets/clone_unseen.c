/* Memory of all kinds that a fork treats in its own way; and nothing of a clone may be seen: not by
 * any kind of wait, not as a child, not as a signal, not as a second holder of a descriptor. */
// take: --capture=clone
#include "target.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define RANGES 5
#define BYTES (64 * 4096UL)
#define COUNTERS 512

static const struct {
	int flags, advice;
} kinds[RANGES] = {
	{ MAP_PRIVATE, MADV_NORMAL },	  { MAP_PRIVATE, MADV_DONTFORK },
	{ MAP_PRIVATE, MADV_WIPEONFORK }, { MAP_SHARED, MADV_NORMAL },
	{ MAP_SHARED, MADV_DONTFORK },
};

static atomic_int stop, child_signals;
static unsigned char *range[RANGES];
/* One on each page, all counted up in turn: at any moment they differ by at most one. */
static volatile uint64_t *counters;

static void on_child(int sig)
{
	child_signals++;
}

static void *waiter(void *arg)
{
	while (!stop) {
		siginfo_t info;

		CHECK(waitpid(-1, NULL, __WALL | WNOHANG) < 0 && errno == ECHILD);
		CHECK(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT | WNOHANG | __WCLONE) < 0 &&
		      errno == ECHILD);
		CHECK(waitpid(-1, NULL, __WALL) < 0 && errno == ECHILD);
		usleep(300);
	}
	return NULL;
}

/* The other end sees at once that the last holder has gone, and locks are free. */
static void *closer(void *arg)
{
	while (!stop) {
		struct pollfd p = { .events = POLLIN };
		int ends[2], a, b;
		char byte;

		CHECK(!pipe(ends) && !close(ends[1]));
		p.fd = ends[0];
		CHECK(poll(&p, 1, 0) == 1 && p.revents == POLLHUP && read(ends[0], &byte, 1) == 0);
		CHECK(!close(ends[0]));
		a = open("lock", O_RDWR | O_CREAT, 0600);
		CHECK(a >= 0 && !flock(a, LOCK_EX | LOCK_NB) && !close(a));
		b = open("lock", O_RDWR);
		CHECK(b >= 0 && !flock(b, LOCK_EX | LOCK_NB) && !close(b));
		usleep(300);
	}
	return NULL;
}

static void *counter(void *arg)
{
	while (!stop) {
		for (int i = 0; i < COUNTERS; i++)
			counters[i * 512]++;
		usleep(500);
	}
	return NULL;
}

int main(void)
{
	struct sigaction act = { .sa_handler = on_child };
	pthread_t ids[3];
	char line[256];

	for (int i = 0; i < RANGES; i++) {
		range[i] = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, kinds[i].flags | MAP_ANONYMOUS,
				-1, 0);
		CHECK(range[i] != MAP_FAILED);
		pattern_fill(range[i], BYTES, 10 + i);
		CHECK(!madvise(range[i], BYTES, kinds[i].advice));
	}
	CHECK(!mprotect(range[0], BYTES / 2, PROT_NONE));
	counters =
	    mmap(NULL, COUNTERS * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(counters != MAP_FAILED && !sigaction(SIGCHLD, &act, NULL));
	for (int i = 0; i < COUNTERS; i++)
		counters[i * 512] = 1;
	CHECK(!pthread_create(&ids[0], NULL, waiter, NULL));
	CHECK(!pthread_create(&ids[1], NULL, closer, NULL));
	CHECK(!pthread_create(&ids[2], NULL, counter, NULL));
	usleep(5000);

	target_ready();

	stop = 1;
	for (int i = 0; i < 3; i++)
		CHECK(!pthread_join(ids[i], NULL));
	CHECK(!mprotect(range[0], BYTES / 2, PROT_READ));
	for (int i = 0; i < RANGES; i++)
		if (pattern_differs(range[i], BYTES, 10 + i) != BYTES)
			target_fail("range %d differs at %zu", i,
				    pattern_differs(range[i], BYTES, 10 + i));
	for (int i = 1; i < COUNTERS; i++)
		if (counters[i * 512] != counters[0])
			target_fail("page %d is of another moment: %lu, not %lu", i,
				    (unsigned long)counters[i * 512], (unsigned long)counters[0]);
	CHECK(child_signals == 0);
	snprintf(line, sizeof(line), "task/%d/children", getpid());
	CHECK(proc_line(line, "", line, sizeof(line)) != 0 || line[0] == '\0');
	CHECK(waitpid(-1, NULL, __WALL | WNOHANG) < 0 && errno == ECHILD);
	target_pass();
}
