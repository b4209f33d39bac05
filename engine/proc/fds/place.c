/* Giving each task its table: inherited files into place, late ones through a socket. */
#include "engine/proc/fds/fds_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/trace.h"

int late_prepare(struct fds_restore *restore)
{
	int pair[2];
	bool any = false;

	for (size_t i = 0; i < restore->n_files; i++)
		any = any || restore->files[i].late;
	if (!any)
		return R_OK;
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) != 0) {
		warn_errno("cannot make a socket pair");
		return R_FAILED;
	}
	restore->channel_here = pair[0];
	restore->channel_task = fds_restore_high(restore, pair[1]);
	if (restore->channel_task < 0) {
		warn_errno("no descriptor for a socket pair");
		return R_FAILED;
	}
	return R_OK;
}

int fds_try(const struct fds_task *task, int64_t *ret, long nr, uint64_t a0, uint64_t a1,
	    uint64_t a2)
{
	int result = inject_syscall(task->tracee, task->site, ret, nr, a0, a1, a2, 0, 0, 0);

	if (result == R_NOT_FOUND)
		warn("pid %d: ended while its files were being restored", (int)task->pid);
	return result == R_OK ? R_OK : R_FAILED;
}

int fds_call(const struct fds_task *task, const char *what, int64_t *ret, long nr, uint64_t a0,
	     uint64_t a1, uint64_t a2)
{
	if (fds_try(task, ret, nr, a0, a1, a2) != R_OK)
		return R_FAILED;
	if (*ret >= 0)
		return R_OK;
	errno = (int)-*ret;
	warn_errno("pid %d: %s fails (%lld, %lld)", (int)task->pid, what, (long long)a0,
		   (long long)a1);
	return R_FAILED;
}

static struct restored_table *find_table(struct fds_restore *restore, uint32_t id)
{
	for (size_t i = 0; i < restore->n_tables; i++) {
		if (restore->tables[i].id == id)
			return &restore->tables[i];
	}
	return NULL;
}

static int close_gap(const struct fds_task *task, uint64_t first, uint64_t last)
{
	int64_t ret;

	return first > last ? R_OK
			    : fds_call(task, "close_range", &ret, SYS_close_range, first, last, 0);
}

/* Closes everything but the descriptors of the table and the channel. */
static int close_rest(struct fds_restore *restore, const struct restored_table *table,
		      const struct fds_task *task)
{
	uint64_t next = 0;
	uint64_t channel = restore->channel_task < 0 ? UINT_MAX : (uint64_t)restore->channel_task;
	bool channel_done = restore->channel_task < 0;

	for (size_t i = 0; i < table->n; i++) {
		uint64_t fd = table->entries[i]->fd;

		if (!channel_done && channel < fd) {
			if (channel > next && close_gap(task, next, channel - 1) != R_OK)
				return R_FAILED;
			next = channel + 1;
			channel_done = true;
		}
		if (fd > next && close_gap(task, next, fd - 1) != R_OK)
			return R_FAILED;
		next = fd + 1;
	}
	if (!channel_done) {
		if (channel > next && close_gap(task, next, channel - 1) != R_OK)
			return R_FAILED;
		next = channel + 1;
	}
	return close_gap(task, next, UINT_MAX);
}

int fds_restore_place(struct fds_restore *restore, const struct fds_task *task)
{
	struct restored_table *table = find_table(restore, task->files_id);
	int64_t ret;

	if (!table) {
		warn("pid %d: its descriptor table %u was not read", (int)task->pid,
		     task->files_id);
		return R_FAILED;
	}
	if (table->placed)
		return R_OK;
	for (size_t i = 0; i < table->n; i++) {
		const FdinfoEntry *entry = table->entries[i];
		int local = fds_restore_fd(restore, entry->id);
		uint64_t flags = entry->flags & FD_CLOEXEC ? O_CLOEXEC : 0;

		if (local >= 0 && fds_call(task, "dup3", &ret, SYS_dup3, (uint64_t)local, entry->fd,
					   flags) != R_OK)
			return R_FAILED;
	}
	if (close_rest(restore, table, task) != R_OK)
		return R_FAILED;
	table->placed = true;
	return R_OK;
}

static int send_fd(int channel, int fd)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.room,
		.msg_controllen = sizeof(control.room),
	};

	control.head.cmsg_level = SOL_SOCKET;
	control.head.cmsg_type = SCM_RIGHTS;
	control.head.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
	if (sendmsg(channel, &msg, MSG_DONTWAIT) == 1)
		return R_OK;
	warn_errno("cannot hand a file over to a task");
	return R_FAILED;
}

