/*
 * Looking for matches in one page, by one of several threads.
 *
 * A page that is stored as a difference to another differs from it in a few words.  If nothing was
 * found in that other page, then only a match that overlaps one of these words can be in this one;
 * so if it is known how long a match can be, these words and that much around them are enough.
 * Where something is found there, or was found before, the whole page is looked at like any other,
 * as which of several overlapping matches count depends on where one begins.
 */
#include "engine/look/search_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "base/result.h"
#include "base/warn.h"

#define WORD_BYTES 8u
#define PAGE_WORDS (PAGE_BYTES / WORD_BYTES)

static void add_hit(struct page_worker *w, size_t at, size_t offset, const uint8_t *bytes,
		    size_t len)
{
	struct page_hit *new;

	if (w->n_hits > HITS_MAX) {
		w->full = true;
		return;
	}
	if (w->n_hits == w->room) {
		size_t room = w->room ? 2 * w->room : 64;
		struct page_hit *more = reallocarray(w->hits, room, sizeof(*more));

		if (!more) {
			if (!w->failed)
				warn("out of memory");
			w->failed = true;
			return;
		}
		w->hits = more;
		w->room = room;
	}
	new = &w->hits[w->n_hits++];
	*new = (struct page_hit){ .at = at,
				  .hit = { .offset = (uint32_t)offset, .len = (uint32_t)len } };
	new->hit.shown = (uint32_t)(len < SCANNED_SHOWN_BYTES ? len : SCANNED_SHOWN_BYTES);
	memcpy(new->hit.bytes, bytes, new->hit.shown);
}

/* The first word from `from` on that differs, or does not; PAGE_WORDS: none. */
static size_t next_word(const uint8_t *differs, size_t from, bool wanted)
{
	while (from < PAGE_WORDS) {
		uint64_t bits = get_le64(differs + from / 64 * 8);

		bits = (wanted ? bits : ~bits) >> from % 64;
		if (bits)
			return from + (size_t)__builtin_ctzll(bits);
		from = (from / 64 + 1) * 64;
	}
	return PAGE_WORDS;
}

/* Is there a match that has something of the words that differ? */
static bool found_near(struct matcher *matcher, const uint8_t *bytes, const uint8_t *differs)
{
	size_t around = matcher_longest(matcher) - 1, word = next_word(differs, 0, true);

	while (word < PAGE_WORDS) {
		size_t first = word * WORD_BYTES, start, end, m_start, m_end;

		word = next_word(differs, word, false);
		end = word * WORD_BYTES + around;
		word = next_word(differs, word, true);
		/* Neighbours that are looked at both are one. */
		while (word < PAGE_WORDS && word * WORD_BYTES <= end + around) {
			word = next_word(differs, word, false);
			end = word * WORD_BYTES + around;
			word = next_word(differs, word, true);
		}
		start = first > around ? first - around : 0;
		end = end < PAGE_BYTES ? end : PAGE_BYTES;
		if (matcher_find(matcher, bytes + start, end - start, 0, &m_start, &m_end))
			return true;
	}
	return false;
}

/* The state of the page this one differs from; PAGE_DAMAGED: nothing is known of it. */
static unsigned int state_of_base(const struct scanner *s, const struct store_visited *v)
{
	if (!v->differs)
		return PAGE_DAMAGED;
	if (v->base_at != SIZE_MAX)
		return s->states[v->base_at];
	/* Of a batch before; nobody notes anything while pages are looked at. */
	if (v->base > PAGE_ZERO && scanned_page(s->scanned, v->base) &&
	    !scanned_damaged(s->scanned, v->base))
		return (scanned_first(s->scanned, v->base, PAGE_ABSENT) ? PAGE_HITS : 0u) |
		       (scanned_open(s->scanned, v->base) ? PAGE_OPEN : 0u);
	return PAGE_DAMAGED;
}

static bool is_open(const struct scanner *s, struct matcher *matcher, const struct store_visited *v,
		    unsigned int base)
{
	size_t longest = matcher_longest(matcher), tail = s->edge;

	if (longest && longest - 1 < tail)
		tail = longest - 1;
	if (!tail)
		return false;
	/* The same end as that of its base. */
	if (longest && !(base & PAGE_DAMAGED) &&
	    next_word(v->differs, (PAGE_BYTES - tail) / WORD_BYTES, true) == PAGE_WORDS)
		return base & PAGE_OPEN;
	return matcher_open(matcher, v->bytes + PAGE_BYTES - tail, tail);
}

void scanner_page(const struct store_visited *v, void *arg)
{
	struct scanner *s = arg;
	struct page_worker *w = &s->workers[v->worker];
	unsigned int base = state_of_base(s, v);
	uint8_t *state = &s->states[v->at];
	size_t from = 0, start, end;

	*state = v->bytes ? 0 : PAGE_DAMAGED;
	if (!w->matcher && !w->failed && !(w->matcher = matcher_twin(s->matcher)))
		w->failed = true;
	if (!v->bytes || w->failed)
		return;
	memcpy(s->heads + v->at * s->edge, v->bytes, s->edge);
	if (is_open(s, w->matcher, v, base)) {
		*state |= PAGE_OPEN;
		memcpy(s->tails + v->at * s->edge, v->bytes + PAGE_BYTES - s->edge, s->edge);
	}
	if (!(base & (PAGE_DAMAGED | PAGE_HITS)) && matcher_longest(w->matcher) &&
	    !found_near(w->matcher, v->bytes, v->differs))
		return;
	while (!w->full && matcher_find(w->matcher, v->bytes, PAGE_BYTES, from, &start, &end)) {
		add_hit(w, v->at, start, v->bytes + start, end - start);
		*state |= PAGE_HITS;
		from = end;
	}
}
