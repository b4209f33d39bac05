/* File locks: flock, POSIX, open file description locks, leases.  Read from fdinfo, set again from
 * inside the tasks, because the kernel notes who does it. */
#include "engine/proc/fds/fds_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/trace.h"

/* Values of file_lock_entry.flag, as CRIU has them; the last two were the kernel's FL_* flags in
 * older generations. */
#define LOCK_KIND_POSIX 1u
#define LOCK_KIND_FLOCK 2u
#define LOCK_KIND_OFD 4u
#define LOCK_KIND_LEASE 8u
#define LOCK_KIND_LEASE_OLD 32u
#define LOCK_KIND_OFD_OLD 1024u
/* A bit in file_lock_entry.type: the lease is being broken to that type. */
#define LEASE_BREAKING 4u
#define LEASE_BREAKING_OLD 0x100u

/* "1: POSIX  ADVISORY  WRITE 359 00:13:11691 0 EOF" behind "lock:\t". */
static int parse_lock(const char *line, struct taken_lock *lock)
{
	char kind[16], state[16], type[16], start[24], end[24];

	if (sscanf(line, "%*d: %15s %15s %15s %*s %*s %23s %23s", kind, state, type, start, end) !=
	    5)
		return R_FAILED;
	if (strcmp(kind, "POSIX") == 0)
		lock->kind = LOCK_KIND_POSIX;
	else if (strcmp(kind, "FLOCK") == 0)
		lock->kind = LOCK_KIND_FLOCK;
	else if (strcmp(kind, "OFDLCK") == 0)
		lock->kind = LOCK_KIND_OFD;
	else if (strcmp(kind, "LEASE") == 0)
		lock->kind = LOCK_KIND_LEASE;
	else
		return R_UNSUPPORTED;
	lock->type = strcmp(type, "WRITE") == 0	 ? F_WRLCK
		     : strcmp(type, "READ") == 0 ? F_RDLCK
						 : F_UNLCK;
	if (lock->kind == LOCK_KIND_LEASE && strcmp(state, "BREAKING") == 0)
		lock->type |= LEASE_BREAKING;
	lock->start = strtoll(start, NULL, 10);
	lock->len = strcmp(end, "EOF") == 0 ? 0 : strtoll(end, NULL, 10) - lock->start + 1;
	return R_OK;
}

/* The same lock shows at every descriptor of the file (POSIX) or of the description (others). */
static bool known_lock(struct fds_take *take, const struct taken_lock *lock)
{
	for (size_t i = 0; i < take->n_locks; i++) {
		struct taken_lock *k = &take->locks[i];

		if (k->kind != lock->kind || k->start != lock->start || k->len != lock->len)
			continue;
		if (lock->kind == LOCK_KIND_POSIX
			? k->pid == lock->pid && k->dev == lock->dev && k->ino == lock->ino
			: k->file_id == lock->file_id)
			return true;
	}
	return false;
}

int locks_note(struct fds_take *take, const struct taken_file *f, pid_t pid, int fd,
	       const char *info)
{
	const char *line = info;

	for (; (line = fdinfo_value(line, "lock")); line = strchr(line, '\n')) {
		struct taken_lock lock = { .file_id = f->id,
					   .dev = f->st.st_dev,
					   .ino = f->st.st_ino,
					   .pid = pid,
					   .fd = fd };
		int result = parse_lock(line, &lock);

		if (result != R_OK) {
			warn("%s: has a lock of a kind unknown (%.*s)", taken_file_name(f),
			     (int)strcspn(line, "\n"), line);
			return R_UNSUPPORTED;
		}
		if (known_lock(take, &lock))
			continue;
		if (grow(&take->locks, take->n_locks, &take->room_locks, sizeof(lock)) != R_OK)
			return R_FAILED;
		take->locks[take->n_locks++] = lock;
	}
	return R_OK;
}

int locks_take(struct fds_take *take)
{
	for (size_t i = 0; i < take->n_locks; i++) {
		struct taken_lock *lock = &take->locks[i];
		FileLockEntry entry = FILE_LOCK_ENTRY__INIT;

		entry.flag = lock->kind;
		entry.type = lock->type;
		entry.pid = lock->pid;
		entry.fd = lock->fd;
		entry.start = lock->start;
		entry.len = lock->len;
		fds_take_put(take, IMAGE_FILELOCKS, &entry.base, NULL, 0);
	}
	return R_OK;
}

