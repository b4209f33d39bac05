#include "base/result.h"
#include "base/warn.h"
#include "cli/index_faults.h"
#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "cli/interrupt.h"
#include "cli/json_memory.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/privileges.h"
#include "cli/worker.h"
#include "engine/engine.h"
#include "store/store.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int exit_code_of(int result)
{
	switch (result) {
	case R_OK:
		return EXIT_DONE;
	case R_NOT_FOUND:
		return EXIT_NOT_FOUND;
	case R_DAMAGED:
		return EXIT_DAMAGED;
	case R_BUSY:
		return EXIT_BUSY;
	case R_UNSUPPORTED:
		return EXIT_UNSUPPORTED;
	default:
		return EXIT_FAILED;
	}
}

/* Without this, a file of the store could be opened as descriptor 1 or 2 and be printed into. */
static bool standard_fds_open(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0)
		return false;
	close(fd);
	return true;
}

int main(int argc, char **argv)
{
	static struct options options; /* static: it holds a long list */
	const struct command *command = NULL;
	int code;

	if (!standard_fds_open())
		return EXIT_FAILED;
	json_memory_watch();
	if (argc == 3 && strcmp(argv[1], ENGINE_KEEPER_WORD) == 0)
		return privileges_reduce(COMMAND_READS) == R_OK &&
			       engine_keep_tracking(argv[2]) == R_OK
			   ? EXIT_DONE
			   : EXIT_FAILED;
	switch (options_parse(argc, argv, &command, &options)) {
	case R_OK:
		break;
	case R_NOT_FOUND:
		return output_finish(EXIT_DONE);
	default:
		return options.no_memory ? EXIT_FAILED : EXIT_USAGE;
	}
	warn_set_level(options.quiet ? WARN_QUIET : options.verbose ? WARN_VERBOSE : WARN_NORMAL);
	if (privileges_reduce(command->kind) != R_OK)
		return EXIT_FAILED;
	interrupt_install(command->kind);
	if (command->kind == COMMAND_ENGINE) {
		code = worker_begin();
		if (code >= 0)
			return code;
	}
	index_faults_install();
	code = command->run(&options);
	interrupt_hold();
	/* What could be read was read, and may be less than there is. */
	if ((code == EXIT_DONE || code == EXIT_FAILED || code == EXIT_NOT_FOUND) &&
	    store_index_damage_seen())
		code = EXIT_DAMAGED;
	if (interrupt_signal() && code == EXIT_FAILED)
		code = EXIT_SIGNAL + interrupt_signal();
	code = output_finish(code < EXIT_OF_TARGET ? code : code - EXIT_OF_TARGET);
	options_free(&options);
	return code;
}
