/* x87 control word and stack, MXCSR. */
#include "target.h"

#include <xmmintrin.h>

int main(void)
{
	uint16_t control = 0x0e7f, control_now;
	uint32_t mxcsr = 0x7f80 & ~0x6000u, mxcsr_now;
	long double pi = 0;

	mxcsr |= 0x2000; /* round down */
	__asm__ volatile("fldcw %0" : : "m"(control));
	_mm_setcsr(mxcsr);
	__asm__ volatile("fldpi");

	target_ready();

	__asm__ volatile("fstpt %0" : "=m"(pi));
	__asm__ volatile("fnstcw %0" : "=m"(control_now));
	mxcsr_now = _mm_getcsr();
	CHECK(control_now == control);
	CHECK((mxcsr_now & ~0x3fu) == mxcsr);
	control = 0x037f;
	__asm__ volatile("fldcw %0" : : "m"(control));
	CHECK((double)pi > 3.14159265 && (double)pi < 3.14159266);
	target_pass();
}
