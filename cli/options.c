#include "cli/options.h"

#include "base/result.h"
#include "base/warn.h"
#include "cli/option_values.h"
#include "store/store.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum value_kind {
	VALUE_FLAG,
	VALUE_COUNT,
	VALUE_DURATION,
	VALUE_TEXT,
	VALUE_PID,
	VALUE_NAME,
	VALUE_GENERATIONS,
	VALUE_TCP,
	VALUE_CAPTURE,
	VALUE_PERCENT,
	VALUE_BYTES,
	VALUE_TRACK,
	VALUE_RANGE,
	VALUE_WORD,
	VALUE_PATHS,
};

struct option_row {
	const char *name;
	char letter;
	enum value_kind kind;
	size_t offset;	      /* in struct options, of the kinds that store one plain value */
	const char *argument; /* as shown by --help */
	const char *commands; /* those that have it; NULL: every one */
	const char *help;
};

#define AT(member) offsetof(struct options, member)

static const struct option_row rows[] = {
	{ "pid", 'p', VALUE_PID, 0, "PID", "take check untrack core mem inspect",
	  "root of the process tree" },
	{ "name", 'n', VALUE_NAME, 0, "NAME",
	  "run take restore ls show gc check untrack core mem search config inspect diff",
	  "lineage: the named history of one target" },
	{ "gen", 'g', VALUE_GENERATIONS, 0, "N",
	  "restore show verify forget pin unpin core mem search inspect diff",
	  "generation; also a list or range, as in 3,5-8, where several make sense" },
	{ "output", 'o', VALUE_TEXT, AT(output), "FILE", "run",
	  "append standard output and error to FILE (default: /dev/null)" },
	{ "output", 'o', VALUE_TEXT, AT(output), "FILE", "core",
	  "write to the new file FILE (default: core.PID)" },
	{ "file-contents", 0, VALUE_FLAG, AT(file_contents), NULL, "core",
	  "also what is only in mapped files, where it was stored" },
	{ "all", 'a', VALUE_FLAG, AT(all), NULL, "inspect", "tell everything" },
	{ "all", 'a', VALUE_FLAG, AT(all), NULL, "search", "every generation (the default)" },
	{ "environment", 'e', VALUE_FLAG, AT(environment), NULL, "inspect",
	  "environment variables" },
	{ "files", 'f', VALUE_FLAG, AT(open_files), NULL, "inspect",
	  "open files, sockets among them" },
	{ "sockets", 0, VALUE_FLAG, AT(sockets), NULL, "inspect", "sockets only" },
	{ "mounts", 0, VALUE_FLAG, AT(mounts), NULL, "inspect",
	  "mounts, of a generation that has images of them" },
	{ "mappings", 'm', VALUE_FLAG, AT(mappings), NULL, "inspect",
	  "the memory map, and what is in each mapping" },
	{ "credentials", 'c', VALUE_FLAG, AT(credentials), NULL, "inspect",
	  "user, groups, capabilities" },
	{ "registers", 0, VALUE_FLAG, AT(registers), NULL, "inspect", "registers of each thread" },
	{ "stacks", 0, VALUE_FLAG, AT(stacks), NULL, "inspect",
	  "the stack of each thread, with names of functions" },
	{ "html", 0, VALUE_TEXT, AT(html), "FILE", "diff",
	  "write a page for a browser to the new file FILE" },
	{ "string", 'S', VALUE_TEXT, AT(string), "TEXT", "search", "look for these bytes" },
	{ "regex", 'E', VALUE_TEXT, AT(regex), "PATTERN", "search",
	  "look for a regular expression of Perl's kind" },
	{ "hex", 'X', VALUE_TEXT, AT(hex), "DIGITS", "search",
	  "look for bytes such as \"de ad ?? ef\", ?? being any" },
	{ "ignore-case", 'i', VALUE_FLAG, AT(ignore_case), NULL, "search",
	  "letters match in either case" },
	{ "limit", 0, VALUE_COUNT, AT(limit), "N", "search",
	  "tell of at most N places (default: 1000)" },
	{ "range", 0, VALUE_RANGE, 0, "A-B", "mem",
	  "addresses, as in 7f00400000-7f00401000 or A+4096" },
	{ "raw", 0, VALUE_FLAG, AT(raw), NULL, "mem", "the bytes themselves, not a dump of them" },
	{ "reveal-secrets", 0, VALUE_FLAG, AT(reveal_secrets), NULL,
	  "inspect diff core mem search export",
	  "show what is in secret memory, too; needs the store's key" },
	{ "kill", 'k', VALUE_FLAG, AT(kill), NULL, "take",
	  "end the target once its generation is safely stored" },
	{ "stop", 0, VALUE_FLAG, AT(stop), NULL, "take",
	  "leave the target stopped (as by SIGSTOP) afterwards" },
	{ "tcp", 0, VALUE_TCP, 0, "close|keep|refuse", "take check",
	  "established connections: come back closed (default), kept, or refuse" },
	{ "capture", 0, VALUE_CAPTURE, 0, "auto|copy|predump|clone", "take",
	  "copy memory while frozen, read most of it ahead, or read a clone" },
	{ "pre-dump", 0, VALUE_FLAG, AT(pre_dump), NULL, "take", "the same as --capture=predump" },
	{ "pre-dump-only", 0, VALUE_FLAG, AT(pre_dump_only), NULL, "take",
	  "only read ahead, for the next take; no generation" },
	{ "compare", 0, VALUE_FLAG, AT(compare), NULL, "take",
	  "compare bytes where hashes are equal; heals damaged pages of the target" },
	{ "track", 0, VALUE_TRACK, 0, "auto|wp|soft-dirty|none", "take",
	  "note writes, so that the next take reads only those (default: auto)" },
	{ "verify-tracking", 0, VALUE_FLAG, AT(verify_tracking), NULL, "take",
	  "read what is known to be unchanged too, and compare it" },
	{ "ghost-limit", 0, VALUE_BYTES, AT(ghost_limit_bytes), "BYTES", "take",
	  "refuse deleted files of more than that, such as 64M (default: none)" },
	{ "cookie", 0, VALUE_WORD, AT(cookie), COOKIE_WORDS, "take",
	  "what is noted about files for a restore to compare (default: build-id)" },
	{ "no-stored", 0, VALUE_FLAG, AT(no_stored), NULL, "take",
	  "do not store the executables and libraries that are mapped" },
	{ "with-files", 0, VALUE_FLAG, AT(with_files), NULL, "take restore",
	  "store the files open for writing; put back what was stored" },
	{ "with-path", 0, VALUE_PATHS, 0, "DIR", "take",
	  "store this folder, too; may be repeated" },
	{ "files", 0, VALUE_WORD, AT(files), "strict|stored|ignore", "restore",
	  "where they differ: refuse (default), use stored ones, or what is there" },
	{ "replace", 'r', VALUE_FLAG, AT(replace), NULL, "restore",
	  "end the living target of the same lineage first" },
	{ "foreground", 0, VALUE_FLAG, AT(foreground), NULL, "restore",
	  "stay until the root ends, pass signals on to it, end with its status" },
	{ "keep-last", 0, VALUE_COUNT, AT(keep_last), "N", "take gc", "keep the newest N" },
	{ "keep-hourly", 0, VALUE_COUNT, AT(keep_hourly), "N", "take gc",
	  "keep the newest of each of the last N hours that have one" },
	{ "keep-daily", 0, VALUE_COUNT, AT(keep_daily), "N", "take gc", "likewise for days" },
	{ "keep-weekly", 0, VALUE_COUNT, AT(keep_weekly), "N", "take gc", "likewise for weeks" },
	{ "keep-monthly", 0, VALUE_COUNT, AT(keep_monthly), "N", "take gc", "likewise for months" },
	{ "keep-yearly", 0, VALUE_COUNT, AT(keep_yearly), "N", "take gc", "likewise for years" },
	{ "keep-within", 0, VALUE_DURATION, AT(keep_within_seconds), "TIME", "take gc",
	  "keep all younger than TIME, such as 90m, 12h, 30d, 2w" },
	{ "allow-empty", 0, VALUE_FLAG, AT(allow_empty), NULL, "gc forget",
	  "even forget the last generation of a lineage" },
	{ "max-unused", 0, VALUE_PERCENT, 0, "PERCENT", "take gc",
	  "compact packs of which more is dead (default: 10; 100: none)" },
	{ "max-rewrite", 0, VALUE_BYTES, AT(max_rewrite_bytes), "BYTES", "take gc",
	  "copy at most that much at once, such as 500M or 2G (default: all of it)" },
	{ "recompress", 0, VALUE_FLAG, AT(recompress), NULL, "gc",
	  "also compress better what a take has compressed for speed" },
	{ "dry-run", 0, VALUE_FLAG, AT(dry_run), NULL, "gc forget",
	  "say what would be done, change nothing" },
	{ "data", 0, VALUE_FLAG, AT(data), NULL, "verify",
	  "read and check every stored page, not only the structure" },
	{ "repair", 0, VALUE_FLAG, AT(repair), NULL, "verify",
	  "make a damaged index anew, and say what is given up" },
	{ "off", 0, VALUE_FLAG, AT(off), NULL, "pin", "remove the pin" },
	{ "key-file", 0, VALUE_TEXT, AT(key_file), "FILE",
	  "take restore init key inspect diff core mem search export",
	  "key of the store's secrets; else $SNAP_KEY_FILE, or as the store says" },
	{ "passphrase", 0, VALUE_FLAG, AT(passphrase), NULL, "init",
	  "open the store's secrets with a passphrase, asked for at the terminal" },
	{ "passphrase-file", 0, VALUE_TEXT, AT(passphrase_file), "FILE",
	  "take restore init key inspect diff core mem search export",
	  "the passphrase is the first line of FILE; else $SNAP_PASSPHRASE_FILE" },
	{ "passphrase-fd", 0, VALUE_TEXT, AT(passphrase_fd), "N",
	  "take restore init key inspect diff core mem search export",
	  "the passphrase is the next line of the open descriptor N" },
	{ "new-key-file", 0, VALUE_TEXT, AT(new_key_file), "FILE", "key",
	  "rotate: from now on the key is in FILE, which is made if it is not there" },
	{ "new-passphrase", 0, VALUE_FLAG, AT(new_passphrase), NULL, "key",
	  "rotate: from now on it is made of a passphrase asked for" },
	{ "new-passphrase-file", 0, VALUE_TEXT, AT(new_passphrase_file), "FILE", "key",
	  "rotate: likewise, of the first line of FILE" },
	{ "new-passphrase-fd", 0, VALUE_TEXT, AT(new_passphrase_fd), "N", "key",
	  "rotate: likewise, of the next line of the open descriptor N" },
	{ "new-in-store", 0, VALUE_FLAG, AT(new_in_store), NULL, "key",
	  "rotate: from now on the key is in a file of the store's own folder" },
	{ "gen", 'g', VALUE_GENERATIONS, 0, "N",
	  "image.decode image.show image.info image.x image.edit",
	  "read the images of generation N instead of files" },
	{ "name", 'n', VALUE_NAME, 0, "NEW", "image.edit",
	  "file the new generation under the lineage NEW (default: that of N)" },
	{ "in", 'i', VALUE_TEXT, AT(input), "FILE", "image.decode image.encode image.edit",
	  "read FILE (default: standard input; of edit: what $EDITOR leaves)" },
	{ "out", 'o', VALUE_TEXT, AT(output), "FILE", "image.decode image.encode",
	  "write FILE (default: standard output)" },
	{ "pretty", 0, VALUE_FLAG, AT(pretty), NULL, "image.decode",
	  "in lines, with addresses, flags and devices as such" },
	{ "nopl", 0, VALUE_FLAG, AT(no_payload), NULL, "image.show",
	  "of contents behind entries show the size only" },
	{ "as", 0, VALUE_TEXT, AT(called), "NAME", "image.decode image.show image.info",
	  "what the file is called, as in pages-1.img: raw ones have no other mark" },
	{ "list", 'l', VALUE_FLAG, AT(list), NULL, "image.decode image.show image.info",
	  "list the images of generation N" },
	{ "name", 'n', VALUE_NAME, 0, "NAME", "import export serve ingest",
	  "lineage: the named history of one target" },
	{ "gen", 'g', VALUE_GENERATIONS, 0, "N", "export", "the generation to write" },
	{ "page-server", 0, VALUE_TEXT, AT(page_server), "ADDRESS", "serve",
	  "where criu is to connect to" },
	{ "stream", 0, VALUE_TEXT, AT(stream), "DIR", "ingest",
	  "the directory criu dumps into (its --images-dir)" },
	{ "images", 'D', VALUE_TEXT, AT(images), "DIR", "serve",
	  "the directory criu dumps into (its --images-dir)" },
	{ "work-dir", 0, VALUE_TEXT, AT(work_dir), "DIR", "serve ingest",
	  "criu's --work-dir, if it has one: stats-dump comes there" },
	{ "timeout", 0, VALUE_DURATION, AT(timeout_seconds), "TIME", "serve ingest",
	  "give up when nothing comes for so long (default: 5m, images 30s)" },
	{ "allow-remote", 0, VALUE_FLAG, AT(allow_remote), NULL, "serve",
	  "ADDRESS may be one that other machines reach" },
	{ "archive", 0, VALUE_TEXT, AT(archive), "FILE", "export",
	  "write a checkpoint archive, the new file FILE, or to standard output (-)" },
	{ "store", 's', VALUE_TEXT, AT(store_dir), "DIR", NULL,
	  "the store; else $SNAP_STORE, /var/lib/snap, $XDG_DATA_HOME/snap" },
	{ "wait", 'w', VALUE_DURATION, AT(wait_seconds), "SECONDS", NULL,
	  "wait this long for a lock or a pid that is taken (default: 0)" },
	{ "json", 'j', VALUE_FLAG, AT(json), NULL, NULL, "print the result as JSON" },
	{ "quiet", 'q', VALUE_FLAG, AT(quiet), NULL, NULL, "print errors only" },
	{ "verbose", 'v', VALUE_FLAG, AT(verbose), NULL, NULL, "print details" },
	{ "no-progress", 0, VALUE_FLAG, AT(no_progress), NULL, NULL,
	  "no progress bar (there is none without a terminal)" },
	{ "help", 'h', VALUE_FLAG, AT(help), NULL, NULL, "print this help" },
	{ "version", 'V', VALUE_FLAG, AT(version), NULL, NULL, "print the version" },
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

/* getopt_long gives back LONG_BASE + the row, for short and long forms alike. */
#define LONG_BASE 256

/* True if the word at the front of `list` is the command, in which " " stands for ".", or, for a
 * command with subcommands, one of these. */
static bool names_command(const char *list, const struct command *command)
{
	const char *name = command->name;

	for (; *name; name++, list++)
		if (*list != *name && !(*list == '.' && *name == ' '))
			return false;
	return *list == ' ' || *list == '\0' || (*list == '.' && command->subcommands);
}

static bool row_applies(const struct option_row *row, const struct command *command)
{
	const char *at;

	if (!row->commands)
		return true;
	if (!command)
		return false;
	for (at = row->commands; at; at = strchr(at, ' '), at = at ? at + 1 : NULL)
		if (names_command(at, command))
			return true;
	return false;
}

static const struct command *find_command(const struct command *list, const char *name)
{
	for (const struct command *c = list; c->name; c++) {
		const char *last = strrchr(c->name, ' ');

		if (!strcmp(last ? last + 1 : c->name, name))
			return c;
	}
	return NULL;
}

static void print_rows(const struct command *command, bool global)
{
	size_t i;

	for (i = 0; i < ROWS; i++) {
		const struct option_row *row = &rows[i];
		char left[64], letter[8] = "    ";

		if (global != !row->commands || !row_applies(row, command))
			continue;
		if (row->letter)
			snprintf(letter, sizeof(letter), "-%c, ", row->letter);
		snprintf(left, sizeof(left), "%s--%s%s%s", letter, row->name,
			 row->argument ? " " : "", row->argument ? row->argument : "");
		if (strlen(left) > 24)
			printf("  %s\n  %-24s  %s\n", left, "", row->help);
		else
			printf("  %-24s  %s\n", left, row->help);
	}
}

static bool has_own_rows(const struct command *command)
{
	size_t i;

	for (i = 0; i < ROWS; i++)
		if (rows[i].commands && row_applies(&rows[i], command))
			return true;
	return false;
}

static void print_help(const struct command *command)
{
	const struct command *c;

	if (command) {
		printf("usage: snap %s %s\n\n%s\n", command->name, command->synopsis,
		       command->description);
		for (c = command->subcommands; c && c->name; c++)
			printf("\n  snap %s %s\n      %s\n", c->name, c->synopsis, c->summary);
		if (has_own_rows(command)) {
			printf("\noptions:\n");
			print_rows(command, false);
		}
	} else {
		printf(
		    "usage: snap COMMAND [OPTION...]\n\n"
		    "Snapshots of running processes: take them often, keep them small, go back to "
		    "any.\n\ncommands:\n");
		for (c = commands; c->name; c++)
			printf("  %-10s%s\n", c->name, c->summary);
	}
	printf("\noptions of every command:\n");
	print_rows(command, true);
	if (!command)
		printf(
		    "\nsnap COMMAND --help tells more about each.\n"
		    "exit status: 0 done, 1 failed and nothing changed, 2 usage, 3 no such store,\n"
		    "generation or target, 4 refused: something unsupported, 5 damage found,\n"
		    "6 a lock or pid is taken, 130 or 143 interrupted\n");
}

static int set_name(struct options *o, const struct command *command, const char *value)
{
	size_t max = !strcmp(command->name, "take") ? 2 : 1;

	if (!lineage_name_valid(value)) {
		warn(
		    "\"%s\" is no name for a lineage: use 1 to %d letters, digits, \".\", \"_\" or "
		    "\"-\", the first a letter or digit",
		    value, LINEAGE_NAME_MAX - 1);
		return R_FAILED;
	}
	if (o->name_count == max) {
		warn("--name was given more than %s", max == 1 ? "once" : "twice");
		return R_FAILED;
	}
	o->names[o->name_count++] = value;
	return R_OK;
}

static int add_path(struct options *o, const char *value)
{
	if (!*value || o->with_path_count == WITH_PATHS_MAX) {
		warn(*value ? "--with-path: more than %d folders" : "--with-path: an empty path",
		     WITH_PATHS_MAX);
		return R_FAILED;
	}
	o->with_paths[o->with_path_count++] = value;
	return R_OK;
}

static int set_value(struct options *o, const struct command *command, const struct option_row *row,
		     const char *value)
{
	void *place = (char *)o + row->offset;

	switch (row->kind) {
	case VALUE_FLAG:
		*(bool *)place = true;
		return R_OK;
	case VALUE_COUNT:
		return value_count(row->name, value, place);
	case VALUE_DURATION:
		return value_duration(row->name, value, place);
	case VALUE_TEXT:
		if (!*value) {
			warn("--%s: an empty value makes no sense", row->name);
			return R_FAILED;
		}
		*(const char **)place = value;
		return R_OK;
	case VALUE_PID:
		return value_pid(value, &o->pid);
	case VALUE_NAME:
		return set_name(o, command, value);
	case VALUE_GENERATIONS:
		return value_generations(value, o);
	case VALUE_TCP:
		return value_tcp(value, &o->tcp);
	case VALUE_CAPTURE:
		return value_capture(value, &o->capture);
	case VALUE_PERCENT:
		o->max_unused_given = true;
		return value_percent(row->name, value, &o->max_unused_percent);
	case VALUE_BYTES:
		return value_bytes(row->name, value, place);
	case VALUE_TRACK:
		return value_track(value, &o->track);
	case VALUE_RANGE:
		return value_range(row->name, value, &o->range_start, &o->range_end);
	case VALUE_WORD:
		return value_word(row->name, row->argument, value, place);
	case VALUE_PATHS:
		return add_path(o, value);
	}
	return R_FAILED;
}

/* Reads options up to the first operand (`in_order`), or all, moving the operands behind them. */
static int read_options(int argc, char **argv, const struct command *command, bool in_order,
			struct options *o)
{
	struct option longs[ROWS + 1] = { 0 };
	char letters[3 * ROWS + 2] = "";
	size_t i, n = 0, used = 0;
	int got;

	if (in_order)
		letters[used++] = '+';
	for (i = 0; i < ROWS; i++) {
		if (!row_applies(&rows[i], command))
			continue;
		longs[n++] = (struct option){ rows[i].name,
					      rows[i].argument ? required_argument : no_argument,
					      NULL, LONG_BASE + (int)i };
		if (rows[i].letter) {
			letters[used++] = rows[i].letter;
			if (rows[i].argument)
				letters[used++] = ':';
		}
	}
	optind = 0; /* glibc: begin anew */
	while ((got = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		size_t row = (size_t)got - LONG_BASE;

		if (got == '?')
			return R_FAILED;
		if (got < LONG_BASE)
			for (row = 0; rows[row].letter != got || !row_applies(&rows[row], command);)
				row++;
		if (set_value(o, command, &rows[row], optarg) != R_OK)
			return R_FAILED;
	}
	return R_OK;
}

/* What is left behind the options: a command line for run, generations for some, else nothing. */
static int read_operands(const struct command *command, int argc, char **argv, struct options *o)
{
	int i;

	if (!strcmp(command->name, "run")) {
		o->command = argc > 0 ? argv : NULL;
		return R_OK;
	}
	if (!strcmp(command->name, "config")) {
		o->operands = argv;
		o->n_operands = (size_t)argc;
		return R_OK;
	}
	if (!strcmp(command->name, "key") && argc == 1) {
		o->verb = argv[0];
		return R_OK;
	}
	if (command->operands && (size_t)argc <= command->operands) {
		o->operands = argv;
		o->n_operands = (size_t)argc;
		return R_OK;
	}
	for (i = 0; i < argc; i++) {
		if (command->operands) {
			warn("%s: \"%s\" is one operand too many", command->name,
			     argv[command->operands]);
			return R_FAILED;
		}
		if (!strstr(command->synopsis, "N...")) {
			warn("%s: what is \"%s\"?  generations are given by --gen, targets by "
			     "--name or --pid",
			     command->name, argv[i]);
			return R_FAILED;
		}
		if (value_generations(argv[i], o) != R_OK)
			return R_FAILED;
	}
	return R_OK;
}

static int resolve_store(struct options *o)
{
	const char *env;
	char *dir = NULL;

	if (o->store_dir) {
		dir = strdup(o->store_dir);
	} else if ((env = getenv("SNAP_STORE")) && *env) {
		dir = strdup(env);
	} else if (geteuid() == 0) {
		dir = strdup("/var/lib/snap");
	} else if ((env = getenv("XDG_DATA_HOME")) && *env == '/') {
		if (asprintf(&dir, "%s/snap", env) < 0)
			dir = NULL;
	} else if ((env = getenv("HOME")) && *env == '/') {
		if (asprintf(&dir, "%s/.local/share/snap", env) < 0)
			dir = NULL;
	} else {
		o->store_dir = NULL;
		warn("neither --store, $SNAP_STORE, $XDG_DATA_HOME nor $HOME says where the store "
		     "is");
		return R_FAILED;
	}
	o->store_dir = dir;
	o->no_memory = !dir;
	if (!dir)
		warn("out of memory");
	return dir ? R_OK : R_FAILED;
}

static int usage_error(const struct command *command, struct options *o)
{
	if (command)
		fprintf(stderr, "try: snap %s --help\n", command->name);
	else
		fprintf(stderr, "try: snap --help\n");
	o->store_dir = NULL;
	return R_FAILED;
}

int options_parse(int argc, char **argv, const struct command **found, struct options *o)
{
	const struct command *command = NULL;
	static char called[64];
	const char *wrong = NULL;

	memset(o, 0, sizeof(*o));
	argv[0] = strcpy(called, "snap"); /* getopt_long's complaints begin with it */
	if (read_options(argc, argv, NULL, true, o) != R_OK)
		return usage_error(NULL, o);
	argc -= optind;
	argv += optind;
	if (argc > 0 && !(command = find_command(commands, argv[0]))) {
		warn("there is no command \"%s\"", argv[0]);
		return usage_error(NULL, o);
	}
	if (command && command->subcommands && argc > 1 && *argv[1] != '-') {
		const struct command *sub = find_command(command->subcommands, argv[1]);

		if (!sub) {
			warn("%s: there is no subcommand \"%s\"", command->name, argv[1]);
			return usage_error(command, o);
		}
		command = sub;
		argc--;
		argv++;
	}
	if (command) {
		bool in_order = !strcmp(command->name, "run");

		snprintf(called, sizeof(called), "snap %s", command->name);
		argv[0] = called;
		if (read_options(argc, argv, command, in_order, o) != R_OK)
			return usage_error(command, o);
	}
	if (o->version || o->help) {
		o->store_dir = NULL;
		if (o->version)
			printf("snap %s\n", SNAP_VERSION);
		else
			print_help(command);
		return R_NOT_FOUND;
	}
	if (!command) {
		warn("a command is missing");
		return usage_error(NULL, o);
	}
	if (command->subcommands) {
		warn("%s: a subcommand is missing", command->name);
		return usage_error(command, o);
	}
	if (read_operands(command, argc - optind, argv + optind, o) != R_OK)
		return usage_error(command, o);
	if (o->quiet && o->verbose)
		wrong = "--quiet and --verbose exclude each other";
	else if (command->check)
		wrong = command->check(o);
	if (wrong) {
		warn("%s: %s", command->name, wrong);
		return usage_error(command, o);
	}
	*found = command;
	return resolve_store(o);
}

void options_free(struct options *o)
{
	free(o->store_dir);
	o->store_dir = NULL;
}

uint64_t options_generation(const struct options *o)
{
	if (o->generation_count != 1 || o->generations[0].first != o->generations[0].last)
		return 0;
	return o->generations[0].first;
}

bool options_have_policy(const struct options *o)
{
	return o->keep_last || o->keep_hourly || o->keep_daily || o->keep_weekly ||
	       o->keep_monthly || o->keep_yearly || o->keep_within_seconds;
}
