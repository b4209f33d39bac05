/* From hits in pages to places: addresses of tasks, offsets in objects. */
#include "engine/look/search_internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/look/look.h"

/* Of all generations together: 40 bytes each, and 64 for the places made of them. */
#define PLACES_MAX (2 * HITS_MAX)

/* One hit in one object of one generation. */
struct noted {
	size_t gen, hit;
	const char *object;
	uint64_t offset;
};

struct placer {
	struct store_view *view;
	const struct generation *gens;
	struct scanned *scanned;
	struct places *places;
	struct noted *list;
	size_t n, room, n_places;
	bool limited;
	const struct generation *gen; /* of those being placed */
	struct look *look;
};

struct placer *placer_new(struct store_view *view, const struct generation *gens,
			  struct scanned *scanned, struct places *places)
{
	struct placer *p = calloc(1, sizeof(*p));

	if (!p) {
		warn("out of memory");
		return NULL;
	}
	p->view = view;
	p->gens = gens;
	p->scanned = scanned;
	p->places = places;
	return p;
}

void placer_free(struct placer *p)
{
	if (!p)
		return;
	free(p->list);
	free(p);
}

bool placer_limited(const struct placer *p)
{
	return p->limited;
}

static int note_hit(struct placer *p, const char *object, const struct track *track,
		    const struct scanned_hit *hit)
{
	if (p->n == PLACES_MAX) {
		p->limited = true;
		return R_OK;
	}
	if (p->n == p->room) {
		size_t room = p->room ? 2 * p->room : 256;
		struct noted *more = reallocarray(p->list, room, sizeof(*more));

		if (!more) {
			warn("out of memory");
			return R_FAILED;
		}
		p->list = more;
		p->room = room;
	}
	p->list[p->n++] = (struct noted){ .gen = track->gen,
					  .hit = scanned_id(p->scanned, hit),
					  .object = object,
					  .offset = track->index * PAGE_BYTES + hit->offset };
	return R_OK;
}

/* The page of the track, behind which stands `next`.  A match across the border takes the place of
 * those within the two pages that it overlaps. */
static int note_page(struct placer *p, const char *object, struct track *track, page_no next)
{
	const struct scanned_hit *across = NULL, *hit;
	uint64_t before = track->spill;
	int rc = R_OK;

	track->spill = 0;
	if (track->number == PAGE_ABSENT || !scanned_has_hits(p->scanned, track->number))
		return R_OK;
	if (next != PAGE_ABSENT)
		across = scanned_first(p->scanned, track->number, next);
	hit = scanned_first(p->scanned, track->number, PAGE_ABSENT);
	for (; rc == R_OK && hit; hit = scanned_next(p->scanned, hit))
		if (hit->offset >= before && (!across || hit->offset + hit->len <= across->offset))
			rc = note_hit(p, object, track, hit);
	for (hit = across; rc == R_OK && hit; hit = scanned_next(p->scanned, hit)) {
		track->spill = hit->offset + hit->len - PAGE_BYTES;
		rc = note_hit(p, object, track, hit);
	}
	return rc;
}

int placer_note(struct placer *p, const char *object, struct track *track, uint64_t index,
		const page_no *leaf)
{
	int rc = R_OK;

	/* With nothing found so far there is only the last page to be remembered. */
	if (leaf && !scanned_hits(p->scanned)) {
		track->spill = 0;
		track->index = index + LEAF_PAGES - 1;
		track->number = leaf[LEAF_PAGES - 1];
		return R_OK;
	}
	if (!leaf || track->index + 1 != index) {
		rc = note_page(p, object, track, PAGE_ABSENT);
		track->number = PAGE_ABSENT;
	}
	for (size_t i = 0; leaf && rc == R_OK && i < LEAF_PAGES; i++) {
		rc = note_page(p, object, track, leaf[i]);
		track->index = index + i;
		track->number = leaf[i];
	}
	return rc;
}

