#include "store/page.h"

#include <string.h>
#include <xxhash.h>
#ifdef SNAP_XXHASH_DISPATCH
#include <xxh_x86dispatch.h> /* behind the other: it takes its place */
#endif

void page_hash(const uint8_t *secret, const void *page, uint8_t hash[HASH_BYTES])
{
	XXH128_canonical_t canonical;

	XXH128_canonicalFromHash(&canonical,
				 XXH3_128bits_withSecret(page, PAGE_BYTES, secret, SECRET_BYTES));
	memcpy(hash, canonical.digest, HASH_BYTES);
	memset(hash + HASH_BITS / 8, 0, HASH_BYTES - HASH_BITS / 8);
}

uint64_t segment_checksum(const uint8_t *secret, const void *bytes, size_t len)
{
	return XXH3_64bits_withSecret(bytes, len, secret, SECRET_BYTES);
}

bool page_is_zero(const void *page)
{
	const uint8_t *at = page;
	const uint8_t *end = at + PAGE_BYTES;
	uint64_t words[8];

	/* Most pages that are not zero show it in their first line. */
	for (; at < end; at += sizeof(words)) {
		memcpy(words, at, sizeof(words));
		if (words[0] | words[1] | words[2] | words[3] | words[4] | words[5] | words[6] |
		    words[7])
			return false;
	}
	return true;
}
