/*
 * What happened to a store, written down outside of it, one line an event:
 *
 *   taking HASH            a take of this content is about to begin
 *   taken NUMBER HASH      it has returned
 *   forgetting NUMBER      a command that may forget this generation is about to begin
 *   forgotten NUMBER       it has returned, and did
 *
 * and from that what must, may and must not be in the store now.
 */
#ifndef SNAP_TESTS_LOSS_LEDGER_H
#define SNAP_TESTS_LOSS_LEDGER_H

#include "content.h"

#include <stdio.h>

struct ledger_entry {
	uint64_t number; /* 0: the take has not returned */
	uint8_t hash[CONTENT_HASH_BYTES];
	bool forgetting, forgotten;
};

struct ledger {
	struct ledger_entry *entries;
	size_t n;
};

/* Reads all lines of a file; exits if it cannot or if a line is none of these. */
void ledger_read(const char *path, struct ledger *ledger);

/* Reads one line into the ledger; false if it is none. */
bool ledger_line(struct ledger *ledger, const char *line);
/* Makes `to`, which holds nothing, a ledger of its own; exits without memory. */
void ledger_copy(const struct ledger *from, struct ledger *to);
void ledger_free(struct ledger *ledger);

/* Appends a line to the file; a preloaded recorder (record.c) is told as well. */
void ledger_say(const char *path, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* How `hash` is written; `text` has room for 2 * CONTENT_HASH_BYTES + 1. */
void ledger_hash_text(const uint8_t *hash, char *text);

#endif
