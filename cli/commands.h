/* One function for each command, and what several of them share. */
#ifndef SNAP_CLI_COMMANDS_H
#define SNAP_CLI_COMMANDS_H

#include "cli/options.h"
#include "store/store.h"

#include <jansson.h>

struct gc_policy;
struct gc_options;
struct gc_result;

int cmd_init(const struct options *options);
int cmd_run(const struct options *options);
int cmd_take(const struct options *options);
int cmd_untrack(const struct options *options);
int cmd_restore(const struct options *options);
int cmd_ls(const struct options *options);
int cmd_show(const struct options *options);
int cmd_stats(const struct options *options);
int cmd_verify(const struct options *options);
int cmd_forget(const struct options *options);
int cmd_pin(const struct options *options);
int cmd_unpin(const struct options *options);
int cmd_gc(const struct options *options);
int cmd_core(const struct options *options);
int cmd_mem(const struct options *options);
int cmd_inspect(const struct options *options);
int cmd_diff(const struct options *options);
int cmd_search(const struct options *options);
int cmd_config(const struct options *options);
int cmd_check(const struct options *options);
int cmd_key(const struct options *options);
int cmd_image_decode(const struct options *options);
int cmd_image_encode(const struct options *options);
int cmd_image_show(const struct options *options);
int cmd_image_info(const struct options *options);
int cmd_image_x(const struct options *options);
int cmd_image_edit(const struct options *options);

/* The subcommands of image, ended by one without name. */
extern const struct command image_commands[];
int cmd_import(const struct options *options);
int cmd_export(const struct options *options);
int cmd_serve(const struct options *options);
int cmd_ingest(const struct options *options);

/*
 * Does `work` again while it results in R_BUSY and --wait has seconds left.  What it reports in a
 * try that is repeated is not printed.
 */
int with_wait(const struct options *options, int (*work)(void *arg), void *arg);

/* Opens the store to read it, with one view.  R_OK, or a result that has been reported. */
int open_to_read(const struct options *options, struct store **store, struct store_view **view);
/* Closes either or both; NULL is nothing. */
void close_reading(struct store *store, struct store_view *view);

/* Opens the store to change it; `create` makes one where there is none. */
int open_to_write(const struct options *options, bool create, struct store **store);

/* Finds the generation of --gen, or the newest of --name.  R_OK, or R_NOT_FOUND, reported. */
int find_generation(const struct options *options, struct store_view *view, struct generation *gen);

/* The policy the --keep options describe. */
struct gc_policy policy_of(const struct options *options);

/* How a gc is to work, as the options say; without progress. */
struct gc_options gc_options_of(const struct options *options);

/* What a gc did with bytes: into a JSON object (0, or -1 without memory), or as the end of a line.
 */
int json_gc_result(json_t *object, const struct gc_result *result);
void print_gc_bytes(const struct gc_result *result);

/*
 * Forgets by the policy of the --keep options, within `lineage` (NULL: all), and reclaims; for gc
 * and for take --keep-last.  Prints what was done, with `reasons` also what is kept and why; with
 * `json` puts the object to print there instead.  The caller holds no view.  An exit code.
 */
int gc_in_store(const struct options *options, struct store *store, const char *lineage,
		bool reasons, json_t **json);

/*
 * The target of --pid, or of the lineage of the first --name.  R_OK with a living one; R_NOT_FOUND,
 * reported; R_UNSUPPORTED, reported, if snap itself runs below it.
 */
struct target;
int find_target(const struct options *options, struct target *target);

/* True if snap is `ancestor` or runs below it: freezing or ending that tree would be its own end.
 */
bool runs_below(pid_t ancestor);

#endif
