/* Files with a path: regular files, directories, plain devices, anything held by O_PATH. */
#include "engine/proc/fds/fds.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/fds/ghost.h"
#include "engine/proc/files/restore.h"

#ifndef MQUEUE_MAGIC
#define MQUEUE_MAGIC 0x19800202 /* a queue of POSIX messages, whatever its name */
#endif

#define READABLE 4 /* for access(2), where the C library has R_OK for it */

/* Devices without state of their own behind an open file: null, zero, full, random, urandom. */
static bool plain_device(dev_t dev)
{
	unsigned int n = minor(dev);

	return major(dev) == 1 && (n == 3 || n == 5 || n == 7 || n == 8 || n == 9);
}

static bool reg_probe(const struct taken_file *f)
{
	uint64_t fs = taken_file_fs(f);

	if (f->link[0] != '/')
		return false;
	if (fs == NSFS_MAGIC || fs == SECRETMEM_MAGIC || fs == MQUEUE_MAGIC)
		return false;
	if (f->flags & O_PATH)
		return true;
	switch (f->st.st_mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFBLK:
		return true;
	case S_IFCHR:
		return plain_device(f->st.st_rdev);
	default:
		return false;
	}
}

/* The pid of a path below /proc/PID; 0 if it is none. */
static pid_t proc_path_pid(const char *name)
{
	char *end;
	long pid;

	if (strncmp(name, "/proc/", 6) != 0)
		return 0;
	pid = strtol(name + 6, &end, 10);
	return pid > 0 && (*end == '/' || *end == '\0' || *end == ' ') ? (pid_t)pid : 0;
}

/* Files a kernel makes up have no contents and no times that could be compared. */
static bool is_made_up(const struct taken_file *f)
{
	static const uint32_t magics[] = {
		PROC_SUPER_MAGIC, SYSFS_MAGIC,	  CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC,
		DEBUGFS_MAGIC,	  TRACEFS_MAGIC,  SECURITYFS_MAGIC,   SELINUX_MAGIC,
		BPF_FS_MAGIC,	  EFIVARFS_MAGIC, BINFMTFS_MAGIC,
	};
	uint64_t fs = taken_file_fs(f);

	if (!fs)
		return true;
	for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++)
		if ((uint32_t)fs == magics[i])
			return true;
	return false;
}

static int reg_dump(struct fds_take *take, struct taken_file *f)
{
	RegFileEntry *reg = fds_take_alloc(take, sizeof(*reg));
	SnapFileEntry *more = fds_take_alloc(take, sizeof(*more));
	const char *name = f->link;
	int result = R_OK;

	if (!reg || !more)
		return R_FAILED;
	snap_file_entry__init(more);
	if (is_hidden_memory(f)) {
		warn("%s: memory of this kind opened as a file cannot be snapshotted",
		     taken_file_name(f));
		return R_UNSUPPORTED;
	}
	if (taken_file_fs(f) == PROC_SUPER_MAGIC) {
		/* Reopened when the task is there again.  Whose task is gone stays unreadable. */
		if (strstr(f->link, " (deleted)")) {
			warn("%s: belongs to a process that is gone; cannot be snapshotted",
			     taken_file_name(f));
			return R_UNSUPPORTED;
		}
	} else {
		result = path_take(take, f, &name);
		f->named = name == f->link && !is_made_up(f);
	}
	if (result != R_OK)
		return result;
	reg_file_entry__init(reg);
	reg->id = f->id;
	reg->flags = f->flags;
	reg->pos = f->pos;
	reg->fown = &f->fown;
	reg->name = (char *)name;
	reg->has_mode = 1;
	reg->mode = f->st.st_mode;
	more->id = f->id;
	if (S_ISREG(f->st.st_mode)) {
		reg->has_size = 1;
		reg->size = (uint64_t)f->st.st_size;
		more->has_mtime_sec = more->has_mtime_nsec = 1;
		more->mtime_sec = f->st.st_mtim.tv_sec;
		more->mtime_nsec = f->st.st_mtim.tv_nsec;
	}
	more->has_dev = more->has_ino = 1;
	more->dev = f->st.st_dev;
	more->ino = f->st.st_ino;
	f->more = more;
	f->entry.reg = reg;
	return R_OK;
}

/* A file only appended to may have grown meanwhile, as a log does. */
static bool append_only(const RegFileEntry *reg)
{
	return (reg->flags & O_ACCMODE) == O_WRONLY && (reg->flags & O_APPEND);
}

static int check_path(const RegFileEntry *reg)
{
	struct stat st;

	if (lstat(reg->name, &st) != 0) {
		warn_errno("%s: needed by the restore; put it back and try again", reg->name);
		return R_FAILED;
	}
	if (reg->has_mode && (st.st_mode & S_IFMT) != (reg->mode & S_IFMT)) {
		warn("%s: is not the type of file it was (mode %o, then %o); put it back and try "
		     "again",
		     reg->name, st.st_mode, reg->mode);
		return R_FAILED;
	}
	if (!reg->has_size || (uint64_t)st.st_size == reg->size)
		return R_OK;
	if (append_only(reg) && (uint64_t)st.st_size >= reg->pos)
		return R_OK;
	warn(
	    "%s: has %lld bytes, had %llu when the generation was taken; put it back and try again",
	    reg->name, (long long)st.st_size, (unsigned long long)reg->size);
	return R_FAILED;
}

