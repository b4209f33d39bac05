#include "store/keys_file.h"

#include "base/fault.h"
#include "base/io.h"
#include "base/replace.h"
#include "base/result.h"
#include "base/warn.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX_BYTES (4u << 20)
#define KEY_FILE_MAX_BYTES 65536
#define KEY_LINE_BYTES (2 * KEY_BYTES + 1)
#define SUM_BYTES 16

static const char *const method_words[] = {
	[KEY_IN_STORE] = "store",
	[KEY_IN_FILE] = "file",
	[KEY_PASSPHRASE] = "passphrase",
};

/* Exactly so many bytes in hexadecimal digits. */
static bool get_hex(const char *text, uint8_t *bytes, size_t n)
{
	size_t got;

	return strlen(text) == 2 * n &&
	       sodium_hex2bin(bytes, n, text, 2 * n, NULL, &got, NULL) == 0 && got == n;
}

static void put_hex(FILE *out, const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		fprintf(out, "%02x", bytes[i]);
}

static bool add_key(struct keys_file *file, char *words)
{
	struct wrapped_key key, *more;
	char *save = NULL, *id = strtok_r(words, " ", &save);
	char *nonce = strtok_r(NULL, " ", &save), *bytes = strtok_r(NULL, " ", &save);

	if (!id || !nonce || !bytes || !get_hex(id, key.id, sizeof(key.id)) ||
	    !get_hex(nonce, key.nonce, sizeof(key.nonce)) ||
	    !get_hex(bytes, key.bytes, sizeof(key.bytes)) || file->n == DATA_KEYS_MAX)
		return false;
	more = realloc(file->list, (file->n + 1) * sizeof(*more));
	if (!more)
		return false;
	file->list = more;
	more[file->n++] = key;
	return true;
}

static bool parse_line(struct keys_file *file, char *line)
{
	char *words = strchr(line, ' ');

	if (!words)
		return false;
	*words++ = '\0';
	if (strcmp(line, "method") == 0) {
		for (size_t i = 0; i < sizeof(method_words) / sizeof(method_words[0]); i++) {
			if (strcmp(words, method_words[i]) != 0)
				continue;
			file->method = (enum key_method)i;
			return true;
		}
		return false;
	}
	if (strcmp(line, "id") == 0)
		return get_hex(words, file->kek_id, sizeof(file->kek_id));
	if (strcmp(line, "path") == 0)
		return snprintf(file->path, sizeof(file->path), "%s", words) <
		       (int)sizeof(file->path);
	if (strcmp(line, "salt") == 0)
		return get_hex(words, file->salt, sizeof(file->salt));
	if (strcmp(line, "argon2id") == 0)
		return sscanf(words, "%" SCNu64 " %" SCNu64, &file->ops, &file->mem_bytes) == 2 &&
		       file->ops >= crypto_pwhash_OPSLIMIT_MIN &&
		       file->ops <= crypto_pwhash_OPSLIMIT_MAX &&
		       file->mem_bytes >= crypto_pwhash_MEMLIMIT_MIN &&
		       file->mem_bytes <= crypto_pwhash_MEMLIMIT_MAX;
	return strcmp(line, "key") == 0 && add_key(file, words);
}

/* The last line is the sum of all before it. */
static bool sum_fits(char *text, size_t len)
{
	uint8_t sum[SUM_BYTES], there[SUM_BYTES];
	char *last =
	    len > 0 && text[len - 1] == '\n' && strlen(text) == len ? text + len - 1 : NULL;

	if (!last)
		return false;
	*last = '\0';
	last = strrchr(text, '\n');
	if (!last || strncmp(last + 1, "sum ", 4) != 0 || !get_hex(last + 5, there, SUM_BYTES))
		return false;
	crypto_generichash(sum, SUM_BYTES, (const uint8_t *)text, (size_t)(last + 1 - text), NULL,
			   0);
	last[1] = '\0';
	return memcmp(sum, there, SUM_BYTES) == 0;
}

