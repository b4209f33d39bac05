/* snap diff: what changed between two generations. */
#include "cli/commands.h"
#include "cli/describe.h"
#include "cli/diff_html.h"
#include "cli/json_diff.h"
#include "cli/secrets.h"
#include "cli/tree_text.h"

#include "base/result.h"
#include "base/warn.h"
#include "cli/exit_codes.h"
#include "cli/output.h"
#include "engine/look/changes.h"
#include "engine/look/pairs.h"
#include "engine/look/secret.h"

#include <stdio.h>
#include <string.h>

/* Ranges of a task that are told one by one; the sums are of all. */
#define RANGES_MAX 10000

static int open_look(struct store_view *view, uint64_t number, const struct options *options,
		     struct look **look)
{
	struct generation gen;
	int result = store_generation(view, number, &gen);

	if (result == R_NOT_FOUND)
		warn("there is no generation %llu in %s; see snap ls", (unsigned long long)number,
		     options->store_dir);
	return result == R_OK ? look_open(view, &gen, look) : result;
}

/* NULL: nothing is mapped there. */
static const VmaEntry *mapping_at(const struct look_task *task, uint64_t address)
{
	for (size_t i = 0; task && task->mm && i < task->mm->n_vmas; i++) {
		const VmaEntry *vma = task->mm->vmas[i];

		if (vma->start <= address && address < vma->end &&
		    !(vma->status & VMA_STATUS_GUARD))
			return vma;
	}
	return NULL;
}

static const char *name_at(const struct look *look, const struct look_task *task, uint64_t address)
{
	const VmaEntry *vma = mapping_at(task, address);

	return vma ? look_vma_name(look, vma) : "";
}

struct gathering {
	const struct look *look;
	const struct look_task *before, *task; /* of both generations; NULL: an object */
	json_t *ranges;
	uint64_t pages[3], bytes;
};

static const char *const change_words[] = { "written", "added", "removed" };

static int gather(const struct look_change *change, void *arg)
{
	struct gathering *g = arg;
	char start[24], end[24];
	const char *name;
	json_t *range;

	g->pages[change->kind] += change->pages;
	g->bytes += change->bytes;
	if (json_array_size(g->ranges) == RANGES_MAX)
		return R_OK;
	snprintf(start, sizeof(start), "0x%llx", (unsigned long long)change->start);
	snprintf(end, sizeof(end), "0x%llx",
		 (unsigned long long)(change->start + change->pages * PAGE_BYTES));
	range = json_pack("{s:s, s:s, s:s, s:I, s:I}", "start", start, "end", end, "change",
			  change_words[change->kind], "pages", (json_int_t)change->pages,
			  "bytes_changed", (json_int_t)change->bytes);
	name = g->task ? name_at(g->look, g->task, change->start) : "";
	if (range && *name)
		json_object_set_new(range, "mapping", describe_text(name, strlen(name)));
	json_array_append_new(g->ranges, range);
	return R_OK;
}

static bool shows_file(uint64_t index, void *arg)
{
	const struct gathering *g = arg;
	const VmaEntry *before = mapping_at(g->before, index * PAGE_BYTES);
	const VmaEntry *after = mapping_at(g->task, index * PAGE_BYTES);

	return (before && look_vma_is_file(before)) || (after && look_vma_is_file(after));
}

/* What was gathered with this result; NULL in `*json` if nothing changed. */
static int finish_changes(struct gathering *g, int rc, json_t **json)
{
	if (rc == R_OK && json_array_size(g->ranges))
		*json = json_pack("{s:I, s:I, s:I, s:I, s:O}", "pages_written",
				  (json_int_t)g->pages[CHANGE_WRITTEN], "pages_added",
				  (json_int_t)g->pages[CHANGE_ADDED], "pages_removed",
				  (json_int_t)g->pages[CHANGE_REMOVED], "bytes_changed",
				  (json_int_t)g->bytes, "ranges", g->ranges);
	json_decref(g->ranges);
	return rc;
}

/* NULL in `*json` if nothing changed. */
static int memory_changes(struct store_view *view, struct gathering *g, const struct object *before,
			  const struct object *after, json_t **json)
{
	const struct look_changes_to to = { gather, shows_file, g };
	int rc;

	*json = NULL;
	g->ranges = json_array();
	rc = look_changes(view, before, after, &to);
	return finish_changes(g, rc, json);
}

