/* pidfd_open(2): of a task of the tree, or of one that is gone. */
#include "engine/proc/fds/fds.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/stat.h"

static bool pidfd_probe(const struct taken_file *f)
{
	return strcmp(f->link, "anon_inode:[pidfd]") == 0 && fdinfo_value(f->info, "Pid");
}

static int pidfd_dump(struct fds_take *take, struct taken_file *f)
{
	PidfdEntry *pidfd = fds_take_alloc(take, sizeof(*pidfd));

	if (!pidfd)
		return R_FAILED;
	pidfd_entry__init(pidfd);
	pidfd->id = f->id;
	pidfd->ino = (uint32_t)f->st.st_ino;
	/* As pidfd_open(2) takes them, and CRIU with it. */
	pidfd->flags = f->flags & ~(unsigned int)O_ACCMODE;
	pidfd->nspid = atoi(fdinfo_value(f->info, "Pid"));
	pidfd->fown = &f->fown;
	f->entry.pidfd = pidfd;
	return R_OK;
}

static int check_target(struct taken_file *f, void *arg)
{
	const PidfdEntry *pidfd = f->entry.pidfd;
	struct proc_stat stat;

	if (f->kind != &fd_kind_pidfd || !pidfd || pidfd->nspid == -1)
		return R_OK;
	if (fds_take_has_pid(arg, pidfd->nspid))
		return R_OK;
	/* A dead child of a task has no table, but is of the tree until it is waited for. */
	if (proc_stat_read(pidfd->nspid, 0, &stat) == R_OK && stat.state == 'Z' &&
	    fds_take_has_pid(arg, stat.ppid))
		return R_OK;
	warn("%s: refers to process %d, which is outside the tree; cannot be snapshotted",
	     taken_file_name(f), pidfd->nspid);
	return R_UNSUPPORTED;
}

static int pidfd_dump_end(struct fds_take *take)
{
	return fds_take_each(take, check_target, take);
}

static int pidfd_check(struct fds_restore *restore, struct restored_file *f)
{
	if (!f->entry->pidfd)
		return R_DAMAGED;
	f->late = f->entry->pidfd->nspid != -1;
	if (!f->late || fds_restore_has_pid(restore, f->entry->pidfd->nspid))
		return R_OK;
	warn("open file %u: a pidfd of process %d, which is not of this generation", f->id,
	     f->entry->pidfd->nspid);
	return R_UNSUPPORTED;
}

static int open_pid(struct fds_restore *restore, struct restored_file *f, pid_t pid)
{
	/* PIDFD_NONBLOCK and PIDFD_THREAD are O_NONBLOCK and O_EXCL. */
	unsigned int flags = f->entry->pidfd->flags & (O_NONBLOCK | O_EXCL);
	int fd = (int)syscall(SYS_pidfd_open, pid, flags);

	if (fd >= 0)
		return fds_restore_adopt(restore, f, fd);
	warn_errno("open file %u: cannot open a pidfd of process %d", f->id, (int)pid);
	return R_FAILED;
}

struct dead {
	uint32_t ino;
	pid_t child;
};

static int open_if_same(struct fds_restore *restore, struct restored_file *f, void *arg)
{
	const struct dead *dead = arg;

	if (f->kind != &fd_kind_pidfd || f->late || f->local >= 0 ||
	    f->entry->pidfd->ino != dead->ino)
		return R_OK;
	return open_pid(restore, f, dead->child);
}

/* Of a process long gone: of a child that goes at once.  All that named one, name one again. */
static int pidfd_open_dead(struct fds_restore *restore, struct restored_file *f)
{
	struct dead dead = { .ino = f->entry->pidfd->ino };
	int result;

	dead.child = fork();
	if (dead.child == 0) {
		for (;;)
			pause();
	}
	if (dead.child < 0) {
		warn_errno("open file %u: cannot make a process to end", f->id);
		return R_FAILED;
	}
	result = fds_restore_each_file(restore, open_if_same, &dead);
	kill(dead.child, SIGKILL);
	while (waitpid(dead.child, NULL, 0) < 0 && errno == EINTR)
		;
	return result;
}

static int pidfd_late(struct fds_restore *restore, struct restored_file *f,
		      const struct fds_task *tasks, size_t n)
{
	(void)tasks;
	(void)n;
	return open_pid(restore, f, f->entry->pidfd->nspid);
}

static void pidfd_describe(const FileEntry *entry, char *buf, size_t len)
{
	if (entry->pidfd->nspid == -1)
		snprintf(buf, len, "of a process that is gone");
	else
		snprintf(buf, len, "of process %d", entry->pidfd->nspid);
}

const struct fd_kind fd_kind_pidfd = {
	.name = "pidfd",
	.type = FD_TYPES__PIDFD,
	.probe = pidfd_probe,
	.dump = pidfd_dump,
	.dump_end = pidfd_dump_end,
	.check = pidfd_check,
	.open = pidfd_open_dead,
	.late = pidfd_late,
	.describe = pidfd_describe,
};
