#include "engine/look/search.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/look/look.h"
#include "engine/look/places.h"
#include "engine/look/scanned.h"
#include "engine/look/secret.h"
#include "store/seal.h"

/* A run of the walk, and before it the page it follows. */
#define RUN_PAGES 512
#define WINDOW_PAGES (RUN_PAGES + 1)
/* Places kept in memory, of all generations together: 64 bytes each. */
#define PLACES_MAX (1u << 20)

struct search {
	struct store_view *view;
	const struct look_search_options *options;
	struct look_search_result *result;
	struct scanned *scanned;
	struct places *places;
	size_t n_places;

	/* the generation and the object being searched */
	struct generation gen;
	struct look *look; /* NULL: not needed so far */
	const char *object;
	struct sealed *sealed; /* it is sealed, and revealed; otherwise NULL */

	/* pages that follow each other in the object, from index `first` on; between runs, the last
	 * page of the one before, of which hits are still to be told */
	uint64_t first;
	page_no numbers[WINDOW_PAGES];
	size_t n;
	uint64_t spill; /* bytes of the next page that a match across its border has taken */

	/* those of them that are read: their bytes one after another */
	page_no wanted[WINDOW_PAGES];
	uint16_t place[WINDOW_PAGES]; /* of page i in `data`, or UINT16_MAX */
	size_t n_wanted;
	uint8_t *data;
	uint8_t border[2 * MATCH_BORDER_BYTES];
};

#define NOT_READ UINT16_MAX

static const uint8_t *bytes_of(const struct search *s, size_t i)
{
	return s->data + (size_t)s->place[i] * PAGE_BYTES;
}

static void want(struct search *s, size_t i)
{
	if (s->place[i] != NOT_READ)
		return;
	s->place[i] = (uint16_t)s->n_wanted;
	s->wanted[s->n_wanted++] = s->numbers[i];
}

/* Each page is encrypted by itself, at its own index. */
static int decrypt_wanted(struct search *s)
{
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i < s->n; i++)
		if (s->place[i] != NOT_READ)
			rc = sealed_read(s->sealed, s->first + i, 1,
					 s->data + (size_t)s->place[i] * PAGE_BYTES);
	return rc;
}

/* Reads what is wanted, all at once. */
static int read_wanted(struct search *s)
{
	page_no bad = PAGE_ABSENT;
	int rc;

	if (!s->n_wanted)
		return R_OK;
	if (s->sealed)
		return decrypt_wanted(s);
	rc = store_read_pages(s->view, s->wanted, s->n_wanted, s->data, &bad);
	if (rc == R_DAMAGED)
		warn("generation %" PRIu64 ": a page of object %s is damaged; see snap verify "
		     "--data",
		     s->gen.number, s->object);
	return rc;
}

static void want_nothing(struct search *s)
{
	s->n_wanted = 0;
	for (size_t i = 0; i < s->n; i++)
		s->place[i] = NOT_READ;
}

static bool border_is_new(const struct search *s, size_t i)
{
	return i + 1 < s->n && scanned_open(s->scanned, s->numbers[i]) &&
	       !scanned_border(s->scanned, s->numbers[i], s->numbers[i + 1]);
}

static int add_hit(struct search *s, page_no a, page_no b, size_t offset, const uint8_t *bytes,
		   size_t len)
{
	struct scanned_hit hit = { .offset = (uint32_t)offset, .len = (uint32_t)len };

	hit.shown = (uint32_t)(len < SCANNED_SHOWN_BYTES ? len : SCANNED_SHOWN_BYTES);
	memcpy(hit.bytes, bytes, hit.shown);
	return scanned_add(s->scanned, a, b, &hit);
}

