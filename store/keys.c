#include "store/keys.h"

#include "base/fault.h"
#include "base/result.h"
#include "base/warn.h"
#include "store/keys_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* The second of the two choices RFC 9106 recommends: 64 MiB, three passes; about 0.2 s. */
#define ARGON_OPS 3
#define ARGON_MEM_BYTES ((uint64_t)64 << 20)

struct store_keys {
	size_t n;
	struct {
		uint8_t id[KEY_ID_BYTES];
	} * ids;
	uint8_t (*list)[KEY_BYTES]; /* of sodium_malloc(); the last is the one in use */
};

/* What a key is wrapped together with, so that it cannot be passed off as another. */
static void wrap_data(const struct store *store, const uint8_t id[KEY_ID_BYTES],
		      uint8_t data[UUID_BYTES + KEY_ID_BYTES])
{
	memcpy(data, store->uuid, UUID_BYTES);
	memcpy(data + UUID_BYTES, id, KEY_ID_BYTES);
}

static int start_sodium(void)
{
	if (sodium_init() >= 0)
		return R_OK;
	warn("libsodium: cannot begin");
	return R_FAILED;
}

static void *locked_alloc(size_t bytes)
{
	void *memory = sodium_malloc(bytes);

	if (!memory)
		warn("no locked memory for keys (RLIMIT_MEMLOCK); raise that limit and try again");
	return memory;
}

static struct store_keys *new_keys(size_t n)
{
	struct store_keys *keys = calloc(1, sizeof(*keys));

	if (keys) {
		keys->n = n;
		keys->ids = calloc(n, sizeof(*keys->ids));
		keys->list = locked_alloc(n * KEY_BYTES);
		if (keys->ids && keys->list)
			return keys;
	}
	store_keys_close(keys);
	return NULL;
}

void store_keys_close(struct store_keys *keys)
{
	if (!keys)
		return;
	sodium_free(keys->list);
	free(keys->ids);
	free(keys);
}

void keys_current(const struct store_keys *keys, uint8_t id[KEY_ID_BYTES], const uint8_t **key)
{
	memcpy(id, keys->ids[keys->n - 1].id, KEY_ID_BYTES);
	*key = keys->list[keys->n - 1];
}

const uint8_t *keys_find(const struct store_keys *keys, const uint8_t id[KEY_ID_BYTES])
{
	for (size_t i = 0; i < keys->n; i++)
		if (memcmp(keys->ids[i].id, id, KEY_ID_BYTES) == 0)
			return keys->list[i];
	return NULL;
}

/* ---- the key that opens them ---- */

static int derive(const struct keys_file *file, const struct key_source *source, bool fresh,
		  uint8_t kek[KEY_BYTES])
{
	size_t len = 0;
	char *text;
	int result;

	if (!source->passphrase) {
		warn("the keys of this store open with a passphrase: give it with "
		     "--passphrase-file or --passphrase-fd");
		return R_UNSUPPORTED;
	}
	text = locked_alloc(PASSPHRASE_MAX);
	if (!text)
		return R_FAILED;
	result = source->passphrase(text, PASSPHRASE_MAX, &len, fresh, source->arg);
	if (result == R_OK && crypto_pwhash(kek, KEY_BYTES, text, len, file->salt, file->ops,
					    file->mem_bytes, crypto_pwhash_ALG_ARGON2ID13)) {
		warn("no memory (%llu MiB) to make a key of the passphrase; free some and try "
		     "again",
		     (unsigned long long)file->mem_bytes >> 20);
		result = R_FAILED;
	}
	sodium_free(text);
	return result;
}

/* Where `keys` says a named file is: it must be found from any working directory. */
static int set_path(struct keys_file *file, const char *path)
{
	char *dir, *slash, *copy = strdup(path);
	int result = R_FAILED;

	slash = copy ? strrchr(copy, '/') : NULL;
	if (slash)
		*slash = '\0';
	dir = copy ? realpath(!slash ? "." : *copy ? copy : "/", NULL) : NULL;
	if (!dir)
		warn_errno("key file %s", path);
	else if (strchr(path, '\n') ||
		 snprintf(file->path, sizeof(file->path), "%s/%s", strcmp(dir, "/") ? dir : "",
			  slash ? slash + 1 : path) >= (int)sizeof(file->path))
		warn("key file %s: a name that cannot be kept; choose another", path);
	else
		result = R_OK;
	free(dir);
	free(copy);
	return result;
}

