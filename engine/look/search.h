/*
 * Searching the contents of generations: memory, files, images.  Each stored page is read once, in
 * however many generations it stands (scanned.h).
 */
#ifndef SNAP_ENGINE_LOOK_SEARCH_H
#define SNAP_ENGINE_LOOK_SEARCH_H

#include "base/progress.h"
#include "engine/look/matcher.h"
#include "store/store.h"

struct look_search_options {
	struct matcher *matcher;
	const uint64_t *generations; /* their numbers, ascending */
	size_t n_generations;
	uint64_t limit;		       /* places at most that are told of */
	bool reveal;		       /* search what is sealed, too */
	const struct store_keys *keys; /* for that; NULL: the store has none */
	const struct progress *progress;
};

/* One place, and the generations in which the same bytes match there. */
struct look_match {
	const char *lineage;
	const char *object;   /* "pages-12" */
	uint64_t address;     /* of a task, or offset in the object where pid is 0 */
	uint32_t pid;	      /* 0: the object is not memory of a task */
	const char *mapping;  /* what is mapped there ("[heap]", a path), or "" */
	uint64_t bytes;	      /* length of the match */
	const uint8_t *shown; /* its beginning */
	size_t n_shown;
	const uint64_t *generations; /* ascending */
	size_t n_generations;
};

struct look_search_result {
	uint64_t places;	/* told of */
	uint64_t pages_read;	/* stored pages looked at, each once */
	uint64_t pages_damaged; /* of these, that could not be searched */
	uint64_t pages_known;	/* met again in another place or generation */
	uint64_t bytes_sealed;	/* of secret memory that was not searched, in each generation */
	bool limited;		/* there are more places than the limit */
	bool ended;		/* so many that the rest was not searched; `limited` is set, too */
};

/*
 * Calls `fn` for each place that matches, by lineage, object and address, when all has been
 * searched.  `fn` returns non-zero to stop, which is then the result.  R_OK; R_DAMAGED: what is
 * damaged was reported and passed over, and the rest was searched and told of; R_FAILED.
 */
int look_search(struct store_view *view, const struct look_search_options *options,
		int (*fn)(const struct look_match *match, void *arg), void *arg,
		struct look_search_result *result);

#endif