/* One process that both have. */
static int changed_task(const struct look *looks[2], struct look_queues *queues[2],
			const struct look_task *before, const struct look_task *after, json_t *list)
{
	struct describe what = { .environment = true,
				 .files = true,
				 .mappings = true,
				 .credentials = true,
				 .threads = true };
	struct gathering g = { .look = looks[1], .before = before, .task = after };
	json_t *a = NULL, *b = NULL, *changes, *memory = NULL;
	int rc;

	what.queues = queues[0];
	rc = describe_task(looks[0], before, &what, &a);
	what.queues = queues[1];
	if (rc == R_OK)
		rc = describe_task(looks[1], after, &what, &b);
	if (rc == R_OK)
		rc = memory_changes(looks[1]->view, &g, before->has_pages ? &before->pages : NULL,
				    after->has_pages ? &after->pages : NULL, &memory);
	changes = rc == R_OK ? json_diff(a, b) : NULL;
	if (memory && !changes)
		changes = json_object();
	if (changes) {
		json_t *row = json_pack("{s:I, s:O}", "pid", (json_int_t)after->pid, "name",
					json_object_get(b, "name"));

		/* Sizes follow from the changes of pages. */
		json_object_del(changes, "memory");
		json_object_update(row, changes);
		if (memory)
			json_object_set(row, "memory", memory);
		if (json_object_size(row) > 2)
			json_array_append(list, row);
		json_decref(row);
	}
	json_decref(changes);
	json_decref(memory);
	json_decref(a);
	json_decref(b);
	return rc;
}

/* Processes of the one that the other has not. */
static int only_in(const struct look *one, const struct look *other, json_t *list)
{
	const struct describe what = { .files = true };
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i < one->n_tasks; i++) {
		json_t *json;

		if (look_task(other, one->tasks[i].pid))
			continue;
		rc = describe_task(one, &one->tasks[i], &what, &json);
		if (rc == R_OK)
			json_array_append_new(list, json);
	}
	return rc;
}

static int in_both(const struct look *looks[2], json_t *list)
{
	struct look_queues *queues[2] = { NULL, NULL };
	int rc = look_queues_load(looks[0], &queues[0]);

	if (rc == R_OK)
		rc = look_queues_load(looks[1], &queues[1]);
	for (size_t i = 0; rc == R_OK && i < looks[1]->n_tasks; i++) {
		const struct look_task *after = &looks[1]->tasks[i];
		const struct look_task *before = look_task(looks[0], after->pid);

		if (before)
			rc = changed_task(looks, queues, before, after, list);
	}
	look_queues_free(queues[0]);
	look_queues_free(queues[1]);
	return rc;
}

/* Shared memory and files that are in both or in one. */
struct objects {
	const struct look *looks[2];
	const struct look_pairs *pairs;
	bool second; /* walking the later one */
	json_t *list;
	json_t *sealed; /* those not compared */
};

/* NULL in `*json` if nothing changed. */
static int secret_changes(const struct objects *o, const char *name, struct gathering *g,
			  json_t **json)
{
	const struct look *before = o->looks[0], *after = o->looks[1];
	int rc;

	*json = NULL;
	g->ranges = json_array();
	rc = look_secret_changes(after->view, before->gen.number, after->gen.number, name,
				 after->keys, gather, g);
	return finish_changes(g, rc, json);
}

/* Sealed is a page and a table; only the first counts. */
static int one_secret(struct objects *o, const char *name, const struct object *object)
{
	const struct look *before = o->looks[0];
	struct gathering g = { 0 };
	struct object other;
	json_t *json;
	int rc;

	if (strncmp(name, SEALED_PREFIX, strlen(SEALED_PREFIX)) != 0)
		return R_OK;
	/* One that both have was met in the first. */
	rc = o->second ? store_object(before->view, before->gen.number, name, &other) : R_NOT_FOUND;
	if (rc != R_NOT_FOUND)
		return rc;
	if (!before->reveal)
		return json_array_append_new(o->sealed,
					     json_pack("{s:s, s:I}", "object", name, "bytes_sealed",
						       (json_int_t)object->length_bytes));
	rc = secret_changes(o, name, &g, &json);
	if (rc != R_OK || !json)
		return rc;
	json_object_set_new(json, "object", json_string(name));
	return json_array_append_new(o->list, json);
}

