/* The file that makes a directory a store. */
#include "base/fault.h"
#include "base/io.h"
#include "base/replace.h"
#include "base/result.h"
#include "base/warn.h"
#include "store/store_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MARK_BYTES_MAX 4096

static int parse_uuid(const char *text, uint8_t uuid[UUID_BYTES])
{
	for (size_t i = 0; i < UUID_BYTES; i++) {
		unsigned int byte;

		if (sscanf(text + 2 * i, "%2x", &byte) != 1)
			return R_FAILED;
		uuid[i] = (uint8_t)byte;
	}
	return R_OK;
}

int store_mark_damaged(const struct store *store, const char *how)
{
	warn("%s/" MARK_FILE ": %s: the store is damaged: put this file of a copy of the store in "
	     "its place",
	     store->dir, how);
	return R_DAMAGED;
}

int store_mark_read(struct store *store)
{
	unsigned int version = 0;
	char *text, uuid[2 * UUID_BYTES + 1];
	int result = R_FAILED;
	size_t len;

	if (io_read_file(store->dirfd, MARK_FILE, MARK_BYTES_MAX, &text, &len) != R_OK) {
		if (errno == ENOENT)
			return R_NOT_FOUND;
		warn_errno("%s/" MARK_FILE ": cannot read", store->dir);
		return errno == EFBIG ? R_DAMAGED : R_FAILED;
	}
	if (sscanf(text, "snap-store %u", &version) != 1)
		result = store_mark_damaged(store, "not what snap wrote");
	else if (version > FORMAT_VERSION)
		warn("%s: a store of format %u; this snap knows formats up to %d: use a newer snap",
		     store->dir, version, FORMAT_VERSION);
	else if (version < FORMAT_OLDEST)
		warn("%s: a store of format %u, which no released snap wrote; this snap reads "
		     "formats %d to %d: name another directory, and take again there",
		     store->dir, version, FORMAT_OLDEST, FORMAT_VERSION);
	else if (sscanf(text, "snap-store %*u\nuuid %32[0-9a-f]", uuid) != 1 ||
		 strlen(uuid) != 2 * UUID_BYTES || parse_uuid(uuid, store->uuid) != R_OK)
		result = store_mark_damaged(store, "no uuid in it");
	else
		result = R_OK;
	store->version = version;
	free(text);
	return result;
}

int store_mark_write(struct store *store)
{
	char text[128];
	int used;

	used = snprintf(text, sizeof(text), "snap-store %u\nuuid ", store->version);
	for (size_t i = 0; i < UUID_BYTES; i++)
		used += snprintf(text + used, sizeof(text) - (size_t)used, "%02x", store->uuid[i]);
	text[used++] = '\n';
	fault_point("mark write");
	if (io_replace_file(store->dirfd, MARK_FILE, text, (size_t)used, 0600) == R_OK)
		return R_OK;
	warn_errno("%s/" MARK_FILE ": cannot write", store->dir);
	return R_FAILED;
}
