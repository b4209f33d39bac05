#include "engine/rebuild/rebuild.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/warn.h"

/* Room for clone arguments, lists of regions and the files' own arguments. */
#define SCRATCH_DATA_BYTES (256u << 10)
#define SCRATCH_BYTES (SCRATCH_DATA_BYTES + PAGE_BYTES)

/* Where to look: far below the mappings of position-independent programs, far above those of the
 * others, and a step that leaves each candidate well away from the last.  The upper half of the
 * tries begins beyond the shadow memory of an address sanitizer, which fills the lower places when
 * this very program or the target is built with one. */
#define SCRATCH_LOW 0x100000000ull
#define SCRATCH_HIGH 0x200000000000ull
#define SCRATCH_STEP 0x10000000ull
#define SCRATCH_TRIES 4096

static uint64_t candidate(unsigned i)
{
	return i < SCRATCH_TRIES / 2 ? SCRATCH_LOW + i * SCRATCH_STEP
				     : SCRATCH_HIGH + (i - SCRATCH_TRIES / 2) * SCRATCH_STEP;
}

static bool range_is_free(const struct rebuild *r, uint64_t from, uint64_t to)
{
	for (size_t i = 0; i < r->n_tasks; i++) {
		const MmEntry *mm = r->tasks[i]->mm;

		for (size_t k = 0; mm && k < mm->n_vmas; k++)
			if (mm->vmas[k]->start < to && from < mm->vmas[k]->end)
				return false;
	}
	return true;
}

int scratch_map(struct rebuild *r)
{
	/* syscall; ret */
	static const uint8_t code[] = { 0x0f, 0x05, 0xc3 };

	for (unsigned i = 0; i < SCRATCH_TRIES; i++) {
		uint64_t at = candidate(i);
		/* A stack that grows must not run into it while the tree is made. */
		uint64_t clear = SCRATCH_STEP / 2;
		void *got;

		if (!range_is_free(r, at - clear, at + SCRATCH_BYTES + clear))
			continue;
		got = mmap((void *)(uintptr_t)at, SCRATCH_BYTES, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
		if (got == MAP_FAILED)
			continue;
		r->scratch = got;
		memcpy(got, code, sizeof(code));
		if (mprotect(got, PAGE_BYTES, PROT_READ | PROT_EXEC))
			break;
		r->data = r->scratch + PAGE_BYTES;
		r->data_bytes = SCRATCH_DATA_BYTES;
		return R_OK;
	}
	warn_errno("no place in the address space for the code that rebuilds tasks");
	return R_FAILED;
}

void scratch_unmap(struct rebuild *r)
{
	if (r->scratch)
		munmap(r->scratch, SCRATCH_BYTES);
	r->scratch = NULL;
}
