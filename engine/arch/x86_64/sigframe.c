#include "engine/arch/arch.h"

#include <assert.h>
#include <cpuid.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>

/*
 * struct rt_sigframe of the kernel: the return address, ucontext (without the libc's additions),
 * siginfo; the xstate further up, 64-byte aligned as XRSTOR wants it.
 */
struct k_sigcontext {
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15, di, si, bp, bx, dx, ax, cx, sp, ip, flags;
	uint16_t cs, gs, fs, ss;
	uint64_t err, trapno, oldmask, cr2, fpstate, reserved[8];
};

struct k_rt_sigframe {
	uint64_t return_address;
	uint64_t uc_flags;
	uint64_t uc_link;
	struct {
		uint64_t sp;
		int32_t flags;
		uint32_t pad;
		uint64_t size;
	} uc_stack;
	struct k_sigcontext mcontext;
	uint64_t sigmask;
	uint8_t info[128];
};
static_assert(sizeof(struct k_sigcontext) == 256, "sigcontext");
static_assert(offsetof(struct k_rt_sigframe, sigmask) == 8 + 40 + 256, "rt_sigframe");

/* Bytes 464.. of the FXSAVE area, which software may use: struct _fpx_sw_bytes of the kernel. */
struct k_fpx_sw {
	uint32_t magic1;
	uint32_t extended_size;
	uint64_t xfeatures;
	uint32_t xstate_size;
	uint32_t padding[7];
};
static_assert(sizeof(struct k_fpx_sw) == 48, "sw_reserved");

enum {
	SW_RESERVED_OFFSET = 464,
	XSAVE_HEADER_END = 576,
	K_MAGIC1 = 0x46505853,
	K_MAGIC2 = 0x46505845,
	UC_FP_XSTATE = 1,
	UC_SIGCONTEXT_SS = 2,
	UC_STRICT_RESTORE_SS = 4,
	XFEATURE_TILE_DATA = 18, /* the one feature a task must ask for */
};

/* A mode that does not exist: rt_sigreturn drops the error of setting it, and so leaves the
 * alternate stack alone. */
#define NO_SUCH_STACK_MODE 0x5a

#define MARK_MAGIC 0x31454d4152464e53ULL /* "SNFRAME1" */

enum {
	XSTATE_OFFSET = 512, /* above sizeof(struct k_rt_sigframe), 64-byte aligned */
	MARK_OFFSET =
	    offsetof(struct k_rt_sigframe, info), /* where a signal return does not look */
};
static_assert(sizeof(struct k_rt_sigframe) <= XSTATE_OFFSET, "the xstate lies behind the frame");
static_assert(MARK_OFFSET + ARCH_FRAME_MARK_BYTES <= ARCH_STEP_BYTES, "a step holds its mark");

/* Length of the xsave area of a task that asked for no optional feature: where the kernel looks for
 * the second magic word then.  Kept for the features asked for last, as a virtual machine leaves
 * its processor for each of these instructions.  Asked for by the one thread that traces. */
static uint32_t default_xstate_bytes(uint64_t xcr0)
{
	static uint64_t known_for;
	static uint32_t known_end;
	uint32_t end = XSAVE_HEADER_END;
	if (known_end && known_for == xcr0)
		return known_end;
	for (unsigned i = 2; i < 63; i++) {
		unsigned size, offset, c, d;
		if (!(xcr0 >> i & 1) || i == XFEATURE_TILE_DATA)
			continue;
		__cpuid_count(0xd, i, size, offset, c, d);
		if (offset + size > end)
			end = offset + size;
	}
	known_for = xcr0;
	known_end = end;
	return end;
}

static size_t frame_end(const struct arch_xstate *xstate)
{
	return XSTATE_OFFSET + xstate->bytes + sizeof(uint32_t);
}

size_t arch_frame_bytes(const struct arch_xstate *xstate)
{
	return (frame_end(xstate) + 63) & ~(size_t)63;
}

