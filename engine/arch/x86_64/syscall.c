#include "engine/arch/arch.h"

#include <asm/unistd.h>
#include <errno.h>
#include <string.h>

/* Results inside the kernel only; include/linux/errno.h of its sources. */
enum {
	K_ERESTARTSYS = 512,
	K_ERESTARTNOINTR = 513,
	K_ERESTARTNOHAND = 514,
	K_ERESTART_RESTARTBLOCK = 516,
};

#define SYSCALL_INSN_BYTES 2

long arch_call_in_progress(const struct arch_regs *regs)
{
	/* 32 bits as in the kernel: interrupts and exceptions leave -1 or an error code, and both
	 * of these are sorted out before a thread can stop. */
	return (int)regs->user.orig_rax;
}

bool arch_result_is_restart(int64_t result)
{
	switch (-result) {
	case K_ERESTARTSYS:
	case K_ERESTARTNOINTR:
	case K_ERESTARTNOHAND:
	case K_ERESTART_RESTARTBLOCK:
		return true;
	}
	return false;
}

bool arch_call_restarts(const struct arch_regs *regs)
{
	return arch_call_in_progress(regs) >= 0 && arch_result_is_restart((int64_t)regs->user.rax);
}

/*
 * Calls that answer a pending signal, even one that turns out to be nothing but our stop, with
 * EINTR (signal(7), "Interruption of system calls and library functions by stop signals", and
 * sockets with a timeout).  None of them has done anything yet when it returns EINTR.
 */
bool arch_call_broken_off(const struct arch_regs *regs)
{
	if ((int64_t)regs->user.rax != -EINTR)
		return false;
	switch (arch_call_in_progress(regs)) {
	case __NR_epoll_wait:
	case __NR_epoll_pwait:
	case __NR_epoll_pwait2:
	case __NR_semop:
	case __NR_semtimedop:
	case __NR_rt_sigtimedwait:
	case __NR_io_getevents:
	case __NR_io_pgetevents:
	case __NR_io_uring_enter:
	case __NR_read: /* inotify, sockets with SO_RCVTIMEO */
	case __NR_readv:
	case __NR_recvfrom:
	case __NR_recvmsg:
	case __NR_recvmmsg:
	case __NR_accept:
	case __NR_accept4:
	case __NR_connect:
	case __NR_write:
	case __NR_writev:
	case __NR_sendto:
	case __NR_sendmsg:
	case __NR_sendmmsg:
		return true;
	}
	return false;
}

void arch_call_restart(struct arch_regs *regs)
{
	regs->user.rax = (uint64_t)-K_ERESTARTNOHAND;
}

void arch_call_rewind(struct arch_regs *regs)
{
	if (arch_call_restarts(regs)) {
		regs->user.rax = regs->user.orig_rax;
		regs->user.rip -= SYSCALL_INSN_BYTES;
	}
	regs->user.orig_rax = (uint64_t)-1;
}

int64_t arch_call_result(const struct arch_regs *regs)
{
	return (int64_t)regs->user.rax;
}

void arch_call_enter(struct arch_regs *regs, const struct arch_regs *base, uint64_t gadget,
		     uint64_t frame)
{
	*regs = *base;
	regs->user.rip = gadget;
	regs->user.orig_rax = (uint64_t)-1;
	/* The instruction at the gadget is itself a signal return until the entry stop. */
	regs->user.rax = __NR_rt_sigreturn;
	if (frame)
		regs->user.rsp = frame + sizeof(uint64_t);
}

void arch_call_load(struct arch_regs *regs, const struct arch_regs *base, uint64_t gadget,
		    uint64_t frame, long nr, const uint64_t args[6])
{
	*regs = *base;
	regs->user.rip = gadget + SYSCALL_INSN_BYTES;
	regs->user.orig_rax = (uint64_t)nr;
	regs->user.rax = (uint64_t)-ENOSYS; /* what the kernel has there on entry */
	if (frame)
		regs->user.rsp = frame;
	regs->user.rdi = args[0];
	regs->user.rsi = args[1];
	regs->user.rdx = args[2];
	regs->user.r10 = args[3];
	regs->user.r8 = args[4];
	regs->user.r9 = args[5];
}

struct pattern {
	const char *bytes;
	size_t len;
};

static const struct pattern syscall_return[] = {
	{ "\x0f\x05\xc3", 3 }, /* syscall; ret */
	{ NULL, 0 },
};

static const struct pattern sigreturn[] = {
	{ "\x48\xc7\xc0\x0f\x00\x00\x00\x0f\x05", 9 }, /* mov $15,%rax; syscall */
	{ "\xb8\x0f\x00\x00\x00\x0f\x05", 7 },	       /* mov $15,%eax; syscall */
	{ NULL, 0 },
};

static const struct pattern keep_result[] = {
	{ "\x48\x89\x03\x5b\xc3", 5 }, /* mov %rax,(%rbx); pop %rbx; ret */
	{ NULL, 0 },
};

static const struct pattern pop_rdi[] = { { "\x5f\xc3", 2 }, { NULL, 0 } };
static const struct pattern pop_rsi[] = { { "\x5e\xc3", 2 }, { NULL, 0 } };
static const struct pattern pop_rdx[] = { { "\x5a\xc3", 2 }, { NULL, 0 } };
static const struct pattern pop_rax[] = { { "\x58\xc3", 2 }, { NULL, 0 } };

static const struct pattern *const gadgets[ARCH_GADGET_COUNT] = {
	[ARCH_GADGET_SYSCALL_RETURN] = syscall_return,
	[ARCH_GADGET_SIGRETURN] = sigreturn,
	[ARCH_GADGET_KEEP_RESULT] = keep_result,
	[ARCH_GADGET_POP_ARG0] = pop_rdi,
	[ARCH_GADGET_POP_ARG1] = pop_rsi,
	[ARCH_GADGET_POP_ARG2] = pop_rdx,
	[ARCH_GADGET_POP_NUMBER] = pop_rax,
};

ssize_t arch_gadget_find(enum arch_gadget gadget, const uint8_t *code, size_t len)
{
	for (const struct pattern *p = gadgets[gadget]; p->bytes; p++) {
		const uint8_t *hit = memmem(code, len, p->bytes, p->len);
		if (hit)
			return hit - code;
	}
	return -1;
}
