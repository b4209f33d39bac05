#include "engine/image/scan.h"

#include "base/endian.h"
#include "base/result.h"
#include "base/warn.h"
#include "engine/image/wire.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* Numbers of fields that tell how many bytes follow. */
#define GHOST_CHUNKS 9
#define GHOST_CHUNK_LEN 1
#define SHM_IN_PAGEMAPS 3

/* Entries whose payload is as long as one or two fields say. */
static const struct payload_rule {
	const ProtobufCMessageDescriptor *type;
	uint32_t fields[2]; /* 0: none */
	unsigned int unit;  /* bytes for each of what they count */
	unsigned int align;
} rules[] = {
	{ &pipe_data_entry__descriptor, { 2 }, 1, 1 },
	{ &sk_packet_entry__descriptor, { 2 }, 1, 1 },
	{ &tcp_stream_entry__descriptor, { 1, 3 }, 1, 1 },
	{ &bpfmap_data_entry__descriptor, { 2, 3 }, 1, 1 },
	{ &ipc_shm_entry__descriptor, { 2 }, 1, 4 },
	{ &ipc_sem_entry__descriptor, { 2 }, 2, 8 },
	{ &ipc_msg__descriptor, { 2 }, 1, 8 },
	{ &ghost_chunk_entry__descriptor, { GHOST_CHUNK_LEN }, 1, 1 },
};

int image_scan_wrong(const struct image_scan *scan, uint64_t number, const uint8_t *at,
		     const char *fmt, ...)
{
	char words[200];
	va_list args;

	va_start(args, fmt);
	vsnprintf(words, sizeof(words), fmt, args);
	va_end(args);
	warn("image %s: entry %" PRIu64 ", byte %td: %s", scan->name, number, at - scan->data,
	     words);
	return R_DAMAGED;
}

const ProtobufCMessageDescriptor *image_first_type(const struct image_kind *kind)
{
	return kind->message == &pagemap_entry__descriptor ? &pagemap_head__descriptor
							   : kind->message;
}

const ProtobufCMessageDescriptor *image_type_after(const ProtobufCMessageDescriptor *type,
						   const struct image_kind *kind,
						   const void *message, size_t len)
{
	uint64_t chunks;

	if (type == &ghost_file_entry__descriptor &&
	    wire_find(message, len, GHOST_CHUNKS, &chunks) && chunks)
		return &ghost_chunk_entry__descriptor;
	return type == &ghost_chunk_entry__descriptor ? type : kind->message;
}

/* The bytes a rule speaks of; what cannot be is as long as nothing is. */
static struct image_payload by_rule(const struct payload_rule *rule, const void *message,
				    size_t len)
{
	struct image_payload payload = { IMAGE_EXTENT_BYTES, 0, 0, rule->align };

	for (int i = 0; i < 2; i++) {
		uint64_t count = 0;

		if (!rule->fields[i])
			continue;
		wire_find(message, len, rule->fields[i], &count);
		if (count > INT64_MAX / rule->unit - payload.amount)
			payload.amount = UINT64_MAX;
		else
			payload.amount += count * rule->unit;
		if (payload.amount == UINT64_MAX)
			break;
		if (i == 0)
			payload.first = payload.amount;
	}
	return payload;
}

struct image_payload image_payload_of(const struct image_kind *kind,
				      const ProtobufCMessageDescriptor *type, const void *message,
				      size_t len)
{
	uint64_t value = 0;

	if (type == &ghost_file_entry__descriptor &&
	    image_type_after(type, kind, message, len) == type)
		return (struct image_payload){ IMAGE_EXTENT_REST, 0, 0, 1 };
	if (type == &ipc_msg_entry__descriptor) {
		wire_find(message, len, 3, &value);
		return (struct image_payload){ IMAGE_EXTENT_QUEUE, value, 0, 1 };
	}
	if (type == &ipc_shm_entry__descriptor &&
	    wire_find(message, len, SHM_IN_PAGEMAPS, &value) && value)
		return (struct image_payload){ IMAGE_EXTENT_NONE, 0, 0, 1 };
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if (rules[i].type == type)
			return by_rule(&rules[i], message, len);
	return (struct image_payload){ IMAGE_EXTENT_NONE, 0, 0, 1 };
}

