#include "engine/arch/arch.h"

#include <asm/unistd.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/uio.h>

/*
 * The calls that wait with a restart block.  Once such a call was restarted, its number is gone
 * from the registers (they say restart_syscall), but its arguments are still there, and usually so
 * is the instruction that loaded the number.
 */

#define K_ERESTART_RESTARTBLOCK 516
#define SYSCALL_INSN_BYTES 2
/* How far before the call its number may have been loaded. */
#define LOOK_BACK_BYTES 32
#define NS_PER_SECOND 1000000000LL
/* More fds than any system allows one process. */
#define FDS_MAX (1 << 30)

static bool peek(pid_t pid, uint64_t address, void *buf, size_t len)
{
	struct iovec here = { buf, len };
	struct iovec there = { (void *)(uintptr_t)address, len };
	return process_vm_readv(pid, &here, 1, &there, 1, 0) == (ssize_t)len;
}

bool arch_call_is_vfork(pid_t pid, long nr, const uint64_t args[6])
{
	uint64_t flags = 0;
	if (nr == __NR_vfork)
		return true;
	if (nr == __NR_clone)
		flags = args[0];
	else if (nr == __NR_clone3 && !peek(pid, args[0], &flags, sizeof flags))
		return false;
	return flags & CLONE_VFORK;
}

static bool is_timespec(pid_t pid, uint64_t address)
{
	int64_t time[2];
	return peek(pid, address, time, sizeof time) && time[0] >= 0 && time[1] >= 0 &&
	       time[1] < NS_PER_SECOND;
}

static bool fits_clock_nanosleep(pid_t pid, const struct user_regs_struct *r)
{
	/* A clock is a small number or a negative one, never an address; relative times only. */
	bool clock = r->rdi < 4096 || (int32_t)r->rdi < 0;
	return clock && (uint32_t)r->rsi == 0 && is_timespec(pid, r->rdx);
}

static bool fits_futex(pid_t pid, const struct user_regs_struct *r)
{
	uint32_t op = (uint32_t)r->rsi & (uint32_t)FUTEX_CMD_MASK;
	uint32_t word;
	return (op == FUTEX_WAIT || op == FUTEX_WAIT_BITSET) && r->rsi < 4096 &&
	       peek(pid, r->rdi, &word, sizeof word) && word == (uint32_t)r->rdx &&
	       is_timespec(pid, r->r10);
}

static bool fits_nanosleep(pid_t pid, const struct user_regs_struct *r)
{
	uint8_t byte;
	return is_timespec(pid, r->rdi) && (r->rsi == 0 || peek(pid, r->rsi, &byte, 1));
}

static bool fits_poll(pid_t pid, const struct user_regs_struct *r)
{
	uint64_t pollfd;
	return (int32_t)r->rdx > 0 && r->rsi < FDS_MAX &&
	       (r->rsi == 0 || peek(pid, r->rdi, &pollfd, sizeof pollfd));
}

/* In the order in which they exclude each other. */
static const struct {
	long nr;
	bool (*fits)(pid_t pid, const struct user_regs_struct *r);
} calls[] = {
	{ __NR_clock_nanosleep, fits_clock_nanosleep },
	{ __NR_futex, fits_futex },
	{ __NR_nanosleep, fits_nanosleep },
	{ __NR_poll, fits_poll },
};

/* The number that the nearest `mov $nr,%eax` before the call loads, if it is of these; else -1. */
static long number_in_code(pid_t pid, uint64_t ip)
{
	uint8_t code[LOOK_BACK_BYTES];
	if (!peek(pid, ip - SYSCALL_INSN_BYTES - sizeof code, code, sizeof code))
		return -1;
	for (int at = (int)sizeof code - 5; at >= 0; at--) {
		uint32_t nr;
		memcpy(&nr, code + at + 1, sizeof nr);
		if (code[at] != 0xb8)
			continue;
		for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
			if (nr == calls[i].nr)
				return (long)nr;
	}
	return -1;
}

bool arch_call_recover(pid_t pid, struct arch_regs *regs)
{
	struct user_regs_struct *r = &regs->user;
	if (r->orig_rax != __NR_restart_syscall || (int64_t)r->rax != -K_ERESTART_RESTARTBLOCK)
		return false;
	long loaded = number_in_code(pid, r->rip);
	for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
		if ((loaded >= 0 && loaded != calls[i].nr) || !calls[i].fits(pid, r))
			continue;
		r->orig_rax = (uint64_t)calls[i].nr;
		return true;
	}
	return false;
}
