#include "engine/proc/phases.h"

#include <string.h>
#include <time.h>

/* Only told, never relied on: so what every part of a take sets need not be handed through all. */
static struct phase_times spent;
static enum phase current;
static uint64_t since_ns;

static const char *const names[PHASE_COUNT] = {
	"none",	 "stop",     "files", "ranges", "scan",	  "proc",    "site",
	"calls", "tracking", "clone", "memory", "images", "release",
};

enum phase phase_enter(enum phase phase)
{
	enum phase before = current;
	struct timespec ts;
	uint64_t now;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	if (before != PHASE_NONE)
		spent.ns[before] += now - since_ns;
	since_ns = now;
	current = phase;
	return before;
}

void phase_collect(struct phase_times *times)
{
	phase_enter(PHASE_NONE);
	*times = spent;
	memset(&spent, 0, sizeof(spent));
}

const char *phase_name(enum phase phase)
{
	return names[phase];
}
