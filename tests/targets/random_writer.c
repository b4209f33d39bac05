/* Does to its memory, at random, all that can be done to it, in threads, children, programs it
 * executes and signal handlers.  What a take keeps without reading must be what is there.
 * random_writer [SEED] repeats a run, as far as threads and takes let it. */
#include "target.h"
#include "writes.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SLOTS 24
#define SLOT_PAGES 600
#define COMMON_PAGES 200
#define THREADS 2
#define CHILDREN 2

static struct slot slots[SLOTS];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_int stop;
static unsigned char handled[64 * PAGE] __attribute__((aligned(4096)));
static _Thread_local uint64_t seed;
static uint64_t first_seed = 4711;
/* A memfd that all tasks keep mapped and open, and write to both ways. */
static unsigned char *common;
static int common_fd = -1;
/* A file that is read past the page cache, where the file system can. */
static int direct_fd = -1;
static int is_child; /* made by fork(): its parent has the same at the same addresses */

uint64_t rnd(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % below;
}

static void on_alarm(int sig)
{
	static unsigned n;

	for (int i = 0; i < 5; i++, n++)
		handled[(n * 13 % 64) * PAGE + n % PAGE]++;
}

static void make(struct slot *s)
{
	int flags = MAP_ANONYMOUS, fd = -1;

	s->pages = 1 + rnd(SLOT_PAGES);
	s->shared = rnd(8) == 0;
	flags |= s->shared ? MAP_SHARED : MAP_PRIVATE;
	if (rnd(6) == 0) { /* of a file: pages show its contents until they are written to */
		flags = (s->shared ? MAP_SHARED : MAP_PRIVATE);
		fd = memfd_create("w", 0);
		CHECK(fd >= 0 && !ftruncate(fd, 3 * SLOT_PAGES * PAGE));
		for (size_t i = 0; i < s->pages; i += 3)
			CHECK(pwrite(fd, "file", 4, i * PAGE) == 4);
	}
	s->at = mmap(NULL, s->pages * PAGE, PROT_READ | PROT_WRITE, flags, fd, 0);
	CHECK(s->at != MAP_FAILED);
	if (fd >= 0)
		close(fd);
	s->prot = PROT_READ | PROT_WRITE;
	if (rnd(3) == 0)
		madvise(s->at, s->pages * PAGE, MADV_HUGEPAGE);
}

static void scribble(struct slot *s)
{
	size_t from = rnd(s->pages), n = 1 + rnd(rnd(4) ? 4 : s->pages);

	if (!(s->prot & PROT_WRITE))
		return;
	for (size_t i = from; i < s->pages && i < from + n; i++)
		s->at[i * PAGE + rnd(PAGE)] += 1 + rnd(255);
}

/* In memory that has no protection of its own, and whose pages are not only written in place. */
static void write_common(void)
{
	size_t page = rnd(COMMON_PAGES);

	if (rnd(3) == 0)
		CHECK(pwrite(common_fd, &seed, 8, page * PAGE + 8 * rnd(500)) == 8);
	else if (rnd(20) == 0) /* a hole, read as zeroes */
		CHECK(!madvise(common + page * PAGE, PAGE, MADV_REMOVE));
	else
		common[page * PAGE + rnd(PAGE)]++;
}

/* Writes that the kernel does. */
static void by_kernel(struct slot *s)
{
	size_t page = rnd(s->pages);
	int ends[2];

	if (!(s->prot & PROT_WRITE))
		return;
	if (direct_fd >= 0 && rnd(3) == 0) {
		/* The kernel may find no way to write to a page directly. */
		CHECK(pread(direct_fd, s->at + page * PAGE, PAGE, rnd(16) * PAGE) == PAGE ||
		      errno == EFAULT || errno == EINVAL);
		return;
	}
	CHECK(!pipe(ends) && write(ends[1], &seed, 8) == 8);
	CHECK(read(ends[0], s->at + page * PAGE + 16, 8) == 8);
	close(ends[0]);
	close(ends[1]);
	if (rnd(4) == 0) {
		struct iovec from = { handled, 100 }, to = { s->at + page * PAGE + 64, 100 };

		CHECK(process_vm_writev(getpid(), &from, 1, &to, 1, 0) == 100);
	}
}

