#include "cli/commands.h"

#include "base/result.h"
#include "cli/exit_codes.h"
#include "cli/output.h"

#include <stdio.h>

struct pinning {
	const struct options *options;
	struct store *store;
	bool pinned;
};

static int do_pin(void *arg)
{
	const struct pinning *p = arg;

	return store_generation_pin(p->store, options_generation(p->options), p->pinned);
}

static int set_pin(const struct options *options, bool pinned)
{
	uint64_t number = options_generation(options);
	struct pinning p = { options, NULL, pinned };
	int result;

	result = open_to_write(options, false, &p.store);
	if (result != R_OK)
		return exit_code_of(result);
	result = with_wait(options, do_pin, &p);
	store_close(p.store);
	if (result != R_OK)
		return exit_code_of(result);
	if (options->json)
		return output_json(
		    json_pack("{s:I, s:b}", "generation", (json_int_t)number, "pinned", pinned));
	if (!options->quiet)
		printf("generation %llu %s\n", (unsigned long long)number,
		       pinned ? "pinned: no policy forgets it" : "no longer pinned");
	return EXIT_DONE;
}

int cmd_pin(const struct options *options)
{
	return set_pin(options, !options->off);
}

int cmd_unpin(const struct options *options)
{
	return set_pin(options, false);
}
