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
	uint8_t raw[SEGMENT_RECORD_BYTES], condemned_raw[CONDEMNED_RECORD_BYTES];
	struct condemned_record condemned;
	struct segment_record record;
	uint64_t next = 0, first;
	int result;

	while ((result = index_ceiling(txn, DB_SEGMENT, next, &first, raw, sizeof(raw))) == R_OK) {
		uint64_t bytes, live_bytes;
		uint32_t live;

		segment_record_decode(first, raw, &record);
		bytes = (uint64_t)record.header_bytes + record.body_bytes;
		live = record.pages;
		result =
		    index_get_u64(txn, DB_CONDEMNED, first, condemned_raw, sizeof(condemned_raw));
		if (result == R_FAILED)
			return R_FAILED;
		if (result == R_OK) {
			condemned_record_decode(condemned_raw, &condemned);
			live = condemned.live < live ? condemned.live : live;
		}
		/* The pages of a segment share its bytes alike. */
		live_bytes = record.pages ? bytes * live / record.pages : 0;
		stats->bytes_live += live_bytes;
		stats->bytes_condemned += bytes - live_bytes;
		stats->pages += live;
		if (live > 0)
			stats->bytes_headers += record.header_bytes;
		next = first + 1;
	}
	return result == R_NOT_FOUND ? R_OK : result;
}

struct summing {
	struct store_view *view;
	struct store_stats *stats;
};

static int sum_generation(const struct generation *gen, void *arg)
{
	const struct summing *summing = arg;
	struct generation newest;

	summing->stats->bytes_logical += gen->bytes_logical;
	summing->stats->generations++;
	if (store_generation_latest(summing->view, gen->lineage, &newest) == R_OK &&
	    newest.number == gen->number)
		summing->stats->lineages++;
	return 0;
}

int store_stats(struct store_view *view, struct store_stats *stats)
{
	struct summing summing = { view, stats };

	memset(stats, 0, sizeof(*stats));
	if (sum_packs(view->store, stats) != R_OK || sum_segments(view->txn, stats) != R_OK ||
	    index_count(view->txn, DB_PACK, &stats->packs) != R_OK ||
	    index_count(view->txn, DB_SEGMENT, &stats->segments) != R_OK)
		return R_FAILED;
	return store_generation_each(view, sum_generation, &summing);
}
