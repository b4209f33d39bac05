#include "dedup/name_list.h"

#include "base/endian.h"
#include "base/result.h"
#include "base/warn.h"

#include <stdlib.h>
#include <string.h>

/* Where the entry of a name is; the list's length if it is not there. */
static size_t find(const struct name_list *list, const char *name)
{
	size_t len = strlen(name), at = 0;

	while (at < list->len) {
		const uint8_t *entry = list->bytes + at;
		size_t there = get_le16(entry);

		if (there == len && memcmp(entry + DIRECTORY_ENTRY_BYTES, name, len) == 0)
			break;
		at += DIRECTORY_ENTRY_BYTES + there;
	}
	return at;
}

bool name_list_has(const struct name_list *list, const char *name)
{
	return find(list, name) < list->len;
}

void name_list_remove(struct name_list *list, const char *name)
{
	size_t at = find(list, name), bytes = DIRECTORY_ENTRY_BYTES + strlen(name);

	if (at == list->len)
		return;
	memmove(list->bytes + at, list->bytes + at + bytes, list->len - at - bytes);
	list->len -= bytes;
}

int name_list_add(struct name_list *list, const char *name, const struct object *object)
{
	size_t len = strlen(name), need = list->len + DIRECTORY_ENTRY_BYTES + len;
	uint8_t *entry;

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
	list->len = need;
	return R_OK;
}
