/* The command line: one table of commands, one of options; --help is printed from them too. */
#ifndef SNAP_CLI_OPTIONS_H
#define SNAP_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What a command may do to the store, and so which privileges it keeps (docs/privileges.md). */
enum command_kind {
	COMMAND_READS,	 /* reads the store; holds no capability at all */
	COMMAND_WRITES,	 /* changes the store; holds no capability at all */
	COMMAND_STARTS,	 /* starts a program, which gets what snap was given */
	COMMAND_LISTENS, /* as COMMAND_WRITES, and undoes what it began when it is interrupted */
	COMMAND_ENGINE,	 /* looks into processes */
	COMMAND_REBUILDS /* makes processes, which may need any capability they had */
};

/* --tcp; 0 if it was not given. */
enum tcp_choice { TCP_CHOICE_CLOSE = 1, TCP_CHOICE_KEEP, TCP_CHOICE_REFUSE };

/* --capture */
enum capture_choice {
	CAPTURE_CHOICE_AUTO,
	CAPTURE_CHOICE_COPY,
	CAPTURE_CHOICE_PREDUMP,
	CAPTURE_CHOICE_CLONE
};

/* --track */
enum track_choice {
	TRACK_CHOICE_AUTO,
	TRACK_CHOICE_NONE,
	TRACK_CHOICE_WP,
	TRACK_CHOICE_SOFT_DIRTY
};

/* An ascending range of generations, both ends included. */
struct generation_range {
	uint64_t first, last;
};
#define GENERATION_RANGES_MAX 1024

/* --cookie, and the setting of that name */
#define COOKIE_WORDS "stat|build-id|sampled|full"
#define WITH_PATHS_MAX 16

/* Everything the options of one command line say. */
struct options {
	/* of every command */
	char *store_dir; /* resolved; absolute or as given */
	bool json, quiet, verbose, no_progress;
	uint64_t wait_seconds;
	bool help, version;
	bool no_memory; /* why options_parse() failed, when the command line makes sense */
	/* which target, which generations */
	int64_t pid; /* 0: not given */
	const char *names[2];
	size_t name_count;
	struct generation_range generations[GENERATION_RANGES_MAX];
	size_t generation_count;
	/* config */
	char **operands;
	size_t n_operands;
	/* run */
	const char *output;
	const char *html; /* diff */
	char **command;	  /* NULL-terminated */
	/* take, restore */
	bool kill, stop, compare, replace, foreground;
	unsigned tcp;	  /* enum tcp_choice */
	unsigned capture; /* enum capture_choice */
	unsigned track;	  /* enum track_choice */
	bool verify_tracking;
	bool pre_dump, pre_dump_only;
	uint64_t ghost_limit_bytes; /* 0: none */
	unsigned cookie;	    /* --cookie: from 1 in the order of the help; 0: not given */
	bool no_stored, with_files;
	const char *with_paths[WITH_PATHS_MAX];
	size_t with_path_count;
	unsigned files; /* --files, likewise */
	/* gc; those not given are 0 */
	uint64_t keep_last, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_yearly;
	uint64_t keep_within_seconds;
	bool dry_run, allow_empty, recompress;
	uint64_t max_unused_percent, max_rewrite_bytes;
	bool max_unused_given;
	/* inspect: what is told */
	bool file_contents; /* core: also of mapped files */
	bool all, environment, open_files, sockets, mappings, mounts, credentials, registers,
	    stacks;
	/* search: one of the first three */
	const char *string, *regex, *hex;
	bool ignore_case;
	uint64_t limit; /* 0: not given */
	/* mem: addresses; end 0: not given */
	uint64_t range_start, range_end;
	bool raw;
	/* what looks into generations */
	bool reveal_secrets;
	/* serve, ingest */
	const char *page_server, *stream, *images, *work_dir;
	bool allow_remote;
	uint64_t timeout_seconds; /* 0: not given */
	/* init, key, and what needs secrets */
	const char *key_file, *passphrase_fd, *passphrase_file;
	const char *new_key_file, *new_passphrase_fd, *new_passphrase_file;
	bool passphrase, new_passphrase, new_in_store;
	const char *verb; /* of key */
	/* verify, pin */
	bool data, off, repair;
	/* image: files to read and (as `output`) to write, and how */
	const char *input;
	bool pretty, no_payload, list;
	const char *called; /* --as */
	/* export */
	const char *archive;
};

struct command {
	const char *name;
	const char *synopsis;	 /* what follows the name */
	const char *summary;	 /* one line */
	const char *description; /* what --help says between synopsis and options */
	enum command_kind kind;
	/* Checks what the table cannot; NULL or an option's complaint to print.  May be NULL. */
	const char *(*check)(const struct options *options);
	int (*run)(const struct options *options); /* an exit code */
	size_t operands;			   /* at most so many; 0: none, or generations */
	/* NULL, or its subcommands, each named "COMMAND SUBCOMMAND"; it has no run() then.  In the
	 * table of options they are "COMMAND.SUBCOMMAND". */
	const struct command *subcommands;
};

/* All commands, ended by one without name. */
extern const struct command commands[];

/*
 * Reads a command line.  R_OK with the command and its options; R_NOT_FOUND if help or the version
 * was asked for and has been printed; R_FAILED if it makes no sense, which has been said.
 */
int options_parse(int argc, char **argv, const struct command **command, struct options *options);
void options_free(struct options *options);

/* The single generation asked for, or 0. */
uint64_t options_generation(const struct options *options);

/* True if one of the --keep options was given. */
bool options_have_policy(const struct options *options);

/* A name of a lineage: 1 to 63 of A-Z a-z 0-9 . _ - and not beginning with a dot or a dash. */
bool lineage_name_valid(const char *name);

#endif