static int add_place(struct placer *p, const struct look_match *place, size_t hit)
{
	if (p->n_places == PLACES_MAX) {
		p->limited = true;
		return R_OK;
	}
	p->n_places++;
	return places_add(p->places, place, p->gen->number, hit);
}

/* Private memory: the object's offsets are addresses. */
static int place_in_task(struct placer *p, struct look_match *place, size_t hit)
{
	const struct look_task *task;

	place->pid = (uint32_t)strtoul(place->object + strlen("pages-"), NULL, 10);
	task = p->look ? look_task(p->look, place->pid) : NULL;
	for (size_t i = 0; task && task->mm && i < task->mm->n_vmas; i++) {
		const VmaEntry *vma = task->mm->vmas[i];

		if (vma->start <= place->address && place->address < vma->end &&
		    !(vma->status & VMA_STATUS_GUARD))
			place->mapping = look_vma_name(p->look, vma);
	}
	return add_place(p, place, hit);
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
static int place_in_shared(struct placer *p, struct look_match *place, size_t hit)
{
	uint64_t offset = place->address;
	uint64_t shmid = strtoull(strrchr(place->object, '-') + 1, NULL, 10);
	bool mapped = false;
	int rc = R_OK;

	for (size_t t = 0; rc == R_OK && p->look && t < p->look->n_tasks; t++) {
		const struct look_task *task = &p->look->tasks[t];

		for (size_t i = 0; rc == R_OK && task->mm && i < task->mm->n_vmas; i++) {
			const VmaEntry *vma = task->mm->vmas[i];

			if (!shows(p->look, vma, shmid, offset))
				continue;
			mapped = true;
			place->pid = task->pid;
			place->address = vma->start + (offset - vma->pgoff);
			place->mapping = look_vma_name(p->look, vma);
			rc = add_place(p, place, hit);
		}
	}
	return rc == R_OK && !mapped ? add_place(p, place, hit) : rc;
}

static int place_one(struct placer *p, const struct noted *noted)
{
	struct look_match place = { .lineage = p->gen->lineage,
				    .object = noted->object,
				    .mapping = "",
				    .address = noted->offset };

	if (!strncmp(noted->object, SEALED_PREFIX, strlen(SEALED_PREFIX)) ||
	    !strncmp(noted->object, "pages-shmem-", strlen("pages-shmem-")))
		return place_in_shared(p, &place, noted->hit);
	if (!strncmp(noted->object, "pages-", strlen("pages-")) &&
	    isdigit((unsigned char)noted->object[6]))
		return place_in_task(p, &place, noted->hit);
	if (p->look)
		place.mapping = look_stored_path(p->look, noted->object) ?: "";
	return add_place(p, &place, noted->hit);
}

static int by_generation(const void *a, const void *b)
{
	const struct noted *left = a, *right = b;

	return left->gen < right->gen ? -1 : left->gen > right->gen;
}

int placer_finish(struct placer *p, bool *limited)
{
	bool damaged = false;
	int rc = R_OK;

	if (p->n)
		qsort(p->list, p->n, sizeof(*p->list), by_generation);
	for (size_t i = 0; rc == R_OK && i < p->n; i++) {
		if (!i || p->list[i].gen != p->list[i - 1].gen) {
			look_close(p->look);
			p->look = NULL;
			p->gen = &p->gens[p->list[i].gen];
			rc = look_open(p->view, p->gen, &p->look);
			/* What cannot be told then is what is mapped where. */
			if (rc == R_DAMAGED) {
				damaged = true;
				p->look = NULL;
				rc = R_OK;
			}
		}
		if (rc == R_OK)
			rc = place_one(p, &p->list[i]);
	}
	look_close(p->look);
	p->look = NULL;
	p->n = 0;
	*limited |= p->limited;
	return rc == R_OK && damaged ? R_DAMAGED : rc;
}
