#include "cli/outside.h"

#include "base/result.h"
#include "base/warn.h"
#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "cli/output.h"
#include "cli/worker.h"
#include "engine/exchange/exchange.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define OPEN_MAX_FOR_REMOVAL 16
#define LINEAGE "outside" /* seen by nobody */

static int make_folder(char folder[PATH_MAX])
{
	const char *room = getenv("TMPDIR");
	int len =
	    snprintf(folder, PATH_MAX, "%s/snap-inspect.XXXXXX", room && *room ? room : "/tmp");

	if (len < PATH_MAX && mkdtemp(folder))
		return R_OK;
	warn_errno("cannot make the folder %s; set TMPDIR to one that can be written to", folder);
	return R_FAILED;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	(void)at;
	if (remove(path) == 0)
		return 0;
	if (kind != FTW_DP || errno != ENOTEMPTY)
		warn_errno("%s is left behind", path);
	return 0;
}

static int import(const char *path, const char *store_dir, const struct progress *progress)
{
	const struct import_options options = { LINEAGE, progress };
	struct import_result imported;
	struct store *store;
	int result = store_open(store_dir, true, true, &store);

	if (result != R_OK)
		return result;
	result = exchange_import_path(store, path, &options, &imported);
	store_close(store);
	return result;
}

static int in_folder(const struct options *options, const char *path, const char *folder,
		     int (*command)(const struct options *options))
{
	struct options of_copy = *options;
	char store_dir[PATH_MAX + sizeof("/store")];
	int result;

	snprintf(store_dir, sizeof(store_dir), "%s/store", folder);
	result = import(path, store_dir, bar_begin(options));
	bar_end();
	if (result != R_OK)
		return exit_code_of(result);
	of_copy.store_dir = store_dir;
	of_copy.generations[0] = (struct generation_range){ 1, 1 };
	of_copy.generation_count = 1;
	return command(&of_copy);
}

int outside_run(const struct options *options, const char *path,
		int (*command)(const struct options *options))
{
	char folder[PATH_MAX];
	int code;

	if (access(path, F_OK) != 0) {
		warn_errno("%s", path);
		return EXIT_NOT_FOUND;
	}
	if (make_folder(folder) != R_OK)
		return EXIT_FAILED;
	code = worker_begin();
	if (code < 0)
		return in_folder(options, path, folder, command);
	nftw(folder, remove_one, OPEN_MAX_FOR_REMOVAL, FTW_DEPTH | FTW_PHYS);
	return code;
}