static int find_kek(struct store *store, const struct keys_file *file,
		    const struct key_source *source, bool quiet, uint8_t kek[KEY_BYTES])
{
	struct keys_file named = { 0 };
	const char *path = source->file ? named.path : file->path;
	uint8_t id[KEY_ID_BYTES];
	int result;

	if (file->method == KEY_PASSPHRASE) {
		result = quiet ? R_UNSUPPORTED : derive(file, source, false, kek);
		if (result != R_OK)
			return result;
		kek_id_of(kek, id);
		if (memcmp(id, file->kek_id, KEY_ID_BYTES) == 0)
			return R_OK;
		warn("%s: wrong passphrase", store->dir);
		return R_UNSUPPORTED;
	}
	/* A name given by the user is one below the working directory. */
	if (source->file && set_path(&named, source->file) != R_OK)
		return R_UNSUPPORTED;
	result = key_file_read(store, path, file->kek_id, quiet, kek);
	if (result != R_NOT_FOUND)
		return result;
	if (!quiet)
		warn("the key file %s%s%s is missing, without which no secret of this store can "
		     "be stored or read: put it back%s",
		     *path == '/' || source->file ? "" : store->dir,
		     *path == '/' || source->file ? "" : "/", path,
		     source->file ? "" : ", or name a copy of it with --key-file");
	return R_UNSUPPORTED;
}

static int unwrap(struct store *store, const struct keys_file *file, const uint8_t kek[KEY_BYTES],
		  struct store_keys **out)
{
	struct store_keys *keys = new_keys(file->n);
	uint8_t data[UUID_BYTES + KEY_ID_BYTES];

	if (!keys)
		return R_FAILED;
	for (size_t i = 0; i < file->n; i++) {
		const struct wrapped_key *key = &file->list[i];

		wrap_data(store, key->id, data);
		memcpy(keys->ids[i].id, key->id, KEY_ID_BYTES);
		if (crypto_aead_xchacha20poly1305_ietf_decrypt(keys->list[i], NULL, NULL,
							       key->bytes, sizeof(key->bytes), data,
							       sizeof(data), key->nonce, kek)) {
			warn("%s/" KEYS_NAME ": its key %zu is damaged: put this file of a copy "
			     "of the store in its place",
			     store->dir, i + 1);
			store_keys_close(keys);
			return R_DAMAGED;
		}
	}
	*out = keys;
	return R_OK;
}

static int wrap(struct store *store, const struct store_keys *keys, const uint8_t kek[KEY_BYTES],
		struct keys_file *file)
{
	uint8_t data[UUID_BYTES + KEY_ID_BYTES];

	file->list = calloc(keys->n, sizeof(*file->list));
	if (!file->list) {
		warn("out of memory");
		return R_FAILED;
	}
	file->n = keys->n;
	for (size_t i = 0; i < keys->n; i++) {
		struct wrapped_key *key = &file->list[i];

		memcpy(key->id, keys->ids[i].id, KEY_ID_BYTES);
		randombytes_buf(key->nonce, sizeof(key->nonce));
		wrap_data(store, key->id, data);
		crypto_aead_xchacha20poly1305_ietf_encrypt(key->bytes, NULL, keys->list[i],
							   KEY_BYTES, data, sizeof(data), NULL,
							   key->nonce, kek);
	}
	return R_OK;
}

/* ---- changes, one at a time ---- */

