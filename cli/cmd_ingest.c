#include "cli/commands.h"

#include "base/result.h"
#include "cli/exit_codes.h"
#include "cli/live.h"
#include "cli/output.h"

int cmd_ingest(const struct options *options)
{
	struct live_options live = live_options_of(options, options->stream);
	struct live_result taken;
	struct store *store;
	int result = open_to_write(options, true, &store);

	if (result != R_OK)
		return exit_code_of(result);
	live.progress = bar_begin(options);
	result = live_stream(store, &live, &taken);
	bar_end();
	store_close(store);
	return result == R_OK ? live_report(options, &taken) : exit_code_of(result);
}
