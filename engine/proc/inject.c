#include "engine/proc/trace.h"

#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>

#include "base/ending.h"
#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/trace_internal.h"

/* A call broken off by a stop is done over; more often than this there is something wrong. */
#define CALL_ATTEMPTS 100

static int write_frame(struct tracee *t, const struct inject_site *site, const void *below,
		       size_t below_bytes)
{
	uint8_t buf[TRACE_CHAIN_MAX_BYTES + ARCH_FRAME_MAX_BYTES];
	uint64_t address = site->frame - below_bytes;
	if (below_bytes)
		memcpy(buf, below, below_bytes);
	arch_frame_build(buf + below_bytes, site->frame, &t->regs, &t->xstate, t->sigmask,
			 site->sigreturn);
	if (trace_write(t->pid, address, buf, below_bytes + arch_frame_bytes(&t->xstate)) != R_OK) {
		warn_errno("cannot write to the stack of process %d at %#llx", t->pid,
			   (unsigned long long)address);
		return R_FAILED;
	}
	return R_OK;
}

static int enter(struct tracee *t, const struct inject_site *site)
{
	struct arch_regs regs;
	arch_call_enter(&regs, &t->regs, site->syscall_ret, site->frame);
	if (arch_regs_set(t->tid, &regs) != R_OK)
		return trace_failed(t, "set the registers of");
	return R_OK;
}

int inject_prepare(struct tracee *t, struct inject_site *site, const void *below,
		   size_t below_bytes)
{
	if (t->seccomp_live) {
		warn("thread %d of process %d has a seccomp filter; CAP_SYS_ADMIN is needed to "
		     "look inside",
		     t->tid, t->pid);
		return R_UNSUPPORTED;
	}
	if (site->user || t->injected) {
		warn("remote calls in thread %d of process %d begun twice", t->tid, t->pid);
		return R_FAILED;
	}
	int rc = site->disposable ? R_OK : write_frame(t, site, below, below_bytes);
	if (rc)
		return rc;
	site->user = t->tid;
	t->injected = true;
	if (!site->disposable) {
		t->holds_ending = true;
		ending_hold();
	}
	return R_OK;
}

int inject_begin(struct tracee *t, struct inject_site *site)
{
	int rc = inject_prepare(t, site, NULL, 0);
	if (rc)
		return rc;
	if (site->disposable)
		return trace_mask_set(t, TRACE_ALL_SIGNALS);
	/* The registers first: from here on the thread, let go, comes back over the frame, which
	 * also restores the mask. */
	rc = enter(t, site);
	return rc ? rc : trace_mask_set(t, TRACE_ALL_SIGNALS);
}

int inject_leave(struct tracee *t, const struct inject_site *site)
{
	return site->disposable || t->in_signal ? R_OK : trace_order(t);
}

int inject_end(struct tracee *t, struct inject_site *site)
{
	if (site->user != t->tid) {
		warn("remote calls in thread %d of process %d ended without being begun", t->tid,
		     t->pid);
		return R_FAILED;
	}
	site->user = 0;
	if (site->disposable) {
		t->injected = false;
		return R_OK;
	}
	return trace_settle(t);
}

/* Lets `t` run to the next entry or exit of a call.  Stops of other kinds on the way are passed
 * through: nothing but SIGSTOP and SIGKILL can arrive. */
static int run_to_call_stop(struct tracee *t, const struct inject_site *site)
{
	int signal = 0;
	for (;;) {
		int rc = trace_resume(t, PTRACE_SYSCALL, signal);
		if (rc)
			return rc;
		enum trace_stop stop;
		rc = trace_wait_asking(t, site, &stop, &signal);
		if (rc || stop == STOP_SYSCALL)
			return rc;
		if (stop != STOP_SIGNAL)
			signal = 0;
	}
}

/*
 * At the gadget stands a signal return; only at the entry stop it becomes the call.  So the thread
 * of a snap that is killed before goes home without having called anything, and after that it does
 * the call and returns into the frame.
 */
static int call_once(struct tracee *t, struct inject_site *site, int64_t *ret, long nr,
		     const uint64_t args[6])
{
	int rc = enter(t, site);
	if (rc == R_OK)
		rc = run_to_call_stop(t, site);
	if (rc)
		return rc;
	struct arch_regs regs;
	arch_call_load(&regs, &t->regs, site->syscall_ret, site->frame, nr, args);
	if (arch_regs_set(t->tid, &regs) != R_OK)
		return trace_failed(t, "set the registers of");
	rc = run_to_call_stop(t, site);
	if (rc)
		return rc;
	if (arch_regs_get(t->tid, &regs) != R_OK)
		return trace_failed(t, "read the registers of");
	*ret = arch_call_result(&regs);
	if (site->disposable)
		t->regs = regs; /* what the calls change (segment bases) is meant to stay */
	return R_OK;
}

int inject_syscall(struct tracee *t, struct inject_site *site, int64_t *ret, long nr, uint64_t a0,
		   uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5)
{
	const uint64_t args[6] = { a0, a1, a2, a3, a4, a5 };
	if (site->user != t->tid) {
		warn("remote call in thread %d of process %d without preparation", t->tid, t->pid);
		return R_FAILED;
	}
	for (int attempt = 0; attempt < CALL_ATTEMPTS; attempt++) {
		int rc = call_once(t, site, ret, nr, args);
		if (rc || !arch_result_is_restart(*ret))
			return rc;
	}
	warn("call %ld in thread %d of process %d is interrupted again and again", nr, t->tid,
	     t->pid);
	return R_FAILED;
}
