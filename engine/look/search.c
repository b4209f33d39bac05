#include "engine/look/search.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/look/search_internal.h"
#include "engine/look/secret.h"
#include "store/seal.h"

/* Generations searched together: each costs some 16 KiB, and its objects 100 bytes each. */
#define TOGETHER_MAX 256

/* An object of a generation; those of one name and lineage are searched together. */
struct entry {
	char *name;
	size_t gen;
	struct object object;
};

struct search {
	struct store_view *view;
	const struct look_search_options *options;
	struct look_search_result *result;
	struct scanned *scanned;
	struct places *places;
	struct placer *placer;
	struct scanner *scanner;
	bool damaged; /* something was passed over, which was reported */

	struct generation gens[TOGETHER_MAX];
	size_t n_gens;
	struct entry *entries;
	size_t n_entries, room;

	struct track tracks[TOGETHER_MAX]; /* of one name, by generation */
	struct object objects[TOGETHER_MAX];
	size_t n_tracks;
	uint64_t pages_met;
};

static int out_of_memory(void)
{
	warn("out of memory");
	return R_FAILED;
}

/* Damage, which was reported, keeps nobody from looking at the rest. */
static int pass_over(struct search *s, int rc)
{
	s->damaged |= rc == R_DAMAGED;
	return rc == R_DAMAGED ? R_OK : rc;
}

static int add_entry(const char *name, const struct object *object, void *arg)
{
	struct search *s = arg;
	bool secret = !strncmp(name, SEALED_PREFIX, strlen(SEALED_PREFIX));
	struct entry *entry;

	/* Encrypted; nothing can be found there. */
	if (sealed_is(name) && !(secret && s->options->reveal)) {
		s->result->bytes_sealed += secret ? object->length_bytes : 0;
		return R_OK;
	}
	if (s->n_entries == s->room) {
		size_t room = s->room ? 2 * s->room : 256;
		struct entry *more = reallocarray(s->entries, room, sizeof(*more));

		if (!more)
			return out_of_memory();
		s->entries = more;
		s->room = room;
	}
	entry = &s->entries[s->n_entries];
	*entry = (struct entry){ .name = strdup(name), .gen = s->n_gens - 1, .object = *object };
	if (!entry->name)
		return out_of_memory();
	s->n_entries++;
	return R_OK;
}

static void forget_entries(struct search *s)
{
	for (size_t i = 0; i < s->n_entries; i++)
		free(s->entries[i].name);
	s->n_entries = s->n_gens = 0;
}

static int compare_groups(const struct search *s, const struct entry *a, const struct entry *b)
{
	int rc = strcmp(s->gens[a->gen].lineage, s->gens[b->gen].lineage);

	return rc ? rc : strcmp(a->name, b->name);
}

static int by_group(const void *a, const void *b, void *arg)
{
	const struct entry *left = a, *right = b;
	int rc = compare_groups(arg, left, right);

	return rc ? rc : left->gen < right->gen ? -1 : left->gen > right->gen;
}

static size_t count_pages(const page_no *leaf)
{
	size_t n = 0;

	for (size_t i = 0; i < LEAF_PAGES; i++)
		n += leaf[i] != PAGE_ABSENT;
	return n;
}

/* Are there so many hits that nothing more is looked at? */
static bool ended(const struct search *s)
{
	return s->scanner->limited || placer_limited(s->placer);
}

/* R_BUSY: there is enough. */
static int look_at_leaves(uint64_t index, const page_no *const *leaves, void *arg)
{
	struct search *s = arg;
	size_t pages = 0;
	int rc = scanner_look(s->scanner, s->tracks, s->n_tracks, index, leaves);

	for (size_t i = 0; rc == R_OK && i < s->n_tracks; i++) {
		if (!leaves[i])
			continue;
		if (!i || leaves[i] != leaves[i - 1])
			pages = count_pages(leaves[i]);
		s->pages_met += pages;
		rc = placer_note(s->placer, s->scanner->object, &s->tracks[i], index, leaves[i]);
	}
	if (rc == R_OK && !progress_tell(s->options->progress, "searching", s->scanner->pages_read,
					 0, PROGRESS_PAGES))
		rc = R_FAILED;
	return rc == R_OK && ended(s) ? R_BUSY : rc;
}

