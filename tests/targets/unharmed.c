/* A busy program that keeps checking itself: registers in loops, calls that must not be
 * interrupted, exchange with children, and in the end its map, descriptors, children and signals.
 */
#include "target.h"

#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define CHILDREN 3
#define SECRET_BYTES (20 * 4096L) /* more than a pipe holds */

static atomic_int stop;
static volatile uint64_t loops;
static int to[CHILDREN][2], from[CHILDREN][2];

/* Registers that nothing in the loop writes to must never change. */
static void *spin(void *arg)
{
	uint64_t a, b, c, d;

	while (!stop) {
		a = 0x0123456789abcdef, b = ~a, c = a * 3, d = 0;
		__asm__ volatile("movq %[a], %%xmm5\n pinsrq $1, %[b], %%xmm5\n"
				 "mov $20000, %%ecx\n"
				 "1: add $1, %[d]\n dec %%ecx\n jnz 1b\n"
				 "movq %%xmm5, %%rax\n cmp %%rax, %[a]\n jne 2f\n"
				 "pextrq $1, %%xmm5, %%rax\n cmp %%rax, %[b]\n je 3f\n"
				 "2: mov $0, %[d]\n"
				 "3:\n"
				 : [d] "+r"(d)
				 : [a] "r"(a), [b] "r"(b), [c] "r"(c)
				 : "rax", "rcx", "xmm5", "cc");
		if (d != 20000 || c != a * 3)
			target_fail("registers changed: %lx %lx", (long)d, (long)c);
		/* leaves some of the machine to those who look at it */
		if (++loops % 32 == 0)
			usleep(2000);
	}
	return NULL;
}

static void *sleeper(void *arg)
{
	struct timespec pause = { 0, 3000000 };
	struct pollfd none = { .fd = -1 };

	while (!stop) {
		CHECK(!nanosleep(&pause, NULL));
		CHECK(poll(&none, 1, 3) == 0);
		CHECK(!clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL));
	}
	return NULL;
}

static void *asker(void *arg)
{
	uint32_t n = 0, answer;
	int i = (int)(long)arg;

	while (!stop) {
		n++;
		CHECK(write(to[i][1], &n, 4) == 4 && read(from[i][0], &answer, 4) == 4);
		if (answer != n + 1)
			target_fail("child %d answered %u to %u", i, answer, n);
		if (n % 16 == 0)
			usleep(500);
	}
	n = 0;
	CHECK(write(to[i][1], &n, 4) == 4);
	return NULL;
}

static void answer(int i)
{
	uint32_t n;

	for (;;) {
		CHECK(read(to[i][0], &n, 4) == 4);
		if (!n)
			_exit(0);
		n++;
		CHECK(write(from[i][1], &n, 4) == 4);
	}
}

/* Mappings (without what malloc and stacks may add), descriptors, threads, signals. */
static void describe(char *text, size_t size)
{
	static const char *const words[] = { "Threads:", "SigPnd:", "ShdPnd:",	 "SigBlk:",
					     "SigIgn:",	 "SigCgt:", "TracerPid:" };
	char line[512];
	size_t n = 0;
	struct dirent *e;
	FILE *f;
	DIR *d;

	f = fopen("/proc/self/maps", "r");
	while (f && fgets(line, sizeof(line), f))
		if (!strstr(line, "[heap]") && !strstr(line, "[stack]"))
			/* Of what is made anew the kernel chooses the inode. */
			n += snprintf(text + n, size - n, "%.*s\n",
				      strstr(line, "/secretmem") ? 32 : 512, line);
	fclose(f);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		CHECK(!proc_line("status", words[i], line, sizeof(line)));
		n += snprintf(text + n, size - n, "%s\n", line);
	}
	d = opendir("/proc/self/fd");
	while ((e = readdir(d)))
		n += snprintf(text + n, size - n, "fd %s\n", e->d_name);
	closedir(d);
}

/* Secret memory, which a take reads in ways of its own: open, mapped only, and not readable. */
static unsigned char *secrets[3];

static void make_secrets(void)
{
	for (int i = 0; i < 3; i++) {
		int fd = (int)syscall(SYS_memfd_secret, 0);

		if (fd < 0)
			return;
		CHECK(!ftruncate(fd, SECRET_BYTES));
		secrets[i] = mmap(NULL, SECRET_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (secrets[i] == MAP_FAILED) {
			secrets[i] = NULL;
			close(fd);
			return;
		}
		pattern_fill(secrets[i], SECRET_BYTES, (uint32_t)i + 1);
		if (i > 0)
			close(fd);
	}
	CHECK(!mprotect(secrets[2], SECRET_BYTES, PROT_NONE));
}

static void check_secrets(void)
{
	for (uint32_t i = 0; i < 3 && secrets[i]; i++) {
		CHECK(!mprotect(secrets[i], SECRET_BYTES, PROT_READ));
		CHECK(pattern_differs(secrets[i], SECRET_BYTES, i + 1) == SECRET_BYTES);
	}
}

static char before[65536], now[65536];

int main(void)
{
	pthread_t ids[2 + 1 + CHILDREN];
	pid_t children[CHILDREN];
	int n = 0;

	target_init();
	make_secrets();
	for (int i = 0; i < CHILDREN; i++) {
		CHECK(!pipe(to[i]) && !pipe(from[i]));
		children[i] = fork();
		if (!children[i])
			answer(i);
	}
	for (int i = 0; i < 2; i++)
		CHECK(!pthread_create(&ids[n++], NULL, spin, NULL));
	CHECK(!pthread_create(&ids[n++], NULL, sleeper, NULL));
	for (long i = 0; i < CHILDREN; i++)
		CHECK(!pthread_create(&ids[n++], NULL, asker, (void *)i));
	usleep(20000);
	describe(now, sizeof(now)); /* lets malloc take what it needs */
	describe(before, sizeof(before));

	target_ready();

	describe(now, sizeof(now));
	if (strcmp(before, now)) {
		FILE *f = fopen("before", "w");

		fputs(before, f);
		fclose(f);
		f = fopen("after", "w");
		fputs(now, f);
		fclose(f);
		target_fail("map, descriptors or signals differ: see the files before and after");
	}
	check_secrets();
	stop = 1;
	for (int i = 0; i < n; i++)
		CHECK(!pthread_join(ids[i], NULL));
	for (int i = 0; i < CHILDREN; i++)
		expect_child_ok(children[i]);
	CHECK(loops > 0);
	target_pass();
}