static bool parse(struct keys_file *file, char *text, size_t len)
{
	static const char head[] = "snap-keys 1\n";
	char *line, *save = NULL;

	if (!sum_fits(text, len) || strncmp(text, head, sizeof(head) - 1) != 0)
		return false;
	for (line = strtok_r(text + sizeof(head) - 1, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		if (!parse_line(file, line))
			return false;
	return file->n > 0 && (file->method == KEY_PASSPHRASE ? file->ops > 0 : *file->path);
}

int keys_file_read(struct store *store, struct keys_file *file)
{
	char *text;
	size_t len;
	int result = R_OK;

	memset(file, 0, sizeof(*file));
	if (io_read_file(store->dirfd, KEYS_NAME, FILE_MAX_BYTES, &text, &len) != R_OK) {
		if (errno == ENOENT)
			return R_NOT_FOUND;
		warn_errno("%s/" KEYS_NAME ": cannot read", store->dir);
		return R_FAILED;
	}
	if (!parse(file, text, len)) {
		warn("%s/" KEYS_NAME ": damaged, or of a newer snap: put this file of a copy of "
		     "the store in its place",
		     store->dir);
		keys_file_free(file);
		result = R_DAMAGED;
	}
	free(text);
	return result;
}

static void put_text(FILE *out, const struct keys_file *file)
{
	fprintf(out, "snap-keys 1\nmethod %s\nid ", method_words[file->method]);
	put_hex(out, file->kek_id, sizeof(file->kek_id));
	if (file->method == KEY_PASSPHRASE) {
		fprintf(out, "\nsalt ");
		put_hex(out, file->salt, sizeof(file->salt));
		fprintf(out, "\nargon2id %" PRIu64 " %" PRIu64 "\n", file->ops, file->mem_bytes);
	} else {
		fprintf(out, "\npath %s\n", file->path);
	}
	for (size_t i = 0; i < file->n; i++) {
		fprintf(out, "key ");
		put_hex(out, file->list[i].id, sizeof(file->list[i].id));
		fputc(' ', out);
		put_hex(out, file->list[i].nonce, sizeof(file->list[i].nonce));
		fputc(' ', out);
		put_hex(out, file->list[i].bytes, sizeof(file->list[i].bytes));
		fputc('\n', out);
	}
}

int keys_file_write(struct store *store, const struct keys_file *file)
{
	uint8_t sum[SUM_BYTES];
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	int result = R_FAILED;

	if (!out) {
		warn("out of memory");
		return R_FAILED;
	}
	put_text(out, file);
	fflush(out);
	crypto_generichash(sum, SUM_BYTES, (const uint8_t *)text, len, NULL, 0);
	fprintf(out, "sum ");
	put_hex(out, sum, SUM_BYTES);
	fputc('\n', out);
	if (fclose(out) == 0 && text) {
		fault_point("keys write");
		result = io_replace_file(store->dirfd, KEYS_NAME, text, len, 0600);
	}
	if (result != R_OK)
		warn_errno("%s/" KEYS_NAME ": cannot write", store->dir);
	free(text);
	return result;
}

void keys_file_free(struct keys_file *file)
{
	free(file->list);
	file->list = NULL;
	file->n = 0;
}

void kek_id_of(const uint8_t kek[KEY_BYTES], uint8_t id[KEY_ID_BYTES])
{
	static const uint8_t what[] = "snap key id";
	uint8_t hash[32];

	crypto_generichash(hash, sizeof(hash), what, sizeof(what), kek, KEY_BYTES);
	memcpy(id, hash, KEY_ID_BYTES);
}

/* The name a key file has for messages: below the store, or as it is. */
static const char *full_name(const struct store *store, const char *path, char *buf, size_t room)
{
	if (*path == '/')
		snprintf(buf, room, "%s", path);
	else
		snprintf(buf, room, "%s/%s", store->dir, path);
	return buf;
}

/* Lines of 64 digits; what begins with # is a remark. */
static int find_key(char *text, const uint8_t *id, uint8_t kek[KEY_BYTES])
{
	char *line, *save = NULL;
	uint8_t there[KEY_ID_BYTES];

	for (line = strtok_r(text, "\r\n", &save); line; line = strtok_r(NULL, "\r\n", &save)) {
		if (*line == '#' || !get_hex(line, kek, KEY_BYTES))
			continue;
		kek_id_of(kek, there);
		if (!id || memcmp(there, id, KEY_ID_BYTES) == 0)
			return R_OK;
	}
	sodium_memzero(kek, KEY_BYTES);
	return R_NOT_FOUND;
}

int key_file_read(struct store *store, const char *path, const uint8_t *id, bool quiet,
		  uint8_t kek[KEY_BYTES])
{
	/* One more than is read, for the NUL; wiped and locked, unlike what stdio would use. */
	char *text = sodium_malloc(KEY_FILE_MAX_BYTES + 1), name[KEY_PATH_MAX + 64];
	int fd = openat(store->dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY), result = R_FAILED;
	struct stat st;
	ssize_t got = -1;

	full_name(store, path, name, sizeof(name));
	if (fd < 0) {
		result = errno == ENOENT || errno == ENOTDIR ? R_NOT_FOUND : R_UNSUPPORTED;
		if (result != R_NOT_FOUND && !quiet)
			warn_errno("key file %s: cannot open", name);
	} else if (text && fstat(fd, &st) == 0) {
		got = read(fd, text, KEY_FILE_MAX_BYTES);
	}
	if (fd >= 0 && got < 0) {
		warn_errno("key file %s: cannot read", name);
	} else if (fd >= 0 && S_ISREG(st.st_mode) && st.st_mode & 077) {
		if (!quiet)
			warn("key file %s: others than its owner may read it (mode %o): make it "
			     "private (chmod 600) and try again",
			     name, (unsigned)st.st_mode & 07777);
		result = R_UNSUPPORTED;
	} else if (fd >= 0) {
		text[got] = '\0';
		result = find_key(text, id, kek);
		if (result == R_NOT_FOUND && !quiet)
			warn("key file %s: %s", name,
			     id ? "not the key of this store: name the right one with --key-file"
				: "holds no key (a line of 64 hexadecimal digits)");
		if (result == R_NOT_FOUND)
			result = R_UNSUPPORTED;
	}
	if (fd >= 0)
		close(fd);
	sodium_free(text);
	return result;
}

/* Puts the text in place of the key file, at once. */
static int replace_key_file(struct store *store, const char *path, const char *text, size_t len)
{
	const char *slash = strrchr(path, '/');
	int dirfd = store->dirfd, result = R_FAILED;
	char name[KEY_PATH_MAX + 64];

	fault_point("key file write");
	if (slash) {
		snprintf(name, sizeof(name), "%.*s", (int)(slash - path + 1), path);
		dirfd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (dirfd >= 0)
		result = io_replace_file(dirfd, slash ? slash + 1 : path, text, len, 0600);
	if (result != R_OK)
		warn_errno("key file %s: cannot write", full_name(store, path, name, sizeof(name)));
	if (slash && dirfd >= 0)
		close(dirfd);
	return result;
}

/* A line with the key at `to`, of KEY_LINE_BYTES. */
static void put_key(char *to, const uint8_t kek[KEY_BYTES])
{
	sodium_bin2hex(to, KEY_LINE_BYTES, kek, KEY_BYTES);
	to[KEY_LINE_BYTES - 1] = '\n';
}

int key_file_write(struct store *store, const char *path, const uint8_t kek[KEY_BYTES])
{
	static const char head[] =
	    "# snap: key of a store's secrets; keep it, and keep it secret\n";
	size_t len = sizeof(head) - 1;
	char *text = sodium_malloc(len + KEY_LINE_BYTES);
	int result;

	if (!text) {
		warn("out of memory");
		return R_FAILED;
	}
	memcpy(text, head, len);
	put_key(text + len, kek);
	result = replace_key_file(store, path, text, len + KEY_LINE_BYTES);
	sodium_free(text);
	return result;
}

/* Where the first line begins that is no remark. */
static size_t behind_remarks(const char *text)
{
	size_t at = 0;

	while (text[at] == '#' && strchr(text + at, '\n'))
		at = (size_t)(strchr(text + at, '\n') + 1 - text);
	return at;
}

/* Reads all of the file to `text`, of KEY_FILE_MAX_BYTES and a NUL.  R_OK; R_NOT_FOUND: there is
 * none (not reported); R_FAILED. */
static int read_text(struct store *store, const char *path, char *text, size_t *len)
{
	char name[KEY_PATH_MAX + 64];
	int fd = openat(store->dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	ssize_t got = fd < 0 ? -1 : read(fd, text, KEY_FILE_MAX_BYTES);
	int result = R_FAILED;

	full_name(store, path, name, sizeof(name));
	if (fd < 0 && errno == ENOENT)
		return R_NOT_FOUND;
	if (got < 0)
		warn_errno("key file %s: cannot read", name);
	else if (got + KEY_LINE_BYTES > KEY_FILE_MAX_BYTES)
		warn("key file %s: no room for another key: remove what nobody needs, or name "
		     "another file with --new-key-file",
		     name);
	else
		result = R_OK;
	if (fd >= 0)
		close(fd);
	if (result == R_OK) {
		*len = (size_t)got;
		text[got] = '\0';
	}
	return result;
}

int key_file_add(struct store *store, const char *path, const uint8_t kek[KEY_BYTES])
{
	char *text = sodium_malloc(KEY_FILE_MAX_BYTES + 1);
	size_t len, at;
	int result;

	if (!text) {
		warn("out of memory");
		return R_FAILED;
	}
	result = read_text(store, path, text, &len);
	if (result == R_OK) {
		at = behind_remarks(text);
		memmove(text + at + KEY_LINE_BYTES, text + at, len - at);
		put_key(text + at, kek);
		result = replace_key_file(store, path, text, len + KEY_LINE_BYTES);
	} else if (result == R_NOT_FOUND) {
		result = key_file_write(store, path, kek);
	}
	sodium_free(text);
	return result;
}
