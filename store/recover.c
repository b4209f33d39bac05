#include "base/result.h"
#include "base/warn.h"
#include "store/pack.h"

#include <dirent.h>
#include <fcntl.h>
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
