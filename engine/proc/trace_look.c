#include "engine/proc/trace_internal.h"

#include <errno.h>
#include <sys/ptrace.h>
#include <time.h>

#include "base/result.h"
#include "base/warn.h"

#ifndef PTRACE_GET_RSEQ_CONFIGURATION
#define PTRACE_GET_RSEQ_CONFIGURATION 0x420f
#endif

/* As the kernel lays them out (linux/rseq.h, linux/ptrace.h); spelled out since older headers
 * lack them. */
struct rseq_configuration {
	uint64_t address;
	uint32_t bytes;
	uint32_t signature;
	uint32_t flags;
	uint32_t pad;
};

#define RSEQ_CS_OFFSET 8

struct rseq_section {
	uint32_t version, flags;
	uint64_t start_ip, post_commit_offset, abort_ip;
};

/* A killed snap's thread needs a few instructions to be home; more is a remote call still going. */
#define HOMECOMING_ROUNDS 1500
#define HOMECOMING_PAUSE_NS 2000000L

int trace_mask_get(const struct tracee *t, uint64_t *mask)
{
	if (ptrace(PTRACE_GETSIGMASK, t->tid, (void *)ARCH_SIGSET_BYTES, mask))
		return trace_failed(t, "read the signal mask of");
	return R_OK;
}

int trace_mask_set(const struct tracee *t, uint64_t mask)
{
	if (ptrace(PTRACE_SETSIGMASK, t->tid, (void *)ARCH_SIGSET_BYTES, &mask))
		return trace_failed(t, "set the signal mask of");
	return R_OK;
}

/* Reads the registers, and first of all puts right what the thread would see if we died now. */
static int repair(struct tracee *t)
{
	if (arch_regs_get(t->tid, &t->regs) != R_OK)
		return trace_failed(t, "read the registers of");
	if (!arch_call_broken_off(&t->regs))
		return R_OK;
	arch_call_restart(&t->regs);
	if (arch_regs_set(t->tid, &t->regs) != R_OK)
		return trace_failed(t, "set the registers of");
	return R_OK;
}

/* In the midst of a chain its frame is somewhere above the stack pointer. */
static bool is_in_chain(const struct tracee *t)
{
	uint8_t code[ARCH_GADGET_MAX_BYTES], mark[ARCH_FRAME_MARK_BYTES];
	uint64_t sp = arch_sp(&t->regs);
	struct arch_regs there = t->regs;

	if (trace_read(t->pid, arch_ip(&t->regs), code, sizeof code) != R_OK ||
	    !arch_chain_goes_on(code))
		return false;
	for (uint64_t at = (sp + 63) & ~63ULL; at - sp <= TRACE_CHAIN_MAX_BYTES; at += 64) {
		uint64_t mark_at, frame;
		there.user.rsp = at;
		frame = arch_frame_candidate(&there, 0, &mark_at);
		if (trace_read(t->pid, mark_at, mark, sizeof mark) != R_OK)
			return false;
		if (arch_frame_mark_valid(mark, frame))
			return true;
	}
	return false;
}

static bool is_marked(const struct tracee *t, uint64_t frame, uint64_t mark_at)
{
	uint8_t mark[ARCH_FRAME_MARK_BYTES];
	return trace_read(t->pid, mark_at, mark, sizeof mark) == R_OK &&
	       arch_frame_mark_valid(mark, frame);
}

static bool is_coming_home(const struct tracee *t)
{
	uint64_t at[ARCH_FRAME_CANDIDATES], frame[ARCH_FRAME_CANDIDATES];
	uint64_t low = UINT64_MAX, high = 0;
	uint8_t around[2 * ARCH_FRAME_MARK_BYTES];
	for (int which = 0; which < ARCH_FRAME_CANDIDATES; which++) {
		frame[which] = arch_frame_candidate(&t->regs, which, &at[which]);
		low = at[which] < low ? at[which] : low;
		high = at[which] > high ? at[which] : high;
	}
	/* They overlap: one look does, unless memory ends there. */
	uint64_t bytes = high - low + ARCH_FRAME_MARK_BYTES;
	bool together = bytes <= sizeof around && trace_read(t->pid, low, around, bytes) == R_OK;
	for (int which = 0; which < ARCH_FRAME_CANDIDATES; which++)
		if (together ? arch_frame_mark_valid(around + (at[which] - low), frame[which])
			     : is_marked(t, frame[which], at[which]))
			return true;
	return is_in_chain(t);
}

/*
 * The thread may still be on its way through the frame of a snap that was killed: what it is then
 * is not its state, and the frame is needed.  So it goes on until it is home.
 */
static int await_homecoming(struct tracee *t)
{
	for (int round = 0; is_coming_home(t); round++) {
		if (round == HOMECOMING_ROUNDS) {
			warn("thread %d of process %d is still in a call of a snap that was killed",
			     t->tid, t->pid);
			return R_FAILED;
		}
		int rc = trace_resume(t, PTRACE_CONT, 0);
		if (rc)
			return rc;
		if (round)
			nanosleep(&(struct timespec){ .tv_nsec = HOMECOMING_PAUSE_NS }, NULL);
		rc = trace_park(t, true);
		if (rc)
			return rc;
		rc = repair(t);
		if (rc)
			return rc;
	}
	return R_OK;
}

/* A thread is stopped in the middle of a restartable sequence only with its abort to come; the
 * kernel would not notice, as by the time it looks the thread is at a remote call.  True if the
 * registers changed. */
static bool abort_rseq(struct tracee *t)
{
	struct rseq_configuration config = { 0 };
	if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, t->tid, (void *)sizeof config, &config) <= 0)
		return false; /* a kernel without: nothing of the kind can be registered with
				 libc 2.35+ */
	t->rseq_address = config.address;
	t->rseq_bytes = config.bytes;
	t->rseq_signature = config.signature;

	uint64_t section_address;
	struct rseq_section section;
	if (config.address == 0 ||
	    trace_read(t->pid, config.address + RSEQ_CS_OFFSET, &section_address,
		       sizeof section_address) != R_OK ||
	    section_address == 0)
		return false;
	if (trace_read(t->pid, section_address, &section, sizeof section) != R_OK)
		return false; /* the kernel will answer that with SIGSEGV by itself */
	if (arch_ip(&t->regs) - section.start_ip >= section.post_commit_offset)
		return false;
	arch_set_ip(&t->regs, section.abort_ip);
	return true;
}

int trace_look(struct tracee *t)
{
	int rc = repair(t);
	if (rc == R_OK)
		rc = await_homecoming(t);
	if (rc)
		return rc;
	if (abort_rseq(t) && arch_regs_set(t->tid, &t->regs) != R_OK)
		return trace_failed(t, "set the registers of");
	arch_call_recover(t->pid, &t->regs);

	const char *reason = arch_unsupported(t->tid, &t->regs);
	if (reason) {
		warn("thread %d of process %d %s, which is not supported", t->tid, t->pid, reason);
		return R_UNSUPPORTED;
	}
	rc = trace_mask_get(t, &t->sigmask);
	if (rc)
		return rc;
	if (arch_xstate_get(t->tid, &t->xstate) != R_OK)
		return trace_failed(t, "read the vector registers of");
	return R_OK;
}
