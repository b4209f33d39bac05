/* The subcommands of snap image. */
#include "cli/commands.h"

#include <stddef.h>
#include <string.h>

static const char *check_source(const struct options *o)
{
	if (o->generation_count && !options_generation(o))
		return "one generation at a time";
	if (o->list)
		return !o->generation_count ? "--list is for a generation, with --gen"
		       : o->n_operands > 0  ? "--list names all images"
					    : NULL;
	if (o->generation_count && o->input)
		return "--gen and --in exclude each other";
	if (o->generation_count && !o->n_operands)
		return "the image of the generation is missing; --list names those there are";
	if (o->input && o->n_operands)
		return "a file is given twice";
	return NULL;
}

static const char *check_file(const struct options *o)
{
	if (!o->generation_count && !o->n_operands)
		return "the file is missing";
	return check_source(o);
}

static const char *check_explore(const struct options *o)
{
	static const char *const all[] = { "ps", "fds", "fd", "mems", "mem", "rss", "sk" };
	const char *what = o->n_operands ? o->operands[o->n_operands - 1] : "";

	if (o->generation_count && !options_generation(o))
		return "one generation at a time";
	if (o->n_operands != (o->generation_count ? 1 : 2))
		return "either a folder or --gen, and behind it what to show, are needed";
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (strcmp(what, all[i]) == 0)
			return NULL;
	return "what to show is one of ps, fds, mems, rss, sk";
}

static const char *check_edit(const struct options *o)
{
	if (!o->generation_count)
		return "--gen is missing";
	if (!options_generation(o))
		return "one generation at a time";
	return o->n_operands ? NULL : "the image of the generation is missing";
}

const struct command image_commands[] = {
	{ .name = "image decode",
	  .synopsis = "[-i FILE | --gen N (IMAGE | --list)] [-o FILE] [--pretty] [--as NAME]",
	  .summary = "print an image as JSON",
	  .description = "Prints an image, which CRIU or snap has written, as JSON, in the form of "
			 "crit.  A FILE of - is standard input.",
	  .kind = COMMAND_READS,
	  .check = check_source,
	  .run = cmd_image_decode,
	  .operands = 1 },
	{ .name = "image encode",
	  .synopsis = "[-i FILE] [-o FILE]",
	  .summary = "make an image of JSON",
	  .description = "Makes the image of JSON that decode, show or crit has printed.  What was "
			 "not changed\nbecomes the very bytes it was.",
	  .kind = COMMAND_READS,
	  .check = check_source,
	  .run = cmd_image_encode,
	  .operands = 1 },
	{ .name = "image show",
	  .synopsis = "(FILE | - | --gen N (IMAGE | --list)) [--nopl] [--as NAME]",
	  .summary = "print an image as JSON to be read by people",
	  .description = "Prints an image as decode --pretty does.  A FILE of - is standard input.",
	  .kind = COMMAND_READS,
	  .check = check_file,
	  .run = cmd_image_show,
	  .operands = 1 },
	{ .name = "image info",
	  .synopsis = "FILE [--as NAME] | --gen N (IMAGE | --list)",
	  .summary = "tell the kind of an image and how many entries it has",
	  .description =
	      "Tells the kind of an image and how many entries it has.  A FILE of - is standard\n"
	      "input.",
	  .kind = COMMAND_READS,
	  .check = check_file,
	  .run = cmd_image_info,
	  .operands = 1 },
	{ .name = "image x",
	  .synopsis = "(DIR | --gen N) ps|fds|mems|rss|sk",
	  .summary = "show processes, files, mappings, pages or sockets of a folder of images",
	  .description = "Shows what the images of a folder or a generation tell together: "
			 "processes (ps), open\nfiles (fds), mappings (mems), mappings with the "
			 "pages they have (rss), sockets (sk).",
	  .kind = COMMAND_READS,
	  .check = check_explore,
	  .run = cmd_image_x,
	  .operands = 2 },
	{ .name = "image edit",
	  .synopsis = "--gen N IMAGE [-i FILE] [--name NEW]",
	  .summary = "make a generation of another one with an image changed",
	  .description = "Opens the JSON of an image in $EDITOR, or takes that of FILE, and makes "
			 "of it a new\ngeneration that shares all else with generation N, which "
			 "stays as it is.",
	  .kind = COMMAND_WRITES,
	  .check = check_edit,
	  .run = cmd_image_edit,
	  .operands = 1 },
	{ 0 },
};