static int one_object(const char *name, const struct object *object, void *arg)
{
	struct objects *o = arg;
	struct gathering g = { 0 };
	struct object other;
	const char *called;
	json_t *json;
	bool task = strncmp(name, "pages-", 6) == 0 && strncmp(name, "pages-shmem-", 12) != 0;
	const struct look *else_where = o->looks[o->second ? 0 : 1];
	int rc;

	/* What is sealed is encrypted anew by each take. */
	if (sealed_is(name))
		return one_secret(o, name, object);
	/* Images are compared by what they tell, tasks by address. */
	if (task || image_kind_by_name(name))
		return R_OK;
	called = look_pairs_other(o->pairs, o->second, name);
	rc = called ? store_object(else_where->view, else_where->gen.number, called, &other)
		    : R_NOT_FOUND;
	if (rc != R_OK && rc != R_NOT_FOUND)
		return rc;
	if (o->second && rc == R_OK)
		return R_OK;
	rc = memory_changes(else_where->view, &g, o->second ? NULL : object,
			    o->second	 ? object
			    : rc == R_OK ? &other
					 : NULL,
			    &json);
	if (rc != R_OK || !json)
		return rc;
	json_object_set_new(json, "object", json_string(name));
	return json_array_append_new(o->list, json) == 0 ? R_OK : R_FAILED;
}

static int compare(const struct look *looks[2], json_t **out)
{
	json_t *added = json_array(), *removed = json_array(), *changed = json_array();
	struct objects o = { { looks[0], looks[1] }, NULL, false, json_array(), json_array() };
	struct look_pairs *pairs = NULL;
	int rc = look_pairs_find(looks[0], looks[1], &pairs);

	o.pairs = pairs;
	if (rc == R_OK)
		rc = only_in(looks[1], looks[0], added);

	if (rc == R_OK)
		rc = only_in(looks[0], looks[1], removed);
	if (rc == R_OK)
		rc = in_both(looks, changed);
	if (rc == R_OK)
		rc = store_object_each(looks[0]->view, looks[0]->gen.number, one_object, &o);
	o.second = true;
	if (rc == R_OK)
		rc = store_object_each(looks[1]->view, looks[1]->gen.number, one_object, &o);
	*out = rc == R_OK
		   ? json_pack("{s:I, s:I, s:O, s:O, s:O, s:O, s:O}", "before",
			       (json_int_t)looks[0]->gen.number, "after",
			       (json_int_t)looks[1]->gen.number, "added", added, "removed", removed,
			       "changed", changed, "objects", o.list, "sealed", o.sealed)
		   : NULL;
	json_decref(added);
	json_decref(removed);
	json_decref(changed);
	json_decref(o.list);
	json_decref(o.sealed);
	look_pairs_free(pairs);
	return rc;
}

static void print_part(json_t *all, const char *key, const char *title)
{
	json_t *part = json_object_get(all, key);

	if (!json_array_size(part))
		return;
	printf("%s\n", title);
	tree_text("", part);
}

static int print(const struct options *options, json_t *all)
{
	if (options->json)
		return output_json(json_incref(all));
	print_part(all, "removed", "processes that are gone");
	print_part(all, "added", "processes that are new");
	print_part(all, "changed", "processes that changed");
	print_part(all, "objects", "shared memory and files");
	print_part(all, "sealed", "secret memory: sealed, not compared (--reveal-secrets)");
	if (!json_array_size(json_object_get(all, "removed")) &&
	    !json_array_size(json_object_get(all, "added")) &&
	    !json_array_size(json_object_get(all, "changed")) &&
	    !json_array_size(json_object_get(all, "objects")))
		printf("nothing differs\n");
	return EXIT_DONE;
}

int cmd_diff(const struct options *options)
{
	struct look *looks[2] = { NULL, NULL };
	struct store_keys *keys = NULL;
	struct store_view *view;
	struct store *store;
	json_t *all = NULL;
	int result, code = EXIT_DONE;
	uint64_t last;

	result = open_to_read(options, &store, &view);
	if (result != R_OK)
		return exit_code_of(result);
	if (options->html) {
		code = diff_html(options, view);
		close_reading(store, view);
		return code;
	}
	last = options->generations[options->generation_count - 1].last;
	result = secrets_reveal(options, store, &keys);
	if (result == R_OK)
		result = open_look(view, options->generations[0].first, options, &looks[0]);
	if (result == R_OK)
		result = open_look(view, last, options, &looks[1]);
	if (result == R_OK) {
		const struct look *both[2] = { looks[0], looks[1] };

		for (int i = 0; i < 2 && options->reveal_secrets; i++)
			look_reveal(looks[i], keys);
		result = compare(both, &all);
	}
	if (result == R_OK)
		code = print(options, all);
	json_decref(all);
	look_close(looks[0]);
	look_close(looks[1]);
	store_keys_close(keys);
	close_reading(store, view);
	return result == R_OK ? code : exit_code_of(result);
}
