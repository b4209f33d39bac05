#include <cpuid.h>

#include "engine/arch/arch.h"

size_t arch_xstate_bytes(void)
{
	unsigned int eax, ebx = 0, ecx, edx;

	/* Leaf 0xd: the size of the standard format for the features enabled on this machine. */
	if (!__get_cpuid_count(0xd, 0, &eax, &ebx, &ecx, &edx))
		return 0;
	return ebx;
}
