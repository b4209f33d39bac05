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
	char last[40]; /* the period seen last */
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
	char period[40] = "";
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

static int by_lineage(const void *a, const void *b)
{
	const struct gc_item *const *x = a, *const *y = b;

	return strcmp((*x)->gen.lineage, (*y)->gen.lineage);
}

static int newest_number(const void *a, const void *b)
{
	const struct gc_item *const *x = a, *const *y = b;

	return ((*x)->gen.number < (*y)->gen.number) - ((*x)->gen.number > (*y)->gen.number);
}

/* The clock may have been set back between two generations, or not have moved. */
static int newest_time(const void *a, const void *b)
{
	const struct gc_item *const *x = a, *const *y = b;

	if ((*x)->gen.time_ns != (*y)->gen.time_ns)
		return (*x)->gen.time_ns < (*y)->gen.time_ns ? 1 : -1;
	return newest_number(a, b);
}

/* Decides about the `n` generations of one lineage.  The last ones are those taken last, whatever
 * the clock said; periods are those of the clock. */
static void decide_lineage(struct gc_item **items, size_t n, const struct gc_policy *policy,
			   int64_t now_ns)
{
	struct rule rules[RULES] = {
		/* The offset tells the two hours apart that have one name when summer ends. */
		{ "hourly", "%Y-%m-%d %H:00 %z", policy->keep_hourly, "" },
		{ "daily", "%Y-%m-%d", policy->keep_daily, "" },
		{ "weekly", "%G-W%V", policy->keep_weekly, "" },
		{ "monthly", "%Y-%m", policy->keep_monthly, "" },
		{ "yearly", "%Y", policy->keep_yearly, "" },
	};
	bool any = false;

	qsort(items, n, sizeof(*items), newest_number);
	for (size_t i = 0; i < n; i++) {
		char text[40];

		if (items[i]->gen.pinned)
			keep(items[i], "pinned", "");
		if (i >= policy->keep_last)
			continue;
		snprintf(text, sizeof(text), "%zu of %u", i + 1, policy->keep_last);
		keep(items[i], "last", text);
	}
	qsort(items, n, sizeof(*items), newest_time);
	for (size_t i = 0; i < n; i++) {
		int64_t time_ns = items[i]->gen.time_ns;

		if (policy->keep_within_ns &&
		    (time_ns > now_ns || (uint64_t)(now_ns - time_ns) <= policy->keep_within_ns))
			keep(items[i], "within", "the time to keep");
		for (size_t r = 0; r < RULES; r++)
			apply_rule(&rules[r], items[i]);
		any |= items[i]->kept;
	}
	if (any || policy->allow_empty)
		return;
	qsort(items, n, sizeof(*items), newest_number);
	keep(items[0], "the last of its lineage", "");
}

/* Decides about the lineages the policy is for, one by one. */
static int decide(struct gc_plan *plan, const struct gc_policy *policy, int64_t now_ns)
{
	struct gc_item **items = calloc(plan->n + 1, sizeof(*items));
	size_t n = 0, end;

	if (!items) {
		warn("out of memory");
		return R_FAILED;
	}
	for (size_t i = 0; i < plan->n; i++) {
		if (policy->lineage && strcmp(plan->items[i].gen.lineage, policy->lineage) != 0)
			keep(&plan->items[i], "another lineage", "");
		else
			items[n++] = &plan->items[i];
	}
	qsort(items, n, sizeof(*items), by_lineage);
	for (size_t i = 0; i < n; i = end) {
		for (end = i + 1; end < n && by_lineage(&items[i], &items[end]) == 0;)
			end++;
		decide_lineage(items + i, end - i, policy, now_ns);
	}
	free(items);
	return R_OK;
}

int gc_plan_policy(struct store_view *view, const struct gc_policy *policy, int64_t now_ns,
		   struct gc_plan **plan)
{
	if (new_plan(view, plan) != R_OK)
		return R_FAILED;
	tzset();
	if (!gc_policy_any(policy)) {
		for (size_t i = 0; i < (*plan)->n; i++)
			keep(&(*plan)->items[i], "no rule given", "");
	} else if (decide(*plan, policy, now_ns) != R_OK) {
		gc_plan_free(*plan);
		*plan = NULL;
		return R_FAILED;
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
