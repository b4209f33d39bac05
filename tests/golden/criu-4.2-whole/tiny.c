/*
 * A program without libc that sets up one kind of state, waits, and on SIGUSR1 looks whether all is
 * as it was: it writes "ok", or what is not, into ./verdict.  Its dumps are a few KiB.
 *
 *     cc -Os -static -nostdlib -ffreestanding -fno-stack-protector -o tiny tiny.c
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

static long call(long n, long a, long b, long c, long d, long e, long f)
{
	register long r10 asm("r10") = d, r8 asm("r8") = e, r9 asm("r9") = f;
	long result;

	asm volatile("syscall"
		     : "=a"(result)
		     : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
		     : "rcx", "r11", "memory");
	return result;
}
#define SYS(name, ...) SYS_(__NR_##name, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define SYS_(n, a, b, c, d, e, f, ...) \
	call(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

void *memset(void *at, int c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile char *)at)[i] = (char)c;
	return at;
}

void *memcpy(void *to, const void *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile char *)to)[i] = ((const char *)from)[i];
	return to;
}

static size_t length(const char *text)
{
	size_t n = 0;

	while (text[n])
		n++;
	return n;
}

static int same(const char *a, const char *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (a[i] != b[i])
			return 0;
	return 1;
}

static void tell(const char *name, const char *text)
{
	long fd = SYS(open, name, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	SYS(write, fd, text, length(text));
	SYS(write, fd, "\n", 1);
	SYS(close, fd);
}

static const char *wrong; /* what is not as it was */

static void expect(int so, const char *what)
{
	if (!so && !wrong)
		wrong = what;
}

static const char words[] = "kept over the dump";
static int fds[4];
static volatile int *shared;
static int child;
static volatile int signals;
static long timer;

/* What a signal handler returns to. */
extern void restorer(void);
asm("restorer: mov $15, %eax\n\tsyscall\n");

static void on_signal(int number)
{
	signals |= 1 << number;
}

struct action {
	void (*handler)(int);
	unsigned long flags;
	void (*restorer)(void);
	uint64_t mask;
};

static void handle(int number)
{
	struct action action = { on_signal, 0x04000000 | 0x10000000, restorer, 0 };

	SYS(rt_sigaction, number, &action, 0, 8);
}

static void block(int number)
{
	uint64_t mask = 1ull << (number - 1);

	SYS(rt_sigprocmask, 0, &mask, 0, 8);
}

static void set_pipe(void)
{
	SYS(pipe2, fds, 0);
	SYS(write, fds[1], words, sizeof(words));
}

static void see_pipe(void)
{
	char got[sizeof(words)];

	expect(SYS(read, fds[0], got, sizeof(got)) == sizeof(got) && same(got, words, sizeof(got)),
	       "bytes in the pipe");
}

static void set_unix(void)
{
	SYS(socketpair, AF_UNIX, SOCK_DGRAM, 0, fds);
	SYS(write, fds[1], words, sizeof(words));
}

/* A client that connected, and was not accepted yet. */
static void set_waiting(void)
{
	struct sockaddr_un at = { AF_UNIX, "at" };

	fds[0] = (int)SYS(socket, AF_UNIX, SOCK_STREAM, 0);
	SYS(bind, fds[0], &at, sizeof(sa_family_t) + 3);
	SYS(listen, fds[0], 3);
	fds[1] = (int)SYS(socket, AF_UNIX, SOCK_STREAM, 0);
	SYS(connect, fds[1], &at, sizeof(sa_family_t) + 3);
}

static void see_waiting(void)
{
	char got[sizeof(words)];
	long fd;

	SYS(fcntl, fds[0], F_SETFL, O_NONBLOCK);
	fd = SYS(accept, fds[0], 0, 0);
	expect(fd >= 0, "the client that waits");
	SYS(write, fds[1], words, sizeof(words));
	expect(SYS(read, fd, got, sizeof(got)) == sizeof(got) && same(got, words, sizeof(got)),
	       "what it says");
}

static void set_inet(void)
{
	struct sockaddr_in any = { AF_INET, 0, { htonl(INADDR_LOOPBACK) }, { 0 } };

	fds[0] = (int)SYS(socket, AF_INET, SOCK_STREAM, 0);
	any.sin_port = htons(18455);
	SYS(bind, fds[0], &any, sizeof(any));
	SYS(listen, fds[0], 3);
	fds[1] = (int)SYS(socket, AF_INET, SOCK_DGRAM, 0);
	SYS(bind, fds[1], &any, sizeof(any));
}

