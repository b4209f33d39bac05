/*
 * The keys that secrets are stored under, and what opens them.
 *
 * Data keys encrypt sealed objects (seal.h).  They are random, are kept in the file `keys` of the
 * store, and are themselves encrypted with one key that lies elsewhere: in a key file, or nowhere
 * but in a passphrase.  So that key can be changed without touching what is stored.  Layouts are in
 * store/FORMAT.md, what all this is good for and what not in docs/secrets.md.
 *
 * Key material lives in memory that is locked and left out of core dumps, and is wiped.
 */
#ifndef SNAP_STORE_KEYS_H
#define SNAP_STORE_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;

/* Data keys, opened. */
struct store_keys;

#define KEY_BYTES 32
#define KEY_ID_BYTES 8
#define KEY_PATH_MAX 4096
/* Longer passphrases are refused. */
#define PASSPHRASE_MAX 1024

enum key_method {
	KEY_IN_STORE,	/* a key file inside the store's folder */
	KEY_IN_FILE,	/* a key file elsewhere */
	KEY_PASSPHRASE, /* argon2id of a passphrase */
};

/* Where the key that opens the data keys comes from; all zero: from where the store says. */
struct key_source {
	const char *file; /* a key file; NULL: the one the store names */
	/*
	 * Gives the passphrase (`room` bytes, no NUL needed); called only where one is needed, and
	 * with `fresh` where it is going to be set.  R_OK; R_UNSUPPORTED: there is none
	 * (reported); R_FAILED (reported).  NULL: there is none.
	 */
	int (*passphrase)(char *text, size_t room, size_t *len, bool fresh, void *arg);
	void *arg;
};

/*
 * Opens the data keys.  With `create`, a store that has none gets one, and a key file in its folder
 * to open it with.  R_OK; R_NOT_FOUND: it has none (not reported); R_UNSUPPORTED: what opens them
 * is not there or is another key (reported, with the remedy); R_DAMAGED; R_FAILED.  What the
 * passphrase costs (argon2id) is about 0.2 s and 64 MiB.
 */
int store_keys_open(struct store *store, const struct key_source *source, bool create,
		    struct store_keys **keys);
/* Wipes them.  NULL is nothing. */
void store_keys_close(struct store_keys *keys);

/* The same for a store whose keys open without asking anybody and without delay; NULL for any
 * other, and nothing is reported. */
struct store_keys *store_keys_at_hand(struct store *store, const struct key_source *source);

/*
 * Gives a store without data keys its first.  `source` has the file (made if it is not there) or
 * the passphrase for `method`.  R_OK; R_BUSY if it has keys already (reported); as above.
 */
int store_keys_init(struct store *store, enum key_method method, const struct key_source *source);

/*
 * Encrypts all data keys anew, with a new key of `method`, and adds a data key that is used from
 * now on.  What is stored stays as it is and readable.  A new key file of the same path holds old
 * and new key until the last step; so, ended at any instant, one of them opens what is there.
 * As above.
 */
int store_keys_rotate(struct store *store, const struct key_source *old, enum key_method method,
		      const struct key_source *source);

struct key_status {
	enum key_method method;
	char file[KEY_PATH_MAX]; /* of KEY_IN_STORE and KEY_IN_FILE */
	uint8_t id[KEY_ID_BYTES];
	size_t data_keys;
	bool available; /* the key file is there and is the right one; for a passphrase: false */
};
/* Tells without opening anything.  R_OK, R_NOT_FOUND (no keys), R_DAMAGED, R_FAILED. */
int store_keys_status(struct store *store, const struct key_source *source,
		      struct key_status *status);

/* ---- for seal.c ---- */

/* The data key in use now. */
void keys_current(const struct store_keys *keys, uint8_t id[KEY_ID_BYTES], const uint8_t **key);
/* The one with this id; NULL if there is none. */
const uint8_t *keys_find(const struct store_keys *keys, const uint8_t id[KEY_ID_BYTES]);

#endif
