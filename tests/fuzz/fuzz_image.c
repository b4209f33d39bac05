/* An image of every kind: the first byte says which. */
#include "fuzz.h"

#include "base/endian.h"
#include "base/result.h"
#include "engine/image/image.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	enum image_kind_id id;
	struct image_reader reader;
	ProtobufCMessage *message;
	const void *payload;
	int result;

	if (len < 1)
		return 0;
	id = data[0] % IMAGE_KINDS;
	if (image_open(&reader, id, "fuzz-1", data + 1, len - 1) != R_OK)
		return 0;
	while ((result = image_next(&reader, &message)) == R_OK) {
		/* Some kinds have bytes behind an entry. */
		if (id % 3 == 0 &&
		    image_payload(&reader, protobuf_c_message_get_packed_size(message) % 64,
				  &payload) != R_OK)
			result = R_DAMAGED;
		image_free_message(message);
		if (result != R_OK)
			break;
	}
	return 0;
}

/* The magic words of each kind, an empty entry, and one whose fields are of all types. */
size_t fuzz_seed(unsigned int i, uint8_t *data, size_t room)
{
	static const uint8_t fields[] = { 0x08, 0x01, 0x12, 0x02, 'a',	'b',  0x18, 0x96, 0x01,
					  0x20, 0x00, 0x2a, 0x02, 0x08, 0x01, 0x30, 0x01, 0x3a,
					  0x00, 0x40, 0x7f, 0x4a, 0x01, 'c',  0x50, 0x05 };
	const struct image_kind *kind;
	size_t at = 0;

	if (i >= IMAGE_KINDS || room < 256)
		return 0;
	kind = image_kind(i);
	data[at++] = (uint8_t)i;
	if (kind->head) {
		put_le32(data + at, kind->head);
		at += 4;
	}
	put_le32(data + at, kind->magic);
	put_le32(data + at + 4, 0);
	put_le32(data + at + 8, sizeof(fields));
	memcpy(data + at + 12, fields, sizeof(fields));
	return at + 12 + sizeof(fields);
}