static void see_inet(void)
{
	struct sockaddr_in there = { AF_INET, htons(18455), { htonl(INADDR_LOOPBACK) }, { 0 } };
	long fd = SYS(socket, AF_INET, SOCK_STREAM, 0);

	expect(SYS(connect, fd, &there, sizeof(there)) == 0, "the socket that listens");
	expect(SYS(accept, fds[0], 0, 0) > 0, "a connection");
	expect(SYS(sendto, fds[1], words, 4, 0, &there, sizeof(there)) == 4, "the socket of UDP");
}

static void set_tree(void)
{
	child = (int)SYS(fork);
	if (!child)
		for (;;)
			SYS(pause);
	if (!SYS(fork))
		SYS(exit, 7);
	for (volatile int i = 0; i < 10000000; i++)
		;
}

static void see_tree(void)
{
	int status = 0;

	expect(SYS(wait4, -1, &status, 0, 0) > 0 && status == 7 << 8, "the zombie");
	SYS(kill, child, SIGKILL);
	expect(SYS(wait4, child, &status, 0, 0) == child && status == SIGKILL, "the child");
}

static void set_timers(void)
{
	struct {
		struct {
			long s, us;
		} every, left;
	} in = { { 0, 0 }, { 100000, 0 } };
	struct {
		struct {
			long s, ns;
		} every, left;
	} when = { { 5, 7 }, { 200000, 0 } };

	SYS(setitimer, 0, &in, 0);
	SYS(timer_create, 1, 0, &timer);
	SYS(timer_settime, timer, 0, &when, 0);
	fds[0] = (int)SYS(timerfd_create, 1, 0);
	SYS(timerfd_settime, fds[0], 0, &when, 0);
}

static void see_timers(void)
{
	struct {
		struct {
			long s, us;
		} every, left;
	} in = { { 0, 0 }, { 0, 0 } };
	struct {
		struct {
			long s, ns;
		} every, left;
	} when = { { 0, 0 }, { 0, 0 } };

	SYS(getitimer, 0, &in);
	expect(in.left.s > 90000 && in.left.s <= 100000, "the interval timer");
	SYS(timer_gettime, timer, &when);
	expect(when.every.ns == 7 && when.left.s > 190000, "the POSIX timer");
	memset(&when, 0, sizeof(when));
	SYS(timerfd_gettime, fds[0], &when);
	expect(when.every.s == 5 && when.left.s > 190000, "the timerfd");
}

static void set_events(void)
{
	struct epoll_event event = { EPOLLIN, { .u64 = 0x77 } };
	uint64_t seven = 7, mask = 1ull << (SIGUSR2 - 1);

	fds[0] = (int)SYS(eventfd2, 0, 0);
	SYS(write, fds[0], &seven, 8);
	fds[1] = (int)SYS(signalfd4, -1, &mask, 8, 0);
	fds[2] = (int)SYS(epoll_create1, 0);
	SYS(epoll_ctl, fds[2], EPOLL_CTL_ADD, fds[0], &event);
	fds[3] = (int)SYS(inotify_init1, 0);
	SYS(inotify_add_watch, fds[3], ".", 0x100);
}

static void see_events(void)
{
	struct epoll_event event = { 0 };
	uint64_t count = 0;
	char told[64];

	expect(SYS(epoll_wait, fds[2], &event, 1, 0) == 1 && event.data.u64 == 0x77, "the epoll");
	expect(SYS(read, fds[0], &count, 8) == 8 && count == 7, "the eventfd");
	tell("made", words);
	expect(SYS(read, fds[3], told, sizeof(told)) > 0, "the inotify");
}

