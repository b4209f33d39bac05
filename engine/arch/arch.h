/*
 * What differs between processor families.  Only engine/arch/FAMILY knows register names, system
 * call conventions, the layout of signal frames and what the kernel does to an interrupted call.
 * (Images name registers too, as their schema is per family: they read `user` of arch_regs.)
 */
#ifndef SNAP_ENGINE_ARCH_ARCH_H
#define SNAP_ENGINE_ARCH_ARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

/* General registers, as NT_PRSTATUS gives them. */
struct arch_regs {
	struct user_regs_struct user;
};

/* 16 KiB: XSAVE with AMX tiles is 11 008 bytes, the largest in existence. */
#define ARCH_XSTATE_MAX_BYTES 16384

/* Everything else a thread has in registers, as NT_X86_XSTATE gives it (XSAVE standard format). */
struct arch_xstate {
	uint32_t bytes;
	uint8_t data[ARCH_XSTATE_MAX_BYTES] __attribute__((aligned(64)));
};

/* Registers of a stopped tracee.  R_OK; R_NOT_FOUND if it is gone; R_FAILED with errno set and
 * nothing reported. */
int arch_regs_get(pid_t tid, struct arch_regs *regs);
int arch_regs_set(pid_t tid, const struct arch_regs *regs);
int arch_xstate_get(pid_t tid, struct arch_xstate *xstate);
int arch_xstate_set(pid_t tid, const struct arch_xstate *xstate);

/* Bytes that arch_xstate takes on this processor; registers of another size do not fit it. */
size_t arch_xstate_bytes(void);

uint64_t arch_ip(const struct arch_regs *regs);
uint64_t arch_sp(const struct arch_regs *regs);
void arch_set_ip(struct arch_regs *regs, uint64_t ip);

/* Why a stopped thread with these registers cannot be captured or made to do calls (a 32-bit task,
 * a shadow stack, ...), in words for a message; NULL if it can. */
const char *arch_unsupported(pid_t tid, const struct arch_regs *regs);

/*
 * Interrupted calls.  A thread stopped on its way out of a call that a signal (or our stop) broke
 * off has a result no program ever sees: the kernel turns it into a restart or EINTR when it looks
 * for signals again.  Putting these registers back into a thread in PTRACE_EVENT_STOP therefore
 * restarts the call exactly, restart blocks included.
 */
/* True if that call of a thread of `pid` lends its memory to a child until that lets go of it. */
bool arch_call_is_vfork(pid_t pid, long nr, const uint64_t args[6]);
/* The number of the call the thread is on its way out of, or -1. */
long arch_call_in_progress(const struct arch_regs *regs);
/* True if the kernel will restart that call when it lets the thread go. */
bool arch_call_restarts(const struct arch_regs *regs);
/* True if that call returned EINTR, is one of those that do so for any stop, and may be done over
 * without harm (close() for one may not). */
bool arch_call_broken_off(const struct arch_regs *regs);
/* Makes the kernel do the call over, unless it runs a signal handler first: then it is EINTR, as
 * for a signal that came by itself. */
void arch_call_restart(struct arch_regs *regs);
/* A call that was restarted with its remaining time once no longer has its own number but that of
 * the restart.  Finds the own one from the arguments and the code, so that the call can be done
 * over from its beginning where the kernel's restart block is lost; the kernel itself does not care
 * which of the two it finds.  True if `regs` changed. */
bool arch_call_recover(pid_t pid, struct arch_regs *regs);
/* For registers that do not go through the kernel's own restart (a signal frame, an image): moves
 * back onto the call instruction with its number loaded, if the call restarts; what was waiting
 * with a restart block is then waited for from the beginning.  The thread counts as outside of
 * calls. */
void arch_call_rewind(struct arch_regs *regs);

/* Code to look for in executable mappings of a target. */
enum arch_gadget {
	ARCH_GADGET_SYSCALL_RETURN, /* system call, return */
	ARCH_GADGET_SIGRETURN,	    /* loads the number of rt_sigreturn, system call */
	ARCH_GADGET_NEEDED,	    /* those before it no remote call can do without */
	/* For chains.  Stores the result of a call, return. */
	ARCH_GADGET_KEEP_RESULT = ARCH_GADGET_NEEDED,
	ARCH_GADGET_POP_ARG0, /* from the stack into the register of the first argument, return */
	ARCH_GADGET_POP_ARG1,
	ARCH_GADGET_POP_ARG2,
	ARCH_GADGET_POP_NUMBER,
	ARCH_GADGET_COUNT,
};
/* Offset of the gadget in `code`, or -1. */
ssize_t arch_gadget_find(enum arch_gadget gadget, const uint8_t *code, size_t len);
/* The longest gadget: how far a search in pieces must overlap. */
#define ARCH_GADGET_MAX_BYTES 16

