/* Seccomp filters: two on top of each other in one thread, one of its own in another, inherited by
 * a child, and strict mode in a second child. */
#include "target.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int go[2], answer[2];
static volatile long thread_says;
static volatile int thread_go, thread_ready;

/* System call `nr` fails with `error`, all others are let through. */
static void deny(int nr, int error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(code) / sizeof(code[0]), code };

	NEED(!syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog));
}

static long denied(long nr)
{
	errno = 0;
	return syscall(nr, -1, -1, -1) < 0 ? errno : 0;
}

static void *other(void *arg)
{
	deny(SYS_getsid, 91);
	thread_ready = 1;
	while (!thread_go)
		usleep(1000);
	thread_says = denied(SYS_getsid) * 1000 + denied(SYS_getpgid);
	return arg;
}

/* Only read, write and exit are left to it; reading makes it wait. */
static void strict_child(void)
{
	char byte;

	CHECK(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
	if (syscall(SYS_read, go[0], &byte, 1) == 1)
		syscall(SYS_write, answer[1], "s", 1);
	syscall(SYS_getpid); /* kills */
	syscall(SYS_exit, 3);
}

int main(void)
{
	pthread_t thread;
	pid_t filtered, strict;
	int status;
	char byte, line[64];

	CHECK(!pipe(go) && !pipe(answer));
	/* First: strict mode cannot follow a filter. */
	strict = fork();
	if (!strict)
		strict_child();
	CHECK(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	deny(SYS_getpgid, 77);
	CHECK(!pthread_create(&thread, NULL, other, NULL));
	while (!thread_ready)
		usleep(1000);
	deny(SYS_getpriority, 55);
	filtered = fork();
	if (!filtered) {
		CHECK(read(go[0], &byte, 1) == 1);
		CHECK(denied(SYS_getpgid) == 77 && denied(SYS_getpriority) == 55);
		_exit(0);
	}

	target_ready();

	CHECK(denied(SYS_getpgid) == 77 && denied(SYS_getpriority) == 55);
	CHECK(denied(SYS_getsid) != 91);
	CHECK(!proc_line("status", "Seccomp_filters:", line, sizeof(line)) && line[17] == '2');
	thread_go = 1;
	CHECK(!pthread_join(thread, NULL) && thread_says == 91077);
	CHECK(write(go[1], "xx", 2) == 2);
	CHECK(read(answer[0], &byte, 1) == 1 && byte == 's');
	CHECK(waitpid(strict, &status, 0) == strict && WIFSIGNALED(status));
	CHECK(WTERMSIG(status) == 9);
	expect_child_ok(filtered);
	target_pass();
}
