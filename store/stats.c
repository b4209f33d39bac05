#include "base/result.h"
#include "base/warn.h"
#include "store/pack.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int sum_packs(struct store *store, struct store_stats *stats)
{
	struct dirent *entry;
	struct stat st;
	uint64_t pack;
	DIR *dir;

	dir = pack_list(store);
	if (!dir)
		return R_FAILED;
	while ((entry = readdir(dir)))
		if (pack_number(entry->d_name, &pack) &&
		    fstatat(store->packs_fd, entry->d_name, &st, 0) == 0)
			stats->bytes_packs += (uint64_t)st.st_blocks * 512;
	closedir(dir);
	if (fstatat(store->dirfd, "index/data.mdb", &st, 0) == 0)
		stats->bytes_index = (uint64_t)st.st_blocks * 512;
	return R_OK;
}

static int sum_segments(struct index_txn *txn, struct store_stats *stats)
{
	uint8_t raw[SEGMENT_RECORD_BYTES], condemned[CONDEMNED_RECORD_BYTES];
	struct segment_record record;
	uint64_t next = 0, first;
	int result;

	while ((result = index_ceiling(txn, DB_SEGMENT, next, &first, raw, sizeof(raw))) == R_OK) {
		uint64_t bytes;

		segment_record_decode(first, raw, &record);
		bytes = (uint64_t)record.header_bytes + record.body_bytes;
		result = index_get_u64(txn, DB_CONDEMNED, first, condemned, sizeof(condemned));
		if (result == R_FAILED)
			return R_FAILED;
		if (result == R_OK) {
			stats->bytes_condemned += bytes;
		} else {
			stats->bytes_live += bytes;
			stats->bytes_headers += record.header_bytes;
			stats->pages += record.pages;
		}
		next = first + 1;
	}
	return result == R_NOT_FOUND ? R_OK : result;
}

static int sum_generation(const struct generation *gen, void *arg)
{
	struct store_stats *stats = arg;

	stats->bytes_logical += gen->bytes_logical;
	return 0;
}

int store_stats(struct store_view *view, struct store_stats *stats)
{
	memset(stats, 0, sizeof(*stats));
	if (sum_packs(view->store, stats) != R_OK || sum_segments(view->txn, stats) != R_OK ||
	    index_count(view->txn, DB_GENERATION, &stats->generations) != R_OK ||
	    index_count(view->txn, DB_LINEAGE, &stats->lineages) != R_OK ||
	    index_count(view->txn, DB_PACK, &stats->packs) != R_OK ||
	    index_count(view->txn, DB_SEGMENT, &stats->segments) != R_OK)
		return R_FAILED;
	return store_generation_each(view, sum_generation, stats);
}
