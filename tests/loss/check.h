/* Holding a store against a ledger. */
#ifndef SNAP_TESTS_LOSS_CHECK_H
#define SNAP_TESTS_LOSS_CHECK_H

#include "ledger.h"

struct check_options {
	bool writable;	  /* open it as a writer does, which recovers */
	bool damage_told; /* damage that is reported is no failure: bits were flipped */
	bool quiet;	  /* say only what is wrong */
};

/* What became of the generations; one that is wrong without anybody saying so is `silent`. */
struct check_result {
	unsigned whole, damaged, lost, silent;
	bool unopened; /* the store could not be opened, and said so */
};

/*
 * Opens the store, reads every generation back and verifies all data.  True if it is as the ledger
 * has it: what was taken and not forgotten is there and whole, what is there besides was being
 * taken or forgotten, and is whole; with `damage_told`, if nothing is wrong in silence.
 */
bool check_store(const char *dir, const struct ledger *ledger, const struct check_options *options,
		 struct check_result *result);

#endif
