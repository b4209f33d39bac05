/*
 * The program that is frozen, made to do calls, and whose tracers are killed.  Each thread does one
 * thing in a loop and checks that nobody disturbed it.  Ends by itself when its parent does.
 */
#include <errno.h>
#include <immintrin.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "held.h"

static struct held *held;
static int numbers[2]; /* a pipe of consecutive numbers */
static int event;      /* added to now and then */

static void fail(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	if (!atomic_exchange(&held->failed, 1))
		vsnprintf(held->message, sizeof held->message, format, args);
	va_end(args);
}

static bool going_on(void)
{
	return !held->end && !held->failed;
}

static uint64_t now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* After a wait that began at `start` and should have taken `ms`. */
static void check_time(const char *what, uint64_t start, uint64_t ms)
{
	uint64_t took = now_ms() - start;
	if (took + 1 < ms)
		fail("%s of %d ms took %d ms", what, (int)ms, (int)took);
	/* One that began anew each time it was stopped would take seconds; on a machine with much
	 * else to do some hundred milliseconds are nothing. */
	if (held->exact && took > 10 * ms)
		fail("%s of %d ms took %d ms", what, (int)ms, (int)took);
}

/* A call that may not come back with EINTR did so. */
static void interrupted(const char *what)
{
	held->interrupted++;
	if (held->exact)
		fail("%s returned EINTR", what);
}

/*
 * All general registers but rsp and rbp, 8 words of red zone, and ymm0-14 hold a pattern through
 * many rounds of comparing.  Returns 0, or which kind of thing changed.
 */
static uint64_t pattern[16] __attribute__((used, aligned(64)));
static uint8_t vectors[32][64] __attribute__((used, aligned(64)));

