#include <cpuid.h>
#include <stdlib.h>
#include <string.h>

#include "base/warn.h"
#include "engine/arch/arch.h"
#include "engine/rebuild/rebuild.h"

/* The legacy part of an XSAVE area (Intel SDM volume 1, 10.5.1), then its header (13.4.2). */
#define FX_MXCSR 24
#define FX_ST 32
#define FX_XMM 160
#define XSTATE_BV 512
#define XSTATE_HEADER_END 576
#define LEAF_XSTATE 0xd

enum feature { X87, SSE, AVX, BNDREGS, BNDCSR, OPMASK, ZMM_UPPER, HI16_ZMM, PT, PKRU };
/* Those whose registers CRIU's image has. */
#define KNOWN \
	(1u << X87 | 1u << SSE | 1u << AVX | 1u << OPMASK | 1u << ZMM_UPPER | 1u << HI16_ZMM | \
	 1u << PKRU)

static void put16(uint8_t *at, uint32_t value)
{
	uint16_t word = (uint16_t)value;

	memcpy(at, &word, sizeof(word));
}

static void put_words(uint8_t *to, size_t room, const uint32_t *words, size_t n)
{
	size_t bytes = n * sizeof(*words);

	memcpy(to, words, bytes < room ? bytes : room);
}

static void legacy(const UserX86FpregsEntry *from, uint8_t *to)
{
	put16(to, from->cwd);
	put16(to + 2, from->swd);
	put16(to + 4, from->twd);
	put16(to + 6, from->fop);
	memcpy(to + 8, &from->rip, sizeof(from->rip));
	memcpy(to + 16, &from->rdp, sizeof(from->rdp));
	memcpy(to + FX_MXCSR, &from->mxcsr, sizeof(from->mxcsr));
	memcpy(to + FX_MXCSR + 4, &from->mxcsr_mask, sizeof(from->mxcsr_mask));
	put_words(to + FX_ST, 128, from->st_space, from->n_st_space);
	put_words(to + FX_XMM, 256, from->xmm_space, from->n_xmm_space);
}

/* Where this processor keeps the registers of a feature; false if it has none of these, or fewer
 * bytes of them. */
static bool place(const struct rebuild_thread *th, enum feature feature, size_t bytes, size_t *at)
{
	unsigned int size, offset, c, d;

	if (!__get_cpuid_count(LEAF_XSTATE, (unsigned int)feature, &size, &offset, &c, &d) ||
	    size < bytes || offset < XSTATE_HEADER_END || offset > th->xstate_bytes ||
	    th->xstate_bytes - offset < bytes)
		return false;
	*at = offset;
	return true;
}

static bool extend(struct rebuild_thread *th, enum feature feature, const void *data, size_t bytes)
{
	size_t at;

	if (!bytes)
		return true;
	if (!place(th, feature, bytes, &at))
		return false;
	memcpy(th->xstate + at, data, bytes);
	return true;
}

static bool extended(struct rebuild_thread *th, const UserX86XsaveEntry *from)
{
	uint64_t in_use = from->xstate_bv & KNOWN;

	memcpy(th->xstate + XSTATE_BV, &in_use, sizeof(in_use));
	return extend(th, AVX, from->ymmh_space, from->n_ymmh_space * 4) &&
	       extend(th, OPMASK, from->opmask_reg, from->n_opmask_reg * 8) &&
	       extend(th, ZMM_UPPER, from->zmm_upper, from->n_zmm_upper * 8) &&
	       extend(th, HI16_ZMM, from->hi16_zmm, from->n_hi16_zmm * 8) &&
	       (!(in_use & 1u << PKRU) || extend(th, PKRU, from->pkru, from->n_pkru * 4));
}

int xstate_make(struct rebuild_thread *th)
{
	const UserX86FpregsEntry *from = th->core->thread_info->fpregs;
	static const uint64_t basic = 1u << X87 | 1u << SSE;

	if (th->extra) {
		th->xstate_bytes = th->extra->xstate.len;
		th->xstate = th->extra->xstate.data;
		return R_OK;
	}
	if (!from) {
		warn("task %d thread %d: its image has no floating point registers", th->task->pid,
		     th->tid);
		return R_DAMAGED;
	}
	th->xstate_bytes = arch_xstate_bytes();
	if (th->xstate_bytes < XSTATE_HEADER_END)
		return R_OK; /* refused where the size is checked */
	th->xstate = th->xstate_made = calloc(1, th->xstate_bytes);
	if (!th->xstate) {
		warn("out of memory");
		return R_FAILED;
	}
	legacy(from, th->xstate);
	memcpy(th->xstate + XSTATE_BV, &basic, sizeof(basic));
	if (!from->xsave || extended(th, from->xsave))
		return R_OK;
	warn("task %d thread %d: used registers that this processor does not have", th->task->pid,
	     th->tid);
	return R_UNSUPPORTED;
}
