/*
 * What every fuzz target offers: the entry libFuzzer knows, and seeds to begin with.  Built with
 * clang and -DSNAP_FUZZ=ON they are libFuzzer programs; else fuzz_main.c replays the seeds, mutates
 * them for as long as it is told, and replays files it is given.
 */
#ifndef SNAP_TESTS_FUZZ_H
#define SNAP_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Fills `data` with seed `i`; its length, 0 behind the last one. */
size_t fuzz_seed(unsigned int i, uint8_t *data, size_t room);

#endif
