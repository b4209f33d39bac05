/* A word that the machine knows in secret memory only, of which part is open and part is mapped
 * only; and another word in ordinary memory.  For ../scenario/36-secrets.sh. */
#include "target.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BYTES (8 * 4096)
#define WORD 26

/* One letter at a time, so that no word is anywhere before it is whole: every `step`-th letter. */
static void spell(volatile char *at, size_t bytes, int step)
{
	for (size_t i = 0; i < bytes; i++)
		at[i] = (char)('A' + (i % WORD) * (size_t)step % WORD);
}

static int spells(const volatile char *at, size_t bytes, int step)
{
	for (size_t i = 0; i < bytes; i++)
		if (at[i] != (char)('A' + (i % WORD) * (size_t)step % WORD))
			return 0;
	return 1;
}

static char *make(int closed)
{
	int fd = (int)syscall(SYS_memfd_secret, 0);
	char *p;

	NEED(fd >= 0 && !ftruncate(fd, BYTES));
	p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	NEED(p != MAP_FAILED);
	spell(p, BYTES, 7);
	if (closed)
		close(fd);
	return p;
}

int main(void)
{
	char *open = make(0), *mapped = make(1), *known = malloc(BYTES);

	CHECK(known);
	spell(known, BYTES, 9);
	target_ready();
	CHECK(spells(open, BYTES, 7) && spells(mapped, BYTES, 7) && spells(known, BYTES, 9));
	target_pass();
}
