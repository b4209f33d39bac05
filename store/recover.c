#include "base/replace.h"
#include "base/result.h"
#include "base/warn.h"
#include "store/pack.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static int known(struct store *store, uint64_t pack)
{
	uint8_t raw[PACK_RECORD_BYTES];
	struct index_txn *txn;
	int result;

	if (index_read_begin(store->index, &txn) != R_OK)
		return R_FAILED;
	result = index_get_u64(txn, DB_PACK, pack, raw, sizeof(raw));
	index_read_end(txn);
	return result;
}

/* Removes the pack if its writer is dead and never committed it. */
static int recover_pack(struct store *store, uint64_t pack, uint64_t *bytes)
{
	int fd, result;

	result = known(store, pack);
	if (result != R_NOT_FOUND)
		return result;
	result = pack_open(store, pack, true, &fd);
	if (result != R_OK)
		return result == R_NOT_FOUND ? R_OK : result;
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		close(fd); /* its writer lives */
		return R_OK;
	}
	/* It may have been committed between the first look and the lock; after the lock nobody
	 * can commit it any more. */
	result = known(store, pack);
	if (result == R_NOT_FOUND) {
		detail("removing pack %016lx, left by an interrupted take", (unsigned long)pack);
		result = pack_unlink(store, pack, bytes);
	}
	close(fd);
	return result;
}

int recover_packs(struct store *store, uint64_t *bytes)
{
	struct dirent *entry;
	int result = R_OK;
	uint64_t pack;
	DIR *dir;

	dir = pack_list(store);
	if (!dir)
		return R_FAILED;
	while ((entry = readdir(dir)))
		if (pack_number(entry->d_name, &pack) &&
		    recover_pack(store, pack, bytes) == R_FAILED)
			result = R_FAILED;
	closedir(dir);
	return result;
}

/* Of a folder beside the index and the packs: those of the command line. */
static uint64_t sweep_folder(const struct store *store, const struct dirent *entry)
{
	static const char *const others[] = { ".", "..", "index", "packs" };
	uint64_t bytes;
	int fd;

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (strcmp(entry->d_name, others[i]) == 0)
			return 0;
	fd = openat(store->dirfd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return 0;
	bytes = io_sweep_temporaries(fd, "");
	close(fd);
	return bytes;
}

uint64_t recover_temporaries(const struct store *store)
{
	uint64_t bytes = io_sweep_temporaries(store->dirfd, "");
	int fd = openat(store->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir && fd >= 0)
		close(fd);
	while (dir && (entry = readdir(dir)))
		if (entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN)
			bytes += sweep_folder(store, entry);
	if (dir)
		closedir(dir);
	return bytes;
}
