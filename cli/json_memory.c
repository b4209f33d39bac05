#include "cli/json_memory.h"

#include <jansson.h>
#include <stdlib.h>

static bool failed;

static void *watched_malloc(size_t bytes)
{
	void *p = malloc(bytes);

	if (!p && bytes)
		failed = true;
	return p;
}

void json_memory_watch(void)
{
	json_set_alloc_funcs(watched_malloc, free);
}

bool json_memory_failed(void)
{
	return failed;
}
