#include "engine/look/scanned.h"

#include <stdlib.h>
#include <string.h>

#include "base/result.h"
#include "base/warn.h"

/* One bit for each page number. */
struct bits {
	uint64_t *words;
	size_t n;
};

/* Pairs of numbers and what is known of each: open addressing, at most half full. */
struct slot {
	page_no a, b;	    /* a 0: free */
	size_t first, last; /* hits; 0: none */
};

struct table {
	struct slot *slots;
	size_t room, used;
};

struct scanned {
	struct bits pages; /* looked at */
	struct bits open;  /* of those, where a match could go on behind the page */
	struct bits damaged;
	struct bits borders;	  /* between a number and the one above it, which is most of them */
	struct table others;	  /* all other borders */
	struct bits hitting;	  /* pages with hits, in them or at a border behind them */
	struct table found;	  /* pages and borders with hits */
	struct scanned_hit *hits; /* [0] is none */
	size_t n_hits, room;
};

static bool get_bit(const struct bits *bits, uint64_t i)
{
	return i / 64 < bits->n && bits->words[i / 64] >> i % 64 & 1;
}

static int set_bit(struct bits *bits, uint64_t i)
{
	size_t n = i / 64 + 1;

	if (n > bits->n) {
		uint64_t *more;

		n = n > 2 * bits->n ? n : 2 * bits->n;
		more = reallocarray(bits->words, n, sizeof(*more));
		if (!more) {
			warn("out of memory");
			return R_FAILED;
		}
		memset(more + bits->n, 0, (n - bits->n) * sizeof(*more));
		bits->words = more;
		bits->n = n;
	}
	bits->words[i / 64] |= 1ull << i % 64;
	return R_OK;
}

static size_t hash(page_no a, page_no b)
{
	uint64_t x = (a * 0x9e3779b97f4a7c15ull) ^ (b * 0xc2b2ae3d27d4eb4full);

	return (size_t)(x ^ x >> 29);
}

static struct slot *find(const struct table *table, page_no a, page_no b)
{
	size_t i = hash(a, b);

	while (table->room) {
		struct slot *slot = &table->slots[i++ & (table->room - 1)];

		if (!slot->a || (slot->a == a && slot->b == b))
			return slot;
	}
	return NULL;
}

static int grow(struct table *table)
{
	struct table bigger = { .room = table->room ? 2 * table->room : 1024 };

	bigger.slots = calloc(bigger.room, sizeof(*bigger.slots));
	if (!bigger.slots) {
		warn("out of memory");
		return R_FAILED;
	}
	for (size_t i = 0; i < table->room; i++)
		if (table->slots[i].a)
			*find(&bigger, table->slots[i].a, table->slots[i].b) = table->slots[i];
	bigger.used = table->used;
	free(table->slots);
	*table = bigger;
	return R_OK;
}

/* The slot of a pair, made if there is none.  NULL: out of memory. */
static struct slot *put(struct table *table, page_no a, page_no b)
{
	struct slot *slot;

	if (2 * table->used >= table->room && grow(table) != R_OK)
		return NULL;
	slot = find(table, a, b);
	if (!slot->a) {
		*slot = (struct slot){ .a = a, .b = b };
		table->used++;
	}
	return slot;
}

struct scanned *scanned_new(void)
{
	struct scanned *s = calloc(1, sizeof(*s));

	if (!s)
		warn("out of memory");
	return s;
}

void scanned_free(struct scanned *s)
{
	if (!s)
		return;
	free(s->pages.words);
	free(s->open.words);
	free(s->damaged.words);
	free(s->borders.words);
	free(s->others.slots);
	free(s->hitting.words);
	free(s->found.slots);
	free(s->hits);
	free(s);
}

bool scanned_page(const struct scanned *s, page_no number)
{
	return get_bit(&s->pages, number);
}

bool scanned_open(const struct scanned *s, page_no number)
{
	return get_bit(&s->open, number);
}

bool scanned_damaged(const struct scanned *s, page_no number)
{
	return get_bit(&s->damaged, number);
}

bool scanned_border(const struct scanned *s, page_no a, page_no b)
{
	const struct slot *slot;

	if (b == a + 1)
		return get_bit(&s->borders, a);
	slot = find(&s->others, a, b);
	return slot && slot->a;
}

int scanned_set_page(struct scanned *s, page_no number)
{
	return set_bit(&s->pages, number);
}

int scanned_set_open(struct scanned *s, page_no number)
{
	return set_bit(&s->open, number);
}

int scanned_set_damaged(struct scanned *s, page_no number)
{
	return set_bit(&s->damaged, number);
}

size_t scanned_hits(const struct scanned *s)
{
	return s->n_hits ? s->n_hits - 1 : 0;
}

bool scanned_has_hits(const struct scanned *s, page_no number)
{
	return get_bit(&s->hitting, number);
}

int scanned_set_border(struct scanned *s, page_no a, page_no b)
{
	if (b == a + 1)
		return set_bit(&s->borders, a);
	return put(&s->others, a, b) ? R_OK : R_FAILED;
}

int scanned_add(struct scanned *s, page_no a, page_no b, const struct scanned_hit *hit)
{
	struct slot *slot = put(&s->found, a, b);
	size_t id = s->n_hits ? s->n_hits : 1;

	if (!slot || set_bit(&s->hitting, a) != R_OK)
		return R_FAILED;
	if (id >= s->room) {
		size_t room = s->room ? 2 * s->room : 64;
		struct scanned_hit *more = reallocarray(s->hits, room, sizeof(*more));

		if (!more) {
			warn("out of memory");
			return R_FAILED;
		}
		s->hits = more;
		s->room = room;
	}
	s->hits[id] = *hit;
	s->hits[id].next = 0;
	s->n_hits = id + 1;
	if (slot->last)
		s->hits[slot->last].next = id;
	else
		slot->first = id;
	slot->last = id;
	return R_OK;
}

const struct scanned_hit *scanned_first(const struct scanned *s, page_no a, page_no b)
{
	const struct slot *slot = find(&s->found, a, b);

	return slot && slot->first ? &s->hits[slot->first] : NULL;
}

const struct scanned_hit *scanned_next(const struct scanned *s, const struct scanned_hit *hit)
{
	return hit->next ? &s->hits[hit->next] : NULL;
}

size_t scanned_id(const struct scanned *s, const struct scanned_hit *hit)
{
	return (size_t)(hit - s->hits);
}

const struct scanned_hit *scanned_by_id(const struct scanned *s, size_t id)
{
	return &s->hits[id];
}
