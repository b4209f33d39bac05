/*
 * Filters of system calls.  CRIU gives each thread its own copy of them, unless they are marked to
 * be shared by all threads of a task; then its leader alone has them.  What the threads had in
 * common has to stay so, or a later filter could not be meant for all of them.
 */
#include <stdio.h>

#include "base/result.h"
#include "engine/exchange/export_files.h"

#define FLAG_TSYNC 1u

/* R_NOT_FOUND: it has none. */
static int filter_of(struct export_dir *ex, uint32_t tid, uint32_t *filter)
{
	const ThreadCoreEntry *core;
	ProtobufCMessage *message;
	char name[64];
	int rc;

	snprintf(name, sizeof(name), "core-%u", tid);
	rc = export_read_one(ex, IMAGE_CORE, name, &message);
	if (rc != R_OK)
		return rc;
	core = ((const CoreEntry *)message)->thread_core;
	rc = core && core->has_seccomp_filter ? R_OK : R_NOT_FOUND;
	if (rc == R_OK)
		*filter = core->seccomp_filter;
	image_free_message(message);
	return rc;
}

/* Have all threads the same filters?  `*any`: one has some. */
static int look_at(struct export_dir *ex, const PstreeEntry *task, bool *same, bool *any)
{
	uint32_t first = 0;
	bool leader = false;

	for (size_t i = 0; i < task->n_threads; i++) {
		uint32_t filter = 0;
		int rc = filter_of(ex, task->threads[i], &filter);

		if (rc != R_OK && rc != R_NOT_FOUND)
			return rc;
		if (i == 0)
			leader = rc == R_OK;
		if ((rc == R_OK) != leader || (leader && i > 0 && filter != first))
			*same = false;
		if (i == 0)
			first = filter;
		*any = *any || rc == R_OK;
	}
	return R_OK;
}

int export_seccomp_begin(struct export_dir *ex)
{
	struct entries tasks = { 0 };
	struct object object;
	bool same = true, any = false;
	int rc = store_object(ex->view, ex->gen->number, "seccomp", &object);

	if (rc != R_OK)
		return rc == R_NOT_FOUND ? R_OK : rc;
	rc = entries_read(ex, IMAGE_PSTREE, "pstree", &tasks);
	for (size_t i = 0; rc == R_OK && i < tasks.n; i++)
		rc = look_at(ex, (const PstreeEntry *)tasks.list[i], &same, &any);
	entries_free(&tasks);
	ex->seccomp_shared = same && any;
	return rc;
}

/* The core image of a leader is that of its task too. */
void export_seccomp_thread(const struct export_dir *ex, CoreEntry *entry)
{
	ThreadCoreEntry *thread = entry->thread_core;

	if (!ex->seccomp_shared || !thread || entry->tc || !thread->has_seccomp_filter)
		return;
	thread->has_seccomp_mode = thread->has_seccomp_filter = false;
}

void export_seccomp_filters(const struct export_dir *ex, SeccompEntry *entry)
{
	for (size_t i = 0; ex->seccomp_shared && i < entry->n_seccomp_filters; i++) {
		entry->seccomp_filters[i]->has_flags = true;
		entry->seccomp_filters[i]->flags |= FLAG_TSYNC;
	}
}
