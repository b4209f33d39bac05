/* The living target of a lineage: is that process the one, and its end to make room. */
#include "engine/rebuild/rebuild.h"

#include <string.h>

#include "base/boot_id.h"
#include "base/warn.h"
#include "engine/engine.h"
#include "engine/proc/files/restore.h"
#include "engine/proc/freeze.h"
#include "engine/proc/stat.h"

struct identity {
	struct rebuild *r;
	uint64_t start;
	uint8_t boot[BOOT_ID_BYTES];
};

/* Any generation of the lineage can be the proof: each names the process it was taken of. */
static int same_target(const struct generation *gen, void *arg)
{
	const struct identity *living = arg;

	if (strcmp(gen->lineage, living->r->gen.lineage) != 0 ||
	    (pid_t)gen->root_pid != living->r->root->pid || gen->root_start != living->start ||
	    memcmp(gen->boot_id, living->boot, sizeof(gen->boot_id)) != 0)
		return 0;
	return 1;
}

/* True if the caller knows the living target and it still is that one. */
static bool known_living(const struct restore_options *opts)
{
	struct proc_stat stat;

	return opts->living_pid && proc_stat_read(opts->living_pid, 0, &stat) == R_OK &&
	       stat.start_time == opts->living_start;
}

int living_prove(struct rebuild *r, const struct restore_options *opts)
{
	struct identity identity = { .r = r };
	struct proc_stat stat;
	int rc;

	if (known_living(opts)) {
		r->living = opts->living_pid;
		r->living_start = opts->living_start;
		return R_OK;
	}
	rc = proc_stat_read(r->root->pid, 0, &stat);
	if (rc)
		return rc == R_NOT_FOUND ? R_OK : rc;
	rc = boot_id_read(identity.boot);
	if (rc)
		return rc;
	identity.start = stat.start_time;
	rc = store_generation_each(r->view, same_target, &identity);
	if (rc == 1) {
		r->living = r->root->pid;
		r->living_start = identity.start;
		return R_OK;
	}
	if (rc)
		return rc;
	warn("pid %d is in use by a process (%s) that is not known to be the target of lineage "
	     "%s; end it yourself if it is",
	     stat.pid, stat.comm, r->gen.lineage);
	return R_BUSY;
}

/* Holds the living target still.  Its number may have become somebody else's since it was proven to
 * be the target; of who is held, nobody can take the number over.  R_OK, R_NOT_FOUND, R_BUSY. */
static int hold_living(const struct rebuild *r, struct tree *tree)
{
	int rc = tree_freeze(r->living, tree);

	if (rc || tree->tasks[0].start_time == r->living_start)
		return rc;
	warn("process %d, which was to be replaced, has ended meanwhile, and its pid is in use by "
	     "another process (%s), which is left alone; restore again",
	     r->living, tree->tasks[0].comm);
	return tree_release(tree) == R_OK ? R_BUSY : R_FAILED;
}

/* What has been checked may have changed until the target stood still. */
static int check_again(struct rebuild *r)
{
	int rc = files_restore_again(r->files);

	return rc ? rc : pids_check_groups(r);
}

int living_replace(struct rebuild *r)
{
	struct tree tree;
	int held, rc;

	/* Held still first, so that it neither makes children while it is being ended, nor writes
	 * to files that have been compared. */
	held = hold_living(r, &tree);
	if (held && held != R_NOT_FOUND)
		return held;
	rc = check_again(r);
	if (rc) {
		if (held == R_OK)
			tree_release(&tree);
		return rc;
	}
	if (held == R_OK && tree_kill(&tree) != R_OK)
		return R_FAILED;
	r->living_ended = true;
	return pids_wait(r);
}