static void rearrange(struct slot *s)
{
	size_t from = rnd(s->pages), n = 1 + rnd(s->pages - from);
	unsigned char *at = s->at + from * PAGE, *moved;
	static const int advice[] = { MADV_DONTNEED,	      MADV_FREE,       MADV_COLD,
				      MADV_PAGEOUT,	      MADV_NOHUGEPAGE, MADV_HUGEPAGE,
				      MADV_MERGEABLE,	      MADV_DONTFORK,   MADV_DOFORK,
				      25 /* MADV_COLLAPSE */, MADV_WIPEONFORK, MADV_KEEPONFORK,
				      MADV_UNMERGEABLE };

	switch (rnd(10)) {
	case 0: /* away, and something else there or not */
		CHECK(!munmap(s->at, s->pages * PAGE));
		make(s);
		break;
	case 1: /* elsewhere */
		if (s->shared)
			break;
		moved = mremap(s->at, s->pages * PAGE, (s->pages + 3) * PAGE, MREMAP_MAYMOVE);
		if (moved != MAP_FAILED) {
			s->at = moved;
			s->pages += 3;
		}
		if (s->pages > 2 * SLOT_PAGES) {
			CHECK(!munmap(s->at, s->pages * PAGE));
			make(s);
		}
		break;
	case 2: /* new pages in the middle of old ones */
		CHECK(mmap(at, n * PAGE, s->prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
		      at);
		break;
	case 3:
		mprotect(at, n * PAGE, PROT_READ);
		mprotect(at, n * PAGE, PROT_READ | PROT_WRITE);
		if (s->prot == PROT_NONE)
			mprotect(s->at, s->pages * PAGE, PROT_NONE);
		break;
	case 5: /* not even readable, with what was there */
		if (rnd(2) && !mprotect(s->at, s->pages * PAGE, PROT_NONE))
			s->prot = PROT_NONE;
		else if (!mprotect(s->at, s->pages * PAGE, PROT_READ | PROT_WRITE))
			s->prot = PROT_READ | PROT_WRITE;
		break;
	case 6: /* pages taken away, with the range left behind, and put back */
		if (s->shared || !(s->prot & PROT_WRITE))
			break;
		moved =
		    mremap(at, n * PAGE, n * PAGE, MREMAP_MAYMOVE | 4 /* MREMAP_DONTUNMAP */, NULL);
		if (moved == MAP_FAILED)
			break;
		at[0]++;
		if (rnd(2))
			CHECK(mremap(moved, n * PAGE, n * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
				     at) == at);
		else
			CHECK(!munmap(moved, n * PAGE));
		break;
	case 4: /* pages of one range put where others were */
		if (s->shared || from == 0 || s->prot == PROT_NONE)
			break;
		moved = mmap(NULL, n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			     -1, 0);
		CHECK(moved != MAP_FAILED);
		for (size_t i = 0; i < n; i += 1 + rnd(3))
			moved[i * PAGE] = 1 + rnd(255);
		CHECK(mremap(moved, n * PAGE, n * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at) == at);
		break;
	default:
		madvise(at, n * PAGE, advice[rnd(sizeof(advice) / sizeof(advice[0]))]);
	}
}

static void step(void)
{
	static void *heap[16];
	int i;

	pthread_mutex_lock(&lock);
	i = rnd(SLOTS);
	switch (rnd(16)) {
	case 12:
	case 13:
		write_huge();
		break;
	case 14:
		write_forbidden(&slots[i]);
		write_stack((int)rnd(20));
		if (is_child)
			write_parent(handled, sizeof(handled));
		break;
	case 15:
		rearrange_guards(&slots[i]);
		break;
	case 0:
	case 1:
		rearrange(&slots[i]);
		break;
	case 2:
		by_kernel(&slots[i]);
		write_common();
		break;
	case 3:
		i %= 16;
		free(heap[i]);
		heap[i] = malloc(1 + rnd(300000));
		if (heap[i])
			memset(heap[i], (int)rnd(256), 1);
		break;
	case 4: /* growing by brk */
		if (sbrk((intptr_t)((1 + rnd(20)) * PAGE)) != (void *)-1)
			*((char *)sbrk(0) - 1) = 1;
		break;
	default:
		scribble(&slots[i]);
	}
	pthread_mutex_unlock(&lock);
}

static void *thread(void *arg)
{
	seed = first_seed + 0x9e3779b97f4a7c15ull * (1 + (uintptr_t)arg);
	while (!stop) {
		for (int i = 0; i < 20; i++)
			step();
		usleep(4000 + rnd(6000));
	}
	return NULL;
}

static void *execute(void *arg)
{
	execl("/proc/self/exe", arg, "again", (char *)NULL);
	_exit(1);
}

/* A child has what its parent had, goes on with it, and becomes another program at last. */
static void child(char **argv, int n)
{
	pthread_t other;

	is_child = 1;
	signal(SIGALRM, SIG_IGN);
	seed = 77 + n + (uint64_t)time(NULL);
	pthread_mutex_init(&lock, NULL);
	for (int i = 0; i < 60; i++) {
		for (int k = 0; k < 8; k++)
			step();
		usleep(8000);
	}
	switch (rnd(3)) {
	case 0:
		execute(argv[0]);
		break;
	case 1: /* by another thread, which becomes the first one */
		if (!pthread_create(&other, NULL, execute, argv[0]))
			for (;;)
				step();
	}
	_exit(0);
}

static void open_common(void)
{
	static unsigned char block[16 * PAGE] = { 1 };

	open_huge();
	common_fd = memfd_create("common", 0);
	CHECK(common_fd >= 0 && !ftruncate(common_fd, COMMON_PAGES * PAGE));
	common = mmap(NULL, COMMON_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, common_fd, 0);
	CHECK(common != MAP_FAILED);
	direct_fd = open("direct", O_RDWR | O_CREAT, 0600);
	CHECK(direct_fd >= 0 && write(direct_fd, block, sizeof(block)) == sizeof(block));
	close(direct_fd);
	direct_fd = open("direct", O_RDONLY | O_DIRECT | O_CLOEXEC);
}

static void again(void)
{
	open_common();
	seed = (uint64_t)getpid() << 20 | 5;
	for (int i = 0; i < SLOTS; i++)
		make(&slots[i]);
	for (int i = 0; i < 200; i++) {
		step();
		usleep(2000);
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	struct timespec pause = { .tv_nsec = 8000000 };
	pid_t children[CHILDREN] = { 0 };
	pthread_t ids[THREADS];

	if (argc > 1 && !strcmp(argv[1], "again"))
		again();
	if (argc > 1)
		first_seed = strtoull(argv[1], NULL, 10);
	seed = first_seed;
	open_common();
	for (int i = 0; i < SLOTS; i++)
		make(&slots[i]);
	signal(SIGALRM, on_alarm);
	/* Its handler also writes in the middle of anything else. */
	setitimer(ITIMER_REAL, &(struct itimerval){ { 0, 7000 }, { 0, 7000 } }, NULL);
	for (long i = 0; i < THREADS; i++)
		CHECK(!pthread_create(&ids[i], NULL, thread, (void *)i));
	target_say_ready();
	while (!target_is_judged()) {
		int i = rnd(CHILDREN);

		raise(SIGALRM);
		step();
		if (children[i] && waitpid(children[i], NULL, WNOHANG) == children[i])
			children[i] = 0;
		if (!children[i] && rnd(10) == 0) {
			pthread_mutex_lock(&lock);
			if (rnd(4)) {
				/* it goes on with all of them */
				for (int k = 0; k < SLOTS; k++)
					madvise(slots[k].at, slots[k].pages * PAGE, MADV_DOFORK);
				children[i] = fork();
				if (!children[i])
					child(argv, i);
			} else {
				children[i] = vfork();
				if (!children[i]) { /* in the memory of its parent */
					handled[rnd(sizeof(handled))]++;
					execute(argv[0]);
				}
			}
			pthread_mutex_unlock(&lock);
		}
		nanosleep(&pause, NULL);
	}
	stop = 1;
	setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL);
	for (int i = 0; i < THREADS; i++)
		CHECK(!pthread_join(ids[i], NULL));
	for (int i = 0; i < CHILDREN; i++)
		if (children[i])
			CHECK(waitpid(children[i], NULL, 0) == children[i]);
	target_pass();
}
