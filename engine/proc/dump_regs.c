#include <stddef.h>
#include <string.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/dump.h"

/* The legacy part of an XSAVE area (Intel SDM volume 1, 10.5.1), then its header (13.4.2). */
struct fxsave {
	uint16_t cwd, swd, twd, fop;
	uint64_t rip, rdp;
	uint32_t mxcsr, mxcsr_mask;
	uint32_t st_space[32];
	uint32_t xmm_space[64];
	uint32_t padding[24];
};
_Static_assert(sizeof(struct fxsave) == 512, "layout of FXSAVE");

#define XSTATE_BV_OFFSET 512
#define FEATURE_AVX (1u << 2)
#define AVX_OFFSET 576
#define AVX_WORDS 64

static void general(const struct user_regs_struct *from, UserX86RegsEntry *to)
{
	user_x86_regs_entry__init(to);
	to->r15 = from->r15;
	to->r14 = from->r14;
	to->r13 = from->r13;
	to->r12 = from->r12;
	to->bp = from->rbp;
	to->bx = from->rbx;
	to->r11 = from->r11;
	to->r10 = from->r10;
	to->r9 = from->r9;
	to->r8 = from->r8;
	to->ax = from->rax;
	to->cx = from->rcx;
	to->dx = from->rdx;
	to->si = from->rsi;
	to->di = from->rdi;
	to->orig_ax = from->orig_rax;
	to->ip = from->rip;
	to->cs = from->cs;
	to->flags = from->eflags;
	to->sp = from->rsp;
	to->ss = from->ss;
	to->fs_base = from->fs_base;
	to->gs_base = from->gs_base;
	to->ds = from->ds;
	to->es = from->es;
	to->fs = from->fs;
	to->gs = from->gs;
	to->has_mode = true;
	to->mode = USER_X86_REGS_MODE__NATIVE;
}

static uint32_t *words(struct dump_ctx *ctx, const void *from, size_t n)
{
	uint32_t *copy = dump_alloc(ctx, n * sizeof(*copy));

	if (copy)
		memcpy(copy, from, n * sizeof(*copy));
	return copy;
}

static int extended(struct dump_ctx *ctx, const struct arch_xstate *from, UserX86XsaveEntry *to)
{
	user_x86_xsave_entry__init(to);
	memcpy(&to->xstate_bv, from->data + XSTATE_BV_OFFSET, sizeof(to->xstate_bv));
	if (!(to->xstate_bv & FEATURE_AVX) || from->bytes < AVX_OFFSET + AVX_WORDS * 4)
		return R_OK;
	to->ymmh_space = words(ctx, from->data + AVX_OFFSET, AVX_WORDS);
	to->n_ymmh_space = to->ymmh_space ? AVX_WORDS : 0;
	return to->ymmh_space ? R_OK : R_FAILED;
}

/* What CRIU's message has no room for, AVX-512 at other offsets and later features, is in the raw
 * area of the snap-thread image, from which snap itself restores. */
static int floating(struct dump_ctx *ctx, const struct arch_xstate *from, UserX86FpregsEntry *to)
{
	struct fxsave fx;

	user_x86_fpregs_entry__init(to);
	if (from->bytes < sizeof(fx)) {
		warn("a thread's extended registers are only %u bytes", from->bytes);
		return R_FAILED;
	}
	memcpy(&fx, from->data, sizeof(fx));
	to->cwd = fx.cwd;
	to->swd = fx.swd;
	to->twd = fx.twd;
	to->fop = fx.fop;
	to->rip = fx.rip;
	to->rdp = fx.rdp;
	to->mxcsr = fx.mxcsr;
	to->mxcsr_mask = fx.mxcsr_mask;
	to->st_space = words(ctx, fx.st_space, 32);
	to->xmm_space = words(ctx, fx.xmm_space, 64);
	if (!to->st_space || !to->xmm_space)
		return R_FAILED;
	to->n_st_space = 32;
	to->n_xmm_space = 64;
	if (from->bytes < AVX_OFFSET)
		return R_OK;
	to->xsave = dump_alloc(ctx, sizeof(*to->xsave));
	return to->xsave ? extended(ctx, from, to->xsave) : R_FAILED;
}

int dump_registers(struct dump_ctx *ctx, const struct tracee *th, CoreEntry *core)
{
	ThreadInfoX86 *info = dump_alloc(ctx, sizeof(*info));

	if (!info)
		return R_FAILED;
	thread_info_x86__init(info);
	info->gpregs = dump_alloc(ctx, sizeof(*info->gpregs));
	info->fpregs = dump_alloc(ctx, sizeof(*info->fpregs));
	if (!info->gpregs || !info->fpregs)
		return R_FAILED;
	general(&th->regs.user, info->gpregs);
	core->mtype = CORE_ENTRY__MARCH__X86_64;
	core->thread_info = info;
	return floating(ctx, &th->xstate, info->fpregs);
}
