/* Readers of the values of options.  Each says what is wrong with a value and returns R_FAILED. */
#ifndef SNAP_CLI_OPTION_VALUES_H
#define SNAP_CLI_OPTION_VALUES_H

#include "cli/options.h"

/* A count from 1 up. */
int value_count(const char *option, const char *text, uint64_t *count);

/* Seconds: a number with s, m, h, d or w behind it; without one, seconds. */
int value_duration(const char *option, const char *text, uint64_t *seconds);

/* A whole number from 0 to 100. */
int value_percent(const char *option, const char *text, uint64_t *percent);

/* Bytes: a number above 0 with K, M, G or T (of 1024) behind it, or without one. */
int value_bytes(const char *option, const char *text, uint64_t *bytes);

/* Addresses, "START-END" or "START+BYTES", hexadecimal with or without 0x; END is not included. */
int value_range(const char *option, const char *text, uint64_t *start, uint64_t *end);

int value_pid(const char *text, int64_t *pid);

/* Appends generations such as "4", "3,5-8". */
int value_generations(const char *text, struct options *options);

int value_tcp(const char *text, unsigned *choice);
int value_capture(const char *text, unsigned *choice);
int value_track(const char *text, unsigned *choice);

/* One of the words in `words`, "a|b|c": its number, from 1. */
int value_word(const char *option, const char *words, const char *text, unsigned *number);

#endif
