/*
 * What a cipher leaves where it worked: vector registers, and the stack below it.
 *
 * The registers are more than a detail: a process made next inherits them, a signal or the linker
 * saves them on the stack, a debugger reads them, and by each of these ways plaintext came into
 * memory that can be swapped and dumped.
 */
#include "store/seal_format.h"

/* More than the functions of libsodium use for one page. */
#define STACK_BYTES 8192

#if defined(__x86_64__)
__attribute__((target("avx"))) static void wipe_wide(void)
{
	__builtin_ia32_vzeroall();
}

/* libsodium goes no wider than AVX2, which has no other registers than AVX. */
static void wipe_registers(void)
{
	if (__builtin_cpu_supports("avx")) {
		wipe_wide();
		return;
	}
	__asm__ volatile("pxor %%xmm0, %%xmm0\n\tpxor %%xmm1, %%xmm1\n\t"
			 "pxor %%xmm2, %%xmm2\n\tpxor %%xmm3, %%xmm3\n\t"
			 "pxor %%xmm4, %%xmm4\n\tpxor %%xmm5, %%xmm5\n\t"
			 "pxor %%xmm6, %%xmm6\n\tpxor %%xmm7, %%xmm7\n\t"
			 "pxor %%xmm8, %%xmm8\n\tpxor %%xmm9, %%xmm9\n\t"
			 "pxor %%xmm10, %%xmm10\n\tpxor %%xmm11, %%xmm11\n\t"
			 "pxor %%xmm12, %%xmm12\n\tpxor %%xmm13, %%xmm13\n\t"
			 "pxor %%xmm14, %%xmm14\n\tpxor %%xmm15, %%xmm15" ::
			     : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
			       "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
			       "xmm15");
}
#else
/* By the same code at work on what everybody knows. */
static void wipe_registers(void)
{
	static const uint8_t key[KEY_BYTES], nonce[SEAL_NONCE_BYTES];
	uint8_t out[1024];

	crypto_stream_xchacha20(out, sizeof(out), nonce, key);
}
#endif

void seal_wipe(void)
{
	/* First, as it may be the first call of it, for which the linker saves the registers to the
	 * very stack that it wipes. */
	sodium_stackzero(STACK_BYTES);
	wipe_registers();
}
