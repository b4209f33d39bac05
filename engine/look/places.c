#include "engine/look/places.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "base/result.h"
#include "base/warn.h"

struct place {
	const char *lineage, *object, *mapping; /* interned */
	uint64_t address, generation;
	uint32_t pid;
	size_t hit;
};

struct places {
	struct place *list;
	size_t n, room;
	void *texts; /* tsearch(3) tree of strings */
};

static int out_of_memory(void)
{
	warn("out of memory");
	return R_FAILED;
}

static int compare_texts(const void *a, const void *b)
{
	return strcmp(a, b);
}

static const char *intern(struct places *places, const char *text)
{
	char **found = tfind(text, &places->texts, compare_texts);
	char *copy;

	if (found)
		return *found;
	copy = strdup(text);
	if (!copy || !tsearch(copy, &places->texts, compare_texts)) {
		free(copy);
		return NULL;
	}
	return copy;
}

struct places *places_new(void)
{
	struct places *places = calloc(1, sizeof(*places));

	if (!places)
		out_of_memory();
	return places;
}

void places_free(struct places *places)
{
	if (!places)
		return;
	tdestroy(places->texts, free);
	free(places->list);
	free(places);
}

int places_add(struct places *places, const struct look_match *place, uint64_t generation,
	       size_t hit)
{
	struct place *p;

	if (places->n == places->room) {
		size_t room = places->room ? 2 * places->room : 256;

		p = reallocarray(places->list, room, sizeof(*p));
		if (!p)
			return out_of_memory();
		places->list = p;
		places->room = room;
	}
	p = &places->list[places->n];
	*p = (struct place){
		.address = place->address, .generation = generation, .pid = place->pid, .hit = hit
	};
	p->lineage = intern(places, place->lineage);
	p->object = intern(places, place->object);
	p->mapping = intern(places, place->mapping);
	if (!p->lineage || !p->object || !p->mapping)
		return out_of_memory();
	places->n++;
	return R_OK;
}

static int compare_hits(const struct scanned *scanned, size_t a, size_t b)
{
	const struct scanned_hit *left, *right;

	if (a == b)
		return 0;
	left = scanned_by_id(scanned, a);
	right = scanned_by_id(scanned, b);
	if (left->len != right->len)
		return left->len < right->len ? -1 : 1;
	return memcmp(left->bytes, right->bytes, left->shown);
}

/* Everything but the generation. */
static int compare_places(const struct place *a, const struct place *b,
			  const struct scanned *scanned)
{
	int rc = strcmp(a->lineage, b->lineage);

	if (rc == 0 && a->pid != b->pid)
		rc = a->pid < b->pid ? -1 : 1;
	if (rc == 0)
		rc = strcmp(a->object, b->object);
	if (rc == 0 && a->address != b->address)
		rc = a->address < b->address ? -1 : 1;
	return rc ? rc : compare_hits(scanned, a->hit, b->hit);
}

static int by_place(const void *a, const void *b, void *arg)
{
	const struct place *left = a, *right = b;
	int rc = compare_places(left, right, arg);

	if (rc == 0 && left->generation != right->generation)
		rc = left->generation < right->generation ? -1 : 1;
	return rc;
}

/* [first, end) of the sorted list are one place. */
static int tell_one(struct places *places, const struct scanned *scanned, size_t first, size_t end,
		    uint64_t *generations, int (*fn)(const struct look_match *match, void *arg),
		    void *arg)
{
	const struct place *p = &places->list[first];
	const struct scanned_hit *hit = scanned_by_id(scanned, p->hit);
	struct look_match match = { .lineage = p->lineage,
				    .object = p->object,
				    .address = p->address,
				    .pid = p->pid,
				    .mapping = p->mapping,
				    .bytes = hit->len,
				    .shown = hit->bytes,
				    .n_shown = hit->shown,
				    .generations = generations };

	for (size_t i = first; i < end; i++) {
		uint64_t number = places->list[i].generation;

		if (!match.n_generations || generations[match.n_generations - 1] != number)
			generations[match.n_generations++] = number;
	}
	return fn(&match, arg);
}

int places_tell(struct places *places, const struct scanned *scanned, uint64_t limit,
		int (*fn)(const struct look_match *match, void *arg), void *arg,
		struct look_search_result *result)
{
	uint64_t *generations = calloc(places->n ? places->n : 1, sizeof(*generations));
	int rc = 0;

	if (!generations)
		return out_of_memory();
	if (places->n)
		qsort_r(places->list, places->n, sizeof(*places->list), by_place, (void *)scanned);
	for (size_t first = 0, end; rc == 0 && first < places->n; first = end) {
		for (end = first + 1; end < places->n; end++)
			if (compare_places(&places->list[first], &places->list[end], scanned) != 0)
				break;
		if (result->places == limit) {
			result->limited = true;
			break;
		}
		result->places++;
		rc = tell_one(places, scanned, first, end, generations, fn, arg);
	}
	free(generations);
	return rc;
}
