/*
 * Puts many different pages that compress well into a store, a generation of so many at a time,
 * and tells the pace of each as a line of JSON.
 *
 *   scale STORE PAGES PAGES_PER_GENERATION [FIRST]
 *
 * FIRST is how many are there already.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "bench/clock.h"
#include "base/result.h"
#include "dedup/dedup.h"

#define BATCH_PAGES 256

/* No two pages are equal; they differ in their first word. */
static void make_page(uint64_t number, uint64_t *page)
{
	for (size_t i = 0; i < PAGE_BYTES / sizeof(*page); i++)
		page[i] = i ? 0x1000 + i : number;
}

static int put_pages(struct ingest *ingest, uint64_t first, uint64_t n, uint64_t *batch)
{
	struct object_writer *writer;
	char name[64];
	int result = R_OK;

	snprintf(name, sizeof(name), "pages-%" PRIu64, first);
	if (object_begin(ingest, name, &writer) != R_OK)
		return R_FAILED;
	for (uint64_t at = 0; result == R_OK && at < n;) {
		size_t part = n - at < BATCH_PAGES ? (size_t)(n - at) : BATCH_PAGES;

		for (size_t i = 0; i < part; i++)
			make_page(first + at + i, batch + i * (PAGE_BYTES / sizeof(*batch)));
		result = object_pages(writer, at, batch, part);
		at += part;
	}
	if (object_end(writer, n * PAGE_BYTES) != R_OK)
		return R_FAILED;
	return result;
}

static int one_generation(struct store *store, uint64_t first, uint64_t n, uint64_t *batch)
{
	struct generation gen = { .root_pid = 1, .tasks = 1 };
	struct ingest *ingest;
	struct rusage usage;
	double begun = now(), cpu = clock_s(CLOCK_PROCESS_CPUTIME_ID), put;

	if (ingest_begin(store, "scale", &ingest) != R_OK)
		return R_FAILED;
	if (put_pages(ingest, first, n, batch) != R_OK) {
		ingest_abort(ingest);
		return R_FAILED;
	}
	put = now();
	gen.time_ns = (int64_t)time(NULL) * 1000000000;
	if (ingest_commit(ingest, &gen) != R_OK) {
		ingest_abort(ingest);
		return R_FAILED;
	}
	getrusage(RUSAGE_SELF, &usage);
	printf("{\"generation\": %" PRIu64 ", \"pages\": %" PRIu64
	       ", \"put_s\": %.3f, \"commit_s\": %.3f, \"cpu_s\": %.3f, \"new\": %" PRIu64
	       ", \"bytes_stored\": %" PRIu64 ", \"peak_kib\": %ld}\n",
	       gen.number, n, put - begun, now() - put, clock_s(CLOCK_PROCESS_CPUTIME_ID) - cpu,
	       gen.pages_new, gen.bytes_stored, usage.ru_maxrss);
	fflush(stdout);
	return R_OK;
}

int main(int argc, char **argv)
{
	uint64_t *batch = malloc(BATCH_PAGES * PAGE_BYTES);
	uint64_t pages, each, begin;
	struct store *store;
	int result = R_OK;

	if (argc < 4 || argc > 5 || !batch) {
		fprintf(stderr, "usage: scale STORE PAGES PAGES_PER_GENERATION [FIRST]\n");
		return 2;
	}
	pages = strtoull(argv[2], NULL, 10);
	each = strtoull(argv[3], NULL, 10);
	begin = argc == 5 ? strtoull(argv[4], NULL, 10) : 0;
	if (store_open(argv[1], true, true, &store) != R_OK)
		return 1;
	for (uint64_t at = 0; result == R_OK && at < pages; at += each)
		result =
		    one_generation(store, begin + at, pages - at < each ? pages - at : each, batch);
	store_close(store);
	free(batch);
	return result == R_OK ? 0 : 1;
}
