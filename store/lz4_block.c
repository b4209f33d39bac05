#include "store/lz4_block.h"

#include "base/endian.h"

#include <string.h>

/* A length as the token has it: this says that bytes follow, of which all but the last are 255. */
#define TOKEN_MOST 15u
#define MATCH_LEAST 4u
#define OFFSET_BYTES 2u

/* What of the block has been read, and where in the raw bytes that is. */
struct reading {
	const uint8_t *at, *end;
	size_t raw;
};

/* Literals, and the match behind them; the last ones have none. */
struct sequence {
	size_t literals, match;
	uint16_t offset;
};

struct writing {
	uint8_t *at, *end;
};

static size_t get_length(struct reading *from, unsigned int in_token)
{
	size_t length = in_token;
	uint8_t byte = in_token == TOKEN_MOST ? 255 : 0;

	while (byte == 255) {
		byte = *from->at++;
		length += byte;
	}
	return length;
}

static struct sequence get_sequence(struct reading *from)
{
	struct sequence sequence = { 0 };
	uint8_t token = *from->at++;

	sequence.literals = get_length(from, token >> 4);
	from->at += sequence.literals;
	if (from->at < from->end) {
		sequence.offset = get_le16(from->at);
		from->at += OFFSET_BYTES;
		sequence.match = get_length(from, token & TOKEN_MOST) + MATCH_LEAST;
	}
	from->raw += sequence.literals + sequence.match;
	return sequence;
}

/* Bytes that a length takes besides the token. */
static size_t length_bytes(size_t length)
{
	return length < TOKEN_MOST ? 0 : (length - TOKEN_MOST) / 255 + 1;
}

static unsigned int in_token(size_t length)
{
	return length < TOKEN_MOST ? (unsigned int)length : TOKEN_MOST;
}

static void put_length(struct writing *to, size_t length)
{
	size_t bytes = length_bytes(length);

	if (bytes == 0)
		return;
	memset(to->at, 255, bytes - 1);
	to->at[bytes - 1] = (uint8_t)((length - TOKEN_MOST) % 255);
	to->at += bytes;
}

/* False: there is no room. */
static int put_sequence(struct writing *to, const uint8_t *literals,
			const struct sequence *sequence)
{
	size_t match = sequence->match ? sequence->match - MATCH_LEAST : 0;
	size_t bytes = 1 + length_bytes(sequence->literals) + sequence->literals;

	if (sequence->match)
		bytes += OFFSET_BYTES + length_bytes(match);
	if (bytes > (size_t)(to->end - to->at))
		return 0;
	*to->at++ = (uint8_t)(in_token(sequence->literals) << 4 | in_token(match));
	put_length(to, sequence->literals);
	memcpy(to->at, literals, sequence->literals);
	to->at += sequence->literals;
	if (sequence->match) {
		put_le16(to->at, sequence->offset);
		to->at += OFFSET_BYTES;
		put_length(to, match);
	}
	return 1;
}

size_t lz4_block_ease(const uint8_t *block, size_t len, const uint8_t *raw, unsigned int least,
		      uint8_t *to, size_t room)
{
	struct reading from = { block, block + len, 0 };
	struct writing written = { to, to + room };
	size_t literals_at = 0;

	while (from.at < from.end) {
		struct sequence sequence = get_sequence(&from);

		/* What is not written stays to be literals of the next one. */
		if (sequence.match && sequence.match < least)
			continue;
		sequence.literals = from.raw - sequence.match - literals_at;
		if (!put_sequence(&written, raw + literals_at, &sequence))
			return 0;
		literals_at = from.raw;
	}
	return (size_t)(written.at - to);
}
