#include "dedup/recent.h"

#include "base/endian.h"

#include <stdlib.h>
#include <string.h>

#define ENTRIES_MIN 4096u
#define ENTRIES_MAX (1u << 21) /* 32 MiB for 6 GiB of new pages, at 3/4 full */

/* Half of a hash is enough, as who finds a page here compares its bytes. */
struct entry {
	uint64_t hash;
	page_no number; /* PAGE_ABSENT: empty */
};

struct recent {
	struct entry *entries;
	size_t size, used; /* size is a power of two */
};

struct recent *recent_new(void)
{
	struct recent *recent = calloc(1, sizeof(*recent));

	if (!recent)
		return NULL;
	recent->size = ENTRIES_MIN;
	recent->entries = calloc(recent->size, sizeof(*recent->entries));
	if (recent->entries)
		return recent;
	free(recent);
	return NULL;
}

void recent_free(struct recent *recent)
{
	if (!recent)
		return;
	free(recent->entries);
	free(recent);
}

/* The entry with the hash or the empty one where it belongs; there is always an empty one. */
static struct entry *slot_of(struct entry *entries, size_t size, uint64_t hash)
{
	size_t at = (hash >> 8 ^ hash) & (size - 1);

	while (entries[at].number != PAGE_ABSENT && entries[at].hash != hash)
		at = (at + 1) & (size - 1);
	return &entries[at];
}

page_no recent_find(const struct recent *recent, const uint8_t hash[HASH_BYTES])
{
	return slot_of(recent->entries, recent->size, get_le64(hash))->number;
}

static void grow(struct recent *recent)
{
	struct entry *more = calloc(recent->size * 2, sizeof(*more));

	if (!more)
		return;
	for (size_t i = 0; i < recent->size; i++)
		if (recent->entries[i].number != PAGE_ABSENT)
			*slot_of(more, recent->size * 2, recent->entries[i].hash) =
			    recent->entries[i];
	free(recent->entries);
	recent->entries = more;
	recent->size *= 2;
}

void recent_add(struct recent *recent, const uint8_t hash[HASH_BYTES], page_no number)
{
	struct entry *slot;

	if (recent->used >= recent->size / 4 * 3) {
		if (recent->size < ENTRIES_MAX)
			grow(recent);
		if (recent->used >= recent->size / 4 * 3)
			return;
	}
	slot = slot_of(recent->entries, recent->size, get_le64(hash));
	if (slot->number != PAGE_ABSENT)
		return;
	slot->hash = get_le64(hash);
	slot->number = number;
	recent->used++;
}
