/* General, SSE/AVX and (where there are any) AVX-512 registers of a thread that never makes a
 * system call, and of one that does: compared in the loop itself. */
#include "target.h"

#include <immintrin.h>
#include <pthread.h>
#include <stdatomic.h>

static atomic_int stop;
static volatile uint64_t rounds, broken;

/* Keeps a value of its own in each of ten registers, and counts the rounds in which one changed. */
static void *general(void *arg)
{
	__asm__ volatile("push %%rbp\n"
			 "mov $0x1111111111111111, %%rbx\n"
			 "mov $0x2222222222222222, %%r8\n"
			 "mov $0x3333333333333333, %%r9\n"
			 "mov $0x4444444444444444, %%r10\n"
			 "mov $0x5555555555555555, %%r11\n"
			 "mov $0x6666666666666666, %%r12\n"
			 "mov $0x7777777777777777, %%r13\n"
			 "mov $0x8888888888888888, %%r14\n"
			 "mov $0x9999999999999999, %%r15\n"
			 "mov $0xaaaaaaaaaaaaaaaa, %%rbp\n"
			 "1:\n"
			 "mov $0x1111111111111111, %%rax\n cmp %%rax, %%rbx\n jne 2f\n"
			 "mov $0x2222222222222222, %%rax\n cmp %%rax, %%r8\n jne 2f\n"
			 "mov $0x3333333333333333, %%rax\n cmp %%rax, %%r9\n jne 2f\n"
			 "mov $0x4444444444444444, %%rax\n cmp %%rax, %%r10\n jne 2f\n"
			 "mov $0x5555555555555555, %%rax\n cmp %%rax, %%r11\n jne 2f\n"
			 "mov $0x6666666666666666, %%rax\n cmp %%rax, %%r12\n jne 2f\n"
			 "mov $0x7777777777777777, %%rax\n cmp %%rax, %%r13\n jne 2f\n"
			 "mov $0x8888888888888888, %%rax\n cmp %%rax, %%r14\n jne 2f\n"
			 "mov $0x9999999999999999, %%rax\n cmp %%rax, %%r15\n jne 2f\n"
			 "mov $0xaaaaaaaaaaaaaaaa, %%rax\n cmp %%rax, %%rbp\n jne 2f\n"
			 "incq (%[rounds])\n"
			 "cmpl $0, (%[stop])\n"
			 "je 1b\n"
			 "jmp 3f\n"
			 "2: incq (%[broken])\n"
			 "3: pop %%rbp\n"
			 :
			 : [rounds] "D"(&rounds), [broken] "S"(&broken), [stop] "d"(&stop)
			 : "rax", "rbx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "cc",
			   "memory");
	return NULL;
}

static volatile uint64_t vector_rounds, vector_broken;

__attribute__((target("avx2"))) static void *avx(void *arg)
{
	__m256i in[16], out[16];

	for (int i = 0; i < 16; i++)
		pattern_fill(&in[i], sizeof(in[i]), 100 + i);
	while (!stop) {
#define LOAD(n) "vmovdqu " #n "*32(%0), %%ymm" #n "\n"
#define STORE(n) "vmovdqu %%ymm" #n ", " #n "*32(%1)\n"
#define ALL(op) \
	op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) op(8) op(9) op(10) op(11) op(12) op(13) \
	    op(14) op(15)
		__asm__ volatile(ALL(LOAD) "mov $200000, %%rcx\n1: dec %%rcx\n jnz 1b\n" ALL(STORE)
				 :
				 : "r"(in), "r"(out)
				 : "rcx", "cc", "memory", "ymm0", "ymm1", "ymm2", "ymm3", "ymm4",
				   "ymm5", "ymm6", "ymm7", "ymm8", "ymm9", "ymm10", "ymm11",
				   "ymm12", "ymm13", "ymm14", "ymm15");
		vector_broken += __builtin_memcmp(in, out, sizeof(in)) != 0;
		vector_rounds++;
	}
	return NULL;
}

static volatile uint64_t wide_rounds, wide_broken;

__attribute__((target("avx512f"))) static void *avx512(void *arg)
{
	unsigned char in[64], out[64];
	uint32_t mask = 0xa5c3, mask_out = 0;

	pattern_fill(in, sizeof(in), 300);
	while (!stop) {
		__asm__ volatile("vmovdqu64 (%1), %%zmm31\n vmovdqu64 (%1), %%zmm7\n"
				 "kmovw %k3, %%k5\n"
				 "mov $200000, %%rcx\n1: dec %%rcx\n jnz 1b\n"
				 "vpaddq %%zmm7, %%zmm31, %%zmm6\n vpsubq %%zmm7, %%zmm6, %%zmm6\n"
				 "vmovdqu64 %%zmm6, (%2)\n kmovw %%k5, %k0\n"
				 : "=r"(mask_out)
				 : "r"(in), "r"(out), "r"(mask)
				 : "rcx", "cc", "memory", "xmm6", "xmm7", "xmm31", "k5");
		wide_broken += __builtin_memcmp(in, out, sizeof(in)) != 0 || mask_out != mask;
		wide_rounds++;
	}
	return NULL;
}

int main(void)
{
	pthread_t threads[3];
	int n = 0, vectors = __builtin_cpu_supports("avx2"),
	    wide = __builtin_cpu_supports("avx512f");
	uint64_t before;

	CHECK(!pthread_create(&threads[n++], NULL, general, NULL));
	if (vectors)
		CHECK(!pthread_create(&threads[n++], NULL, avx, NULL));
	if (wide)
		CHECK(!pthread_create(&threads[n++], NULL, avx512, NULL));

	before = rounds;
	target_ready();

	for (before = rounds; rounds < before + 1000;)
		;
	for (before = vector_rounds; vectors && vector_rounds < before + 5;)
		;
	stop = 1;
	for (int i = 0; i < n; i++)
		CHECK(!pthread_join(threads[i], NULL));
	CHECK(broken == 0);
	CHECK(vector_broken == 0);
	CHECK(wide_broken == 0);
	target_pass();
}
