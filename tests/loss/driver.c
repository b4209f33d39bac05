/*
 * loss_driver take DIR LEDGER LINEAGE SEED STEP PAGES   makes one generation, notes it in the
 * ledger loss_driver check DIR LEDGER [writable]               compares every generation with the
 * ledger loss_driver damage DIR LEDGER                         the same where bits may have been
 * flipped loss_driver say LEDGER WORD...                        appends a line to the ledger
 *
 * Exit codes: 0 good; 1 a call failed, and said why; 5 damage was reported; 9 not as the ledger has
 * it; 2 wrong use.
 */
#include "check.h"

#include "base/result.h"

#include <stdlib.h>
#include <string.h>

static int take(char **argv)
{
	const struct content content = { strtoul(argv[5], NULL, 10), strtoul(argv[6], NULL, 10),
					 strtoul(argv[7], NULL, 10) };
	uint8_t hash[CONTENT_HASH_BYTES];
	char text[2 * CONTENT_HASH_BYTES + 1];
	struct generation gen;
	struct store *store;
	int result;

	if (content.pages == 0)
		return 2;
	content_hash(&content, hash);
	ledger_hash_text(hash, text);
	ledger_say(argv[3], "taking %s\n", text);
	result = store_open(argv[2], true, true, &store);
	if (result != R_OK)
		return result == R_DAMAGED ? 5 : 1;
	result = content_take(store, argv[4], &content, &gen);
	if (result == R_OK)
		ledger_say(argv[3], "taken %lu %s\n", (unsigned long)gen.number, text);
	store_close(store);
	return result == R_OK ? 0 : result == R_DAMAGED ? 5 : 1;
}

static int check(char **argv, const struct check_options *options)
{
	struct check_result result;
	struct ledger ledger;
	bool good;

	ledger_read(argv[3], &ledger);
	good = check_store(argv[2], &ledger, options, &result);
	ledger_free(&ledger);
	if (!good)
		return 9;
	if (options->damage_told && (result.damaged || result.lost || result.unopened))
		return 5;
	return 0;
}

static int say(char **argv)
{
	char line[180] = "";

	for (char **word = argv + 3; *word; word++) {
		if (strlen(line) + strlen(*word) + 2 > sizeof(line))
			return 2;
		strcat(strcat(line, word == argv + 3 ? "" : " "), *word);
	}
	ledger_say(argv[2], "%s\n", line);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 8 && strcmp(argv[1], "take") == 0)
		return take(argv);
	if (argc >= 4 && strcmp(argv[1], "check") == 0)
		return check(argv, &(struct check_options){
				       .writable = argc == 5 && strcmp(argv[4], "writable") == 0 });
	if (argc == 4 && strcmp(argv[1], "damage") == 0)
		return check(argv, &(struct check_options){ .damage_told = true });
	if (argc >= 4 && strcmp(argv[1], "say") == 0)
		return say(argv);
	fprintf(stderr, "see the head of %s\n", __FILE__);
	return 2;
}
