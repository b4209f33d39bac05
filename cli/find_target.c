#include "cli/commands.h"

#include "base/result.h"
#include "base/warn.h"
#include "cli/target.h"
#include "engine/proc/stat.h"

#include <string.h>
#include <unistd.h>

bool runs_below(pid_t ancestor)
{
	struct proc_stat stat;
	pid_t pid = getpid();

	while (pid > 0 && pid != ancestor) {
		if (proc_stat_read(pid, 0, &stat) != R_OK)
			return false;
		pid = stat.ppid;
	}
	return pid == ancestor;
}

static int target_of_generation(const struct generation *gen, struct target *target)
{
	target->pid = (pid_t)gen->root_pid;
	target->start = gen->root_start;
	memcpy(target->boot_id, gen->boot_id, sizeof(target->boot_id));
	return R_OK;
}

/* What run, take or restore recorded; without a record, the target of the newest generation. */
static int find_by_name(const struct options *options, const char *lineage, struct target *target)
{
	struct generation gen;
	struct store_view *view;
	struct store *store;
	int result;

	result = open_to_read(options, &store, &view);
	if (result != R_OK)
		return result;
	result = target_load(options->store_dir, lineage, target);
	if (result == R_NOT_FOUND) {
		result = store_generation_latest(view, lineage, &gen);
		if (result == R_OK)
			result = target_of_generation(&gen, target);
		else if (result == R_NOT_FOUND)
			warn("nothing is known of a target named %s in %s: start it with snap run "
			     "--name %s, or take it with --pid",
			     lineage, options->store_dir, lineage);
	}
	close_reading(store, view);
	if (result == R_OK && !target_alive(target)) {
		warn("the target of %s, process %d, is no longer there; restore it, or name "
		     "another with --pid",
		     lineage, target->pid);
		result = R_NOT_FOUND;
	}
	return result;
}

#define PF_KTHREAD 0x00200000 /* of the flags in /proc/PID/stat */

static bool is_kernel_thread(pid_t pid)
{
	struct proc_stat stat;

	return proc_stat_read(pid, 0, &stat) == R_OK && (stat.flags & PF_KTHREAD);
}

int find_target(const struct options *options, struct target *target)
{
	int result;

	if (options->pid) {
		result = target_of_pid((pid_t)options->pid, target);
		if (result == R_NOT_FOUND)
			warn("there is no process %d", (int)options->pid);
	} else {
		result = find_by_name(options, options->names[0], target);
	}
	if (result == R_OK && is_kernel_thread(target->pid)) {
		warn("process %d is a thread of the kernel", target->pid);
		return R_UNSUPPORTED;
	}
	if (result == R_OK && runs_below(target->pid)) {
		warn("snap itself runs below process %d: call it from outside of that tree",
		     target->pid);
		result = R_UNSUPPORTED;
	}
	return result;
}