/* Signal set of the kernel's width. */
#define ARCH_SIGSET_BYTES 8

/*
 * A frame that, returned into, brings back a thread's registers, xstate and signal mask and leaves
 * its alternate signal stack as it is.  Position dependent: built for one address.  Ends in a mark
 * that names this address, so that a thread still on its way through it can be told.
 */
#define ARCH_FRAME_MAX_BYTES (ARCH_XSTATE_MAX_BYTES + 2048)
/* Bytes the frame of such a thread takes; a multiple of 64. */
size_t arch_frame_bytes(const struct arch_xstate *xstate);
/* Builds it into `buf` for `address` (a multiple of 64).  `sigreturn` is where the gadget is. */
void arch_frame_build(void *buf, uint64_t address, const struct arch_regs *regs,
		      const struct arch_xstate *xstate, uint64_t sigmask, uint64_t sigreturn);
/* The address of the frame a thread with these registers would be on its way through, if the
 * ARCH_FRAME_MARK_BYTES at `*mark_address` are a mark: `which` below ARCH_FRAME_CANDIDATES, the
 * first for one that has not begun to return. */
#define ARCH_FRAME_MARK_BYTES 16
#define ARCH_FRAME_CANDIDATES 2
uint64_t arch_frame_candidate(const struct arch_regs *regs, int which, uint64_t *mark_address);
bool arch_frame_mark_valid(const uint8_t mark[ARCH_FRAME_MARK_BYTES], uint64_t frame);

/*
 * A frame as above that does a system call instead of bringing a thread home: returned into, it
 * calls `nr` through ARCH_GADGET_SYSCALL_RETURN at `gadget`, all signals blocked, and then returns
 * into `next` (an address of another frame, 0 for a call that does not return).  Vector registers
 * are lost.  The first argument lies at arch_step_argument(): 32 bits of it may be set later.
 */
#define ARCH_STEP_BYTES 336
void arch_step_build(void *buf, uint64_t address, const struct arch_regs *base, uint64_t gadget,
		     uint64_t sigreturn, uint64_t next, long nr, const uint64_t args[6]);
uint64_t arch_step_argument(uint64_t address);

/*
 * A chain: calls that a thread makes one after the other without anybody's doing, led from each to
 * the next by addresses of gadgets on its stack.  It ends at the address of a frame, into which its
 * last call returns; unlike a step it leaves alone what the kernel notes for an interrupted call.
 * What a call returns is stored at its `result`.  All of a chain have the same fourth argument.
 */
#define ARCH_CHAIN_CALL_BYTES 88
#define ARCH_CHAIN_END_BYTES 72
struct arch_chain_call {
	long nr;
	uint64_t args[3];
	uint64_t result; /* not of the last */
};
/* Builds `n` of them, the last of which ends the chain. */
void arch_chain_build(void *buf, const struct arch_chain_call *calls, size_t n,
		      const uint64_t gadgets[ARCH_GADGET_COUNT]);
/* Registers that begin it; it lies at `start`. */
void arch_chain_enter(struct arch_regs *regs, const struct arch_regs *base, uint64_t start,
		      const struct arch_chain_call *first, uint64_t arg3,
		      const uint64_t gadgets[ARCH_GADGET_COUNT]);
/* Could this code, at a thread's instruction pointer, be a part of a chain? */
bool arch_chain_goes_on(const uint8_t code[ARCH_GADGET_MAX_BYTES]);

/*
 * Registers for a remote call through ARCH_GADGET_SYSCALL_RETURN at `gadget`, from `base`.
 * arch_call_enter: on the gadget; let go by itself, the thread returns through `frame` without
 * having done a call.  arch_call_load: at the entry stop, the call itself; let go, it does the call
 * and returns through `frame`.  frame == 0: no way back, the thread is killed with us.
 */
void arch_call_enter(struct arch_regs *regs, const struct arch_regs *base, uint64_t gadget,
		     uint64_t frame);
void arch_call_load(struct arch_regs *regs, const struct arch_regs *base, uint64_t gadget,
		    uint64_t frame, long nr, const uint64_t args[6]);
/* What a call returned, at its exit stop. */
int64_t arch_call_result(const struct arch_regs *regs);
/* True if the result says that the call must be done over. */
bool arch_result_is_restart(int64_t result);

/* Continues a CRC32C (its register, not inverted) over `len` bytes with an instruction for it;
 * false if this processor has none. */
bool arch_crc32c(uint32_t *crc, const void *data, size_t len);

#endif