static int scan_page(struct search *s, size_t i)
{
	struct matcher *matcher = s->options->matcher;
	size_t half = matcher_reach(matcher) - 1, from = 0, start, end;
	const uint8_t *bytes = bytes_of(s, i);
	int rc = scanned_set_page(s->scanned, s->numbers[i],
				  half && matcher_open(matcher, bytes + PAGE_BYTES - half, half));

	s->result->pages_read++;
	while (rc == R_OK && matcher_find(matcher, bytes, PAGE_BYTES, from, &start, &end)) {
		rc = add_hit(s, s->numbers[i], PAGE_ABSENT, start, bytes + start, end - start);
		from = end;
	}
	return rc;
}

/* Only what begins before the border and ends behind it. */
static int scan_border(struct search *s, size_t i)
{
	size_t half = matcher_reach(s->options->matcher) - 1, from = 0, start, end;
	int rc = scanned_set_border(s->scanned, s->numbers[i], s->numbers[i + 1]);

	memcpy(s->border, bytes_of(s, i) + PAGE_BYTES - half, half);
	memcpy(s->border + half, bytes_of(s, i + 1), half);
	while (rc == R_OK && from < half &&
	       matcher_find(s->options->matcher, s->border, 2 * half, from, &start, &end)) {
		if (start >= half)
			break;
		if (end > half)
			rc = add_hit(s, s->numbers[i], s->numbers[i + 1], PAGE_BYTES - half + start,
				     s->border + start, end - start);
		from = end;
	}
	return rc;
}

/* First the pages that have not been looked at, then the borders that this leaves open. */
static int scan_new(struct search *s)
{
	int rc;

	want_nothing(s);
	for (size_t i = 0; i < s->n; i++)
		if (!scanned_page(s->scanned, s->numbers[i]))
			want(s, i);
	s->result->pages_known += s->n - s->n_wanted;
	rc = read_wanted(s);
	for (size_t i = 0; rc == R_OK && i < s->n; i++)
		/* One that stands here twice is read twice, but looked at once. */
		if (!scanned_page(s->scanned, s->numbers[i]))
			rc = scan_page(s, i);
	if (rc != R_OK)
		return rc;
	want_nothing(s);
	for (size_t i = 0; i < s->n; i++) {
		if (!border_is_new(s, i))
			continue;
		want(s, i);
		want(s, i + 1);
	}
	rc = read_wanted(s);
	for (size_t i = 0; rc == R_OK && i < s->n; i++)
		if (border_is_new(s, i))
			rc = scan_border(s, i);
	return rc;
}

static int add_place(struct search *s, const struct look_match *place,
		     const struct scanned_hit *hit)
{
	if (s->n_places == PLACES_MAX) {
		s->result->limited = true;
		return R_OK;
	}
	s->n_places++;
	return places_add(s->places, place, s->gen.number, scanned_id(s->scanned, hit));
}

static int open_look(struct search *s)
{
	return s->look ? R_OK : look_open(s->view, &s->gen, &s->look);
}

/* Private memory: the object's offsets are addresses. */
static int place_in_task(struct search *s, struct look_match *place, const struct scanned_hit *hit)
{
	const struct look_task *task;
	int rc = open_look(s);

	if (rc != R_OK)
		return rc;
	place->pid = (uint32_t)strtoul(s->object + strlen("pages-"), NULL, 10);
	task = look_task(s->look, place->pid);
	for (size_t i = 0; task && task->mm && i < task->mm->n_vmas; i++) {
		const VmaEntry *vma = task->mm->vmas[i];

		if (vma->start <= place->address && place->address < vma->end &&
		    !(vma->status & VMA_STATUS_GUARD))
			place->mapping = look_vma_name(s->look, vma);
	}
	return add_place(s, place, hit);
}

static bool shows(const struct look *look, const VmaEntry *vma, uint64_t shmid, uint64_t offset)
{
	const MemfdInodeEntry *memfd = NULL;
	const FileEntry *file;

	if (offset < vma->pgoff || offset - vma->pgoff >= vma->end - vma->start)
		return false;
	if (vma->status & VMA_STATUS_MEMFD) {
		file = look_file(look, (uint32_t)vma->shmid);
		memfd = file ? look_memfd(look, file) : NULL;
		return memfd && memfd->shmid == shmid;
	}
	return vma->status & VMA_STATUS_ANON_SHARED && vma->shmid == shmid;
}