static __attribute__((noinline)) int check_registers(void)
{
	int wrong = 0;
	__asm__ volatile(
	    "push %%rbp\n\t"
	    "mov $20000, %%ebp\n\t"
	    "mov 0+pattern(%%rip), %%rax\n\t mov 8+pattern(%%rip), %%rbx\n\t"
	    "mov 16+pattern(%%rip), %%rcx\n\t mov 24+pattern(%%rip), %%rdx\n\t"
	    "mov 32+pattern(%%rip), %%rsi\n\t mov 40+pattern(%%rip), %%rdi\n\t"
	    "mov 48+pattern(%%rip), %%r8\n\t mov 56+pattern(%%rip), %%r9\n\t"
	    "mov 64+pattern(%%rip), %%r10\n\t mov 72+pattern(%%rip), %%r11\n\t"
	    "mov 80+pattern(%%rip), %%r12\n\t mov 88+pattern(%%rip), %%r13\n\t"
	    "mov 96+pattern(%%rip), %%r14\n\t mov 104+pattern(%%rip), %%r15\n\t"
	    "mov %%rax, -8(%%rsp)\n\t mov %%rbx, -64(%%rsp)\n\t mov %%r15, -128(%%rsp)\n\t"
	    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14\n\t"
	    "vmovdqa 64*\\n+vectors(%%rip), %%ymm\\n\n\t"
	    ".endr\n"
	    "1:\n\t"
	    "cmp 0+pattern(%%rip), %%rax\n\t jne 2f\n\t cmp 8+pattern(%%rip), %%rbx\n\t jne 2f\n\t"
	    "cmp 16+pattern(%%rip), %%rcx\n\t jne 2f\n\t cmp 24+pattern(%%rip), %%rdx\n\t jne "
	    "2f\n\t"
	    "cmp 32+pattern(%%rip), %%rsi\n\t jne 2f\n\t cmp 40+pattern(%%rip), %%rdi\n\t jne "
	    "2f\n\t"
	    "cmp 48+pattern(%%rip), %%r8\n\t jne 2f\n\t cmp 56+pattern(%%rip), %%r9\n\t jne 2f\n\t"
	    "cmp 64+pattern(%%rip), %%r10\n\t jne 2f\n\t cmp 72+pattern(%%rip), %%r11\n\t jne "
	    "2f\n\t"
	    "cmp 80+pattern(%%rip), %%r12\n\t jne 2f\n\t cmp 88+pattern(%%rip), %%r13\n\t jne "
	    "2f\n\t"
	    "cmp 96+pattern(%%rip), %%r14\n\t jne 2f\n\t cmp 104+pattern(%%rip), %%r15\n\t jne "
	    "2f\n\t"
	    "cmp %%rax, -8(%%rsp)\n\t jne 3f\n\t cmp %%rbx, -64(%%rsp)\n\t jne 3f\n\t"
	    "cmp %%r15, -128(%%rsp)\n\t jne 3f\n\t"
	    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14\n\t"
	    "vpxor 64*\\n+vectors(%%rip), %%ymm\\n, %%ymm15\n\t"
	    "vptest %%ymm15, %%ymm15\n\t"
	    "jnz 4f\n\t"
	    ".endr\n\t"
	    "dec %%rbp\n\t"
	    "jnz 1b\n\t"
	    "xor %%eax, %%eax\n\t jmp 9f\n"
	    "2: mov $1, %%eax\n\t jmp 9f\n"
	    "3: mov $2, %%eax\n\t jmp 9f\n"
	    "4: mov $3, %%eax\n"
	    "9: pop %%rbp\n\t"
	    "vzeroupper\n\t"
	    : "=&a"(wrong)
	    :
	    : "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
	      "r15", "cc", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
	      "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
	return wrong;
}

/* zmm16-31 and the mask registers k1-k7. */
__attribute__((noinline, target("avx512f,avx512bw"))) static int check_wide_registers(void)
{
	int wrong = 0;
	__asm__ volatile(".irp n,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n\t"
			 "vmovdqa64 64*\\n+vectors(%%rip), %%zmm\\n\n\t"
			 ".endr\n\t"
			 ".irp n,1,2,3,4,5,6\n\t"
			 "kmovq 8*\\n+pattern(%%rip), %%k\\n\n\t"
			 ".endr\n\t"
			 "mov $20000, %%ecx\n"
			 "1:\n\t"
			 ".irp n,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n\t"
			 "vpcmpud $4, 64*\\n+vectors(%%rip), %%zmm\\n, %%k7\n\t"
			 "kortestw %%k7, %%k7\n\t"
			 "jnz 2f\n\t"
			 ".endr\n\t"
			 ".irp n,1,2,3,4,5,6\n\t"
			 "kmovq %%k\\n, %%rdx\n\t"
			 "cmp 8*\\n+pattern(%%rip), %%rdx\n\t"
			 "jne 2f\n\t"
			 ".endr\n\t"
			 "dec %%ecx\n\t"
			 "jnz 1b\n\t"
			 "xor %%eax, %%eax\n\t jmp 3f\n"
			 "2: mov $4, %%eax\n"
			 "3:\n\t"
			 : "=&a"(wrong)
			 :
			 : "rcx", "rdx", "cc", "memory", "k1", "k2", "k3", "k4", "k5", "k6", "k7",
			   "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23",
			   "xmm24", "xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31");
	return wrong;
}

static void *do_registers(void *arg)
{
	static const char *const kinds[] = { "", "a general register", "the red zone",
					     "a vector register", "a wide register" };
	bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
	bool narrow = __builtin_cpu_supports("avx2");
	while (going_on()) {
		int wrong = narrow ? check_registers() : 0;
		if (!wrong && wide)
			wrong = check_wide_registers();
		if (wrong)
			fail("%s changed", kinds[wrong]);
		held->rounds[HELD_REGISTERS]++;
	}
	return arg;
}

static void *do_nanosleep(void *arg)
{
	while (going_on()) {
		uint64_t start = now_ms();
		/* No place for the rest: only the kernel knows it. */
		if (syscall(SYS_nanosleep, &(struct timespec){ .tv_nsec = 120000000 }, NULL))
			interrupted("nanosleep");
		else
			check_time("nanosleep", start, 120);
		held->rounds[HELD_NANOSLEEP]++;
	}
	return arg;
}

static void *do_poll(void *arg)
{
	struct pollfd none = { .fd = -1 };
	while (going_on()) {
		uint64_t start = now_ms();
		if (poll(&none, 1, 110) != 0)
			interrupted("poll");
		else
			check_time("poll", start, 110);
		held->rounds[HELD_POLL]++;
	}
	return arg;
}

static void *do_epoll(void *arg)
{
	int set = epoll_create1(0);
	struct epoll_event add = { .events = EPOLLIN }, got;
	epoll_ctl(set, EPOLL_CTL_ADD, event, &add);
	while (going_on()) {
		int n = epoll_wait(set, &got, 1, -1);
		uint64_t count;
		if (n == 1) {
			if (read(event, &count, sizeof count) != sizeof count)
				fail("eventfd is readable and is not");
		} else {
			interrupted("epoll_wait");
		}
		held->rounds[HELD_EPOLL]++;
	}
	return arg;
}

static void *do_futex(void *arg)
{
	static uint32_t word;
	while (going_on()) {
		uint64_t start = now_ms();
		struct timespec timeout = { .tv_nsec = 100000000 };
		syscall(SYS_futex, &word, FUTEX_WAIT, 0, &timeout, NULL, 0);
		if (errno != ETIMEDOUT)
			interrupted("futex");
		else
			check_time("futex wait", start, 100);
		held->rounds[HELD_FUTEX]++;
	}
	return arg;
}

static void *do_pipe(void *arg)
{
	for (uint64_t expected = 0; going_on(); expected++) {
		uint64_t number;
		if (read(numbers[0], &number, sizeof number) != sizeof number)
			interrupted("read");
		else if (number != expected && going_on())
			fail("read %llu instead of %llu", (unsigned long long)number,
			     (unsigned long long)expected);
		held->rounds[HELD_PIPE]++;
	}
	return arg;
}

static void *do_sigwait(void *arg)
{
	sigset_t none;
	sigemptyset(&none);
	sigaddset(&none, SIGUSR2);
	while (going_on()) {
		uint64_t start = now_ms();
		sigtimedwait(&none, NULL, &(struct timespec){ .tv_nsec = 30000000 });
		if (errno != EAGAIN)
			interrupted("sigtimedwait");
		else if (now_ms() - start < 29)
			fail("sigtimedwait ended early");
		held->rounds[HELD_SIGWAIT]++;
	}
	return arg;
}

static void *do_recv_timeout(void *arg)
{
	int ends[2];
	char byte;
	socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
	struct timeval timeout = { .tv_usec = 20000 };
	setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
	while (going_on()) {
		if (recv(ends[0], &byte, 1, 0) != -1 || (errno != EAGAIN && errno != EINTR))
			fail("recv with a timeout: %s", strerror(errno));
		else if (errno == EINTR)
			interrupted("recv");
		held->rounds[HELD_RECV_TIMEOUT]++;
	}
	return arg;
}

/* Spends nearly all its time inside a restartable sequence. */
static void *do_rseq(void *arg)
{
	struct rseq *area = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
	static struct rseq_cs section __attribute__((aligned(32)));
	section.start_ip = held->rseq_start;
	section.post_commit_offset = held->rseq_bytes;
	while (going_on()) {
		__asm__ volatile(
		    "lea 4f(%%rip), %%rax\n\t"
		    "mov %%rax, %[abort]\n\t"
		    "lea 1f(%%rip), %%rax\n\t"
		    "mov %%rax, %[start]\n\t"
		    "lea 2f(%%rip), %%rcx\n\t"
		    "sub %%rax, %%rcx\n\t"
		    "mov %%rcx, %[bytes]\n\t"
		    "mov %%rax, %[known_start]\n\t"
		    "mov %%rcx, %[known_bytes]\n\t"
		    "lea %[section], %%rax\n\t"
		    "mov $100000, %%ecx\n\t"
		    "mov %%rax, %[current]\n"
		    "1:\n\t"
		    "dec %%ecx\n\t"
		    "jnz 1b\n"
		    "2:\n\t"
		    "jmp 5f\n\t"
		    ".byte 0x0f, 0xb9, 0x3d\n\t"
		    ".long %c[signature]\n"
		    "4:\n"
		    "5:\n\t"
		    "movq $0, %[current]\n\t"
		    : [abort] "=m"(section.abort_ip), [start] "=m"(section.start_ip),
		      [bytes] "=m"(section.post_commit_offset),
		      [known_start] "=m"(held->rseq_start), [known_bytes] "=m"(held->rseq_bytes),
		      [section] "+m"(section), [current] "=m"(area->rseq_cs)
		    : [signature] "i"(RSEQ_SIG)
		    : "rax", "rcx", "cc", "memory");
		held->rounds[HELD_RSEQ]++;
	}
	return arg;
}

static void *do_feed(void *arg)
{
	for (uint64_t n = 0; going_on(); n++) {
		uint64_t one = 1;
		if (write(event, &one, sizeof one) != sizeof one ||
		    write(numbers[1], &n, sizeof n) != sizeof n)
			fail("write: %s", strerror(errno));
		usleep(7000);
		if (getppid() == 1)
			_exit(1);
	}
	/* Nobody shall wait for something that does not come. */
	uint64_t last = 0;
	while (write(event, &(uint64_t){ 1 }, sizeof last) == sizeof last &&
	       write(numbers[1], &last, sizeof last) == sizeof last)
		usleep(1000);
	return arg;
}

static char alternate[65536];

static void on_alarm(int signal)
{
	char here;
	(void)signal;
	if (&here < alternate || &here >= alternate + sizeof alternate)
		fail("a handler runs beside its stack");
	held->rounds[HELD_SUSPEND]++;
}

static void on_queued(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	if (info->si_code != SI_QUEUE)
		fail("siginfo of a queued signal is lost");
	held->queued_count++;
	held->queued_sum += (uint64_t)info->si_value.sival_int;
}

static void set_up_signals(sigset_t *while_waiting)
{
	sigset_t blocked;
	sigaltstack(&(stack_t){ .ss_sp = alternate, .ss_size = sizeof alternate }, NULL);
	sigaction(SIGALRM, &(struct sigaction){ .sa_handler = on_alarm, .sa_flags = SA_ONSTACK },
		  NULL);
	sigaction(SIGUSR1, &(struct sigaction){ .sa_sigaction = on_queued, .sa_flags = SA_SIGINFO },
		  NULL);
	/* Blocked everywhere but in the sigsuspend of the main thread. */
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGALRM);
	sigaddset(&blocked, SIGUSR1);
	sigaddset(&blocked, SIGUSR2);
	sigprocmask(SIG_SETMASK, &blocked, NULL);
	sigemptyset(while_waiting);
	sigaddset(while_waiting, SIGUSR2);
}

