/* Stacks of the threads of a process in JSON. */
#include "cli/describe.h"

#include <stdio.h>
#include <string.h>

#include "base/result.h"
#include "engine/look/stacks.h"

static json_t *thread_of(json_t *threads, uint32_t tid)
{
	json_t *one;
	size_t i;

	json_array_foreach(threads, i, one)
	{
		if (json_integer_value(json_object_get(one, "tid")) == (json_int_t)tid)
			return one;
	}
	return NULL;
}

static void set_hex(json_t *json, const char *key, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "0x%llx", (unsigned long long)value);
	json_object_set_new(json, key, json_string(text));
}

static void set_text(json_t *json, const char *key, const char *text)
{
	json_object_set_new(json, key, describe_text(text, strlen(text)));
}

static int add_frame(const struct look_frame *frame, void *threads)
{
	json_t *thread = thread_of(threads, frame->tid), *stack = json_object_get(thread, "stack");
	json_t *json = json_object();

	if (!stack) {
		stack = json_array();
		json_object_set_new(thread, "stack", stack);
	}
	json_object_set_new(json, "frame", json_integer(frame->number));
	set_hex(json, "address", frame->address);
	if (frame->function) {
		set_text(json, "function", frame->function);
		set_hex(json, "offset", frame->offset);
	}
	if (frame->module) {
		set_text(json, "module", frame->module);
		set_hex(json, "module_address", frame->address - frame->bias);
	}
	if (frame->source) {
		set_text(json, "source", frame->source);
		json_object_set_new(json, "line", json_integer(frame->line));
	}
	json_array_append_new(stack, json);
	return R_OK;
}

static void add_end(const struct look_stack_end *end, void *threads)
{
	if (end->why)
		set_text(thread_of(threads, end->tid), "stack_ends", end->why);
}

int describe_stacks(const struct look *look, const struct look_task *task, json_t *threads)
{
	const struct look_stack_calls calls = { add_frame, add_end, threads };

	/* A dead one has none, which its state tells already. */
	return look_has_stacks(task) ? look_stacks(look, task, &calls) : R_OK;
}