static int remote(const struct fds_task *task, const FileLockEntry *lock, long nr, uint64_t a1,
		  uint64_t a2)
{
	int64_t ret;

	if (fds_try(task, &ret, nr, (uint64_t)lock->fd, a1, a2) != R_OK)
		return R_FAILED;
	if (ret >= 0)
		return R_OK;
	errno = (int)-ret;
	warn_errno("pid %d fd %d: cannot lock it again as it was (bytes %" PRId64 " +%" PRId64
		   "); is it locked by another program?",
		   (int)task->pid, lock->fd, lock->start, lock->len);
	return R_FAILED;
}

static int remote_range(const struct fds_task *task, const FileLockEntry *lock, int command)
{
	struct flock range = { .l_type = (short)lock->type,
			       .l_whence = SEEK_SET,
			       .l_start = lock->start,
			       .l_len = lock->len };

	if (trace_write(task->pid, task->site->data, &range, sizeof(range)) != R_OK) {
		warn_errno("pid %d: cannot write to it", (int)task->pid);
		return R_FAILED;
	}
	return remote(task, lock, SYS_fcntl, (uint64_t)command, task->site->data);
}

/*
 * A lease on its way out is set as it was and broken again by an open that does not wait.  Nobody
 * is told a second time: the owner is cleared, and set when the owners are.
 */
static int restore_lease(struct fds_restore *restore, const struct fds_task *task,
			 const FileLockEntry *lock)
{
	uint32_t target = lock->type & ~(LEASE_BREAKING | LEASE_BREAKING_OLD);
	bool breaking = target != lock->type;
	int local = fds_restore_fd(restore, fds_restore_id_at(restore, task->files_id, lock->fd)),
	    flags, fd;
	uint64_t type = target;
	char path[64];

	if (local < 0 || (flags = fcntl(local, F_GETFL)) < 0) {
		warn("pid %d fd %d: has a lease and is not there; run 'snap verify'",
		     (int)task->pid, lock->fd);
		return R_DAMAGED;
	}
	if (breaking)
		type = target == F_RDLCK || (flags & O_ACCMODE) != O_RDONLY ? F_WRLCK : F_RDLCK;
	if (remote(task, lock, SYS_fcntl, F_SETLEASE, type) != R_OK)
		return R_FAILED;
	fcntl(local, F_SETOWN, 0);
	if (!breaking)
		return R_OK;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", local);
	fd = open(path, (target == F_RDLCK ? O_RDONLY : O_WRONLY) | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	if (fd < 0 && errno == EWOULDBLOCK)
		return R_OK;
	warn("pid %d fd %d: its lease was being broken and cannot be brought to that point again",
	     (int)task->pid, lock->fd);
	return R_FAILED;
}

static int restore_lock(struct fds_restore *restore, const struct fds_task *task,
			const FileLockEntry *lock)
{
	switch (lock->flag) {
	case LOCK_KIND_POSIX:
		return remote_range(task, lock, F_SETLK);
	case LOCK_KIND_OFD:
	case LOCK_KIND_OFD_OLD:
		return remote_range(task, lock, F_OFD_SETLK);
	case LOCK_KIND_FLOCK:
		return remote(task, lock, SYS_flock,
			      LOCK_NB | (lock->type == F_WRLCK ? LOCK_EX : LOCK_SH), 0);
	case LOCK_KIND_LEASE:
	case LOCK_KIND_LEASE_OLD:
		return restore_lease(restore, task, lock);
	default:
		warn("pid %d fd %d: a lock of kind %u cannot be restored", lock->pid, lock->fd,
		     lock->flag);
		return R_UNSUPPORTED;
	}
}

static int keep_lock(struct fds_restore *restore, const ProtobufCMessage *message,
		     const void *payload, size_t bytes)
{
	(void)payload;
	(void)bytes;
	if (grow(&restore->locks, restore->n_locks, &restore->room_locks,
		 sizeof(*restore->locks)) != R_OK)
		return R_FAILED;
	restore->locks[restore->n_locks++] = (const FileLockEntry *)message;
	return R_OK;
}

int locks_load(struct fds_restore *restore)
{
	return fds_restore_each(restore, IMAGE_FILELOCKS, NULL, keep_lock);
}

int locks_restore(struct fds_restore *restore, const struct fds_task *tasks, size_t n)
{
	for (size_t i = 0; i < restore->n_locks; i++) {
		const FileLockEntry *lock = restore->locks[i];
		const struct fds_task *task = NULL;

		for (size_t k = 0; k < n && !task; k++) {
			if (tasks[k].pid == lock->pid)
				task = &tasks[k];
		}
		if (!task) {
			warn("image filelocks: a lock of pid %d, which is not there; run 'snap "
			     "verify'",
			     lock->pid);
			return R_DAMAGED;
		}
		if (restore_lock(restore, task, lock) != R_OK)
			return R_FAILED;
	}
	return R_OK;
}
