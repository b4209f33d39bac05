#include "base/result.h"
#include "base/warn.h"
#include "gc/gc_internal.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* Segments that become copies in one pack, switched by one transaction: what a kill costs to do
 * again, and what a take may have to wait for. */
#define UNIT_SEGMENTS 1024
/* Neighbours that are copied, and replaced or not, together. */
#define SPAN_SEGMENTS 64
/* Beside this one; each takes about 30 MiB. */
#define THREADS_MAX 2
#define NUMBERS_MAX ((size_t)UNIT_SEGMENTS * SEGMENT_PAGES)
/* Each span may end with a copy that is not full. */
#define COPIES_MAX (2 * UNIT_SEGMENTS)

struct span {
	size_t first_old, n_old, first_copy, n_copies;
	bool damaged, replaced;
};

struct copy {
	size_t span, numbers; /* where its numbers begin */
	uint32_t n;
	struct segment_record record;
};

/* One pack's worth. */
struct unit {
	struct run *run;
	struct reap_copies *copies;
	struct reap_segment old[UNIT_SEGMENTS];
	struct span spans[UNIT_SEGMENTS];
	struct copy copy[COPIES_MAX];
	struct segment_record records[COPIES_MAX]; /* those of copy, for reap_replace() */
	page_no numbers[NUMBERS_MAX];
	size_t n_old, n_spans, n_copies, n_numbers;
	size_t n_detached;
	uint64_t bytes; /* of the old segments, or about what detaching makes of them */
	page_no next;	/* where the next unit begins */

	pthread_mutex_t lock; /* guards what stands below it, while threads run */
	size_t turn;
	bool failed;
	bool any_damaged;
};

static bool has_damaged(const struct run *run, const struct reap_segment *segment)
{
	return page_set_next(&run->damaged, segment->record.first, segment->record.last) !=
	       PAGE_ABSENT;
}

/* True if the segment may be copied now, so far as `view` shows. */
static bool may_copy(const struct run *run, const struct reap_segment *segment,
		     struct store_view *view, uint64_t oldest)
{
	struct liveness now = liveness_of(run, segment, view);

	if (now.live == 0 || now.live > segment->record.pages || has_damaged(run, segment) ||
	    (run->detaching && !has_detached(run, segment)))
		return false;
	if (now.live == segment->record.pages)
		return run->detaching ||
		       (run->options->recompress &&
			!(segment->record.flags & (SEGMENT_STRONG | SEGMENT_SEALED)));
	if (!segment->condemned_txn || now.digest != segment->digest ||
	    segment->condemned_txn > oldest)
		return false;
	return worth_copying(run, segment, now.live);
}

/* What has been compressed strongly once stays so. */
static bool is_strong(const struct run *run, const struct reap_segment *segment)
{
	return run->options->recompress || segment->record.flags & SEGMENT_STRONG;
}

/* Encrypted pages have segments of their own. */
static bool is_sealed(const struct reap_segment *segment)
{
	return segment->record.flags & SEGMENT_SEALED;
}

/* A span goes on over neighbours.  A gap in the numbers may be filled by a take at work, unless the
 * segment behind it was condemned before the oldest view. */
static bool continues(const struct unit *unit, const struct reap_segment *segment)
{
	const struct span *span = &unit->spans[unit->n_spans - 1];
	const struct reap_segment *last = &unit->old[unit->n_old - 1];

	return span->n_old < SPAN_SEGMENTS &&
	       is_strong(unit->run, last) == is_strong(unit->run, segment) &&
	       is_sealed(last) == is_sealed(segment) &&
	       (last->record.last + 1 == segment->record.first || segment->condemned_txn);
}

/* What copying a segment counts against the bound.  Differences that are detached become full
 * pages, of which a compressed one is guessed to be half. */
static uint64_t cost_bytes(const struct run *run, const struct reap_segment *segment)
{
	uint64_t full = (uint64_t)segment->record.pages * PAGE_BYTES / 2;

	return run->detaching && full > segment->bytes ? full : segment->bytes;
}

static void add_segment(struct unit *unit, const struct reap_segment *segment, bool neighbour)
{
	const struct page_set *marked = &unit->run->marks.visited.pages;
	page_no number = segment->record.first, last = segment->record.last;

	if (unit->n_spans == 0 || !neighbour || !continues(unit, segment))
		unit->spans[unit->n_spans++] = (struct span){ .first_old = unit->n_old };
	unit->spans[unit->n_spans - 1].n_old++;
	unit->old[unit->n_old++] = *segment;
	unit->bytes += cost_bytes(unit->run, segment);
	while (number <= last && (number = page_set_next(marked, number, last)) != PAGE_ABSENT) {
		unit->n_detached += page_set_has(&unit->run->detach, number);
		unit->numbers[unit->n_numbers++] = number++;
	}
}