/* Entries [first, end) are one object of several generations. */
static int search_group(struct search *s, size_t first, size_t end)
{
	int rc;

	s->n_tracks = end - first;
	s->scanner->object = s->entries[first].name;
	for (size_t i = 0; i < s->n_tracks; i++) {
		const struct entry *entry = &s->entries[first + i];

		s->tracks[i] = (struct track){ .gen = entry->gen, .object = entry->object };
		s->objects[i] = entry->object;
	}
	rc = pass_over(s, store_objects_walk(s->view, s->objects, s->n_tracks, look_at_leaves, s));
	rc = rc == R_BUSY ? R_OK : rc;
	for (size_t i = 0; rc == R_OK && i < s->n_tracks; i++)
		rc = placer_note(s->placer, s->scanner->object, &s->tracks[i], 0, NULL);
	return rc;
}

/* Secret memory that is revealed; each generation has encrypted it anew. */
static int search_sealed(struct search *s, size_t i)
{
	const struct entry *entry = &s->entries[i];
	int rc = look_secret_open(s->view, s->gens[entry->gen].number, entry->name,
				  s->options->keys, &s->scanner->sealed);

	if (rc == R_OK)
		rc = search_group(s, i, i + 1);
	sealed_close(s->scanner->sealed);
	s->scanner->sealed = NULL;
	if (rc == R_NOT_FOUND) {
		warn("generation %" PRIu64 ": %s has no table, so it was not searched; see snap "
		     "verify",
		     s->gens[entry->gen].number, entry->name);
		rc = R_DAMAGED;
	}
	return pass_over(s, rc);
}

/* The generations gathered so far. */
static int search_together(struct search *s)
{
	int rc = R_OK;

	if (s->n_entries)
		qsort_r(s->entries, s->n_entries, sizeof(*s->entries), by_group, s);
	for (size_t first = 0, end; rc == R_OK && !ended(s) && first < s->n_entries; first = end) {
		for (end = first + 1; end < s->n_entries; end++)
			if (compare_groups(s, &s->entries[first], &s->entries[end]) != 0)
				break;
		if (!sealed_is(s->entries[first].name))
			rc = search_group(s, first, end);
		for (size_t i = first; sealed_is(s->entries[first].name) && rc == R_OK && i < end;
		     i++)
			rc = search_sealed(s, i);
	}
	if (rc == R_OK)
		rc = pass_over(s, placer_finish(s->placer, &s->result->limited));
	forget_entries(s);
	return rc;
}

static int gather(struct search *s, uint64_t number)
{
	int rc = store_generation(s->view, number, &s->gens[s->n_gens]);

	if (rc == R_NOT_FOUND)
		warn("there is no generation %" PRIu64 "; see snap ls", number);
	if (rc == R_OK) {
		s->n_gens++;
		rc = store_object_each(s->view, number, add_entry, s);
	}
	if (rc == R_DAMAGED)
		warn("generation %" PRIu64 ": what it consists of is damaged, so not all of it was "
		     "searched; see snap verify",
		     number);
	rc = pass_over(s, rc);
	return rc == R_OK && s->n_gens == TOGETHER_MAX ? search_together(s) : rc;
}

static int begin(struct search *s)
{
	s->scanned = scanned_new();
	s->places = places_new();
	if (!s->scanned || !s->places)
		return R_FAILED;
	s->placer = placer_new(s->view, s->gens, s->scanned, s->places);
	if (!s->placer)
		return R_FAILED;
	s->scanner = scanner_new(s->view, s->options->matcher, s->scanned);
	return s->scanner ? R_OK : R_FAILED;
}

int look_search(struct store_view *view, const struct look_search_options *options,
		int (*fn)(const struct look_match *match, void *arg), void *arg,
		struct look_search_result *result)
{
	struct search *s = calloc(1, sizeof(*s));
	int rc;

	memset(result, 0, sizeof(*result));
	if (!s)
		return out_of_memory();
	s->view = view;
	s->options = options;
	s->result = result;
	rc = begin(s);
	for (size_t i = 0; rc == R_OK && !ended(s) && i < options->n_generations; i++)
		rc = gather(s, options->generations[i]);
	if (rc == R_OK)
		rc = search_together(s);
	if (s->scanner) {
		result->ended = rc == R_OK && ended(s);
		result->limited |= result->ended;
		result->pages_damaged = s->scanner->pages_damaged;
		result->pages_read = s->scanner->pages_read;
		result->pages_known = s->pages_met - s->scanner->pages_read;
	}
	if (rc == R_OK)
		rc = places_tell(s->places, s->scanned, options->limit, fn, arg, result);
	if (rc == R_OK && (s->damaged || result->pages_damaged))
		rc = R_DAMAGED;
	forget_entries(s);
	free(s->entries);
	scanner_free(s->scanner);
	placer_free(s->placer);
	places_free(s->places);
	scanned_free(s->scanned);
	free(s);
	return rc;
}