int main(void)
{
	static void *(*const works[])(
	    void *) = { do_registers, do_nanosleep, do_poll,	     do_epoll, do_futex,
			do_pipe,      do_sigwait,   do_recv_timeout, do_rseq,  do_feed };
	enum { WORKS = sizeof works / sizeof works[0] };
	pthread_t threads[WORKS];
	sigset_t while_waiting;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	held = mmap(NULL, sizeof *held, PROT_READ | PROT_WRITE, MAP_SHARED, HELD_FD, 0);
	if (held == MAP_FAILED || pipe(numbers))
		return 2;
	event = eventfd(0, EFD_NONBLOCK);
	for (size_t i = 0; i < sizeof pattern / sizeof *pattern; i++)
		pattern[i] = 0x0123456789abcdefULL * (i + 3);
	for (size_t i = 0; i < sizeof vectors; i++)
		((uint8_t *)vectors)[i] = (uint8_t)(i * 7 + i / 64);
	set_up_signals(&while_waiting);
	for (size_t i = 0; i < WORKS; i++)
		pthread_create(&threads[i], NULL, works[i], NULL);
	struct itimerval every = { { .tv_usec = 5000 }, { .tv_usec = 5000 } };
	setitimer(ITIMER_REAL, &every, NULL);
	held->ready = 1;
	while (going_on())
		sigsuspend(&while_waiting);
	for (size_t i = 0; i < WORKS - 1; i++)
		pthread_join(threads[i], NULL);
	return held->failed ? 1 : 0;
}
