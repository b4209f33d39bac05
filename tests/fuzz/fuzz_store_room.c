#include "fuzz_store_room.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/result.h"

#define KEPT_MAX 200u /* generations in one store */

static char folder[] = "/dev/shm/snap-fuzz.XXXXXX";
static struct store *store;
static unsigned long kept;

static void remove_store(void)
{
	char command[80];

	if (store)
		store_close(store);
	store = NULL;
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	if (system(command) != 0)
		fprintf(stderr, "%s is left behind\n", folder);
}

struct store *fuzz_store(void)
{
	static bool before;

	if (store && kept < KEPT_MAX)
		return store;
	if (before)
		remove_store();
	else
		atexit(remove_store);
	before = true;
	kept = 0;
	memcpy(folder + strlen(folder) - 6, "XXXXXX", 6);
	if (!mkdtemp(folder) || store_open(folder, true, true, &store) != R_OK)
		abort();
	return store;
}

void fuzz_store_grown(void)
{
	kept++;
}
