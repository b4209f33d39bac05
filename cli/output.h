/* What a person or a script reads: numbers and times in words, JSON, the progress bar. */
#ifndef SNAP_CLI_OUTPUT_H
#define SNAP_CLI_OUTPUT_H

#include "base/progress.h"
#include "cli/options.h"

#include <jansson.h>
#include <stdint.h>

struct generation;

/* "4096 bytes" is "4.0 KiB", and so on.  `text` is returned. */
#define WORDS_MAX 40
const char *words_bytes(char text[WORDS_MAX], uint64_t bytes);
/* "35 ms", "2.1 s", "3 min 20 s". */
const char *words_duration(char text[WORDS_MAX], uint64_t ns);
/* CLOCK_REALTIME in local time: "2026-11-23 11:03:22". */
const char *words_time(char text[WORDS_MAX], int64_t ns);

/* Prints a JSON value (NULL: out of memory) with a newline and frees it.  An exit code. */
int output_json(json_t *value);

/* The facts of a generation, as ls, show and gc print them. */
json_t *json_generation(const struct generation *gen);

/* Adds how what a take stored is split up. */
void json_add_bytes(json_t *object, const struct generation *gen);

/* Closes standard output and says if what was printed did not get there.  An exit code: `code`,
 * or EXIT_FAILED instead of EXIT_DONE. */
int output_finish(int code);

/*
 * A progress bar on standard error, drawn after a second if that is a terminal this process may
 * write to.  There is at most one at a time.  bar_end() wipes it out, also in a signal handler.
 */
const struct progress *bar_begin(const struct options *options);
void bar_end(void);

#endif
