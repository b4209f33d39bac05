#include "store/walked.h"

#include "base/endian.h"
#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#define WALKED_FILE "index-walked"
#define WALKED_MAGIC "SNAPWALK"
#define WALKED_BYTES \
	48 /* magic 8, version 4, 0 4, uuid 16, txn 8, time 8; then XXH3-64 of that \
	    */
#define CHECKSUM_BYTES 8
#define WALKED_EACH_S 86400 /* bits rot slowly, but they do */

static void encode(const struct store *store, const struct walked *walked, uint8_t *raw)
{
	memcpy(raw, WALKED_MAGIC, 8);
	put_le32(raw + 8, store->version);
	put_le32(raw + 12, 0);
	memcpy(raw + 16, store->uuid, UUID_BYTES);
	put_le64(raw + 32, walked->txn);
	put_le64(raw + 40, (uint64_t)walked->time_s);
	put_le64(raw + WALKED_BYTES, XXH3_64bits(raw, WALKED_BYTES));
}

bool walked_read(const struct store *store, struct walked *walked)
{
	uint8_t raw[WALKED_BYTES + CHECKSUM_BYTES], expected[WALKED_BYTES + CHECKSUM_BYTES];
	int64_t now_s = (int64_t)time(NULL);
	int fd = openat(store->dirfd, WALKED_FILE, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : pread(fd, raw, sizeof(raw), 0);

	if (fd >= 0)
		close(fd);
	if (got != (ssize_t)sizeof(raw))
		return false;
	walked->txn = get_le64(raw + 32);
	walked->time_s = (int64_t)get_le64(raw + 40);
	encode(store, walked, expected);
	return memcmp(raw, expected, sizeof(raw)) == 0 && walked->time_s <= now_s &&
	       walked->time_s > now_s - WALKED_EACH_S;
}

/* Not synced: what a power cut leaves of it has another transaction, or no checksum. */
void walked_write(const struct store *store, const struct walked *walked)
{
	uint8_t raw[WALKED_BYTES + CHECKSUM_BYTES];
	int fd = openat(store->dirfd, WALKED_FILE, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return;
	encode(store, walked, raw);
	if (pwrite(fd, raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
		detail("%s/" WALKED_FILE ": cannot write: the next command looks at all of the "
		       "index",
		       store->dir);
	close(fd);
}

int walked_remove(const struct store *store)
{
	if (unlinkat(store->dirfd, WALKED_FILE, 0) == 0 || errno == ENOENT)
		return R_OK;
	warn_errno("%s/" WALKED_FILE ": cannot remove", store->dir);
	return R_FAILED;
}
