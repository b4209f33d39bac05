/* Private anonymous memory: heap, stack, globals, a big sparse range, zero pages. */
#include "target.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SPARSE_BYTES (64UL << 20)
#define STEP_BYTES (1UL << 20)

static unsigned char initialised[3 * 4096] = { 1, 2, 3 };
static unsigned char bss[5 * 4096];

int main(void)
{
	unsigned char on_stack[100000];
	unsigned char *heap = malloc(300000);
	void *old_break;
	unsigned char *sparse = mmap(NULL, SPARSE_BYTES, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	NEED(heap && sparse != MAP_FAILED);
	pattern_fill(initialised, sizeof(initialised), 1);
	pattern_fill(bss, sizeof(bss), 2);
	pattern_fill(on_stack, sizeof(on_stack), 3);
	pattern_fill(heap, 300000, 4);
	for (size_t at = 0; at < SPARSE_BYTES; at += STEP_BYTES)
		pattern_fill(sparse + at, 4096, (uint32_t)at + 5);
	memset(sparse + 8192, 0, 4096);
	old_break = sbrk(0);

	target_ready();

	CHECK(sbrk(0) == old_break);
	CHECK(pattern_differs(initialised, sizeof(initialised), 1) == sizeof(initialised));
	CHECK(pattern_differs(bss, sizeof(bss), 2) == sizeof(bss));
	CHECK(pattern_differs(on_stack, sizeof(on_stack), 3) == sizeof(on_stack));
	CHECK(pattern_differs(heap, 300000, 4) == 300000);
	for (size_t at = 0; at < SPARSE_BYTES; at += STEP_BYTES) {
		CHECK(pattern_differs(sparse + at, 4096, (uint32_t)at + 5) == 4096);
		CHECK(!sparse[at + 4096] && !sparse[at + STEP_BYTES - 1]);
	}
	CHECK(sbrk(1 << 20) == old_break);
	memset(old_break, 7, 1 << 20);
	heap = realloc(heap, 3000000);
	CHECK(heap && pattern_differs(heap, 300000, 4) == 300000);
	target_pass();
}
