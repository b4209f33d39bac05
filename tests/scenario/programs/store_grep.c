/* store_grep DIR: looks for the line on its standard input in everything the generations of a store
 * hold, as it is after decompression.  Prints where; 0 if it was found, 1 if not, 2 on failure. */
#include "base/result.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct search {
	struct store_view *view;
	uint64_t generation;
	const char *word, *object;
	size_t found;
	unsigned char pages[2 * PAGE_BYTES]; /* the page before, and this one */
};

static int look_at(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	struct search *s = arg;
	page_no bad;

	for (size_t i = 0; i < n; i++) {
		memcpy(s->pages, s->pages + PAGE_BYTES, PAGE_BYTES);
		if (store_read_pages(s->view, numbers + i, 1, s->pages + PAGE_BYTES, &bad))
			return R_DAMAGED;
		if (!memmem(s->pages, sizeof(s->pages), s->word, strlen(s->word)))
			continue;
		s->found++;
		printf("generation %llu: %s: page %llx\n", (unsigned long long)s->generation,
		       s->object, (unsigned long long)(index + i));
	}
	return 0;
}

static int object(const char *name, const struct object *object, void *arg)
{
	struct search *s = arg;

	s->object = name;
	memset(s->pages, 0, sizeof(s->pages));
	return store_object_walk(s->view, object, 0, UINT64_MAX, look_at, s);
}

static int generation(const struct generation *gen, void *arg)
{
	struct search *s = arg;

	s->generation = gen->number;
	return store_object_each(s->view, gen->number, object, s);
}

int main(int argc, char **argv)
{
	struct search *s = calloc(1, sizeof(*s));
	static char word[256];
	struct store *store;
	bool found;

	if (argc != 2 || !s || !fgets(word, sizeof(word), stdin))
		return 2;
	word[strcspn(word, "\n")] = '\0';
	s->word = word;
	if (store_open(argv[1], false, false, &store) || store_view_open(store, &s->view) ||
	    store_generation_each(s->view, generation, s))
		return 2;
	store_view_close(s->view);
	store_close(store);
	found = s->found;
	free(s);
	return found ? 0 : 1;
}
