#include "cli/diff_html.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "cli/change_map.h"
#include "cli/exit_codes.h"
#include "cli/looking.h"
#include "cli/output.h"

struct choosing {
	struct change_map *map;
	const char *lineage;
	uint64_t first, last;
};

static int choose(const struct generation *gen, void *arg)
{
	const struct choosing *c = arg;
	struct change_map *map = c->map;

	if (strcmp(gen->lineage, c->lineage) != 0 || gen->number < c->first ||
	    gen->number > c->last)
		return R_OK;
	if (map->n_generations == map->room) {
		size_t room = map->room ? 2 * map->room : 64;
		struct generation *more = reallocarray(map->generations, room, sizeof(*more));

		if (!more) {
			warn("out of memory");
			return R_FAILED;
		}
		map->generations = more;
		map->room = room;
	}
	map->generations[map->n_generations++] = *gen;
	return R_OK;
}

/* The two of --gen have to be of one lineage, or there is nothing to follow. */
static int range_of(const struct options *o, struct store_view *view, struct generation ends[2],
		    struct choosing *c)
{
	uint64_t numbers[2] = { o->generations[0].first,
				o->generations[o->generation_count - 1].last };

	for (int i = 0; i < 2; i++) {
		int rc = store_generation(view, numbers[i], &ends[i]);

		if (rc == R_NOT_FOUND)
			warn("there is no generation %llu in %s; see snap ls",
			     (unsigned long long)numbers[i], o->store_dir);
		if (rc != R_OK)
			return rc;
	}
	if (strcmp(ends[0].lineage, ends[1].lineage) != 0) {
		warn("generations %llu and %llu are of two lineages, %s and %s; --html follows one",
		     (unsigned long long)numbers[0], (unsigned long long)numbers[1],
		     ends[0].lineage, ends[1].lineage);
		return R_UNSUPPORTED;
	}
	c->lineage = ends[0].lineage;
	c->first = numbers[0] < numbers[1] ? numbers[0] : numbers[1];
	c->last = numbers[0] < numbers[1] ? numbers[1] : numbers[0];
	return R_OK;
}

static int write_file(const struct options *options, const struct change_map *map)
{
	int fd = looking_create(options->html);
	FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
	int rc = R_FAILED;

	if (fd < 0)
		return R_FAILED;
	if (out)
		rc = change_map_write(map, out);
	if ((out ? fclose(out) : close(fd)) != 0)
		rc = R_FAILED;
	if (rc == R_OK)
		return R_OK;
	warn_errno("%s", options->html);
	/* Half a page would mislead. */
	unlink(options->html);
	return rc;
}

int diff_html(const struct options *options, struct store_view *view)
{
	struct change_map map = { 0 };
	struct choosing c = { .map = &map, .last = UINT64_MAX };
	struct generation ends[2];
	int rc = R_OK, code = EXIT_DONE;

	if (options->generation_count)
		rc = range_of(options, view, ends, &c);
	else
		c.lineage = options->names[0];
	if (rc == R_OK)
		rc = store_generation_each(view, choose, &c);
	if (rc == R_OK && !map.n_generations) {
		warn("there is no generation of %s in %s; see snap ls", c.lineage,
		     options->store_dir);
		rc = R_NOT_FOUND;
	}
	if (rc == R_OK)
		rc = change_map_fill(view, &map);
	if (rc == R_OK)
		rc = write_file(options, &map);
	if (rc == R_OK && options->json)
		code =
		    output_json(json_pack("{s:s, s:s, s:I, s:I}", "html", options->html, "lineage",
					  c.lineage, "generations", (json_int_t)map.n_generations,
					  "mappings", (json_int_t)map.n_rows));
	else if (rc == R_OK)
		printf("%s\n", options->html);
	change_map_free(&map);
	return rc == R_OK ? code : exit_code_of(rc);
}
