#include "base/endian.h"
#include "base/result.h"
#include "base/warn.h"
#include "store/seal_format.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sealed {
	struct store_view *view;
	uint64_t generation;
	char name[OBJECT_NAME_MAX + 1];
	struct seal_secret *secret;
	uint8_t *table;
	uint64_t size_bytes;
	size_t pages;
	page_no *numbers; /* of the pages in the order of the table */
	size_t filled;	  /* while they are gathered */
};

static int damaged(const struct sealed *sealed, const char *how)
{
	warn("generation %" PRIu64 ": the secret %s is damaged (%s); nothing of it is used",
	     sealed->generation, sealed->name, how);
	return R_DAMAGED;
}

static const uint8_t *row(const struct sealed *sealed, size_t i)
{
	return sealed->table + SEAL_HEAD_BYTES + i * SEAL_ROW_BYTES;
}

static int gather(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	struct sealed *sealed = arg;

	for (size_t i = 0; i < n; i++) {
		if (sealed->filled == sealed->pages ||
		    get_le64(row(sealed, sealed->filled)) != index + i)
			return R_DAMAGED;
		sealed->numbers[sealed->filled++] = numbers[i];
	}
	return R_OK;
}

/* The pages that are there must be those of the table. */
static int find_pages(struct sealed *sealed)
{
	struct object object;
	int result;

	sealed->numbers = calloc(sealed->pages + 1, sizeof(*sealed->numbers));
	if (!sealed->numbers) {
		warn("out of memory");
		return R_FAILED;
	}
	result = store_object(sealed->view, sealed->generation, sealed->name, &object);
	if (result == R_OK)
		result = store_object_walk(sealed->view, &object, 0, UINT64_MAX, gather, sealed);
	if (result == R_FAILED)
		return R_FAILED;
	return result == R_OK && sealed->filled == sealed->pages
		   ? R_OK
		   : damaged(sealed, "its pages are not those of its table");
}

static int check_table(struct sealed *sealed, size_t len, const struct store_keys *keys)
{
	const uint8_t *at = sealed->table, *key;
	uint8_t mac[SEAL_MAC_BYTES];

	if (len < SEAL_HEAD_BYTES + SEAL_MAC_BYTES || memcmp(at, SEAL_MAGIC, 8) != 0)
		return damaged(sealed, "its table has no head");
	if (get_le32(at + 8) != SEAL_VERSION) {
		warn("generation %" PRIu64 ": the secret %s is of format %u; use a newer snap",
		     sealed->generation, sealed->name, get_le32(at + 8));
		return R_UNSUPPORTED;
	}
	key = keys_find(keys, at + 16);
	if (!key) {
		warn("generation %" PRIu64 ": the secret %s was sealed with a key that this store "
		     "does not know: put the file `keys` of a newer copy of the store in its "
		     "place",
		     sealed->generation, sealed->name);
		return R_UNSUPPORTED;
	}
	sealed->size_bytes = get_le64(at + SEAL_HEAD_BYTES - 16);
	sealed->pages = (size_t)get_le64(at + SEAL_HEAD_BYTES - 8);
	if (sealed->pages > len / SEAL_ROW_BYTES ||
	    len != SEAL_HEAD_BYTES + sealed->pages * SEAL_ROW_BYTES + SEAL_MAC_BYTES)
		return damaged(sealed, "its table has another length");
	sealed->secret = seal_secret_new(key, at + 16 + KEY_ID_BYTES);
	if (!sealed->secret)
		return R_FAILED;
	seal_mac(sealed->secret, sealed->name, at, len - SEAL_MAC_BYTES, mac);
	if (sodium_memcmp(mac, at + len - SEAL_MAC_BYTES, SEAL_MAC_BYTES) != 0)
		return damaged(sealed, "its table was changed");
	return R_OK;
}

int sealed_open(struct store_view *view, uint64_t generation, const char *name,
		const struct store_keys *keys, struct sealed **sealed)
{
	struct sealed *new = calloc(1, sizeof(*new));
	char table_name[OBJECT_NAME_MAX + 1];
	struct object object;
	void *table = NULL;
	size_t len;
	int result;

	if (!new) {
		warn("out of memory");
		return R_FAILED;
	}
	new->view = view;
	new->generation = generation;
	snprintf(new->name, sizeof(new->name), "%s", name);
	seal_table_name(name, table_name);
	result = store_object(view, generation, table_name, &object);
	if (result == R_OK)
		result = store_read_object(view, &object, &table, &len);
	new->table = table;
	if (result == R_DAMAGED)
		damaged(new, "its table cannot be read");
	if (result == R_OK)
		result = check_table(new, len, keys);
	if (result == R_OK)
		result = find_pages(new);
	if (result == R_OK)
		*sealed = new;
	else
		sealed_close(new);
	return result;
}

void sealed_close(struct sealed *sealed)
{
	if (!sealed)
		return;
	sodium_free(sealed->secret);
	free(sealed->table);
	free(sealed->numbers);
	free(sealed);
}

uint64_t sealed_size(const struct sealed *sealed)
{
	return sealed->size_bytes;
}

/* The place in the table of the first page at `index` or behind. */
static size_t find_row(const struct sealed *sealed, uint64_t index)
{
	size_t low = 0, high = sealed->pages;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (get_le64(row(sealed, middle)) < index)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool sealed_next(const struct sealed *sealed, uint64_t *index)
{
	size_t at = find_row(sealed, *index);

	if (at == sealed->pages)
		return false;
	*index = get_le64(row(sealed, at));
	return true;
}

static int read_one(struct sealed *sealed, uint64_t index, uint8_t *to)
{
	size_t at = find_row(sealed, index);
	uint8_t cipher[PAGE_BYTES], nonce[SEAL_NONCE_BYTES];
	page_no bad;
	int result;

	if (at == sealed->pages || get_le64(row(sealed, at)) != index) {
		memset(to, 0, PAGE_BYTES);
		return R_OK;
	}
	result = store_read_pages(sealed->view, &sealed->numbers[at], 1, cipher, &bad);
	if (result != R_OK)
		return result == R_DAMAGED ? damaged(sealed, "a page cannot be read") : result;
	seal_nonce(index, nonce);
	result = crypto_aead_xchacha20poly1305_ietf_decrypt_detached(
	    to, NULL, cipher, PAGE_BYTES, row(sealed, at) + 8, (const uint8_t *)sealed->name,
	    strlen(sealed->name), nonce, sealed->secret->page);
	seal_wipe();
	if (result == 0)
		return R_OK;
	return damaged(sealed, "a page was changed");
}

int sealed_read(struct sealed *sealed, uint64_t index, size_t n, void *buf)
{
	int result = R_OK;

	for (size_t i = 0; result == R_OK && i < n; i++)
		result = read_one(sealed, index + i, (uint8_t *)buf + i * PAGE_BYTES);
	return result;
}

int sealed_check(struct sealed *sealed)
{
	uint8_t *page = sealed_buffer(PAGE_BYTES);
	int result = page ? R_OK : R_FAILED;

	for (size_t i = 0; result == R_OK && i < sealed->pages; i++)
		result = read_one(sealed, get_le64(row(sealed, i)), page);
	sealed_buffer_free(page);
	return result;
}
