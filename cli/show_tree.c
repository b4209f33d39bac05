#include "cli/show_tree.h"

#include "base/result.h"
#include "base/warn.h"
#include "engine/image/image.h"

#include <stdio.h>
#include <stdlib.h>

static int load(struct store_view *view, const struct generation *gen, const char *name,
		void **data, size_t *len)
{
	struct object object;
	int result;

	result = store_object(view, gen->number, name, &object);
	if (result == R_OK)
		return store_read_object(view, &object, data, len);
	if (result == R_NOT_FOUND) {
		warn("generation %llu has no image %s", (unsigned long long)gen->number, name);
		return R_DAMAGED;
	}
	return result;
}

const char *tree_state_word(uint32_t state)
{
	switch (state) {
	case TASK_STATE_ALIVE:
		return "alive";
	case TASK_STATE_ZOMBIE:
		return "zombie";
	case TASK_STATE_STOPPED:
		return "stopped";
	default:
		return "unknown";
	}
}

/* Adds name and state from the process's core image. */
static int add_core(struct store_view *view, const struct generation *gen, uint32_t pid,
		    json_t *process)
{
	ProtobufCMessage *message;
	CoreEntry *core;
	char name[32];
	void *data;
	size_t len;
	int result;

	snprintf(name, sizeof(name), "core-%u", pid);
	result = load(view, gen, name, &data, &len);
	if (result != R_OK)
		return result;
	result = image_read_one(IMAGE_CORE, name, data, len, &message);
	free(data);
	if (result != R_OK)
		return result;
	core = (CoreEntry *)message;
	if (core->tc) {
		/* A command name may be any bytes. */
		json_t *comm = json_string(core->tc->comm);

		json_object_set_new(process, "name", comm ? comm : json_string("?"));
		json_object_set_new(process, "state",
				    json_string(tree_state_word(core->tc->task_state)));
	}
	image_free_message(message);
	return R_OK;
}

static int add_process(struct store_view *view, const struct generation *gen,
		       const PstreeEntry *entry, json_t *tree)
{
	json_t *threads = json_array(), *process;
	size_t i;

	for (i = 0; i < entry->n_threads; i++)
		json_array_append_new(threads, json_integer(entry->threads[i]));
	process = json_pack("{s:I, s:I, s:I, s:I, s:o}", "pid", (json_int_t)entry->pid, "ppid",
			    (json_int_t)entry->ppid, "pgid", (json_int_t)entry->pgid, "sid",
			    (json_int_t)entry->sid, "threads", threads);
	if (!process || json_array_append_new(tree, process) < 0) {
		warn("out of memory");
		return R_FAILED;
	}
	return add_core(view, gen, entry->pid, process);
}

int tree_json(struct store_view *view, const struct generation *gen, json_t **tree)
{
	struct image_reader reader;
	ProtobufCMessage *message;
	void *data;
	size_t len;
	int result;

	result = load(view, gen, "pstree", &data, &len);
	if (result != R_OK)
		return result;
	*tree = json_array();
	result = image_open(&reader, IMAGE_PSTREE, "pstree", data, len);
	while (result == R_OK) {
		result = image_next(&reader, &message);
		if (result != R_OK)
			break;
		result = add_process(view, gen, (const PstreeEntry *)message, *tree);
		image_free_message(message);
	}
	free(data);
	if (result == R_NOT_FOUND)
		return R_OK;
	json_decref(*tree);
	*tree = NULL;
	return result;
}

static json_int_t number(json_t *process, const char *key)
{
	return json_integer_value(json_object_get(process, key));
}

static int depth_of(json_t *tree, json_t *process)
{
	json_int_t parent = number(process, "ppid");
	size_t i;
	json_t *other;
	int depth = 0;

	while (parent && depth < 40) {
		json_int_t found = -1;

		json_array_foreach(tree, i, other) if (number(other, "pid") == parent) found =
		    number(other, "ppid");
		if (found < 0)
			break;
		parent = found;
		depth++;
	}
	return depth;
}

/* Prints a process and everything below it. */
static void print_below(json_t *tree, json_t *process, int depth)
{
	const char *name = json_string_value(json_object_get(process, "name"));
	const char *state = json_string_value(json_object_get(process, "state"));
	size_t threads = json_array_size(json_object_get(process, "threads")), i;
	json_t *child;

	printf("  %*s%lld %s", 2 * depth, "", (long long)number(process, "pid"), name ? name : "?");
	if (threads > 1)
		printf(", %zu threads", threads);
	if (state && state[0] != 'a')
		printf(", %s", state);
	printf("\n");
	json_array_foreach(tree, i, child) if (child != process &&
					       number(child, "ppid") == number(process, "pid"))
	    print_below(tree, child, depth + 1);
}

void tree_print(json_t *tree)
{
	json_t *process;
	size_t i;

	printf("processes\n");
	json_array_foreach(tree, i, process) if (depth_of(tree, process) == 0)
	    print_below(tree, process, 0);
}
