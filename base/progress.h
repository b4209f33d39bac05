/* How long work tells how far it is, and learns that it shall stop. */
#ifndef SNAP_BASE_PROGRESS_H
#define SNAP_BASE_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum progress_unit { PROGRESS_BYTES, PROGRESS_PAGES, PROGRESS_ITEMS };

/*
 * `tell` gets the phase in a few words ("reading memory"), and `done` of `total` units (`total` 0:
 * not known).  It is cheap enough for every batch of pages, never blocks (a target may be frozen
 * meanwhile), and returns false when the person has interrupted the command: the work then undoes
 * what it began and returns R_FAILED without a report.
 */
struct progress {
	bool (*tell)(void *arg, const char *phase, uint64_t done, uint64_t total,
		     enum progress_unit unit);
	void *arg;
};

/* Tells, where anybody listens: `progress` may be NULL.  True: go on. */
static inline bool progress_tell(const struct progress *progress, const char *phase, uint64_t done,
				 uint64_t total, enum progress_unit unit)
{
	if (!progress || !progress->tell)
		return true;
	return progress->tell(progress->arg, phase, done, total, unit);
}

#endif
