#include "engine/arch/arch.h"

#include <elf.h>
#include <errno.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#include "base/result.h"

#ifndef NT_X86_SHSTK
#define NT_X86_SHSTK 0x204
#endif
#define GET_SYSCALL_USER_DISPATCH_CONFIG 0x4211

/* Code segments the kernel gives to user mode. */
#define USER_CS_32 0x23
#define X32_CALL_BIT 0x40000000ULL

static int result_of(long rc)
{
	if (rc >= 0)
		return R_OK;
	return errno == ESRCH ? R_NOT_FOUND : R_FAILED;
}

int arch_regs_get(pid_t tid, struct arch_regs *regs)
{
	struct iovec iov = { &regs->user, sizeof regs->user };
	return result_of(ptrace(PTRACE_GETREGSET, tid, (void *)NT_PRSTATUS, &iov));
}

int arch_regs_set(pid_t tid, const struct arch_regs *regs)
{
	struct iovec iov = { (void *)&regs->user, sizeof regs->user };
	return result_of(ptrace(PTRACE_SETREGSET, tid, (void *)NT_PRSTATUS, &iov));
}

uint64_t arch_ip(const struct arch_regs *regs)
{
	return regs->user.rip;
}

uint64_t arch_sp(const struct arch_regs *regs)
{
	return regs->user.rsp;
}

void arch_set_ip(struct arch_regs *regs, uint64_t ip)
{
	regs->user.rip = ip;
}

static bool uses_syscall_user_dispatch(pid_t tid)
{
	struct {
		uint64_t mode, selector, offset, len;
	} config = { 0 };
	if (ptrace(GET_SYSCALL_USER_DISPATCH_CONFIG, tid, (void *)sizeof config, &config))
		return false; /* a kernel that cannot tell is one from before the feature's users */
	return config.mode != 0;
}

static bool uses_shadow_stack(pid_t tid)
{
	uint64_t ssp = 0;
	struct iovec iov = { &ssp, sizeof ssp };
	return ptrace(PTRACE_GETREGSET, tid, (void *)NT_X86_SHSTK, &iov) == 0;
}

const char *arch_unsupported(pid_t tid, const struct arch_regs *regs)
{
	if (regs->user.cs == USER_CS_32)
		return "runs 32-bit code";
	if ((int64_t)regs->user.orig_rax >= 0 && (regs->user.orig_rax & X32_CALL_BIT))
		return "uses the x32 system calls";
	if (uses_shadow_stack(tid))
		return "has a shadow stack (CET)";
	if (uses_syscall_user_dispatch(tid))
		return "redirects its system calls (PR_SET_SYSCALL_USER_DISPATCH)";
	return NULL;
}
