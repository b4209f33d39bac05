#include "cli/commands.h"

#include "base/result.h"
#include "base/warn.h"
#include "cli/exit_codes.h"
#include "cli/output.h"
#include "cli/target.h"
#include "engine/engine.h"

int cmd_untrack(const struct options *options)
{
	struct target target;
	int result = find_target(options, &target);

	if (result != R_OK)
		return exit_code_of(result);
	result = engine_untrack(target.pid);
	if (result != R_OK && result != R_NOT_FOUND)
		return exit_code_of(result);
	if (options->json)
		return output_json(
		    json_pack("{s:i, s:b}", "pid", (int)target.pid, "was_tracked", result == R_OK));
	if (result == R_NOT_FOUND)
		note("process %d was not tracked", target.pid);
	return EXIT_DONE;
}
