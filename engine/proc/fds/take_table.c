/* The descriptor tables of tasks. */
#include "engine/proc/fds/fds_internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/ahead.h"

/* What the task looked at before has there is what this one has, if both were forked: that is tried
 * before it is searched for, which takes a call for each time the number of files can be halved. */
static struct taken_file *find_inherited(struct fds_take *take, pid_t pid, int fd)
{
	const struct taken_table *last = &take->last;
	size_t low = 0, high = last->n;
	struct taken_file *f;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (last->entries[mid].fd < (uint32_t)fd)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == last->n || last->entries[low].fd != (uint32_t)fd || !last->entries[low].id)
		return NULL;
	f = take->files[last->entries[low].id - 1];
	return take_kcmp_order(pid, take->self, KCMP_FILE, (unsigned long)fd,
			       (unsigned long)f->local) == 0
		   ? f
		   : NULL;
}

/* `*f` stays NULL unless there is a file; that may be of a kind that is refused. */
static int find_or_add(struct fds_take *take, pid_t pid, int fd, const char *info,
		       struct taken_file **f)
{
	size_t at;
	int result = take_search_file(take, pid, fd, &at), local;

	if (result == R_OK)
		*f = take->by_kcmp[at];
	if (result != R_NOT_FOUND)
		return result;
	local = fds_open_target(pid, fd);
	if (local >= 0)
		return take_add_description(take, pid, fd, local, at, info, f);
	warn_errno("pid %d fd %d: cannot get it", (int)pid, fd);
	return R_FAILED;
}

/* Registers one descriptor and fills its row of the table. */
static int take_fd(struct fds_take *take, pid_t pid, int fd, FdinfoEntry *row)
{
	struct taken_file *f = NULL;
	char path[64], *info;
	const char *value;
	size_t len;
	int result;

	fdinfo_entry__init(row);
	row->fd = (uint32_t)fd;
	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", (int)pid, fd);
	if (!ahead_get(pid, strstr(path, "fdinfo"), &info, &len) &&
	    io_read_file(AT_FDCWD, path, 64u << 20, &info, &len) != R_OK) {
		warn_errno("pid %d fd %d: cannot read %s", (int)pid, fd, path);
		return take_note_result(take, R_FAILED);
	}
	value = fdinfo_value(info, "flags");
	if (value && (strtoul(value, NULL, 8) & O_CLOEXEC))
		row->flags = FD_CLOEXEC;

	f = find_inherited(take, pid, fd);
	result = f ? R_OK : find_or_add(take, pid, fd, info, &f);
	if (f) {
		row->id = f->id;
		row->type = f->entry.type;
		if (result == R_OK)
			result = locks_note(take, f, pid, fd, info);
	} else {
		result = R_FAILED;
	}
	free(info);
	return take_note_result(take, result);
}

/* The numbers of the entries of a /proc directory, ascending. */
static int list_numbers(pid_t pid, const char *what, int **numbers, size_t *n)
{
	char path[64];
	struct dirent *entry;
	size_t room = 0;
	DIR *dir;

	*numbers = NULL;
	*n = 0;
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, what);
	dir = opendir(path);
	if (!dir) {
		warn_errno("cannot list %s", path);
		return R_FAILED;
	}
	while ((entry = readdir(dir))) {
		size_t at = *n;
		int number;

		if (entry->d_name[0] == '.')
			continue;
		if (grow(numbers, *n, &room, sizeof(**numbers)) != R_OK) {
			closedir(dir);
			free(*numbers);
			return R_FAILED;
		}
		number = atoi(entry->d_name);
		/* /proc lists them in order but for tasks that came meanwhile. */
		for (; at > 0 && (*numbers)[at - 1] > number; at--)
			(*numbers)[at] = (*numbers)[at - 1];
		(*numbers)[at] = number;
		(*n)++;
	}
	closedir(dir);
	return R_OK;
}

static int order_tables(const struct fds_take *take, pid_t pid, int fd, size_t at)
{
	(void)fd;
	return take_kcmp_order(pid, take->tables[at].pid, KCMP_FILES, 0, 0);
}

static int take_rows(struct fds_take *take, pid_t pid, struct taken_table *table)
{
	int *fds, result = R_OK;

	if (list_numbers(pid, "fd", &fds, &table->n) != R_OK)
		return R_FAILED;
	table->entries = calloc(table->n + 1, sizeof(*table->entries));
	if (!table->entries) {
		warn("pid %d: no memory for its %zu descriptors", (int)pid, table->n);
		free(fds);
		return R_FAILED;
	}
	/* Go on after a refusal, so that every reason is named at once. */
	for (size_t i = 0; i < table->n && result != R_FAILED; i++) {
		int one = take_fd(take, pid, fds[i], &table->entries[i]);

		if (one != R_OK)
			result = one;
	}
	free(fds);
	return result;
}

int fds_take_task(struct fds_take *take, pid_t pid, uint32_t *files_id)
{
	struct taken_table table = { .pid = pid };
	size_t at;
	int result;

	if (grow(&take->pids, take->n_pids, &take->room_pids, sizeof(*take->pids)) != R_OK)
		return take_note_result(take, R_FAILED);
	take->pids[take->n_pids++] = pid;
	result = take_search(take, take->n_tables, order_tables, pid, -1, &at);
	if (result == R_OK) {
		*files_id = take->tables[at].id;
		return R_OK;
	}
	if (result == R_FAILED ||
	    grow(&take->tables, take->n_tables, &take->room_tables, sizeof(table)) != R_OK)
		return take_note_result(take, R_FAILED);
	result = take_rows(take, pid, &table);
	table.id = (uint32_t)take->n_tables + 1;
	memmove(take->tables + at + 1, take->tables + at, (take->n_tables - at) * sizeof(table));
	take->tables[at] = table;
	take->n_tables++;
	take->last = table;
	*files_id = table.id;
	return take_note_result(take, result);
}
