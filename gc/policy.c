#include "base/result.h"
#include "base/warn.h"
#include "gc/gc_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NS_PER_S 1000000000

/* The calendar rules: how many periods, and what names a period (strftime, local time). */
struct rule {
	const char *name, *format;
	unsigned int left;
	char last[32]; /* the period seen last */
};
#define RULES 5

bool gc_policy_any(const struct gc_policy *policy)
{
	return policy->keep_last || policy->keep_hourly || policy->keep_daily ||
	       policy->keep_weekly || policy->keep_monthly || policy->keep_yearly ||
	       policy->keep_within_ns;
}

static int add_item(const struct generation *gen, void *arg)
{
	struct gc_plan *plan = arg;

	/* Grown by doubling: room is the next power of two. */
	if ((plan->n & (plan->n - 1)) == 0) {
		size_t room = plan->n ? plan->n * 2 : 1;
		struct gc_item *more = realloc(plan->items, room * sizeof(*more));

		if (!more) {
			warn("out of memory");
			return R_FAILED;
		}
		plan->items = more;
	}
	plan->items[plan->n++] = (struct gc_item){ .gen = *gen };
	return R_OK;
}

static int new_plan(struct store_view *view, struct gc_plan **plan)
{
	struct gc_plan *new = calloc(1, sizeof(*new));

	if (!new) {
		warn("out of memory");
		return R_FAILED;
	}
	if (store_generation_each(view, add_item, new) != R_OK) {
		gc_plan_free(new);
		return R_FAILED;
	}
	*plan = new;
	return R_OK;
}

void gc_plan_free(struct gc_plan *plan)
{
	if (!plan)
		return;
	free(plan->items);
	free(plan);
}

static void keep(struct gc_item *item, const char *reason, const char *detail_text)
{
	size_t used = strlen(item->reason);

	item->kept = true;
	snprintf(item->reason + used, sizeof(item->reason) - used, "%s%s%s%s", used ? ", " : "",
		 reason, *detail_text ? " " : "", detail_text);
}

/* Keeps the newest of a period that no newer generation of the lineage fell into. */
static void apply_rule(struct rule *rule, struct gc_item *item)
{
	time_t seconds = (time_t)(item->gen.time_ns / NS_PER_S);
	char period[32] = "";
	struct tm tm;

	if (rule->left == 0 || !localtime_r(&seconds, &tm))
		return;
	strftime(period, sizeof(period), rule->format, &tm);
	if (strcmp(period, rule->last) == 0)
		return;
	strcpy(rule->last, period);
	rule->left--;
	keep(item, rule->name, period);
}

/* Decides about the generations of one lineage, newest first. */
static void decide_lineage(struct gc_plan *plan, const struct gc_policy *policy, int64_t now_ns,
			   const char *lineage)
{
	struct rule rules[RULES] = {
		{ "hourly", "%Y-%m-%d %H:00", policy->keep_hourly, "" },
		{ "daily", "%Y-%m-%d", policy->keep_daily, "" },
		{ "weekly", "%G-W%V", policy->keep_weekly, "" },
		{ "monthly", "%Y-%m", policy->keep_monthly, "" },
		{ "yearly", "%Y", policy->keep_yearly, "" },
	};
	struct gc_item *newest = NULL;
	unsigned int place = 0;
	bool any = false;

	for (size_t i = plan->n; i-- > 0;) {
		struct gc_item *item = &plan->items[i];
		char text[40];

		if (strcmp(item->gen.lineage, lineage) != 0)
			continue;
		if (!newest)
			newest = item;
		if (item->gen.pinned)
			keep(item, "pinned", "");
		if (place++ < policy->keep_last) {
			snprintf(text, sizeof(text), "%u of %u", place, policy->keep_last);
			keep(item, "last", text);
		}
		if (policy->keep_within_ns &&
		    (item->gen.time_ns > now_ns ||
		     (uint64_t)(now_ns - item->gen.time_ns) <= policy->keep_within_ns))
			keep(item, "within", "the time to keep");
		for (size_t r = 0; r < RULES; r++)
			apply_rule(&rules[r], item);
		any |= item->kept;
	}
	if (newest && !any && !policy->allow_empty)
		keep(newest, "the last of its lineage", "");
}

int gc_plan_policy(struct store_view *view, const struct gc_policy *policy, int64_t now_ns,
		   struct gc_plan **plan)
{
	if (new_plan(view, plan) != R_OK)
		return R_FAILED;
	tzset();
	for (size_t i = 0; i < (*plan)->n; i++) {
		struct gc_item *item = &(*plan)->items[i];
		bool first = true;

		if (!gc_policy_any(policy)) {
			keep(item, "no rule given", "");
			continue;
		}
		if (policy->lineage && strcmp(item->gen.lineage, policy->lineage) != 0) {
			keep(item, "another lineage", "");
			continue;
		}
		for (size_t before = 0; before < i && first; before++)
			first = strcmp((*plan)->items[before].gen.lineage, item->gen.lineage) != 0;
		if (first)
			decide_lineage(*plan, policy, now_ns, item->gen.lineage);
	}
	for (size_t i = 0; i < (*plan)->n; i++)
		if (!(*plan)->items[i].kept)
			strcpy((*plan)->items[i].reason, "no rule keeps it");
	return R_OK;
}

static struct gc_item *find_item(struct gc_plan *plan, uint64_t number)
{
	for (size_t i = 0; i < plan->n; i++)
		if (plan->items[i].gen.number == number)
			return &plan->items[i];
	return NULL;
}

static bool lineage_left(const struct gc_plan *plan, const char *lineage)
{
	for (size_t i = 0; i < plan->n; i++)
		if (plan->items[i].kept && strcmp(plan->items[i].gen.lineage, lineage) == 0)
			return true;
	return false;
}

static int name_forgotten(struct gc_plan *plan, const uint64_t *numbers, size_t n, bool allow_empty)
{
	for (size_t i = 0; i < plan->n; i++)
		keep(&plan->items[i], "not named", "");
	for (size_t i = 0; i < n; i++) {
		struct gc_item *item = find_item(plan, numbers[i]);

		if (!item) {
			warn("no generation %" PRIu64 ": see snap ls", numbers[i]);
			return R_NOT_FOUND;
		}
		if (item->gen.pinned) {
			warn("generation %" PRIu64 " is pinned: remove the pin first", numbers[i]);
			return R_BUSY;
		}
		item->kept = false;
		strcpy(item->reason, "named");
	}
	for (size_t i = 0; i < plan->n && !allow_empty; i++) {
		const struct generation *gen = &plan->items[i].gen;

		if (plan->items[i].kept || lineage_left(plan, gen->lineage))
			continue;
		warn("generation %" PRIu64 " is the last of %s: give --allow-empty if that is "
		     "meant",
		     gen->number, gen->lineage);
		return R_BUSY;
	}
	return R_OK;
}

int gc_plan_forget(struct store_view *view, const uint64_t *numbers, size_t n, bool allow_empty,
		   struct gc_plan **plan)
{
	int result;

	if (new_plan(view, plan) != R_OK)
		return R_FAILED;
	result = name_forgotten(*plan, numbers, n, allow_empty);
	if (result != R_OK) {
		gc_plan_free(*plan);
		*plan = NULL;
	}
	return result;
}
