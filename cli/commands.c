#include "cli/commands.h"

#include "base/result.h"
#include "cli/secrets.h"
#include "engine/exchange/live.h"

#include <stddef.h>
#include <string.h>

static const char *check_run(const struct options *o)
{
	if (!o->name_count)
		return "--name is missing: it is how later commands find the target";
	if (!o->command)
		return "the command to start is missing";
	return NULL;
}

static const char *check_take(const struct options *o)
{
	if (!o->pid && !o->name_count)
		return "either --pid or --name has to say which target";
	if (o->pid && o->name_count == 2)
		return "with --pid there is room for one --name only";
	if (o->kill && o->stop)
		return "--kill and --stop exclude each other";
	if ((o->pre_dump || o->pre_dump_only) && o->capture != CAPTURE_CHOICE_AUTO &&
	    o->capture != CAPTURE_CHOICE_PREDUMP)
		return "--pre-dump and another --capture exclude each other";
	if (o->pre_dump_only && (o->kill || o->stop))
		return "--pre-dump-only leaves the target as it is, without --kill and --stop";
	return secrets_check(o);
}

static const char *check_untrack(const struct options *o)
{
	if (!o->pid && !o->name_count)
		return "either --pid or --name has to say which target";
	return NULL;
}

static const char *check_gen_or_name(const struct options *o)
{
	if (!o->generation_count && !o->name_count)
		return "either --gen or --name has to say which generation";
	if (o->generation_count && !options_generation(o))
		return "one generation at a time";
	return secrets_check(o);
}

static const char *check_inspect(const struct options *o)
{
	if (!o->n_operands)
		return check_gen_or_name(o);
	return o->generation_count || o->name_count || o->reveal_secrets
		   ? "a directory or archive is looked at alone, without --gen, --name and "
		     "--reveal-secrets"
		   : NULL;
}

static const char *check_diff(const struct options *o)
{
	uint64_t numbers = 0;

	if (o->name_count && !o->html)
		return "--name needs --html, which follows a lineage; otherwise --gen names two";
	if (o->name_count)
		return o->generation_count ? "either --name or --gen" : secrets_check(o);
	for (size_t i = 0; i < o->generation_count; i++)
		numbers += o->generations[i].first == o->generations[i].last ? 1 : 2;
	return numbers == 2 ? secrets_check(o)
			    : "--gen has to name two generations, as in --gen 3 --gen 5";
}

static const char *check_mem(const struct options *o)
{
	if (o->raw && !o->range_end)
		return "--raw needs a --range";
	if (o->raw && o->json)
		return "--raw and --json exclude each other";
	if (o->range_end && o->json)
		return "--json is for the table of mappings, without --range";
	return check_gen_or_name(o);
}

static const char *check_search(const struct options *o)
{
	int patterns = !!o->string + !!o->regex + !!o->hex;

	if (patterns != 1)
		return patterns ? "one of --string, --regex and --hex at a time"
				: "--string, --regex or --hex has to say what to look for";
	if (o->hex && o->ignore_case)
		return "--ignore-case makes no sense with --hex";
	if (o->all && (o->generation_count || o->name_count))
		return "--all is every generation: leave --gen and --name out";
	return secrets_check(o);
}

static const char *check_one_gen(const struct options *o)
{
	if (!o->generation_count)
		return "--gen is missing";
	if (!options_generation(o))
		return "one generation at a time";
	return NULL;
}

static const char *check_forget(const struct options *o)
{
	return o->generation_count ? NULL : "--gen is missing";
}

static const char *check_verify(const struct options *o)
{
	if (o->generation_count && !options_generation(o))
		return "one generation at a time, or all of them without --gen";
	if (o->repair && o->generation_count)
		return "--repair is for the whole store, without --gen";
	return NULL;
}

static const char *check_config(const struct options *o)
{
	return o->name_count ? NULL : "--name is missing: it says which lineage";
}

static const char *check_check(const struct options *o)
{
	return o->pid && o->name_count ? "--pid and --name exclude each other" : NULL;
}

