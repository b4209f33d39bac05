#include "engine/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "dedup/dedup.h"
#include "engine/proc/dump.h"
#include "engine/proc/fds/fds.h"

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx" */
static int read_boot_id(uint8_t id[16])
{
	char *text;
	size_t len, digits = 0;

	if (io_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 256, &text, &len) != R_OK) {
		warn_errno("cannot read /proc/sys/kernel/random/boot_id");
		return R_FAILED;
	}
	memset(id, 0, 16);
	for (size_t i = 0; i < len && digits < 32; i++) {
		char c = text[i];
		int value = c >= '0' && c <= '9'   ? c - '0'
			    : c >= 'a' && c <= 'f' ? c - 'a' + 10
						   : -1;

		if (value < 0)
			continue;
		id[digits / 2] |= (uint8_t)(digits % 2 ? value : value << 4);
		digits++;
	}
	free(text);
	if (digits == 32)
		return R_OK;
	warn("/proc/sys/kernel/random/boot_id is not a boot id");
	return R_FAILED;
}

static int describe_tree(const struct tree *tree, const struct take_options *opts,
			 struct take_result *result)
{
	struct generation *gen = &result->gen;

	result->pids = calloc(tree->task_count, sizeof(*result->pids));
	if (!result->pids) {
		warn("no memory for a list of %zu tasks", tree->task_count);
		return R_FAILED;
	}
	for (size_t i = 0; i < tree->task_count; i++)
		result->pids[i] = tree->tasks[i].pid;
	result->n_pids = tree->task_count;
	snprintf(gen->lineage, sizeof(gen->lineage), "%s", opts->lineage);
	gen->root_pid = (uint32_t)opts->pid;
	gen->root_start = tree->tasks[0].start_time;
	gen->tasks = (uint32_t)tree->task_count;
	return read_boot_id(gen->boot_id);
}

/* Everything that is done while the tree stands still. */
static int copy_tree(struct ingest *ingest, const struct tree *tree,
		     const struct take_options *opts, struct take_result *result,
		     struct fds_hold **hold)
{
	struct dump_ctx ctx;
	int rc;

	rc = dump_begin(&ctx, tree, ingest, opts->ghost_max_bytes);
	ctx.progress = opts->progress;
	if (rc == R_OK)
		fds_take_set_tcp(ctx.fds, opts->tcp, opts->kill);
	if (rc == R_OK)
		rc = describe_tree(tree, opts, result);
	if (rc == R_OK)
		rc = dump_collect(&ctx);
	if (rc == R_OK)
		rc = dump_store(&ctx);
	*hold = rc == R_OK ? fds_take_hold(ctx.fds) : NULL;
	dump_end(&ctx);
	return rc;
}

/*
 * A tree that shall not run on is held until the generation is safe; any other runs on before the
 * commit, whose waiting for the disk is no concern of its.
 */
static int commit_held(struct ingest **ingest, struct tree *tree, const struct take_options *opts,
		       struct take_result *result, uint64_t start_ns, struct fds_hold *hold)
{
	int rc;

	result->gen.frozen_ns = clock_ns(CLOCK_MONOTONIC) - tree->first_stop_ns;
	result->gen.wall_ns = clock_ns(CLOCK_MONOTONIC) - start_ns;
	rc = ingest_commit(*ingest, &result->gen);
	if (rc != R_OK) {
		fds_hold_end(hold, false);
		tree_release(tree);
		return rc;
	}
	*ingest = NULL;
	if (opts->kill) {
		rc = tree_kill(tree);
		fds_hold_end(hold, true);
		return rc;
	}
	rc = tree_stop(tree);
	if (tree_release(tree) != R_OK)
		rc = R_FAILED;
	return rc;
}

static int commit_running(struct ingest **ingest, struct tree *tree, struct take_result *result,
			  uint64_t start_ns)
{
	int rc = tree_release(tree);

	if (rc != R_OK)
		return rc;
	result->gen.frozen_ns = tree->frozen_ns;
	result->gen.wall_ns = clock_ns(CLOCK_MONOTONIC) - start_ns;
	rc = ingest_commit(*ingest, &result->gen);
	if (rc == R_OK)
		*ingest = NULL;
	return rc;
}

int engine_take(struct store *store, const struct take_options *opts, struct take_result *result)
{
	uint64_t start_ns = clock_ns(CLOCK_MONOTONIC);
	struct ingest *ingest;
	struct fds_hold *hold;
	struct tree tree;
	int rc;

	memset(result, 0, sizeof(*result));
	rc = dump_check_root(opts->pid);
	if (rc != R_OK)
		goto err0;
	rc = ingest_begin(store, opts->lineage, &ingest);
	if (rc != R_OK)
		goto err0;
	rc = tree_freeze(opts->pid, &tree);
	if (rc != R_OK)
		goto err1;
	result->freezing_ns = clock_ns(CLOCK_MONOTONIC) - tree.first_stop_ns;
	result->gen.time_ns = (int64_t)clock_ns(CLOCK_REALTIME);
	rc = copy_tree(ingest, &tree, opts, result, &hold);
	if (rc != R_OK) {
		tree_release(&tree);
		goto err1;
	}
	if (opts->kill || opts->stop)
		rc = commit_held(&ingest, &tree, opts, result, start_ns, hold);
	else
		rc = commit_running(&ingest, &tree, result, start_ns);
	if (rc == R_OK) {
		/* What the record holds could not include its own commit. */
		result->gen.wall_ns = clock_ns(CLOCK_MONOTONIC) - start_ns;
		return R_OK;
	}
err1:
	if (ingest)
		ingest_abort(ingest);
err0:
	take_result_free(result);
	return rc;
}

void take_result_free(struct take_result *result)
{
	free(result->pids);
	result->pids = NULL;
	result->n_pids = 0;
}