int image_scan_open(struct image_scan *scan, const char *name, const void *data, size_t len)
{
	const struct image_kind *kind;
	const uint8_t *at = data;
	uint32_t first;

	*scan = (struct image_scan){ .name = name, .data = at, .at = at, .end = at + len };
	if (len < 4)
		return R_NOT_FOUND;
	first = get_le32(at);
	scan->at += 4;
	kind = image_kind_by_magic(first);
	if (kind) {
		scan->old_head = kind->head != 0;
	} else if (first == image_kind(IMAGE_CORE)->head ||
		   first == image_kind(IMAGE_STATS)->head) {
		if (len < 8) {
			warn("image %s: ends within its magic words", name);
			return R_DAMAGED;
		}
		kind = image_kind_by_magic(get_le32(at + 4));
		if (kind && kind->head != first) {
			warn("image %s: begins with the word %#x, which is not that of kind %s",
			     name, first, kind->name);
			return R_DAMAGED;
		}
		scan->at += 4;
	}
	if (!kind)
		return R_NOT_FOUND;
	scan->kind = kind;
	scan->next = image_first_type(kind);
	return R_OK;
}

/* A length and a message at `scan->at`, which moves behind them. */
static int framed(struct image_scan *scan, struct image_part *part)
{
	size_t left = (size_t)(scan->end - scan->at);
	uint32_t len;

	if (left < 4)
		return image_scan_wrong(scan, part->number, scan->at,
					"the image ends within a length");
	len = get_le32(scan->at);
	if (len > left - 4)
		return image_scan_wrong(scan, part->number, scan->at,
					"%u bytes are announced, %zu are left", len, left - 4);
	part->message = scan->at + 4;
	part->len = len;
	scan->at += 4 + len;
	return R_OK;
}

/* The payload at `scan->at`, which moves behind it. */
static int follow(struct image_scan *scan, struct image_part *part, uint64_t amount,
		  unsigned int align)
{
	size_t left = (size_t)(scan->end - scan->at);
	uint64_t padded = amount > left ? amount : (amount + align - 1) / align * align;

	if (padded > left)
		return image_scan_wrong(scan, part->number, scan->at,
					"%" PRIu64 " bytes of contents are announced, %zu are left",
					padded, left);
	part->has_payload = true;
	part->payload = scan->at;
	part->payload_len = amount;
	part->padded_len = padded;
	scan->at += padded;
	return R_OK;
}

static int follow_queue(struct image_scan *scan, struct image_part *part, uint64_t messages)
{
	const uint8_t *begin = scan->at;
	struct image_part inner = { .number = part->number };

	for (uint64_t i = 0; i < messages; i++) {
		struct image_payload payload;
		int result;

		result = framed(scan, &inner);
		if (result != R_OK)
			return result;
		payload =
		    image_payload_of(scan->kind, &ipc_msg__descriptor, inner.message, inner.len);
		result = follow(scan, &inner, payload.amount, payload.align);
		if (result != R_OK)
			return result;
	}
	part->has_payload = true;
	part->payload = begin;
	part->payload_len = part->padded_len = (size_t)(scan->at - begin);
	return R_OK;
}

int image_scan_next(struct image_scan *scan, struct image_part *part)
{
	struct image_payload payload;
	int result;

	*part = (struct image_part){ .type = scan->next, .number = scan->entries };
	if (scan->at == scan->end)
		return R_NOT_FOUND;
	result = framed(scan, part);
	if (result != R_OK)
		return result;
	scan->entries++;
	scan->next = image_type_after(part->type, scan->kind, part->message, part->len);
	payload = image_payload_of(scan->kind, part->type, part->message, part->len);
	switch (payload.extent) {
	case IMAGE_EXTENT_NONE:
		return R_OK;
	case IMAGE_EXTENT_BYTES:
		return follow(scan, part, payload.amount, payload.align);
	case IMAGE_EXTENT_QUEUE:
		return follow_queue(scan, part, payload.amount);
	case IMAGE_EXTENT_REST:
		return follow(scan, part, (uint64_t)(scan->end - scan->at), 1);
	}
	return R_DAMAGED;
}

int image_scan_queued(const struct image_scan *scan, const struct image_part *queue, size_t *at,
		      struct image_part *part)
{
	struct image_scan inner = *scan;
	struct image_payload payload;
	int result;

	if (*at == queue->padded_len)
		return R_NOT_FOUND;
	inner.at = queue->payload + *at;
	inner.end = queue->payload + queue->padded_len;
	*part = (struct image_part){ .type = &ipc_msg__descriptor, .number = queue->number };
	result = framed(&inner, part);
	if (result != R_OK)
		return result;
	payload = image_payload_of(scan->kind, part->type, part->message, part->len);
	result = follow(&inner, part, payload.amount, payload.align);
	*at = (size_t)(inner.at - queue->payload);
	return result;
}
