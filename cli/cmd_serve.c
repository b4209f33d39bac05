#include "cli/commands.h"

#include "base/result.h"
#include "cli/exit_codes.h"
#include "cli/live.h"
#include "cli/output.h"

int cmd_serve(const struct options *options)
{
	struct live_options live = live_options_of(options, options->images);
	struct live_address address;
	struct live_result served;
	struct store *store;
	int result;

	if (live_address_read(options->page_server, &address) != R_OK)
		return EXIT_USAGE;
	result = open_to_write(options, true, &store);
	if (result != R_OK)
		return exit_code_of(result);
	live.progress = bar_begin(options);
	result = live_page_server(store, &address, &live, &served);
	bar_end();
	store_close(store);
	return result == R_OK ? live_report(options, &served) : exit_code_of(result);
}