/* Whoever holds this is the only one to change keys; it ends with its process. */
static int lock_keys(const struct store *store)
{
	int fd = openat(store->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0 && flock(fd, LOCK_EX) == 0)
		return fd;
	warn_errno("%s: cannot lock", store->dir);
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Whether it is a name that a key of the store's own gets; others are not snap's to remove. */
static bool is_own_name(const char *name)
{
	size_t len = strlen(KEY_NAME_PREFIX);

	return strncmp(name, KEY_NAME_PREFIX, len) == 0 &&
	       strspn(name + len, "0123456789abcdef") == 2 * KEY_ID_BYTES &&
	       name[len + 2 * KEY_ID_BYTES] == '\0';
}

/* Key files of the folder that an interrupted change has left, or that `keys` no longer names.  The
 * file it does name may be one of the folder, however it is called. */
static void drop_others(const struct store *store, const struct keys_file *keys)
{
	struct stat wanted = { 0 }, st;
	struct dirent *entry;
	DIR *dir;
	int fd;

	if (keys->method != KEY_PASSPHRASE && fstatat(store->dirfd, keys->path, &wanted, 0))
		return;
	fd = openat(store->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir && fd >= 0)
		close(fd);
	while (dir && (entry = readdir(dir))) {
		if (!is_own_name(entry->d_name) || fstatat(store->dirfd, entry->d_name, &st, 0) ||
		    (st.st_ino == wanted.st_ino && st.st_dev == wanted.st_dev))
			continue;
		fault_point("key file unlink");
		unlinkat(store->dirfd, entry->d_name, 0);
	}
	if (dir)
		closedir(dir);
}

/* Whether a new key goes where the old one is. */
static bool is_same_file(const struct keys_file *before, const struct keys_file *after)
{
	return before && before->method == KEY_IN_FILE && after->method == KEY_IN_FILE &&
	       strcmp(before->path, after->path) == 0;
}

/* A new key, and where it is to be found; nothing refers to it yet. */
static int make_kek(struct store *store, struct keys_file *file, const struct key_source *source,
		    const struct keys_file *before, uint8_t kek[KEY_BYTES])
{
	int result;

	randombytes_buf(kek, KEY_BYTES);
	if (file->method == KEY_PASSPHRASE) {
		randombytes_buf(file->salt, sizeof(file->salt));
		file->ops = ARGON_OPS;
		file->mem_bytes = ARGON_MEM_BYTES;
		result = derive(file, source, true, kek);
		kek_id_of(kek, file->kek_id);
		return result;
	}
	kek_id_of(kek, file->kek_id);
	if (file->method == KEY_IN_STORE) {
		char digits[2 * KEY_ID_BYTES + 1];

		sodium_bin2hex(digits, sizeof(digits), file->kek_id, KEY_ID_BYTES);
		snprintf(file->path, sizeof(file->path), KEY_NAME_PREFIX "%s", digits);
		return key_file_write(store, file->path, kek);
	}
	result = set_path(file, source->file);
	if (result != R_OK)
		return result;
	if (is_same_file(before, file))
		return key_file_add(store, file->path, kek);
	/* One that is there may be the key of other stores: it is used as it is. */
	result = key_file_read(store, file->path, NULL, false, kek);
	if (result == R_NOT_FOUND) {
		randombytes_buf(kek, KEY_BYTES);
		result = key_file_write(store, file->path, kek);
	}
	kek_id_of(kek, file->kek_id);
	return result;
}

static void add_data_key(struct store_keys *keys)
{
	randombytes_buf(keys->list[keys->n - 1], KEY_BYTES);
	randombytes_buf(keys->ids[keys->n - 1].id, KEY_ID_BYTES);
}

static int first_keys(struct store *store, enum key_method method, const struct key_source *source)
{
	struct keys_file file = { .method = method };
	struct store_keys *keys = new_keys(1);
	uint8_t *kek = locked_alloc(KEY_BYTES);
	int result = R_FAILED;

	if (keys && kek) {
		add_data_key(keys);
		result = make_kek(store, &file, source, NULL, kek);
	}
	if (result == R_OK)
		result = wrap(store, keys, kek, &file);
	if (result == R_OK)
		result = keys_file_write(store, &file);
	if (result == R_OK)
		drop_others(store, &file);
	keys_file_free(&file);
	sodium_free(kek);
	store_keys_close(keys);
	return result;
}

int store_keys_init(struct store *store, enum key_method method, const struct key_source *source)
{
	struct keys_file file;
	int result, lock;

	if (start_sodium() != R_OK || (lock = lock_keys(store)) < 0)
		return R_FAILED;
	result = keys_file_read(store, &file);
	if (result == R_OK) {
		warn("%s has a key already; change it with snap key rotate", store->dir);
		keys_file_free(&file);
		result = R_BUSY;
	} else if (result == R_NOT_FOUND) {
		result = first_keys(store, method, source);
	}
	close(lock);
	return result;
}

static int open_keys(struct store *store, const struct key_source *source, bool quiet,
		     struct store_keys **keys)
{
	struct keys_file file;
	uint8_t *kek;
	int result;

	if (start_sodium() != R_OK)
		return R_FAILED;
	result = keys_file_read(store, &file);
	if (result != R_OK)
		return result;
	kek = locked_alloc(KEY_BYTES);
	result = kek ? find_kek(store, &file, source, quiet, kek) : R_FAILED;
	if (result == R_OK)
		result = unwrap(store, &file, kek, keys);
	sodium_free(kek);
	keys_file_free(&file);
	return result;
}

int store_keys_open(struct store *store, const struct key_source *source, bool create,
		    struct store_keys **keys)
{
	int result = open_keys(store, source, false, keys);

	if (result != R_NOT_FOUND || !create)
		return result;
	result = store_keys_init(store, source->file ? KEY_IN_FILE : KEY_IN_STORE, source);
	/* Another take may have been faster. */
	return result == R_OK || result == R_BUSY ? open_keys(store, source, false, keys) : result;
}

struct store_keys *store_keys_at_hand(struct store *store, const struct key_source *source)
{
	struct store_keys *keys = NULL;

	return open_keys(store, source, true, &keys) == R_OK ? keys : NULL;
}

/* ---- rotation ---- */

static struct store_keys *with_another(const struct store_keys *keys)
{
	struct store_keys *more = new_keys(keys->n + 1);

	if (!more)
		return NULL;
	memcpy(more->ids, keys->ids, keys->n * sizeof(*keys->ids));
	memcpy(more->list, keys->list, keys->n * KEY_BYTES);
	add_data_key(more);
	return more;
}

static int rewrap(struct store *store, const struct keys_file *before, const uint8_t *old,
		  enum key_method method, const struct key_source *source)
{
	struct keys_file after = { .method = method };
	struct store_keys *keys = NULL, *more = NULL;
	uint8_t *kek = locked_alloc(KEY_BYTES);
	int result = kek ? unwrap(store, before, old, &keys) : R_FAILED;

	if (result == R_OK && before->n == DATA_KEYS_MAX) {
		warn("%s: %zu data keys are the most there can be", store->dir, before->n);
		result = R_UNSUPPORTED;
	}
	if (result == R_OK && !(more = with_another(keys)))
		result = R_FAILED;
	if (result == R_OK)
		result = make_kek(store, &after, source, before, kek);
	if (result == R_OK)
		result = wrap(store, more, kek, &after);
	if (result == R_OK)
		result = keys_file_write(store, &after);
	/* The old key opens nothing any more. */
	if (result == R_OK)
		drop_others(store, &after);
	if (result == R_OK && is_same_file(before, &after))
		note("key file %s: the old key stays in it, as another store may need it: remove "
		     "its line when none does",
		     after.path);
	keys_file_free(&after);
	store_keys_close(more);
	store_keys_close(keys);
	sodium_free(kek);
	return result;
}

int store_keys_rotate(struct store *store, const struct key_source *old, enum key_method method,
		      const struct key_source *source)
{
	struct keys_file before;
	uint8_t *kek = NULL;
	int result, lock;

	if (start_sodium() != R_OK || (lock = lock_keys(store)) < 0)
		return R_FAILED;
	result = keys_file_read(store, &before);
	if (result == R_NOT_FOUND)
		warn("%s has no key to change; snap init gives it one", store->dir);
	if (result == R_OK) {
		kek = locked_alloc(KEY_BYTES);
		result = kek ? find_kek(store, &before, old, false, kek) : R_FAILED;
		if (result == R_OK)
			result = rewrap(store, &before, kek, method, source);
		keys_file_free(&before);
		sodium_free(kek);
	}
	close(lock);
	return result;
}

int store_keys_status(struct store *store, const struct key_source *source,
		      struct key_status *status)
{
	struct keys_file file;
	uint8_t *kek;
	int result;

	memset(status, 0, sizeof(*status));
	if (start_sodium() != R_OK)
		return R_FAILED;
	result = keys_file_read(store, &file);
	if (result != R_OK)
		return result;
	status->method = file.method;
	status->data_keys = file.n;
	memcpy(status->id, file.kek_id, KEY_ID_BYTES);
	if (file.method != KEY_PASSPHRASE)
		snprintf(status->file, sizeof(status->file), "%s", file.path);
	kek = locked_alloc(KEY_BYTES);
	status->available = kek && file.method != KEY_PASSPHRASE &&
			    find_kek(store, &file, source, true, kek) == R_OK;
	sodium_free(kek);
	keys_file_free(&file);
	return kek ? R_OK : R_FAILED;
}