/* Divides the numbers of each span among as few copies as will do, alike. */
static void plan_copies(struct unit *unit)
{
	size_t number = 0;

	for (size_t i = 0; i < unit->n_spans; i++) {
		struct span *span = &unit->spans[i];
		const struct reap_segment *last = &unit->old[span->first_old + span->n_old - 1];
		size_t end = number, n;

		while (end < unit->n_numbers && unit->numbers[end] <= last->record.last)
			end++;
		n = (end - number + SEGMENT_PAGES - 1) / SEGMENT_PAGES;
		span->first_copy = unit->n_copies;
		span->n_copies = n;
		for (; n > 0; n--) {
			uint32_t pages = (uint32_t)((end - number) / n);

			unit->copy[unit->n_copies++] =
			    (struct copy){ .span = i, .numbers = number, .n = pages };
			number += pages;
		}
	}
}

/* Gathers segments from unit->next on, within the budget of bytes. */
static int gather(struct unit *unit, uint64_t budget_bytes)
{
	struct reap_segment segment;
	struct store_view *view;
	bool neighbour = false;
	uint64_t oldest;
	int result;

	unit->n_old = unit->n_spans = unit->n_copies = unit->n_numbers = unit->n_detached = 0;
	unit->bytes = 0;
	unit->any_damaged = false;
	/* Its own view is not older than what it asks about. */
	if (reap_oldest_view(unit->run->store, &oldest) != R_OK ||
	    store_view_open(unit->run->store, &view) != R_OK)
		return R_FAILED;
	result = mark_generations(view, &unit->run->marks);
	while (result == R_OK && unit->n_old < UNIT_SEGMENTS && unit->bytes < budget_bytes) {
		result = reap_segment_next(view, unit->next, &segment);
		if (result != R_OK)
			break;
		unit->next = segment.record.last + 1;
		if (may_copy(unit->run, &segment, view, oldest)) {
			add_segment(unit, &segment, neighbour);
			neighbour = true;
		} else {
			neighbour = false;
		}
	}
	store_view_close(view);
	plan_copies(unit);
	return result == R_NOT_FOUND ? R_OK : result;
}

/* The next copy to be made; NULL if there is none, or no use in going on.  One thread tells how far
 * it is. */
static struct copy *take_turn(struct unit *unit, bool telling)
{
	const struct run *run = unit->run;
	struct copy *copy = NULL;
	uint64_t turn;
	bool stop;

	/* Telling may take long, so it is done without the lock. */
	pthread_mutex_lock(&unit->lock);
	turn = unit->turn;
	pthread_mutex_unlock(&unit->lock);
	stop = telling && tell(run, run->options->recompress ? "recompressing" : "compacting",
			       run->copied_bytes + unit->bytes * turn / unit->n_copies, 0,
			       PROGRESS_BYTES) != R_OK;
	pthread_mutex_lock(&unit->lock);
	unit->failed |= stop;
	if (!unit->failed && unit->turn < unit->n_copies)
		copy = &unit->copy[unit->turn++];
	pthread_mutex_unlock(&unit->lock);
	return copy;
}

static void note_result(struct unit *unit, const struct copy *copy, int result, page_no bad)
{
	pthread_mutex_lock(&unit->lock);
	if (result == R_DAMAGED) {
		unit->spans[copy->span].damaged = true;
		unit->any_damaged = true;
		if (page_set_add(&unit->run->damaged, bad, NULL) != R_OK)
			unit->failed = true;
	} else if (result != R_OK) {
		unit->failed = true;
	}
	pthread_mutex_unlock(&unit->lock);
}

static void make_copies(struct unit *unit, bool telling)
{
	struct reap_copier *copier;
	struct copy *copy;

	if (reap_copier_open(unit->copies, &copier) != R_OK) {
		pthread_mutex_lock(&unit->lock);
		unit->failed = true;
		pthread_mutex_unlock(&unit->lock);
		return;
	}
	while ((copy = take_turn(unit, telling))) {
		const struct reap_segment *old = &unit->old[unit->spans[copy->span].first_old];
		page_no bad = PAGE_ABSENT;
		int result =
		    reap_copy(copier, unit->numbers + copy->numbers, copy->n,
			      is_strong(unit->run, old), &unit->run->detach, &copy->record, &bad);

		note_result(unit, copy, result, bad);
	}
	reap_copier_close(copier);
}

static void *copy_thread(void *arg)
{
	make_copies(arg, false);
	return NULL;
}

