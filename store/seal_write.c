#include "base/endian.h"
#include "base/result.h"
#include "base/warn.h"
#include "store/seal_format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sealer {
	char name[OBJECT_NAME_MAX + 1], table_name[OBJECT_NAME_MAX + 1];
	struct seal_secret *secret;
	uint8_t *table;
	size_t len, room;
	uint64_t pages;
};

bool sealed_is(const char *object_name)
{
	return strncmp(object_name, SEALED_PREFIX, strlen(SEALED_PREFIX)) == 0 ||
	       strncmp(object_name, SEAL_TABLE_PREFIX, strlen(SEAL_TABLE_PREFIX)) == 0;
}

void seal_table_name(const char *name, char table[OBJECT_NAME_MAX + 1])
{
	snprintf(table, OBJECT_NAME_MAX + 1, SEAL_TABLE_PREFIX "%s", name + strlen(SEALED_PREFIX));
}

struct seal_secret *seal_secret_new(const uint8_t data_key[KEY_BYTES],
				    const uint8_t salt[SEAL_SALT_BYTES])
{
	struct seal_secret *secret = sealed_buffer(sizeof(*secret));
	crypto_generichash_state *state = secret ? sealed_buffer(sizeof(*state)) : NULL;

	if (!state) {
		sodium_free(secret);
		return NULL;
	}
	crypto_generichash_init(state, data_key, KEY_BYTES, KEY_BYTES);
	crypto_generichash_update(state, (const uint8_t *)"snap page", 9);
	crypto_generichash_update(state, salt, SEAL_SALT_BYTES);
	crypto_generichash_final(state, secret->page, KEY_BYTES);
	crypto_generichash_init(state, data_key, KEY_BYTES, KEY_BYTES);
	crypto_generichash_update(state, (const uint8_t *)"snap table", 10);
	crypto_generichash_update(state, salt, SEAL_SALT_BYTES);
	crypto_generichash_final(state, secret->table, KEY_BYTES);
	sodium_free(state);
	return secret;
}

void seal_nonce(uint64_t index, uint8_t nonce[SEAL_NONCE_BYTES])
{
	memset(nonce, 0, SEAL_NONCE_BYTES);
	put_le64(nonce, index);
}

void seal_mac(const struct seal_secret *secret, const char *name, const uint8_t *table, size_t len,
	      uint8_t mac[SEAL_MAC_BYTES])
{
	crypto_generichash_state state;

	crypto_generichash_init(&state, secret->table, KEY_BYTES, SEAL_MAC_BYTES);
	crypto_generichash_update(&state, table, len);
	crypto_generichash_update(&state, (const uint8_t *)name, strlen(name));
	crypto_generichash_final(&state, mac, SEAL_MAC_BYTES);
	sodium_memzero(&state, sizeof(state));
}

void *sealed_buffer(size_t bytes)
{
	void *buffer = sodium_init() < 0 ? NULL : sodium_malloc(bytes);

	/* sodium_malloc() goes on where the memory cannot be locked. */
	if (buffer && sodium_mlock(buffer, bytes) == 0)
		return buffer;
	sodium_free(buffer);
	warn("no locked memory for secrets; raise the limit (ulimit -l) and try again");
	return NULL;
}

void sealed_buffer_free(void *buffer)
{
	sodium_free(buffer);
}

/* Room for one more row and the sum, and for whole pages. */
static int make_room(struct sealer *sealer)
{
	size_t room = sealer->room ? 2 * sealer->room : PAGE_BYTES;
	uint8_t *more;

	if (sealer->len + SEAL_ROW_BYTES + SEAL_MAC_BYTES <= sealer->room)
		return R_OK;
	more = realloc(sealer->table, room);
	if (!more) {
		warn("out of memory");
		return R_FAILED;
	}
	sealer->table = more;
	sealer->room = room;
	return R_OK;
}

struct sealer *sealer_begin(const struct store_keys *keys, const char *name, uint64_t size_bytes)
{
	struct sealer *sealer = calloc(1, sizeof(*sealer));
	uint8_t id[KEY_ID_BYTES], *at;
	const uint8_t *key;

	if (!sealer || make_room(sealer) != R_OK) {
		if (!sealer)
			warn("out of memory");
		free(sealer);
		return NULL;
	}
	snprintf(sealer->name, sizeof(sealer->name), "%s", name);
	seal_table_name(name, sealer->table_name);
	keys_current(keys, id, &key);
	at = sealer->table;
	memcpy(at, SEAL_MAGIC, 8);
	put_le32(at + 8, SEAL_VERSION);
	put_le32(at + 12, 0);
	memcpy(at + 16, id, KEY_ID_BYTES);
	randombytes_buf(at + 16 + KEY_ID_BYTES, SEAL_SALT_BYTES);
	put_le64(at + SEAL_HEAD_BYTES - 16, size_bytes);
	sealer->len = SEAL_HEAD_BYTES;
	sealer->secret = seal_secret_new(key, at + 16 + KEY_ID_BYTES);
	if (sealer->secret)
		return sealer;
	sealer_free(sealer);
	return NULL;
}

int sealer_page(struct sealer *sealer, uint64_t index, const void *plain, void *cipher)
{
	uint8_t nonce[SEAL_NONCE_BYTES], *row;

	if (make_room(sealer) != R_OK)
		return R_FAILED;
	row = sealer->table + sealer->len;
	put_le64(row, index);
	seal_nonce(index, nonce);
	crypto_aead_xchacha20poly1305_ietf_encrypt_detached(
	    cipher, row + 8, NULL, plain, PAGE_BYTES, (const uint8_t *)sealer->name,
	    strlen(sealer->name), NULL, nonce, sealer->secret->page);
	seal_wipe();
	sealer->len += SEAL_ROW_BYTES;
	sealer->pages++;
	return R_OK;
}

const void *sealer_table(struct sealer *sealer, size_t *pages, uint64_t *length_bytes,
			 const char **name)
{
	size_t len = sealer->len + SEAL_MAC_BYTES;
	size_t whole = (len + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;

	if (make_room(sealer) != R_OK)
		return NULL;
	put_le64(sealer->table + SEAL_HEAD_BYTES - 8, sealer->pages);
	seal_mac(sealer->secret, sealer->name, sealer->table, sealer->len,
		 sealer->table + sealer->len);
	memset(sealer->table + len, 0, whole - len);
	*pages = whole / PAGE_BYTES;
	*length_bytes = len;
	*name = sealer->table_name;
	return sealer->table;
}

void sealer_free(struct sealer *sealer)
{
	if (!sealer)
		return;
	sodium_free(sealer->secret);
	free(sealer->table);
	free(sealer);
}
