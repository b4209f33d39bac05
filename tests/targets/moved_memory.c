/* Memory that is mapped anew all the time, in turn with another size, and soon moved as a whole. */
#include "target.h"

#include <sys/mman.h>
#include <time.h>

/* A round takes longer than it is from one take to the next, a slot is moved within milliseconds.
 */
#define SLOTS 2000
#define BEHIND 20
#define PAGE 4096UL
#define STRIDE (16 * PAGE)
#define SMALL (8 * PAGE)
#define LARGE (12 * PAGE)

static void *map_at(void *at, size_t bytes)
{
	return mmap(at, bytes, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | (at ? MAP_FIXED : 0), -1, 0);
}

static unsigned char *move(unsigned char *from, size_t bytes, unsigned char *to)
{
	return mremap(from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to);
}

static unsigned char *slots;
static size_t bytes[SLOTS];

static void renew(unsigned i)
{
	unsigned char *at = slots + i * STRIDE;

	if (bytes[i])
		CHECK(!munmap(at, bytes[i]));
	bytes[i] = bytes[i] == SMALL ? LARGE : SMALL;
	CHECK(map_at(at, bytes[i]) == at);
	at[0] = at[bytes[i] - 1] = (unsigned char)i;
}

static void move_there_and_back(unsigned i)
{
	unsigned char *at = slots + i * STRIDE, *aside = slots + SLOTS * STRIDE;

	CHECK(at[0] == (unsigned char)i && at[bytes[i] - 1] == (unsigned char)i);
	CHECK(move(at, bytes[i], aside) == aside);
	CHECK(move(aside, bytes[i], at) == at);
}

int main(void)
{
	const struct timespec pause = { .tv_nsec = 50000 };

	slots = mmap(NULL, (SLOTS + 1) * STRIDE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	NEED(slots != MAP_FAILED);
	for (unsigned i = 0; i < SLOTS; i++)
		renew(i);
	target_say_ready();
	for (unsigned i = 0; !target_is_judged(); i++) {
		renew(i % SLOTS);
		move_there_and_back((i + SLOTS - BEHIND) % SLOTS);
		nanosleep(&pause, NULL);
	}
	for (unsigned i = 0; i < SLOTS; i++)
		move_there_and_back(i);
	target_pass();
}
