/* What seal_write.c and seal_read.c share: layout of the table, keys of one object. */
#ifndef SNAP_STORE_SEAL_FORMAT_H
#define SNAP_STORE_SEAL_FORMAT_H

#include "store/format.h"
#include "store/seal.h"

#include <sodium.h>

#define SEAL_MAGIC "SNAPSEAL"
#define SEAL_VERSION 1
#define SEAL_SALT_BYTES 32
/* magic, version, 0, key id, salt, size, pages */
#define SEAL_HEAD_BYTES (8 + 4 + 4 + KEY_ID_BYTES + SEAL_SALT_BYTES + 8 + 8)
#define SEAL_TAG_BYTES crypto_aead_xchacha20poly1305_ietf_ABYTES
#define SEAL_ROW_BYTES (8 + SEAL_TAG_BYTES)
#define SEAL_MAC_BYTES 32
#define SEAL_NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES

/* Keys of one object, made of a data key and its salt; in locked memory. */
struct seal_secret {
	uint8_t page[KEY_BYTES], table[KEY_BYTES];
};

/* NULL: reported.  sodium_free(). */
struct seal_secret *seal_secret_new(const uint8_t data_key[KEY_BYTES],
				    const uint8_t salt[SEAL_SALT_BYTES]);

/* Each key encrypts one object, so that the index of a page is nonce enough. */
void seal_nonce(uint64_t index, uint8_t nonce[SEAL_NONCE_BYTES]);

/* The sum under the key over a table without its last bytes, and over the object's name. */
void seal_mac(const struct seal_secret *secret, const char *name, const uint8_t *table, size_t len,
	      uint8_t mac[SEAL_MAC_BYTES]);

/* Takes away what encrypting or decrypting has left in registers and on the stack; to be called
 * right after. */
void seal_wipe(void);

/* "sealed-x" to "seal-x". */
void seal_table_name(const char *name, char table[OBJECT_NAME_MAX + 1]);

#endif