static void set_memory(void)
{
	shared =
	    (int *)SYS(mmap, 0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	shared[0] = 4711;
	fds[0] = (int)SYS(memfd_create, "tiny", 0);
	SYS(write, fds[0], words, sizeof(words));
}

static void see_memory(void)
{
	char got[sizeof(words)];

	expect(shared[0] == 4711, "shared memory");
	expect(SYS(pread64, fds[0], got, sizeof(got), 0) == sizeof(got) &&
		   same(got, words, sizeof(got)),
	       "the memfd");
}

static void set_ghost(void)
{
	fds[0] = (int)SYS(open, "gone", O_RDWR | O_CREAT | O_TRUNC, 0600);
	SYS(write, fds[0], words, sizeof(words));
	SYS(unlink, "gone");
}

static void see_ghost(void)
{
	char got[sizeof(words)];

	expect(SYS(pread64, fds[0], got, sizeof(got), 0) == sizeof(got) &&
		   same(got, words, sizeof(got)),
	       "the deleted file");
}

static void set_locks(void)
{
	struct flock lock = { .l_type = F_WRLCK, .l_start = 3, .l_len = 5 };

	fds[0] = (int)SYS(open, "locked", O_RDWR | O_CREAT, 0600);
	SYS(fcntl, fds[0], F_SETLK, &lock);
	fds[1] = (int)SYS(open, "locked", O_RDWR);
	SYS(flock, fds[1], 2);
}

static void see_locks(void)
{
	struct flock lock = { .l_type = F_WRLCK, .l_start = 0, .l_len = 0 };
	long fd = SYS(open, "locked", O_RDWR), pid = SYS(fork);
	int status = 0;

	if (!pid) {
		SYS(fcntl, fd, F_GETLK, &lock);
		status = SYS(flock, fd, 2 | 4) < 0;
		SYS(exit, status && lock.l_type == F_WRLCK && lock.l_start == 3 && lock.l_len == 5);
	}
	SYS(wait4, pid, &status, 0, 0);
	expect(status == 1 << 8, "the locks");
}

static void set_creds(void)
{
	unsigned int groups[2] = { 11, 12 };

	SYS(prctl, 38, 1); /* no new privileges */
	SYS(setgroups, 2, groups);
	SYS(setresgid, 100, 101, 102);
	SYS(umask, 0);
	SYS(chmod, ".", 0777);
	SYS(setresuid, 1000, 1000, 1000);
	SYS(prctl, 4, 1); /* what has changed its user is not dumped otherwise */
}

static void see_creds(void)
{
	unsigned int groups[4], real, effective, saved;

	expect(SYS(getgroups, 4, groups) == 2 && groups[0] == 11 && groups[1] == 12, "the groups");
	SYS(getresgid, &real, &effective, &saved);
	expect(real == 100 && effective == 101 && saved == 102, "the group");
	SYS(getresuid, &real, &effective, &saved);
	expect(real == 1000 && effective == 1000 && saved == 1000, "the user");
	expect(SYS(prctl, 39) == 1, "no new privileges");
}

static void set_signals(void)
{
	handle(SIGHUP);
	block(SIGHUP);
	block(SIGTERM);
	child = (int)SYS(getpid);
	SYS(kill, child, SIGHUP);
	SYS(kill, child, SIGTERM);
}

static void see_signals(void)
{
	uint64_t pending = 0, hup = 1ull << (SIGHUP - 1), term = 1ull << (SIGTERM - 1);

	SYS(rt_sigpending, &pending, 8);
	expect(pending == (hup | term), "pending signals");
	SYS(rt_sigprocmask, 1, &hup, 0, 8);
	expect(signals & 1 << SIGHUP, "the handler");
}

static char stack[16384];
static volatile int counted;

static void set_threads(void)
{
	long flags =
	    CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;

	handle(SIGUSR2);
	/* The new thread has nothing to return to: it goes on counting its signals, here. */
	asm volatile("syscall\n\ttest %%eax, %%eax\n\tjnz 2f\n"
		     "1:\tincl %1\n\tmov $34, %%eax\n\tsyscall\n\tjmp 1b\n2:"
		     : "=a"(child), "+m"(counted)
		     : "a"(__NR_clone), "D"(flags), "S"(stack + sizeof(stack)), "d"(0)
		     : "rcx", "r11", "memory");
}

static void see_threads(void)
{
	int before = counted;
	long pid = SYS(getpid);

	expect(SYS(tgkill, pid, child, SIGUSR2) == 0, "the thread");
	for (volatile int i = 0; i < 1000000000 && counted == before; i++)
		;
	expect(counted > before, "what the thread counts");
}

static void nothing(void)
{
}

static const struct state {
	const char *name;
	void (*set)(void), (*see)(void);
} states[] = {
	{ "sleeping", nothing, nothing },	 { "pipe", set_pipe, see_pipe },
	{ "unix", set_unix, see_pipe },		 { "waiting", set_waiting, see_waiting },
	{ "inet", set_inet, see_inet },		 { "tree", set_tree, see_tree },
	{ "timers", set_timers, see_timers },	 { "events", set_events, see_events },
	{ "memory", set_memory, see_memory },	 { "ghost", set_ghost, see_ghost },
	{ "locks", set_locks, see_locks },	 { "creds", set_creds, see_creds },
	{ "signals", set_signals, see_signals }, { "threads", set_threads, see_threads },
};

__attribute__((used)) static void run(long *at)
{
	const char *name = (const char *)at[2];

	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		if (!same(states[i].name, name, length(name) + 1))
			continue;
		handle(SIGUSR1);
		states[i].set();
		tell("ready", words);
		while (!(signals & 1 << SIGUSR1))
			SYS(pause);
		states[i].see();
		tell("verdict", wrong ? wrong : "ok");
		SYS(exit_group, wrong ? 1 : 0);
	}
	SYS(exit_group, 2);
}

asm(".globl _start\n_start:\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall run\n");