static const char *check_init(const struct options *o)
{
	if (o->key_file && (o->passphrase || o->passphrase_fd || o->passphrase_file))
		return "a key is either in a file or made of a passphrase";
	return secrets_check(o);
}

static const char *check_key(const struct options *o)
{
	bool file = o->new_key_file, store = o->new_in_store;
	bool phrase = o->new_passphrase || o->new_passphrase_fd || o->new_passphrase_file;

	if (!o->verb || (strcmp(o->verb, "status") && strcmp(o->verb, "rotate")))
		return "say either key status or key rotate";
	if (strcmp(o->verb, "status") == 0 && (file || phrase || store))
		return "what is new is for key rotate";
	if (file + phrase + store > 1)
		return "the new key is either in a file, or in the store, or made of a passphrase";
	return secrets_check(o);
}

static const char *check_restore(const struct options *o)
{
	return check_gen_or_name(o);
}

static const char *check_import(const struct options *o)
{
	if (!o->n_operands)
		return "which directory or archive is to be imported?";
	return o->name_count ? NULL : "--name has to say under which lineage";
}

static const char *check_export(const struct options *o)
{
	if (o->n_operands && o->archive)
		return "either a directory or --archive";
	if (!o->n_operands && !o->archive)
		return "a directory, or --archive, has to say where to";
	if (o->archive && strcmp(o->archive, "-") == 0 && o->json)
		return "--json has no room beside an archive on standard output";
	return check_gen_or_name(o);
}

static const char *check_ingest(const struct options *o)
{
	if (!o->stream)
		return "--stream has to say which directory criu is to dump to";
	return o->name_count ? NULL : "--name has to say under which lineage";
}

static const char *check_serve(const struct options *o)
{
	struct live_address address;

	if (!o->page_server || !o->images)
		return "--page-server has to say where criu connects, --images where it dumps to";
	if (!o->name_count)
		return "--name has to say under which lineage";
	if (live_address_read(o->page_server, &address) != R_OK)
		return "what --page-server says is no address";
	if (!address.loopback && !o->allow_remote)
		return "--page-server: whoever reaches this address could send a process of his "
		       "own; use 127.0.0.1 or a unix socket, with ssh between machines, or "
		       "--allow-remote";
	return NULL;
}

