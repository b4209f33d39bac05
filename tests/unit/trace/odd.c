/*
 * Programs that are hard to hold: `odd seccomp` may not call getppid, `odd stack` runs on a stack
 * it allocated, the lowest pages of its first one being full; `odd plain` just waits; `odd vfork`
 * waits for a child that shares its memory and never executes anything; `odd vforks` for one after
 * the other that does so after 50 ms.  Each closes its output when it is ready, and ends with 0
 * when its input ends and all is well.
 */
#include <alloca.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define STACK_BYTES (512 * 1024)
#define FULL_BYTES (110 * 1024)

static unsigned char *full;
static ucontext_t first, second;

static void wait_for_the_end(void)
{
	char byte;
	close(1);
	while (read(0, &byte, 1) > 0)
		;
}

static int restricted(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof filter / sizeof filter[0], filter };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		return 3;
	wait_for_the_end();
	return 0;
}

/* Fills the first stack down to near its end, in a frame that stays. */
static __attribute__((noinline)) void elsewhere(void)
{
	full = alloca(FULL_BYTES);
	memset(full, 0x5a, FULL_BYTES);
	swapcontext(&first, &second);
	for (size_t i = 0; i < FULL_BYTES; i++)
		if (full[i] != 0x5a)
			_exit(4);
}

static int on_own_stack(void)
{
	getcontext(&second);
	second.uc_stack.ss_sp =
	    mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	second.uc_stack.ss_size = STACK_BYTES;
	second.uc_link = &first;
	makecontext(&second, wait_for_the_end, 0);
	elsewhere();
	return 0;
}

static int lent_memory(void)
{
	if (vfork() == 0) {
		char byte;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(1);
		while (read(0, &byte, 1) > 0)
			;
		_exit(0);
	}
	return 0;
}

static int lent_briefly(void)
{
	struct pollfd input = { .fd = 0, .events = POLLIN };
	close(1);
	while (poll(&input, 1, 0) == 0) {
		int status;
		pid_t child = vfork();
		if (child == 0) {
			usleep(50000);
			execl("/bin/true", "true", (char *)NULL);
			_exit(5);
		}
		if (waitpid(child, &status, 0) != child || status != 0)
			return 6;
	}
	return 0;
}

int main(int argc, char **argv)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (argc != 2)
		return 2;
	if (strcmp(argv[1], "seccomp") == 0)
		return restricted();
	if (strcmp(argv[1], "stack") == 0)
		return on_own_stack();
	if (strcmp(argv[1], "vfork") == 0)
		return lent_memory();
	if (strcmp(argv[1], "vforks") == 0)
		return lent_briefly();
	wait_for_the_end();
	return 0;
}