/* A regular file with a size: everything else has no contents to compare. */
static bool is_compared(struct fds_restore *restore, const RegFileEntry *reg)
{
	return S_ISREG(reg->mode) && reg->has_size && fds_restore_files(restore) &&
	       strncmp(reg->name, "/proc/", 6) != 0 && strncmp(reg->name, "/sys/", 5) != 0;
}

static int reg_load(struct fds_restore *restore)
{
	struct files_restore *files = fds_restore_files(restore);
	int result = remap_load(restore);

	return result == R_OK && files ? files_restore_load(files, restore) : result;
}

/* Later would be too late: what was to be replaced is gone then. */
static int check_access(const RegFileEntry *reg)
{
	static const int wanted[] = { READABLE, W_OK, READABLE | W_OK, 0 };
	int mode = wanted[reg->flags & O_ACCMODE];

	if (reg->flags & O_PATH || faccessat(AT_FDCWD, reg->name, mode, AT_EACCESS) == 0 ||
	    (errno != EACCES && errno != EROFS))
		return R_OK;
	warn_errno("%s: was open for %s, which you may not do; restore as root, or as its owner",
		   reg->name, mode & W_OK ? "writing" : "reading");
	return R_FAILED;
}

/* In images of CRIU's each end of a terminal has a path; it is there when its master is open. */
static bool is_path_of_slave(struct fds_restore *restore, const struct restored_file *f)
{
	uint32_t files_id;
	int fd;

	return strncmp(f->entry->reg->name, "/dev/pts/", 9) == 0 &&
	       !fds_restore_holder(restore, f->id, &files_id, &fd);
}

static int reg_check(struct fds_restore *restore, struct restored_file *f)
{
	const RegFileEntry *reg = f->entry->reg;
	pid_t pid;

	if (!reg) {
		warn("open file %u: its entry is empty; run 'snap verify'", f->id);
		return R_DAMAGED;
	}
	if (is_path_of_slave(restore, f))
		return R_OK;
	if (remap_known(restore, f->id))
		return remap_check(restore, f->id, reg->name);
	pid = proc_path_pid(reg->name);
	if (pid && fds_restore_has_pid(restore, pid)) {
		f->late = true;
		return R_OK;
	}
	if (check_access(reg) != R_OK)
		return R_FAILED;
	if (is_compared(restore, reg))
		return files_restore_check(fds_restore_files(restore), reg);
	/* Sizes of /proc files say nothing and their check does not hurt: they are zero. */
	return check_path(reg);
}

/* Flags that open(2) would act upon once more, or that are set when owners are known. */
static int open_flags(const RegFileEntry *reg)
{
	int flags = (int)reg->flags & ~(O_CREAT | O_EXCL | O_TRUNC | O_ASYNC);

	/* Only the path of a FIFO, whose own kind opens it. */
	if (S_ISFIFO(reg->mode))
		return O_PATH;

	if (!S_ISDIR(reg->mode))
		flags &= ~O_TMPFILE;
	if (flags & O_PATH)
		flags &= O_PATH | O_NOFOLLOW | O_DIRECTORY;
	return flags | O_NOCTTY;
}

static int reg_open(struct fds_restore *restore, struct restored_file *f)
{
	const RegFileEntry *reg = f->entry->reg;
	int fd;

	if (is_path_of_slave(restore, f))
		return R_OK;
	if (remap_known(restore, f->id)) {
		fd = remap_open(restore, f->id, reg->name, open_flags(reg));
		if (fd < 0)
			return R_FAILED;
	} else if (is_compared(restore, reg)) {
		fd = files_restore_open(fds_restore_files(restore), restore, reg, open_flags(reg));
		if (fd < 0)
			return R_FAILED;
	} else {
		fd = open(reg->name, open_flags(reg));
		if (fd < 0) {
			warn_errno("%s: cannot open it again", reg->name);
			return R_FAILED;
		}
	}
	if (fds_restore_adopt(restore, f, fd) != R_OK)
		return R_FAILED;
	if (reg->pos && !(reg->flags & O_PATH) && lseek(f->local, (off_t)reg->pos, SEEK_SET) < 0) {
		warn_errno("%s: cannot go to offset %llu", reg->name, (unsigned long long)reg->pos);
		return R_FAILED;
	}
	return R_OK;
}

static int reg_late(struct fds_restore *restore, struct restored_file *f,
		    const struct fds_task *tasks, size_t n)
{
	(void)tasks;
	(void)n;
	return reg_open(restore, f);
}

static void reg_done(struct fds_restore *restore)
{
	remap_done(restore);
	if (fds_restore_files(restore))
		files_restore_done(fds_restore_files(restore));
}

static void reg_describe(const FileEntry *entry, char *buf, size_t len)
{
	snprintf(buf, len, "%s at %llu", entry->reg->name, (unsigned long long)entry->reg->pos);
}

const struct fd_kind fd_kind_reg = {
	.name = "file",
	.type = FD_TYPES__REG,
	.probe = reg_probe,
	.dump = reg_dump,
	.dump_end = ghosts_take,
	.load = reg_load,
	.check = reg_check,
	.open = reg_open,
	.late = reg_late,
	.finish_all = remap_finish,
	.done = reg_done,
	.describe = reg_describe,
};
