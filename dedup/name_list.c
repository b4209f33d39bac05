#include "dedup/name_list.h"

#include "base/endian.h"
#include "base/result.h"
#include "base/warn.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define SLOTS_MIN 64u

/* The slot of a name; an empty one if it is not there. */
static size_t *slot_of(const struct name_list *list, const char *name, size_t len)
{
	size_t mask = list->n_slots - 1;

	for (size_t at = XXH3_64bits(name, len) & mask;; at = (at + 1) & mask) {
		const uint8_t *entry = list->bytes + list->slots[at] - 1;

		if (list->slots[at] == 0 || (get_le16(entry) == len &&
					     memcmp(entry + DIRECTORY_ENTRY_BYTES, name, len) == 0))
			return &list->slots[at];
	}
}

/* Enters all names anew, which have moved, or have got more slots. */
static void fill_slots(struct name_list *list)
{
	memset(list->slots, 0, list->n_slots * sizeof(*list->slots));
	for (size_t at = 0; at < list->len;) {
		const uint8_t *entry = list->bytes + at;
		size_t len = get_le16(entry);

		*slot_of(list, (const char *)entry + DIRECTORY_ENTRY_BYTES, len) = at + 1;
		at += DIRECTORY_ENTRY_BYTES + len;
	}
}

static int more_slots(struct name_list *list)
{
	size_t n = list->n_slots ? list->n_slots * 2 : SLOTS_MIN;
	size_t *slots = realloc(list->slots, n * sizeof(*slots));

	if (!slots) {
		warn("out of memory");
		return R_FAILED;
	}
	list->slots = slots;
	list->n_slots = n;
	fill_slots(list);
	return R_OK;
}

void name_list_free(struct name_list *list)
{
	free(list->bytes);
	free(list->slots);
	memset(list, 0, sizeof(*list));
}

bool name_list_has(const struct name_list *list, const char *name)
{
	return list->n_names > 0 && *slot_of(list, name, strlen(name)) != 0;
}

void name_list_remove(struct name_list *list, const char *name)
{
	size_t bytes = DIRECTORY_ENTRY_BYTES + strlen(name), at;

	if (!name_list_has(list, name))
		return;
	at = *slot_of(list, name, strlen(name)) - 1;
	memmove(list->bytes + at, list->bytes + at + bytes, list->len - at - bytes);
	list->len -= bytes;
	list->n_names--;
	fill_slots(list);
}

int name_list_add(struct name_list *list, const char *name, const struct object *object)
{
	size_t len = strlen(name), need = list->len + DIRECTORY_ENTRY_BYTES + len;
	uint8_t *entry;

	if (list->n_names * 2 >= list->n_slots && more_slots(list) != R_OK)
		return R_FAILED;
	if (need > list->room) {
		size_t room = need * 2 + PAGE_BYTES;
		uint8_t *more = realloc(list->bytes, room);

		if (!more) {
			warn("out of memory");
			return R_FAILED;
		}
		list->bytes = more;
		list->room = room;
	}
	entry = list->bytes + list->len;
	put_le16(entry, (uint16_t)len);
	put_le32(entry + 2, object->height);
	put_le64(entry + 6, object->root);
	put_le64(entry + 14, object->length_bytes);
	memcpy(entry + DIRECTORY_ENTRY_BYTES, name, len);
	*slot_of(list, name, len) = list->len + 1;
	list->len = need;
	list->n_names++;
	return R_OK;
}
