/* Who is signalled when a file has news (F_SETOWN_EX, F_SETSIG, O_ASYNC). */
#include "engine/proc/fds/fds_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"

const FownEntry *file_entry_fown(const FileEntry *entry, uint32_t *flags)
{
#define MEMBER_OF(type_name, member) \
	case FD_TYPES__##type_name: \
		if (!entry->member) \
			return NULL; \
		*flags = entry->member->flags; \
		return entry->member->fown
	switch (entry->type) {
		MEMBER_OF(REG, reg);
		MEMBER_OF(PIPE, pipe);
		MEMBER_OF(INETSK, isk);
		MEMBER_OF(UNIXSK, usk);
		MEMBER_OF(EVENTFD, efd);
		MEMBER_OF(EVENTPOLL, epfd);
		MEMBER_OF(INOTIFY, ify);
		MEMBER_OF(SIGNALFD, sgfd);
		MEMBER_OF(PACKETSK, psk);
		MEMBER_OF(TTY, tty);
		MEMBER_OF(FANOTIFY, ffy);
		MEMBER_OF(NETLINKSK, nlsk);
		MEMBER_OF(TIMERFD, tfd);
		MEMBER_OF(MEMFD, memfd);
		MEMBER_OF(PIDFD, pidfd);
	default:
		return NULL;
	}
#undef MEMBER_OF
}

static int set_owner(int fd, const FownEntry *fown)
{
	struct f_owner_ex owner = { (int)fown->pid_type, (pid_t)fown->pid };

	return fcntl(fd, F_SETOWN_EX, &owner);
}

/* Waits for a child that exits with 0 or an errno. */
static int await(pid_t child)
{
	int status;

	if (child < 0)
		return R_FAILED;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return R_FAILED;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return R_OK;
	errno = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
	return R_FAILED;
}

/* The kernel notes the identity of who sets the owner, so a child takes it on first. */
static int set_owner_as(int fd, const FownEntry *fown)
{
	pid_t child;

	if (fown->uid == 0 && fown->euid == 0)
		return set_owner(fd, fown);
	child = fork();
	if (child == 0)
		_exit(setresuid(fown->uid, fown->euid, (uid_t)-1) != 0 || set_owner(fd, fown) != 0
			  ? errno
			  : 0);
	return await(child);
}

/* It also notes the number of the descriptor by which O_ASYNC was set, and tells it (si_fd). */
static int set_async(struct fds_restore *restore, const struct restored_file *f)
{
	int now = fcntl(f->local, F_GETFL), fd = f->local;
	uint32_t files_id;
	pid_t child;

	fds_restore_holder(restore, f->id, &files_id, &fd);
	child = now < 0 ? -1 : fork();
	if (child == 0)
		_exit((fd != f->local && dup2(f->local, fd) < 0) ||
			      fcntl(fd, F_SETFL, now | O_ASYNC) != 0
			  ? errno
			  : 0);
	return await(child);
}

static int restore_one(struct fds_restore *restore, struct restored_file *f, const FownEntry *fown,
		       uint32_t flags)
{
	int result = R_OK;

	if (fown->pid) {
		result = set_owner_as(f->local, fown);
		/* An owner that was no part of the tree may have ended long since. */
		if (result != R_OK && errno == ESRCH) {
			detail("open file %u: its signal owner %u is gone", f->id, fown->pid);
			result = R_OK;
		}
	}
	if (result == R_OK && fown->signum)
		result = fcntl(f->local, F_SETSIG, (int)fown->signum);
	if (result == R_OK && (flags & O_ASYNC))
		result = set_async(restore, f);
	if (result == R_OK)
		return R_OK;
	warn_errno("open file %u (%s): cannot set its signal owner %u", f->id, f->kind->name,
		   fown->pid);
	return R_FAILED;
}

int fown_restore(struct fds_restore *restore)
{
	for (size_t i = 0; i < restore->n_files; i++) {
		struct restored_file *f = &restore->files[i];
		const FileEntry *entry = f->entry;
		const FownEntry *fown;
		uint32_t flags = 0;

		/* A FIFO's owner is in the entry that has its path, which itself is held by path.
		 */
		if (entry->type == FD_TYPES__FIFO && entry->fifo)
			entry = fds_restore_entry(restore, entry->fifo->regf_id);
		fown = entry ? file_entry_fown(entry, &flags) : NULL;
		if (!fown || f->local < 0 || (fcntl(f->local, F_GETFL) & O_PATH))
			continue;
		if (restore_one(restore, f, fown, flags) != R_OK)
			return R_FAILED;
	}
	return R_OK;
}