/* Makes the task receive one descriptor; `*fd` is its number there. */
static int receive_fd(struct fds_restore *restore, const struct fds_task *task, int *fd)
{
	struct {
		struct msghdr msg;
		struct iovec iov;
		_Alignas(8) char control[CMSG_SPACE(sizeof(int))];
		char byte;
	} args = { 0 };
	uint64_t at = task->site->data;
	int64_t ret;

	/* Addresses are those of the copy in the task. */
	args.iov.iov_base = (void *)(uintptr_t)(at + offsetof(typeof(args), byte));
	args.iov.iov_len = 1;
	args.msg.msg_iov = (void *)(uintptr_t)(at + offsetof(typeof(args), iov));
	args.msg.msg_iovlen = 1;
	args.msg.msg_control = (void *)(uintptr_t)(at + offsetof(typeof(args), control));
	args.msg.msg_controllen = sizeof(args.control);
	if (trace_write(task->pid, at, &args, sizeof(args)) != R_OK) {
		warn_errno("pid %d: cannot write to it", (int)task->pid);
		return R_FAILED;
	}
	if (fds_call(task, "recvmsg", &ret, SYS_recvmsg, (uint64_t)restore->channel_task, at,
		     MSG_CMSG_CLOEXEC | MSG_DONTWAIT) != R_OK)
		return R_FAILED;
	if (trace_read(task->pid, at, &args, sizeof(args)) != R_OK) {
		warn_errno("pid %d: cannot read from it", (int)task->pid);
		return R_FAILED;
	}
	memcpy(fd, args.control + CMSG_LEN(0), sizeof(*fd));
	if (args.msg.msg_controllen >= CMSG_LEN(sizeof(int)))
		return R_OK;
	warn("pid %d: received no file; raise the limit of open files", (int)task->pid);
	return R_FAILED;
}

/* One late file into every place of one table. */
static int place_late(struct fds_restore *restore, struct restored_table *table,
		      const struct fds_task *task, const struct restored_file *f)
{
	int got = -1;
	bool keep = false;
	int64_t ret;

	for (size_t i = 0; i < table->n; i++) {
		const FdinfoEntry *entry = table->entries[i];
		uint64_t flags = entry->flags & FD_CLOEXEC ? O_CLOEXEC : 0;

		if (entry->id != f->id)
			continue;
		if (got < 0 && (send_fd(restore->channel_here, f->local) != R_OK ||
				receive_fd(restore, task, &got) != R_OK))
			return R_FAILED;
		if ((uint32_t)got == entry->fd) {
			keep = true;
			if (fds_call(task, "fcntl", &ret, SYS_fcntl, entry->fd, F_SETFD,
				     entry->flags & FD_CLOEXEC) != R_OK)
				return R_FAILED;
		} else if (fds_call(task, "dup3", &ret, SYS_dup3, (uint64_t)got, entry->fd,
				    flags) != R_OK) {
			return R_FAILED;
		}
	}
	return got < 0 || keep ? R_OK
			       : fds_call(task, "close", &ret, SYS_close, (uint64_t)got, 0, 0);
}

static const struct fds_task *task_with(const struct fds_task *tasks, size_t n, uint32_t files_id)
{
	for (size_t i = 0; i < n; i++) {
		if (tasks[i].files_id == files_id)
			return &tasks[i];
	}
	return NULL;
}

static int hand_over(struct fds_restore *restore, const struct fds_task *tasks, size_t n)
{
	for (size_t i = 0; i < restore->n_files; i++) {
		struct restored_file *f = &restore->files[i];

		if (!f->late)
			continue;
		if (f->kind->late(restore, f, tasks, n) != R_OK)
			return R_FAILED;
		for (size_t k = 0; k < restore->n_tables; k++) {
			struct restored_table *table = &restore->tables[k];
			const struct fds_task *task = task_with(tasks, n, table->id);

			if (task && place_late(restore, table, task, f) != R_OK)
				return R_FAILED;
		}
	}
	return R_OK;
}

static int close_channels(struct fds_restore *restore, const struct fds_task *tasks, size_t n)
{
	for (size_t k = 0; k < restore->n_tables; k++) {
		const struct fds_task *task = task_with(tasks, n, restore->tables[k].id);
		int64_t ret;

		if (task && fds_call(task, "close", &ret, SYS_close,
				     (uint64_t)restore->channel_task, 0, 0) != R_OK)
			return R_FAILED;
	}
	return R_OK;
}

static int finish_files(struct fds_restore *restore, const struct fds_task *tasks, size_t n)
{
	for (size_t i = 0; i < restore->n_files; i++) {
		struct restored_file *f = &restore->files[i];
		const struct fds_task *task = NULL;
		uint32_t files_id;
		int fd = -1;

		if (!f->kind->finish)
			continue;
		if (fds_restore_holder(restore, f->id, &files_id, &fd))
			task = task_with(tasks, n, files_id);
		if (f->kind->finish(restore, f, task, fd) != R_OK)
			return R_FAILED;
	}
	for (size_t i = 0; fd_kinds[i]; i++) {
		if (fd_kinds[i]->finish_all && fd_kinds[i]->finish_all(restore, tasks, n) != R_OK)
			return R_FAILED;
	}
	return R_OK;
}

int fds_restore_finish(struct fds_restore *restore, const struct fds_task *tasks, size_t n)
{
	if (restore->channel_task >= 0) {
		if (hand_over(restore, tasks, n) != R_OK ||
		    close_channels(restore, tasks, n) != R_OK)
			return R_FAILED;
	}
	/* Owners last: setting a lease sets one, and breaking it tells it. */
	if (finish_files(restore, tasks, n) != R_OK || locks_restore(restore, tasks, n) != R_OK)
		return R_FAILED;
	if (fown_restore(restore) != R_OK)
		return R_FAILED;
	/* The tasks' ends are the only ones from here on: a pipe whose writers leave must end. */
	fds_restore_close(restore);
	return R_OK;
}
