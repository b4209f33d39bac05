/*
 * Images of any kind and any source, entry by entry with the bytes behind them, without unpacking.
 * Where image.h wants to be told the kind and hands out messages, this finds the kind out, knows
 * what follows which entry, and hands out bytes.
 */
#ifndef SNAP_ENGINE_IMAGE_SCAN_H
#define SNAP_ENGINE_IMAGE_SCAN_H

#include "engine/image/image.h"

/* An image being looked at.  Does not own the bytes. */
struct image_scan {
	const char *name;
	const struct image_kind *kind;
	bool old_head; /* of version 1: without the common word */
	const uint8_t *data, *at, *end;
	uint64_t entries;			/* looked at so far */
	const ProtobufCMessageDescriptor *next; /* what the next entry is */
};

/* One entry. */
struct image_part {
	const ProtobufCMessageDescriptor *type;
	uint64_t number; /* from 0 */
	const uint8_t *message;
	size_t len;
	/* What follows it: as much as the message says, and with what fills that up to a multiple
	 * of some bytes. */
	bool has_payload; /* though it may be none */
	const uint8_t *payload;
	size_t payload_len, padded_len;
};

/*
 * Starts on the bytes of `name` (which stay).  R_OK; R_NOT_FOUND, not reported, if they do not
 * begin as any image does; R_DAMAGED, reported, if they are cut off there.
 */
int image_scan_open(struct image_scan *scan, const char *name, const void *data, size_t len);

/* The next entry.  R_OK, R_NOT_FOUND at the end, R_DAMAGED, reported with name, entry and byte. */
int image_scan_next(struct image_scan *scan, struct image_part *part);

/* The messages of a message queue, which are the payload of its entry: `*at` is 0 for the first
 * one.  Results as above. */
int image_scan_queued(const struct image_scan *scan, const struct image_part *queue, size_t *at,
		      struct image_part *part);

/* What the first entry of a kind is, and what follows one that has been read or written. */
const ProtobufCMessageDescriptor *image_first_type(const struct image_kind *kind);
const ProtobufCMessageDescriptor *image_type_after(const ProtobufCMessageDescriptor *type,
						   const struct image_kind *kind,
						   const void *message, size_t len);

/* How many bytes follow an entry. */
enum image_extent {
	IMAGE_EXTENT_NONE,
	IMAGE_EXTENT_BYTES, /* so many, filled up */
	IMAGE_EXTENT_QUEUE, /* so many messages of a message queue */
	IMAGE_EXTENT_REST,  /* all to the end of the image */
};
struct image_payload {
	enum image_extent extent;
	uint64_t amount; /* of bytes or messages; UINT64_MAX: more than there can be */
	uint64_t first;	 /* of two pieces, the length of the first one */
	unsigned int align;
};
struct image_payload image_payload_of(const struct image_kind *kind,
				      const ProtobufCMessageDescriptor *type, const void *message,
				      size_t len);

/* Reports something wrong with the entry: "image NAME: entry 3, byte 812: WORDS".  R_DAMAGED. */
int image_scan_wrong(const struct image_scan *scan, uint64_t number, const uint8_t *at,
		     const char *fmt, ...) __attribute__((format(printf, 4, 5)));

#endif
