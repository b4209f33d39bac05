/* The two files of keys: `keys` in the store, and key files.  Only keys.c includes this. */
#ifndef SNAP_STORE_KEYS_FILE_H
#define SNAP_STORE_KEYS_FILE_H

#include "store/keys.h"
#include "store/store_internal.h"

#define KEYS_NAME "keys"
/* Key files in the store's folder; an id follows. */
#define KEY_NAME_PREFIX "key-"
#define KEY_NONCE_BYTES 24
#define KEY_WRAPPED_BYTES (KEY_BYTES + 16)
#define KEY_SALT_BYTES 16
#define DATA_KEYS_MAX 4096

struct wrapped_key {
	uint8_t id[KEY_ID_BYTES], nonce[KEY_NONCE_BYTES], bytes[KEY_WRAPPED_BYTES];
};

/* What `keys` says. */
struct keys_file {
	enum key_method method;
	uint8_t kek_id[KEY_ID_BYTES];
	char path[KEY_PATH_MAX]; /* of a key file: absolute, or a name in the store's folder */
	uint8_t salt[KEY_SALT_BYTES];
	uint64_t ops, mem_bytes; /* of argon2id */
	struct wrapped_key *list;
	size_t n;
};

/* R_OK, R_NOT_FOUND (not there, not reported), R_DAMAGED, R_FAILED. */
int keys_file_read(struct store *store, struct keys_file *file);
/* Puts it in place of the old one, at once.  R_OK or R_FAILED. */
int keys_file_write(struct store *store, const struct keys_file *file);
void keys_file_free(struct keys_file *file);

/* The id a key goes by: tells which one it is and nothing else about it. */
void kek_id_of(const uint8_t kek[KEY_BYTES], uint8_t id[KEY_ID_BYTES]);

/*
 * Looks for the key `id` in a key file (NULL: the first).  R_OK; R_NOT_FOUND: there is no such file
 * (not reported); R_UNSUPPORTED: it has other keys, or others may read it (reported unless
 * `quiet`); R_FAILED.
 */
int key_file_read(struct store *store, const char *path, const uint8_t *id, bool quiet,
		  uint8_t kek[KEY_BYTES]);
/* Writes a key file of one key.  R_OK or R_FAILED. */
int key_file_write(struct store *store, const char *path, const uint8_t kek[KEY_BYTES]);
/* Makes it the first key of a key file, which need not be there; all that is in it stays, as it may
 * be other stores'.  R_OK or R_FAILED. */
int key_file_add(struct store *store, const char *path, const uint8_t kek[KEY_BYTES]);

#endif
