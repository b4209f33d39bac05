/* A few threads that share out many small pieces of work, all started by one caller. */
#ifndef SNAP_BASE_CREW_H
#define SNAP_BASE_CREW_H

#include <stddef.h>

#define CREW_MAX 8u

struct crew;

/* As many workers as there are processors, at most `most` and CREW_MAX; threads are started when
 * there is something for them to do.  NULL: out of memory, not reported. */
struct crew *crew_new(unsigned int most);
void crew_free(struct crew *crew);

/* Workers there may be, the caller among them. */
unsigned int crew_size(const struct crew *crew);

/*
 * Calls fn(i, worker, arg) once for each i below `n`, on all workers, the caller being number 0,
 * and returns when all is done.  A worker has one call at a time.  If no thread can be started, the
 * caller does it all.
 */
void crew_run(struct crew *crew, size_t n, void (*fn)(size_t i, unsigned int worker, void *arg),
	      void *arg);

/* The same in two parts: the other workers begin while the caller does something else, and when it
 * is done with that, it does its share of what is left.  Nothing else is given them in between. */
void crew_begin(struct crew *crew, size_t n, void (*fn)(size_t i, unsigned int worker, void *arg),
		void *arg);
void crew_finish(struct crew *crew);

#endif
