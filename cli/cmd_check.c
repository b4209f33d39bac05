#include "cli/commands.h"

#include "base/result.h"
#include "base/warn.h"
#include "cli/exit_codes.h"
#include "cli/output.h"
#include "cli/target.h"
#include "engine/engine.h"

#include <stdio.h>

struct checking {
	pid_t pid;
	json_t *findings; /* NULL: printed as text */
	bool failed;
};

static void on_finding(const struct check_finding *finding, void *arg)
{
	struct checking *c = arg;
	json_t *object;

	if (!c->findings) {
		printf("%s\n", finding->text);
		return;
	}
	object = json_pack("{s:i, s:s}", "pid", (int)finding->pid, "text", finding->text);
	if (!object || json_array_append_new(c->findings, object) < 0)
		c->failed = true;
}

static const char *tracking_word(const struct track_check *tracking)
{
	return !tracking->works ? "impossible" : tracking->generation ? "noted" : "possible";
}

static void print_tracking(const struct checking *c)
{
	struct track_check tracking;

	engine_check_tracking(c->pid, &tracking);
	if (!tracking.works)
		printf("tracking: not possible here (%s): every take reads everything\n",
		       tracking.reason);
	else if (tracking.generation)
		printf("tracking: what it writes is noted since %s %llu of %s\n",
		       tracking.predump ? "pre-dump" : "generation",
		       (unsigned long long)tracking.generation, tracking.lineage);
	else if (c->pid)
		printf("tracking: what it writes is not noted yet; the next take reads "
		       "everything\n");
	else
		printf("tracking: what targets write between takes can be noted\n");
}

static json_t *json_of_check(struct checking *c, bool good)
{
	struct track_check tracking;
	json_t *object;

	if (c->failed)
		return NULL;
	engine_check_tracking(c->pid, &tracking);
	object = json_pack("{s:i, s:b, s:O, s:s}", "pid", (int)c->pid, "supported", good,
			   "findings", c->findings, "tracking", tracking_word(&tracking));
	if (object && *tracking.reason)
		json_object_set_new(object, "tracking_reason", json_string(tracking.reason));
	if (object && tracking.generation) {
		json_object_set_new(object, "tracking_since",
				    json_integer((json_int_t)tracking.generation));
		json_object_set_new(object, "tracking_predump", json_boolean(tracking.predump));
	}
	return object;
}

static int print_verdict(const struct options *options, struct checking *c, bool good)
{
	if (options->json)
		return output_json(json_of_check(c, good));
	if (options->quiet)
		return EXIT_DONE;
	if (c->pid && good)
		printf("nothing stands in the way of a take of process %d\n", c->pid);
	else if (c->pid)
		printf("process %d cannot be taken while this is so\n", c->pid);
	else if (good)
		printf("this kernel has all that snap needs\n");
	else
		printf("this kernel lacks what is named above\n");
	print_tracking(c);
	return EXIT_DONE;
}

int cmd_check(const struct options *options)
{
	static const enum tcp_policy policies[] = { TCP_CLOSE, TCP_CLOSE, TCP_KEEP, TCP_REFUSE };
	struct checking c = { 0 };
	struct target target;
	int result, code;

	if (options->pid || options->name_count) {
		result = find_target(options, &target);
		if (result != R_OK)
			return exit_code_of(result);
		c.pid = target.pid;
	}
	if (options->json)
		c.findings = json_array();
	result = engine_check(c.pid, policies[options->tcp], on_finding, &c);
	code = exit_code_of(result);
	if ((result == R_OK || result == R_UNSUPPORTED) &&
	    print_verdict(options, &c, result == R_OK) != EXIT_DONE && code == EXIT_DONE)
		code = EXIT_FAILED;
	json_decref(c.findings);
	return code;
}
