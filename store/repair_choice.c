#include "store/repair_choice.h"

#include "base/result.h"
#include "base/warn.h"
#include "store/pack.h"
#include "store/page_set.h"
#include "store/segment_read.h"

#include <stdlib.h>
#include <unistd.h>

struct choosing {
	struct store *store;
	/* Pages that can be made: they are stored in full, or as differences to one of these. */
	struct page_set good;
	/* Of the segments that share numbers: which have been chosen of those looked at so far, and
	 * what can be made of these. */
	bool *chosen;
	struct page_set have;
};

static int by_first(const void *a, const void *b)
{
	const struct found *const *x = a, *const *y = b;

	return ((*x)->record.first > (*y)->record.first) -
	       ((*x)->record.first < (*y)->record.first);
}

static int oldest_pack(const void *a, const void *b)
{
	const struct found *const *x = a, *const *y = b;

	if ((*x)->record.pack != (*y)->record.pack)
		return (*x)->record.pack < (*y)->record.pack ? -1 : 1;
	return by_first(a, b);
}

/* Calls `fn` for each page until it gives non-zero, which is then the result; R_NOT_FOUND if the
 * segment cannot be read any more. */
static int each_page(struct choosing *choosing, const struct found *found,
		     int (*fn)(struct choosing *choosing, page_no number, page_no base))
{
	struct segment segment;
	int fd, result;

	result = pack_open(choosing->store, found->record.pack, false, &fd);
	if (result != R_OK)
		return result;
	result = segment_load(choosing->store->secret, fd, &found->record, &segment);
	close(fd);
	if (result != R_OK)
		return result == R_DAMAGED ? R_NOT_FOUND : result;
	for (uint32_t i = 0; result == R_OK && i < segment.record.pages; i++)
		result = fn(choosing, segment_number(&segment, i), segment_base(&segment, i));
	segment_free(&segment);
	return result;
}

/* The same, with pages that may be missing. */
static int note_each(struct choosing *choosing, const struct found *found,
		     int (*fn)(struct choosing *choosing, page_no number, page_no base))
{
	int result = each_page(choosing, found, fn);

	return result == R_NOT_FOUND ? R_OK : result;
}

static bool can_be_made(const struct choosing *choosing, page_no base)
{
	return base == PAGE_ABSENT || page_set_has(&choosing->good, base);
}

static int note_good(struct choosing *choosing, page_no number, page_no base)
{
	return can_be_made(choosing, base) ? page_set_add(&choosing->good, number, NULL) : R_OK;
}

static int note_had(struct choosing *choosing, page_no number, page_no base)
{
	return can_be_made(choosing, base) ? page_set_add(&choosing->have, number, NULL) : R_OK;
}

static int forget_had(struct choosing *choosing, page_no number, page_no base)
{
	(void)base;
	page_set_remove(&choosing->have, number);
	return R_OK;
}

static int check_had(struct choosing *choosing, page_no number, page_no base)
{
	(void)base;
	return page_set_has(&choosing->have, number) ? R_OK : R_NOT_FOUND;
}

static bool share_range(const struct found *a, const struct found *b)
{
	return a->record.first <= b->record.last && b->record.first <= a->record.last;
}

/* R_OK if what has been chosen has all the pages of these, R_NOT_FOUND if not. */
static int all_had(struct choosing *choosing, struct found *const *list, size_t n)
{
	int result = R_OK;

	for (size_t i = 0; result == R_OK && i < n; i++)
		if (list[i]->whole)
			result = each_page(choosing, list[i], check_had);
	return result;
}

/* Chooses the segments begin .. end - 1 of the list in place of those before that share numbers
 * with them. */
static int replace(struct choosing *choosing, struct found *const *list, size_t begin, size_t end)
{
	int result = R_OK;

	for (size_t i = 0; result == R_OK && i < begin; i++) {
		bool was = choosing->chosen[i];

		for (size_t k = begin; choosing->chosen[i] && k < end; k++)
			if (list[k]->whole && share_range(list[i], list[k]))
				choosing->chosen[i] = false;
		if (was && !choosing->chosen[i])
			result = note_each(choosing, list[i], forget_had);
	}
	for (size_t k = begin; result == R_OK && k < end; k++) {
		choosing->chosen[k] = list[k]->whole;
		if (list[k]->whole)
			result = note_each(choosing, list[k], note_had);
	}
	return result;
}

/* From the oldest pack on: the segments of one are leftovers if those before have all that they
 * have. */
static int choose(struct choosing *choosing, struct found **list, size_t n)
{
	int result = R_OK;

	qsort(list, n, sizeof(*list), oldest_pack);
	choosing->chosen = calloc(n, sizeof(*choosing->chosen));
	if (!choosing->chosen) {
		warn("out of memory");
		return R_FAILED;
	}
	for (size_t begin = 0, end; result == R_OK && begin < n; begin = end) {
		for (end = begin + 1;
		     end < n && list[end]->record.pack == list[begin]->record.pack;)
			end++;
		result = all_had(choosing, list + begin, end - begin);
		for (size_t i = begin; result == R_OK && i < end; i++)
			list[i]->leftover = list[i]->whole;
		if (result == R_NOT_FOUND)
			result = replace(choosing, list, begin, end);
	}
	page_set_clear(&choosing->have);
	free(choosing->chosen);
	return result;
}

/* The end of the segments that share numbers with the first, or with one that does. */
static size_t end_of_shared(struct found *const *list, size_t begin, size_t n)
{
	page_no last = list[begin]->record.last;
	size_t end = begin + 1;

	for (; end < n && list[end]->record.first <= last; end++)
		if (list[end]->record.last > last)
			last = list[end]->record.last;
	return end;
}

static int mark_ordered(struct choosing *choosing, struct found **list, size_t n)
{
	bool any = false;
	int result = R_OK;

	for (size_t i = 0; i < n && !any; i++)
		any = end_of_shared(list, i, n) > i + 1;
	/* In ascending order, as the numbers of bases are lower. */
	for (size_t i = 0; result == R_OK && any && i < n; i++)
		if (list[i]->whole)
			result = note_each(choosing, list[i], note_good);
	for (size_t i = 0, end; result == R_OK && any && i < n; i = end) {
		end = end_of_shared(list, i, n);
		if (end > i + 1)
			result = choose(choosing, list + i, end - i);
	}
	page_set_clear(&choosing->good);
	return result;
}

int mark_leftovers(struct store *store, struct found *list, size_t n)
{
	struct choosing choosing = { .store = store };
	struct found **ordered = calloc(n + 1, sizeof(*ordered));
	int result;

	if (!ordered) {
		warn("out of memory");
		return R_FAILED;
	}
	for (size_t i = 0; i < n; i++)
		ordered[i] = &list[i];
	qsort(ordered, n, sizeof(*ordered), by_first);
	result = mark_ordered(&choosing, ordered, n);
	free(ordered);
	return result;
}
