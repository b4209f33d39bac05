/* Ways to write and to rearrange memory that need something of their own (random_writer). */
#ifndef SNAP_TESTS_WRITES_H
#define SNAP_TESTS_WRITES_H

#include <stddef.h>
#include <stdint.h>

#define PAGE 4096UL

/* A range: `pages` times 4096 bytes. */
struct slot {
	unsigned char *at;
	size_t pages;
	int prot;
	int shared;
};

/* Of the program: a number from 0 to below - 1. */
uint64_t rnd(uint64_t below);

/* Memory that the kernel makes of huge pages, where it does so. */
void open_huge(void);

/* Writes to it, or has huge pages made, broken up, moved, or put together again. */
void write_huge(void);

/* Writes as a debugger does: to private pages that may not be written, too. */
void write_forbidden(const struct slot *s);

/* Writes to the same place of the process's parent. */
void write_parent(unsigned char *at, size_t len);

/* So many calls deep. */
void write_stack(int levels);

/* Guards that come and go, pages that are made at once, locked or not. */
void rearrange_guards(const struct slot *s);

#endif
