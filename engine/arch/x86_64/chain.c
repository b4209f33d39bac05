/* Calls led from one to the next by return addresses. */
#include "engine/arch/arch.h"

#include <assert.h>
#include <string.h>

#define WORDS_OF_CALL (ARCH_CHAIN_CALL_BYTES / sizeof(uint64_t))
#define WORDS_OF_END (ARCH_CHAIN_END_BYTES / sizeof(uint64_t))

/* Arguments and number, popped one by one, and the call itself. */
static uint64_t *put_call(uint64_t *word, const struct arch_chain_call *call,
			  const uint64_t gadgets[ARCH_GADGET_COUNT])
{
	for (int i = 0; i < 3; i++) {
		*word++ = gadgets[ARCH_GADGET_POP_ARG0 + i];
		*word++ = call->args[i];
	}
	*word++ = gadgets[ARCH_GADGET_POP_NUMBER];
	*word++ = (uint64_t)call->nr;
	*word++ = gadgets[ARCH_GADGET_SYSCALL_RETURN];
	return word;
}

void arch_chain_build(void *buf, const struct arch_chain_call *calls, size_t n,
		      const uint64_t gadgets[ARCH_GADGET_COUNT])
{
	uint64_t *word = buf;

	for (size_t i = 0; i < n; i++) {
		word = put_call(word, &calls[i], gadgets);
		if (i + 1 == n)
			break;
		*word++ = gadgets[ARCH_GADGET_KEEP_RESULT];
		*word++ = calls[i + 1].result; /* what that pops is where it stores next */
	}
	static_assert(WORDS_OF_CALL == 11 && WORDS_OF_END == 9, "as put here");
}

void arch_chain_enter(struct arch_regs *regs, const struct arch_regs *base, uint64_t start,
		      const struct arch_chain_call *first, uint64_t arg3,
		      const uint64_t gadgets[ARCH_GADGET_COUNT])
{
	*regs = *base;
	/* A return and nothing else, as it follows a pop of one byte. */
	regs->user.rip = gadgets[ARCH_GADGET_POP_ARG0] + 1;
	regs->user.rsp = start;
	regs->user.orig_rax = (uint64_t)-1;
	regs->user.rax = 0;
	regs->user.rbx = first->result;
	regs->user.r10 = arg3;
	regs->user.r8 = 0;
	regs->user.r9 = 0;
}

bool arch_chain_goes_on(const uint8_t code[ARCH_GADGET_MAX_BYTES])
{
	static const enum arch_gadget all[] = {
		ARCH_GADGET_SYSCALL_RETURN, ARCH_GADGET_KEEP_RESULT, ARCH_GADGET_POP_ARG0,
		ARCH_GADGET_POP_ARG1,	    ARCH_GADGET_POP_ARG2,    ARCH_GADGET_POP_NUMBER,
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (arch_gadget_find(all[i], code, ARCH_GADGET_MAX_BYTES) == 0)
			return true;
	/* Their returns, and the pop between a result and its return. */
	return code[0] == 0xc3 || (code[0] == 0x5b && code[1] == 0xc3);
}
