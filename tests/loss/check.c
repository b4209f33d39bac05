#include "check.h"

#include "base/result.h"

#include <stdlib.h>
#include <string.h>

struct checking {
	struct store_view *view;
	const struct ledger *ledger;
	const struct check_options *options;
	struct check_result *result;
	bool *seen;   /* by entry of the ledger */
	bool failure; /* of a read, not for damage */
};

static void say(const struct checking *checking, uint64_t number, const char *what, bool bad)
{
	if (bad || !checking->options->quiet)
		printf("generation %lu: %s\n", (unsigned long)number, what);
}

/* The entry a visible generation may be: that number, or a take that never returned. */
static long find(const struct checking *checking, uint64_t number, const uint8_t *hash)
{
	const struct ledger *ledger = checking->ledger;

	for (size_t i = 0; i < ledger->n; i++)
		if (ledger->entries[i].number == number)
			return (long)i;
	for (size_t i = 0; hash && i < ledger->n; i++)
		if (ledger->entries[i].number == 0 &&
		    memcmp(ledger->entries[i].hash, hash, CONTENT_HASH_BYTES) == 0)
			return (long)i;
	return -1;
}

static int check_one(const struct generation *gen, void *arg)
{
	struct checking *checking = arg;
	uint8_t hash[CONTENT_HASH_BYTES];
	int result = content_hash_stored(checking->view, gen->number, hash);
	long entry = find(checking, gen->number, result == R_OK ? hash : NULL);

	if (entry >= 0)
		checking->seen[entry] = true;
	if (result == R_DAMAGED) {
		checking->result->damaged++;
		say(checking, gen->number, "damaged", !checking->options->damage_told);
	} else if (result != R_OK) {
		checking->failure = true;
		say(checking, gen->number, "cannot be read", !checking->options->damage_told);
	} else if (entry < 0) {
		checking->result->silent++;
		say(checking, gen->number, "there, and nobody took it", true);
	} else if (memcmp(hash, checking->ledger->entries[entry].hash, CONTENT_HASH_BYTES) != 0) {
		checking->result->silent++;
		say(checking, gen->number, "READS WRONG, and nothing was said", true);
	} else if (checking->ledger->entries[entry].forgotten) {
		checking->result->silent++;
		say(checking, gen->number, "there, though it was forgotten", true);
	} else {
		checking->result->whole++;
		say(checking, gen->number, "whole", false);
	}
	return R_OK;
}

static void print_damage(const struct store_damage *damage, void *arg)
{
	const struct checking *checking = arg;

	if (!checking->options->damage_told)
		printf("verify: generation %lu, object %s, page %lx, number %lu: %s\n",
		       (unsigned long)damage->generation, damage->object ? damage->object : "-",
		       (unsigned long)damage->index, (unsigned long)damage->number, damage->reason);
}

/* Those the ledger has and the store did not show. */
static void check_missing(struct checking *checking)
{
	for (size_t i = 0; i < checking->ledger->n; i++) {
		const struct ledger_entry *entry = &checking->ledger->entries[i];

		if (checking->seen[i] || entry->number == 0 || entry->forgetting ||
		    entry->forgotten)
			continue;
		checking->result->lost++;
		say(checking, entry->number, "is not there", !checking->options->damage_told);
	}
}

static bool judge(const struct checking *checking, int walked, int verified)
{
	const struct check_result *result = checking->result;
	bool told =
	    walked != R_OK || verified != R_OK || checking->failure || store_index_damage_seen();

	if (result->silent > 0)
		return false;
	if (checking->options->damage_told) {
		/* What is missing or damaged, somebody must have said: verify does. */
		if ((result->lost == 0 && result->damaged == 0) || told)
			return true;
		printf("lost %u, damaged %u, and verify says nothing\n", result->lost,
		       result->damaged);
		return false;
	}
	if (told)
		printf("reading gave %d, verify %d\n", walked, verified);
	return !told && result->lost == 0 && result->damaged == 0;
}

bool check_store(const char *dir, const struct ledger *ledger, const struct check_options *options,
		 struct check_result *result)
{
	struct checking checking = { .ledger = ledger, .options = options, .result = result };
	struct store_verify_options verify = { .data = true,
					       .damage = print_damage,
					       .arg = &checking };
	struct store_verify_result found;
	struct store *store;
	int walked, verified;
	bool good = false;

	memset(result, 0, sizeof(*result));
	if (store_open(dir, false, options->writable, &store) != R_OK) {
		result->unopened = true;
		/* Before the first take has returned there need not be a store. */
		for (size_t i = 0; i < ledger->n; i++)
			if (ledger->entries[i].number)
				return options->damage_told;
		return true;
	}
	checking.seen = calloc(ledger->n + 1, sizeof(*checking.seen));
	if (store_view_open(store, &checking.view) == R_OK) {
		walked = store_generation_each(checking.view, check_one, &checking);
		verified = store_verify(checking.view, &verify, &found);
		check_missing(&checking);
		good = judge(&checking, walked, verified);
		store_view_close(checking.view);
	} else {
		result->unopened = true;
		good = options->damage_told;
	}
	free(checking.seen);
	store_close(store);
	return good;
}
