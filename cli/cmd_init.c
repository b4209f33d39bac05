#include "cli/commands.h"

#include "base/result.h"
#include "base/warn.h"
#include "cli/exit_codes.h"
#include "cli/output.h"
#include "cli/secrets.h"

#include <stdio.h>

/* No key: the first take that needs one makes it. */
static bool wants_key(const struct options *o)
{
	return o->key_file || o->passphrase || o->passphrase_fd || o->passphrase_file;
}

int cmd_init(const struct options *options)
{
	struct key_source source = secrets_source(options, false);
	struct store *store;
	int result = open_to_write(options, true, &store);

	if (result != R_OK)
		return exit_code_of(result);
	if (wants_key(options))
		result = store_keys_init(store, options->key_file ? KEY_IN_FILE : KEY_PASSPHRASE,
					 &source);
	store_close(store);
	if (result != R_OK)
		return exit_code_of(result == R_BUSY ? R_FAILED : result);
	if (options->json)
		return output_json(json_pack("{s:s, s:b}", "store", options->store_dir, "key",
					     wants_key(options)));
	if (!options->quiet)
		printf("%s is a store%s\n", options->store_dir,
		       options->key_file    ? "; keep a copy of its key file elsewhere"
		       : wants_key(options) ? "; without its passphrase its secrets are lost"
					    : "");
	return EXIT_DONE;
}