/* Shared memory: at an address in each task that maps it; if none does, in the object. */
static int place_in_shared(struct search *s, struct look_match *place,
			   const struct scanned_hit *hit)
{
	uint64_t offset = place->address;
	uint64_t shmid = strtoull(strrchr(s->object, '-') + 1, NULL, 10);
	bool mapped = false;
	int rc = open_look(s);

	for (size_t t = 0; rc == R_OK && t < s->look->n_tasks; t++) {
		const struct look_task *task = &s->look->tasks[t];

		for (size_t i = 0; rc == R_OK && task->mm && i < task->mm->n_vmas; i++) {
			const VmaEntry *vma = task->mm->vmas[i];

			if (!shows(s->look, vma, shmid, offset))
				continue;
			mapped = true;
			place->pid = task->pid;
			place->address = vma->start + (offset - vma->pgoff);
			place->mapping = look_vma_name(s->look, vma);
			rc = add_place(s, place, hit);
		}
	}
	return rc == R_OK && !mapped ? add_place(s, place, hit) : rc;
}

static int place_hit(struct search *s, size_t i, const struct scanned_hit *hit)
{
	struct look_match place = { .lineage = s->gen.lineage,
				    .object = s->object,
				    .mapping = "",
				    .address = (s->first + i) * PAGE_BYTES + hit->offset };
	int rc;

	if (s->sealed || !strncmp(s->object, "pages-shmem-", strlen("pages-shmem-")))
		return place_in_shared(s, &place, hit);
	if (!strncmp(s->object, "pages-", strlen("pages-")) && isdigit((unsigned char)s->object[6]))
		return place_in_task(s, &place, hit);
	rc = open_look(s);
	if (rc != R_OK)
		return rc;
	place.mapping = look_stored_path(s->look, s->object) ?: "";
	return add_place(s, &place, hit);
}

/* Of the first `n` pages of the window.  A match across a border takes the place of those within
 * the two pages that it overlaps. */
static int place_hits(struct search *s, size_t n)
{
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i < n; i++) {
		const struct scanned_hit *across = NULL, *hit;
		uint64_t before = s->spill;

		s->spill = 0;
		if (i + 1 < s->n)
			across = scanned_first(s->scanned, s->numbers[i], s->numbers[i + 1]);
		hit = scanned_first(s->scanned, s->numbers[i], PAGE_ABSENT);
		for (; rc == R_OK && hit; hit = scanned_next(s->scanned, hit))
			if (hit->offset >= before &&
			    (!across || hit->offset + hit->len <= across->offset))
				rc = place_hit(s, i, hit);
		for (hit = across; rc == R_OK && hit; hit = scanned_next(s->scanned, hit)) {
			s->spill = hit->offset + hit->len - PAGE_BYTES;
			rc = place_hit(s, i, hit);
		}
	}
	return rc;
}

/* Keeps the last page of the window, for the border to what follows it. */
static void carry_last(struct search *s)
{
	s->first += s->n - 1;
	s->numbers[0] = s->numbers[s->n - 1];
	s->n = 1;
}

/* Looks at the window, and tells of all but its last page. */
static int look_at_window(struct search *s)
{
	int rc = scan_new(s);

	if (rc == R_OK)
		rc = place_hits(s, s->n - 1);
	carry_last(s);
	return rc;
}

/* Nothing follows the page that was kept. */
static int end_of_pages(struct search *s)
{
	int rc = s->n ? place_hits(s, 1) : R_OK;

	s->n = 0;
	s->spill = 0;
	return rc;
}

static void append(struct search *s, uint64_t index, const page_no *numbers, size_t n)
{
	if (!s->n)
		s->first = index;
	memcpy(s->numbers + s->n, numbers, n * sizeof(*numbers));
	s->n += n;
}