static void build_xstate(uint8_t *to, const struct arch_xstate *xstate)
{
	memcpy(to, xstate->data, xstate->bytes);
	uint64_t
	    xcr0; /* ptrace gives the enabled features where the frame has its software bytes */
	memcpy(&xcr0, to + SW_RESERVED_OFFSET, sizeof xcr0);
	uint64_t in_use;
	memcpy(&in_use, to + 512, sizeof in_use);
	uint32_t plain_bytes = default_xstate_bytes(xcr0);
	if (plain_bytes > xstate->bytes)
		plain_bytes = xstate->bytes;
	uint32_t bytes = in_use >> XFEATURE_TILE_DATA & 1 ? xstate->bytes : plain_bytes;

	struct k_fpx_sw sw = {
		.magic1 = K_MAGIC1,
		.extended_size = bytes + (uint32_t)sizeof(uint32_t),
		.xfeatures = xcr0,
		.xstate_size = bytes,
	};
	memcpy(to + SW_RESERVED_OFFSET, &sw, sizeof sw);
	/* A task that once used tiles has the long area for good, even while they are in their
	 * initial state: the short place lies in padding or in tiles not in use, so both get the
	 * word. */
	uint32_t magic2 = K_MAGIC2;
	memcpy(to + bytes, &magic2, sizeof magic2);
	memcpy(to + xstate->bytes, &magic2, sizeof magic2);
}

void arch_frame_build(void *buf, uint64_t address, const struct arch_regs *regs,
		      const struct arch_xstate *xstate, uint64_t sigmask, uint64_t sigreturn)
{
	memset(buf, 0, arch_frame_bytes(xstate));
	struct arch_regs at = *regs;
	arch_call_rewind(&at);
	const struct user_regs_struct *r = &at.user;
	struct k_rt_sigframe frame = {
		.return_address = sigreturn,
		.uc_flags = UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS,
		.uc_stack.flags = NO_SUCH_STACK_MODE,
		.mcontext = {
			.r8 = r->r8, .r9 = r->r9, .r10 = r->r10, .r11 = r->r11, .r12 = r->r12,
			.r13 = r->r13, .r14 = r->r14, .r15 = r->r15, .di = r->rdi, .si = r->rsi,
			.bp = r->rbp, .bx = r->rbx, .dx = r->rdx, .ax = r->rax, .cx = r->rcx,
			.sp = r->rsp, .ip = r->rip, .flags = r->eflags,
			.cs = (uint16_t)r->cs, .ss = (uint16_t)r->ss,
			.fpstate = address + XSTATE_OFFSET,
		},
		.sigmask = sigmask,
	};
	memcpy(buf, &frame, sizeof frame);
	uint64_t mark[2] = { MARK_MAGIC, address };
	memcpy((uint8_t *)buf + MARK_OFFSET, mark, sizeof mark);
	build_xstate((uint8_t *)buf + XSTATE_OFFSET, xstate);
}

void arch_step_build(void *buf, uint64_t address, const struct arch_regs *base, uint64_t gadget,
		     uint64_t sigreturn, uint64_t next, long nr, const uint64_t args[6])
{
	const struct user_regs_struct *r = &base->user;
	/* No xstate: the kernel then clears it, and what is returned into next brings its own. */
	struct k_rt_sigframe frame = {
		.return_address = sigreturn,
		.uc_flags = UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS,
		.uc_stack.flags = NO_SUCH_STACK_MODE,
		.mcontext = {
			.di = args[0], .si = args[1], .dx = args[2],
			.r10 = args[3], .r8 = args[4], .r9 = args[5],
			.ax = (uint64_t)nr, .sp = next ? next : address, .ip = gadget,
			.flags = r->eflags, .cs = (uint16_t)r->cs, .ss = (uint16_t)r->ss,
		},
		.sigmask = ~(uint64_t)0,
	};
	uint64_t mark[2] = { MARK_MAGIC, address };
	memset(buf, 0, ARCH_STEP_BYTES);
	memcpy(buf, &frame, MARK_OFFSET);
	memcpy((uint8_t *)buf + MARK_OFFSET, mark, sizeof mark);
}

uint64_t arch_step_argument(uint64_t address)
{
	return address + offsetof(struct k_rt_sigframe, mcontext.di);
}

/* Before the return the stack pointer is at the frame, behind it 8 bytes further. */
uint64_t arch_frame_candidate(const struct arch_regs *regs, int which, uint64_t *mark_address)
{
	uint64_t frame = regs->user.rsp - (which ? sizeof(uint64_t) : 0);
	*mark_address = frame + MARK_OFFSET;
	return frame;
}

bool arch_frame_mark_valid(const uint8_t mark[ARCH_FRAME_MARK_BYTES], uint64_t frame)
{
	uint64_t words[2];
	memcpy(words, mark, sizeof words);
	return words[0] == MARK_MAGIC && words[1] == frame;
}
