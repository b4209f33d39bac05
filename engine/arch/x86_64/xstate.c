#include "engine/arch/arch.h"

#include <elf.h>
#include <errno.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#include "base/result.h"

int arch_xstate_get(pid_t tid, struct arch_xstate *xstate)
{
	struct iovec iov = { xstate->data, sizeof xstate->data };
	if (ptrace(PTRACE_GETREGSET, tid, (void *)NT_X86_XSTATE, &iov))
		return errno == ESRCH ? R_NOT_FOUND : R_FAILED;
	xstate->bytes = (uint32_t)iov.iov_len;
	return R_OK;
}

int arch_xstate_set(pid_t tid, const struct arch_xstate *xstate)
{
	struct iovec iov = { (void *)xstate->data, xstate->bytes };
	if (ptrace(PTRACE_SETREGSET, tid, (void *)NT_X86_XSTATE, &iov))
		return errno == ESRCH ? R_NOT_FOUND : R_FAILED;
	return R_OK;
}