/* Nothing is in it: only the border before it may be new. */
static int skip_clean(struct search *s, uint64_t index, const page_no *numbers, size_t n)
{
	int rc;

	append(s, index, numbers, 1);
	rc = look_at_window(s);
	s->result->pages_known += n - 1;
	s->first = index + n - 1;
	s->numbers[0] = numbers[n - 1];
	if (n > 1)
		s->spill = 0;
	return rc;
}

static int note_clean(struct search *s, const struct scanned_run *run, const page_no *numbers,
		      size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (scanned_first(s->scanned, numbers[i], PAGE_ABSENT) ||
		    (i + 1 < n && scanned_first(s->scanned, numbers[i], numbers[i + 1])))
			return R_OK;
	return scanned_set_clean(s->scanned, run);
}

static int add_run(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	struct search *s = arg;
	struct scanned_run run = scanned_run_of(numbers, n);
	int rc = R_OK;

	if (s->n && s->first + 1 != index)
		rc = end_of_pages(s);
	if (rc == R_OK && scanned_clean(s->scanned, &run)) {
		rc = skip_clean(s, index, numbers, n);
	} else if (rc == R_OK) {
		append(s, index, numbers, n);
		rc = look_at_window(s);
		if (rc == R_OK)
			rc = note_clean(s, &run, numbers, n);
	}
	if (rc == R_OK && !progress_tell(s->options->progress, "searching", s->result->pages_read,
					 0, PROGRESS_PAGES))
		rc = R_FAILED;
	return rc;
}

static int search_object(const char *name, const struct object *object, void *arg)
{
	struct search *s = arg;
	bool secret = !strncmp(name, SEALED_PREFIX, strlen(SEALED_PREFIX));
	int rc;

	/* Encrypted; nothing can be found there. */
	if (sealed_is(name) && !(secret && s->options->reveal)) {
		s->result->bytes_sealed += secret ? object->length_bytes : 0;
		return R_OK;
	}
	if (secret) {
		rc = look_secret_open(s->view, s->gen.number, name, s->options->keys, &s->sealed);
		if (rc != R_OK)
			return rc == R_NOT_FOUND ? R_DAMAGED : rc;
	}
	s->object = name;
	s->n = 0;
	s->spill = 0;
	rc = store_object_walk(s->view, object, 0, UINT64_MAX / PAGE_BYTES, add_run, s);
	rc = rc == R_OK ? end_of_pages(s) : rc;
	sealed_close(s->sealed);
	s->sealed = NULL;
	return rc;
}

static int search_generation(struct search *s, uint64_t number)
{
	int rc = store_generation(s->view, number, &s->gen);

	if (rc == R_NOT_FOUND) {
		warn("there is no generation %" PRIu64 "; see snap ls", number);
		return rc;
	}
	if (rc == R_OK)
		rc = store_object_each(s->view, number, search_object, s);
	look_close(s->look);
	s->look = NULL;
	return rc;
}

int look_search(struct store_view *view, const struct look_search_options *options,
		int (*fn)(const struct look_match *match, void *arg), void *arg,
		struct look_search_result *result)
{
	struct search *s = calloc(1, sizeof(*s));
	int rc = R_FAILED;

	memset(result, 0, sizeof(*result));
	if (!s) {
		warn("out of memory");
		return R_FAILED;
	}
	s->view = view;
	s->options = options;
	s->result = result;
	s->scanned = scanned_new();
	s->places = places_new();
	s->data = malloc(WINDOW_PAGES * PAGE_BYTES);
	if (!s->data)
		warn("out of memory");
	if (s->scanned && s->places && s->data)
		rc = R_OK;
	for (size_t i = 0; rc == R_OK && i < options->n_generations; i++)
		rc = search_generation(s, options->generations[i]);
	if (rc == R_OK)
		rc = places_tell(s->places, s->scanned, options->limit, fn, arg, result);
	free(s->data);
	places_free(s->places);
	scanned_free(s->scanned);
	free(s);
	return rc;
}