/* This thread does its share too.  Others take no signals: these belong to the command. */
static int run_copies(struct unit *unit)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	pthread_t threads[THREADS_MAX];
	sigset_t all, before;
	size_t n = 0;

	unit->turn = 0;
	unit->failed = false;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (n < THREADS_MAX && (long)n + 1 < cpus && n + 1 < unit->n_copies &&
	       pthread_create(&threads[n], NULL, copy_thread, unit) == 0)
		n++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	make_copies(unit, true);
	while (n > 0)
		pthread_join(threads[--n], NULL);
	return unit->failed ? R_FAILED : R_OK;
}

/* R_OK if what the span was copied from is where it was, and what may be left out of it may be left
 * out still. */
static int check_span(struct reap *reap, const struct unit *unit, const struct span *span,
		      uint64_t oldest)
{
	if (span->damaged)
		return R_NOT_FOUND;
	for (size_t i = 0; i < span->n_old; i++) {
		const struct reap_segment *old = &unit->old[span->first_old + i];
		struct reap_segment there;
		struct liveness now;
		int result;

		result = reap_segment_same(reap, old, &there);
		if (result != R_OK)
			return result;
		now = liveness_of(unit->run, &there, reap_view(reap));
		/* A span may lead over a gap to a condemned segment only as long as it is one. */
		if (old->condemned_txn &&
		    (there.condemned_txn == 0 || there.condemned_txn > oldest))
			return R_NOT_FOUND;
		if (now.live == there.record.pages && !old->condemned_txn)
			continue; /* all of it was copied */
		if (now.digest != there.digest || now.digest != old->digest)
			return R_NOT_FOUND;
	}
	return R_OK;
}

static int switch_span(struct reap *reap, struct unit *unit, struct span *span, uint64_t oldest)
{
	int result = check_span(reap, unit, span, oldest);

	span->replaced = result == R_OK;
	if (result == R_FAILED)
		return R_FAILED;
	if (result == R_OK)
		return reap_replace(reap, unit->old + span->first_old, span->n_old,
				    unit->records + span->first_copy, span->n_copies);
	for (size_t i = 0; i < span->n_copies; i++) {
		const struct segment_record *record = &unit->records[span->first_copy + i];

		/* A copy with a damaged page has not been written. */
		if (record->offset > 0 && reap_discard(reap, record) != R_OK)
			return R_FAILED;
	}
	return R_OK;
}

static int switch_unit(struct reap *reap, void *arg)
{
	struct unit *unit = arg;
	uint64_t oldest;

	if (mark_generations(reap_view(reap), &unit->run->marks) != R_OK ||
	    reap_oldest_view(unit->run->store, &oldest) != R_OK ||
	    reap_copies_put(reap, unit->copies) != R_OK)
		return R_FAILED;
	for (size_t i = 0; i < unit->n_spans; i++)
		if (switch_span(reap, unit, &unit->spans[i], oldest) != R_OK)
			return R_FAILED;
	return R_OK;
}

static int compact_unit(struct unit *unit)
{
	int result;

	unit->copies = reap_copies_new(unit->run->store);
	if (!unit->copies)
		return R_FAILED;
	result = run_copies(unit);
	for (size_t i = 0; i < unit->n_copies; i++)
		unit->records[i] = unit->copy[i].record;
	if (result == R_OK)
		result = reap_copies_sync(unit->copies);
	if (result == R_OK)
		result = marked_write(unit->run, switch_unit, unit);
	if (result == R_OK) {
		unit->run->result->bytes_rewritten += reap_copies_bytes(unit->copies);
		unit->run->result->pages_detached += unit->n_detached;
	}
	reap_copies_close(unit->copies, result == R_OK);
	return result;
}

static int compact_units(struct unit *unit)
{
	uint64_t bound = unit->run->bound_bytes;
	uint64_t *copied = &unit->run->copied_bytes;
	int result;

	while (bound == 0 || *copied < bound) {
		page_no begin = unit->next;

		result = gather(unit, bound ? bound - *copied : UINT64_MAX);
		if (result != R_OK || unit->n_old == 0)
			return result;
		result = compact_unit(unit);
		if (result != R_OK)
			return result;
		*copied += unit->bytes;
		if (unit->any_damaged) {
			note(
			    "a segment with a damaged page stays as it is: run snap verify --data");
			unit->next = begin; /* what was copied along with it is copied without it */
		}
	}
	return R_OK;
}

int compact_segments(struct run *run)
{
	struct unit *unit;
	int result;

	unit = calloc(1, sizeof(*unit));
	if (!unit) {
		warn("out of memory");
		return R_FAILED;
	}
	unit->run = run;
	pthread_mutex_init(&unit->lock, NULL);
	result = compact_units(unit);
	pthread_mutex_destroy(&unit->lock);
	free(unit);
	return result;
}
