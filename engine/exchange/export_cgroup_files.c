/*
 * The settings of control groups that go into CRIU's image.  CRIU writes each of them into a group
 * it makes, and gives up where one is refused: so it is given what has another value than a new
 * group has, and nothing that it does not know how to write.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/exchange/export_internal.h"

/* What a new group has; a value that is not in this list is not set again. */
static const struct {
	const char *name, *fresh;
} settings[] = {
	{ "cgroup.clone_children", "0" },
	{ "notify_on_release", "0" },
	{ "cgroup.procs", "" },
	{ "tasks", "" },
	{ "cpu.shares", "1024" },
	{ "cpu.cfs_period_us", "100000" },
	{ "cpu.cfs_quota_us", "-1" },
	{ "cpu.rt_period_us", "1000000" },
	{ "cpu.rt_runtime_us", "0" },
	{ "memory.limit_in_bytes", "9223372036854771712" },
	{ "memory.memsw.limit_in_bytes", "9223372036854771712" },
	{ "memory.soft_limit_in_bytes", "9223372036854771712" },
	{ "memory.kmem.tcp.limit_in_bytes", "9223372036854771712" },
	{ "memory.swappiness", "60" },
	{ "memory.oom_control", "0" },
	{ "cpuset.cpus", "" },
	{ "cpuset.mems", "" },
	{ "cpuset.memory_migrate", "0" },
	{ "cpuset.cpu_exclusive", "0" },
	{ "cpuset.mem_exclusive", "0" },
	{ "cpuset.mem_hardwall", "0" },
	{ "cpuset.memory_spread_page", "0" },
	{ "cpuset.memory_spread_slab", "0" },
	{ "cpuset.sched_load_balance", "1" },
	{ "cpuset.sched_relax_domain_level", "-1" },
	{ "net_cls.classid", "0" },
	{ "pids.max", "max" },
	{ "devices.list", "a *:* rwm" },
	{ "cgroup.subtree_control", "" },
	{ "cgroup.max.descendants", "max" },
	{ "cgroup.max.depth", "max" },
	{ "memory.max", "max" },
	{ "memory.high", "max" },
	{ "memory.low", "0" },
	{ "memory.min", "0" },
	{ "memory.swap.max", "max" },
	{ "cpu.max", "max 100000" },
	{ "cpu.weight", "100" },
};

/* The value as CRIU writes it: without the end of its last line, and of several words the one that
 * the file takes. */
static void as_written(CgroupPropEntry *prop)
{
	size_t len = strlen(prop->value);
	int number;

	if (len && prop->value[len - 1] == '\n')
		prop->value[len - 1] = '\0';
	if (strcmp(prop->name, "memory.oom_control") == 0 &&
	    sscanf(prop->value, "oom_kill_disable %d", &number) == 1)
		snprintf(prop->value, len, "%d", number != 0);
}

static bool is_needed(CgroupPropEntry *prop)
{
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		if (strcmp(settings[i].name, prop->name) != 0)
			continue;
		as_written(prop);
		return strcmp(settings[i].fresh, prop->value) != 0 ||
		       (prop->perms && (prop->perms->uid || prop->perms->gid));
	}
	return false;
}

void export_cgroup_dir(CgroupDirEntry *dir)
{
	size_t n = 0;

	for (size_t i = 0; i < dir->n_properties; i++) {
		if (is_needed(dir->properties[i]))
			dir->properties[n++] = dir->properties[i];
		else
			cgroup_prop_entry__free_unpacked(dir->properties[i], NULL);
	}
	dir->n_properties = n;
	for (size_t i = 0; i < dir->n_children; i++)
		export_cgroup_dir(dir->children[i]);
}