const struct command commands[] = {
	{ "init", "[--key-file FILE | --passphrase]", "make a store, and say how its secrets open",
	  "Makes the store, unless it is there.  With an option, gives it a key for secrets\n"
	  "(memory of memfd_secret): in FILE, or made of a passphrase.  Without, the first take\n"
	  "that needs a key makes one, in a file of the store's own folder.",
	  COMMAND_WRITES, check_init, cmd_init },
	{ "run", "--name NAME [--output FILE] -- COMMAND [ARGUMENT...]",
	  "start a command as a target, print its pid",
	  "Starts COMMAND in a session of its own, with standard input from /dev/null, standard\n"
	  "output and error to FILE or /dev/null, and no other open file.  Prints its pid.",
	  COMMAND_STARTS, check_run, cmd_run },
	{ "take", "--pid PID [--name NAME] | --name NAME [--name NEW]",
	  "store one generation of a process tree that keeps running",
	  "Stores one generation of the tree below a process, which keeps running, and prints\n"
	  "\"generation N\".  Without --pid the target is the one NAME was started, taken or\n"
	  "restored as; a second --name files the generation under another lineage.\n"
	  "With --keep options, older generations of the lineage are then forgotten as by gc.",
	  COMMAND_ENGINE, check_take, cmd_take },
	{ "untrack", "--pid PID | --name NAME", "stop noting what a target writes",
	  "Ends what take --track=auto began; the next take reads everything again.",
	  COMMAND_ENGINE, check_untrack, cmd_untrack },
	{ "restore", "--gen N | --name NAME", "bring a generation back to life",
	  "Brings generation N, or the newest of NAME, back to life, detached and with the pids "
	  "it\n"
	  "had, and prints the pid of its root.",
	  COMMAND_REBUILDS, check_restore, cmd_restore },
	{ "ls", "[--name NAME]", "list the generations",
	  "Lists all generations, or those of one lineage.  LOGICAL is what one holds, UNIQUE "
	  "what\n"
	  "forgetting it alone would free.",
	  COMMAND_READS, NULL, cmd_ls },
	{ "show", "--gen N | --name NAME", "tell what one generation holds",
	  "Tells what one generation holds: how it was taken, its processes, its objects.",
	  COMMAND_READS, check_gen_or_name, cmd_show },
	{ "stats", "", "tell how full the store is", "Tells how full the store is.", COMMAND_READS,
	  NULL, cmd_stats },
	{ "verify", "[--gen N] [--data | --repair]", "check the store for damage",
	  "Checks that everything the generations refer to is there; with --data also that every\n"
	  "page is what was stored.  Damage is listed, and the exit status is 5.  --repair makes "
	  "a\n"
	  "damaged index anew of the packs, checks every page, and says what is lost; what is\n"
	  "lost and still in a target, the next take of it stores again.",
	  COMMAND_READS, check_verify, cmd_verify },
	{ "gc", "[--keep-last N ...] [--name NAME] [--recompress] [--dry-run]",
	  "forget old generations by policy, give back space",
	  "Forgets generations by the --keep options, for each lineage by itself, and gives back\n"
	  "the space nothing needs any more.  A generation that one rule keeps is kept; pinned\n"
	  "ones always are.  Without --keep options nothing is forgotten.  Packs that are partly\n"
	  "dead are rewritten without it.",
	  COMMAND_WRITES, NULL, cmd_gc },
	{ "forget", "--gen N... [--dry-run]", "forget generations by number, give back space",
	  "Forgets these generations and gives back the space only they needed.  N is a number, a\n"
	  "list or a range, as in 3,5-8; several may follow.",
	  COMMAND_WRITES, check_forget, cmd_forget },
	{ "pin", "--gen N [--off]", "keep a generation whatever the policy says",
	  "Pins a generation: no policy and no forget removes it until the pin is taken off.",
	  COMMAND_WRITES, check_one_gen, cmd_pin },
	{ "unpin", "--gen N", "take a pin off", "Takes the pin off, as pin --off does.",
	  COMMAND_WRITES, check_one_gen, cmd_unpin },
	{ "config", "--name NAME [SETTING=VALUE...]",
	  "say what a lineage is always to be taken with",
	  "Prints the settings of a lineage, or changes them; every take of it then has them as "
	  "if\n"
	  "given as options: with-files=on|off, with-path=DIR (one more; empty: none),\n"
	  "cookie=" COOKIE_WORDS ", stored=on|off.  They stand in STORE/config/NAME.",
	  COMMAND_WRITES, check_config, cmd_config },
	{ "key", "status | rotate [--new-key-file FILE | --new-passphrase | --new-in-store]",
	  "tell about the key of the store's secrets, or change it",
	  "status tells how the store's secrets open, and shows no key.  rotate makes a new key\n"
	  "and a new data key for takes to come; what is stored stays readable.  Without an\n"
	  "option the new key is kept as the old one was.",
	  COMMAND_WRITES, check_key, cmd_key },
	{ "check", "[--pid PID | --name NAME] [--tcp POLICY]",
	  "tell beforehand what a take would refuse",
	  "Tells what this kernel lacks or, with --pid or --name, what in that process tree a "
	  "take\n"
	  "would refuse.  The tree is looked at frozen, for as long as a take would freeze it.",
	  COMMAND_ENGINE, check_check, cmd_check },
	{ "inspect", "--gen N | --name NAME | DIR | ARCHIVE [--pid PID] [--all]",
	  "tell about the processes in a generation",
	  "Tells what each process of a generation was: command line, threads, memory and, as "
	  "asked\n"
	  "for, environment, open files, sockets, mappings, credentials, registers and\n"
	  "stacks; of the generation what the take cost, and what was mounted.  The same of what\n"
	  "criu dump wrote into DIR, and of an archive, also about its container, without a\n"
	  "store.",
	  COMMAND_READS, check_inspect, cmd_inspect, 1 },
	{ "diff", "--gen A --gen B | --name NAME --html FILE",
	  "tell what changed between two generations",
	  "Tells what differs: processes, threads, files, sockets, mappings, registers, "
	  "credentials,\n"
	  "and memory by page, with how many bytes changed.  Pages both have are not read.\n"
	  "With --html, a page that maps which memory changed from one generation to the next.",
	  COMMAND_READS, check_diff, cmd_diff },
	{ "core", "--gen N | --name NAME [--pid PID] [--output FILE]",
	  "write a core file of a process for a debugger",
	  "Writes an ELF core file of one process of a generation, as gdb opens it: threads,\n"
	  "registers, mappings, and the memory the generation holds.  Without --pid of the root.",
	  COMMAND_READS, check_gen_or_name, cmd_core },
	{ "mem", "--gen N | --name NAME [--pid PID] [--range A-B [--raw]]",
	  "show the memory of a process in a generation",
	  "Lists the mappings of one process and how much of each the generation holds; with\n"
	  "--range, the bytes at these addresses.  Without --pid of the root.",
	  COMMAND_READS, check_mem, cmd_mem },
	{ "search",
	  "--string TEXT | --regex PATTERN | --hex DIGITS [--all | --gen N | --name NAME]",
	  "find bytes in the memory and files of generations",
	  "Looks through the memory, files and images of generations: all of them, or those of\n"
	  "--gen (which may be a range) or --name.  Each stored page is read once, in however "
	  "many\n"
	  "generations it stands; each place is told of once, with the generations that have it.",
	  COMMAND_READS, check_search, cmd_search },
	{ .name = "image",
	  .synopsis = "decode|encode|show|info|x|edit ...",
	  .summary = "view and edit images, as crit does",
	  .description = "Views images, CRIU's as well as those of generations, and changes them.",
	  .kind = COMMAND_READS,
	  .subcommands = image_commands },
	{ "import", "DIR|ARCHIVE --name NAME", "make a generation of what criu dump wrote",
	  "Makes one generation of a directory written by criu dump, with the memory its parents\n"
	  "hold, or of a checkpoint archive of a container (tar; gzip, zstd, bzip2 or lz4) with "
	  "all\n"
	  "that is in it, and prints \"generation N\".  Archives are not unpacked.",
	  COMMAND_WRITES, check_import, cmd_import, 1 },
	{ "export", "--gen N | --name NAME DIR | --archive FILE",
	  "write a generation as criu restore reads it",
	  "Writes a generation into the new or empty directory DIR, as criu restore and crit\n"
	  "read it, or as a checkpoint archive of a container.  What was imported comes back as "
	  "it\n"
	  "was.",
	  COMMAND_READS, check_export, cmd_export, 1 },
	{ "serve", "--page-server ADDRESS --images DIR --name NAME",
	  "take in a dump while criu makes it, by its page-server protocol",
	  "Waits for one criu dump or pre-dump --page-server into the empty directory DIR, stores\n"
	  "its pages as they come, adds the images when criu is through, and prints\n"
	  "\"generation N\", or \"pre-dump N\" for the next dump of NAME to build on.  ADDRESS is\n"
	  "PORT (of 127.0.0.1), ADDRESS:PORT or unix:PATH.",
	  COMMAND_LISTENS, check_serve, cmd_serve },
	{ "ingest", "--stream DIR --name NAME",
	  "take in a dump while criu makes it, by its image streamer",
	  "Waits for one criu dump --stream into the directory DIR, stores all its images as they\n"
	  "come, of which none becomes a file, and prints \"generation N\".",
	  COMMAND_LISTENS, check_ingest, cmd_ingest },
	{ 0 },
};
