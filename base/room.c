#include "base/room.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define GRAIN_BYTES ((size_t)32 << 10)
#define STRETCH_BYTES ((size_t)2 << 20) /* a huge page: 64 grains, one bit for each */
#define STRETCHES_MAX 256u
/* Stretches of which nobody has anything: what readers of clusters leave is what a take next needs
 * for pages. */
#define KEPT_MAX 8u

/* Less has no whole pages to speak of. */
static bool is_small(size_t size_bytes)
{
	return size_bytes < GRAIN_BYTES / 2;
}

static size_t grains_of(size_t size_bytes)
{
	return (size_bytes + GRAIN_BYTES - 1) / GRAIN_BYTES;
}

size_t room_taken(size_t size_bytes)
{
	return is_small(size_bytes) ? size_bytes : grains_of(size_bytes) * GRAIN_BYTES;
}

#ifdef __SANITIZE_ADDRESS__
/* So that it sees who reads or writes too far. */
void *room_get(size_t size_bytes)
{
	return malloc(size_bytes);
}

void room_put(void *room, size_t size_bytes)
{
	(void)size_bytes;
	free(room);
}
#else
struct stretch {
	uint8_t *start; /* NULL: there is none */
	uint64_t used;	/* grains */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct stretch stretches[STRETCHES_MAX];
static size_t n_kept;

/* Aligned to a huge page. */
static uint8_t *map_aligned(size_t len)
{
	uint8_t *got = mmap(NULL, len + STRETCH_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t before;

	if (got == MAP_FAILED)
		return NULL;
	before = -(uintptr_t)got % STRETCH_BYTES;
	if (before > 0)
		munmap(got, before);
	munmap(got + before + len, STRETCH_BYTES - before);
	/* Where either is unknown, pages are had one by one. */
	madvise(got + before, len, MADV_HUGEPAGE);
	madvise(got + before, len, MADV_POPULATE_WRITE);
	return got + before;
}

/* The lowest place of so many free grains one after the other; -1: there is none. */
static int find_grains(uint64_t used, size_t n)
{
	uint64_t free = ~used;

	/* Bit i stays set if i and the n - 1 above it are free. */
	for (size_t have = 1; have < n;) {
		size_t step = have < n - have ? have : n - have;

		free &= free >> step;
		have += step;
	}
	return free ? __builtin_ctzll(free) : -1;
}

static uint64_t grains_at(size_t at, size_t n)
{
	return (n == 64 ? ~UINT64_C(0) : (UINT64_C(1) << n) - 1) << at;
}

/* NULL: no stretch has so many. */
static void *take_grains(size_t n)
{
	for (size_t i = 0; i < STRETCHES_MAX; i++) {
		struct stretch *stretch = &stretches[i];
		int at = stretch->start ? find_grains(stretch->used, n) : -1;

		if (at < 0)
			continue;
		n_kept -= stretch->used == 0;
		stretch->used |= grains_at((size_t)at, n);
		return stretch->start + (size_t)at * GRAIN_BYTES;
	}
	return NULL;
}

/* Of one more stretch; NULL: there are too many. */
static void *add_stretch(uint8_t *start, size_t n)
{
	for (size_t i = 0; i < STRETCHES_MAX; i++) {
		if (stretches[i].start)
			continue;
		stretches[i] = (struct stretch){ start, grains_at(0, n) };
		return start;
	}
	return NULL;
}

/* Others go on meanwhile: a stretch can take milliseconds to come. */
static void *room_of_new_stretch(size_t n)
{
	uint8_t *start = map_aligned(STRETCH_BYTES);
	void *room;

	if (!start)
		return NULL;
	pthread_mutex_lock(&lock);
	room = add_stretch(start, n);
	pthread_mutex_unlock(&lock);
	if (!room)
		munmap(start, STRETCH_BYTES);
	return room;
}

void *room_get(size_t size_bytes)
{
	void *room;

	if (is_small(size_bytes))
		return malloc(size_bytes);
	if (size_bytes > STRETCH_BYTES)
		return map_aligned(room_taken(size_bytes));
	pthread_mutex_lock(&lock);
	room = take_grains(grains_of(size_bytes));
	pthread_mutex_unlock(&lock);
	return room ? room : room_of_new_stretch(grains_of(size_bytes));
}

/* Gives the stretch that is to go, or NULL. */
static uint8_t *put_grains(const uint8_t *room, size_t n)
{
	uint8_t *gone;

	for (size_t i = 0; i < STRETCHES_MAX; i++) {
		struct stretch *stretch = &stretches[i];

		if (!stretch->start || (uintptr_t)room - (uintptr_t)stretch->start >= STRETCH_BYTES)
			continue;
		stretch->used &= ~grains_at((size_t)(room - stretch->start) / GRAIN_BYTES, n);
		if (stretch->used)
			return NULL;
		if (n_kept < KEPT_MAX) {
			n_kept++;
			return NULL;
		}
		gone = stretch->start;
		stretch->start = NULL;
		return gone;
	}
	return NULL;
}

void room_put(void *room, size_t size_bytes)
{
	uint8_t *gone;

	if (is_small(size_bytes)) {
		free(room);
	} else if (room && size_bytes > STRETCH_BYTES) {
		munmap(room, room_taken(size_bytes));
	} else if (room) {
		pthread_mutex_lock(&lock);
		gone = put_grains(room, grains_of(size_bytes));
		pthread_mutex_unlock(&lock);
		if (gone)
			munmap(gone, STRETCH_BYTES);
	}
}
#endif
