/*
 * Terminals of the target's own: pseudo terminals whose master some task of the tree holds.  The
 * terminal of the user who started the target is refused: nobody could say who holds it later.
 */
#include "engine/proc/fds/tty.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"

#define SLAVE_MAJOR 136
#define SLAVE_MAJOR_LAST 143
/* Of asm/ioctls.h: the device of the terminal behind, /dev/tty looked through. */
#define GET_DEVICE _IOR('T', 0x32, unsigned int)

static bool is_master(dev_t dev)
{
	return major(dev) == 5 && minor(dev) == 2;
}

static bool is_slave(dev_t dev)
{
	return major(dev) >= SLAVE_MAJOR && major(dev) <= SLAVE_MAJOR_LAST;
}

static uint32_t slave_index(dev_t dev)
{
	return (uint32_t)((major(dev) - SLAVE_MAJOR) << 8 | minor(dev));
}

static bool tty_probe(const struct taken_file *f)
{
	unsigned int number;

	return S_ISCHR(f->st.st_mode) && !(f->flags & O_PATH) && !f->path_only &&
	       ioctl(f->local, GET_DEVICE, &number) == 0;
}

/* The index of the pseudo terminal behind, -1 if it is none. */
static int pty_index(const struct taken_file *f)
{
	unsigned int number;

	if (is_master(f->st.st_rdev))
		return ioctl(f->local, TIOCGPTN, &number) == 0 ? (int)number : -1;
	if (ioctl(f->local, GET_DEVICE, &number) != 0)
		return -1;
	/* The kernel's packed form of small numbers. */
	dev_t dev = makedev((number >> 8) & 0xfff, (number & 0xff) | ((number >> 12) & 0xfff00));

	return is_slave(dev) ? (int)slave_index(dev) : -1;
}

static int tty_dump(struct fds_take *take, struct taken_file *f)
{
	TtyFileEntry *tty = fds_take_alloc(take, sizeof(*tty));
	int index = pty_index(f), waiting = 0;

	if (!tty)
		return R_FAILED;
	if (index < 0) {
		warn("%s: a terminal that is no pseudo terminal cannot be snapshotted",
		     taken_file_name(f));
		return R_UNSUPPORTED;
	}
	if (ioctl(f->local, FIONREAD, &waiting) == 0 && waiting > 0) {
		warn("%s: the terminal has %d bytes not yet read, which cannot be kept; try again "
		     "when they are",
		     taken_file_name(f), waiting);
		return R_UNSUPPORTED;
	}
	tty_file_entry__init(tty);
	tty->id = f->id;
	tty->tty_info_id = (uint32_t)index + 1;
	tty->flags = f->flags;
	tty->fown = &f->fown;
	f->entry.tty = tty;
	if (!is_master(f->st.st_rdev))
		return R_OK;
	/* The path of a master tells it from a slave; nobody opens a terminal by it. */
	struct taken_file path = *f;

	path.path_only = true;
	path.flags |= O_PATH;
	tty->has_regf_id = 1;
	return fds_take_twin(take, &path, &fd_kind_reg, &tty->regf_id);
}

static int master_of(struct taken_file *f, void *arg)
{
	struct taken_file *slave = arg;

	return f->kind == &fd_kind_tty && f->entry.tty && is_master(f->st.st_rdev) &&
	       f->entry.tty->tty_info_id == slave->entry.tty->tty_info_id;
}

static int put_info(struct fds_take *take, const struct taken_file *master)
{
	TtyInfoEntry info = TTY_INFO_ENTRY__INIT;
	TtyPtyEntry pty = TTY_PTY_ENTRY__INIT;
	char path[32];
	struct stat st;
	pid_t id;

	pty.index = master->entry.tty->tty_info_id - 1;
	info.id = master->entry.tty->tty_info_id;
	info.type = TTY_TYPE__PTY;
	info.pty = &pty;
	info.rdev = (uint32_t)makedev(SLAVE_MAJOR + (pty.index >> 8), pty.index & 0xff);
	if (tty_settings_take(take, master, &info) != R_OK)
		return R_FAILED;
	if (ioctl(master->local, TIOCGSID, &id) == 0 && id > 0)
		info.sid = (uint32_t)id;
	if (info.sid && ioctl(master->local, TIOCGPGRP, &id) == 0 && id > 0)
		info.pgrp = (uint32_t)id;
	snprintf(path, sizeof(path), "/dev/pts/%u", pty.index);
	if (stat(path, &st) == 0) {
		info.has_uid = info.has_gid = info.has_dev = 1;
		info.uid = st.st_uid;
		info.gid = st.st_gid;
		info.dev = (uint32_t)st.st_dev;
	}
	fds_take_put(take, IMAGE_TTY_INFO, &info.base, NULL, 0);
	return R_OK;
}

static int finish_terminal(struct taken_file *f, void *arg)
{
	struct fds_take *take = arg;
	bool fresh;

	if (f->kind != &fd_kind_tty || !f->entry.tty)
		return R_OK;
	if (is_master(f->st.st_rdev)) {
		fds_take_inode_id(take, "tty", 0, f->entry.tty->tty_info_id, &fresh);
		return fresh ? put_info(take, f) : R_OK;
	}
	if (fds_take_each(take, master_of, f))
		return R_OK;
	warn("%s: is a terminal held by a program outside the tree; start the target with 'snap "
	     "run', "
	     "or with its input and output in files",
	     taken_file_name(f));
	return R_UNSUPPORTED;
}

static int tty_dump_end(struct fds_take *take)
{
	return fds_take_each(take, finish_terminal, take);
}

static int load_info(struct fds_restore *restore, const ProtobufCMessage *message,
		     const void *payload, size_t bytes)
{
	struct ttys *ttys = fds_restore_kinds(restore)->ttys;
	struct tty *more = realloc(ttys->list, (ttys->n + 1) * sizeof(*more));

	(void)payload;
	(void)bytes;
	if (!more) {
		warn("no memory for the list of terminals; free some and try again");
		return R_FAILED;
	}
	ttys->list = more;
	ttys->list[ttys->n++] = (struct tty){ .info = (const TtyInfoEntry *)message, .master = -1 };
	return R_OK;
}

static int tty_load(struct fds_restore *restore)
{
	struct fds_restore_kinds *kinds = fds_restore_kinds(restore);

	kinds->ttys = calloc(1, sizeof(*kinds->ttys));
	if (!kinds->ttys) {
		warn("no memory for the list of terminals; free some and try again");
		return R_FAILED;
	}
	return fds_restore_each(restore, IMAGE_TTY_INFO, NULL, load_info);
}

static bool ends_in_ptmx(const char *path)
{
	size_t len = strlen(path);

	return len >= 5 && strcmp(path + len - 5, "/ptmx") == 0;
}

static bool is_pair(const struct tty *tty)
{
	return tty->info->type == TTY_TYPE__PTY && tty->info->pty;
}

/* In images of CRIU's the two ends have an entry each, the first of which stands for both here. */
static struct tty *find_tty(struct fds_restore *restore, const struct restored_file *f)
{
	struct ttys *ttys = fds_restore_kinds(restore)->ttys;
	const struct tty *own = NULL;

	for (size_t i = 0; ttys && f->entry->tty && i < ttys->n; i++)
		if (ttys->list[i].info->id == f->entry->tty->tty_info_id)
			own = &ttys->list[i];
	for (size_t i = 0; own && is_pair(own) && i < ttys->n; i++)
		if (is_pair(&ttys->list[i]) &&
		    ttys->list[i].info->pty->index == own->info->pty->index)
			return &ttys->list[i];
	return NULL;
}

/* Only masters have a path, or, in images of CRIU's, one that is no slave's. */
static bool was_master(struct fds_restore *restore, const TtyFileEntry *entry)
{
	const char *path;

	if (!entry->has_regf_id || !entry->regf_id)
		return false;
	path = fds_restore_path(restore, entry->regf_id);
	return !path || !strstr(path, "/pts/") || ends_in_ptmx(path);
}

static int tty_check(struct fds_restore *restore, struct restored_file *f)
{
	if (find_tty(restore, f))
		return R_OK;
	warn("open file %u: its terminal is not in the images, or not a pseudo terminal", f->id);
	return R_UNSUPPORTED;
}

/* Indexes are given lowest first: masters are opened until the one wanted comes. */
static int open_master(uint32_t index)
{
	int extra[4096], n = 0, fd;
	unsigned int got = 0;

	for (;;) {
		fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
		if (fd < 0 || ioctl(fd, TIOCGPTN, &got) != 0 || got >= index ||
		    n == (int)(sizeof(extra) / sizeof(extra[0])))
			break;
		extra[n++] = fd;
	}
	while (n > 0)
		close(extra[--n]);
	if (fd >= 0 && got == index)
		return fd;
	if (fd >= 0)
		close(fd);
	warn("/dev/pts/%u: is in use; end the program that has it and try again", index);
	return -1;
}

static int make_terminal(struct fds_restore *restore, struct tty *tty)
{
	char path[32];
	int unlock = 0, fd = open_master(tty->info->pty->index);

	if (fd < 0)
		return R_FAILED;
	tty->master = fds_restore_high(restore, fd);
	snprintf(path, sizeof(path), "/dev/pts/%u", tty->info->pty->index);
	if (tty->master >= 0 && ioctl(tty->master, TIOCSPTLCK, &unlock) == 0 &&
	    (!tty->info->has_uid || chown(path, tty->info->uid, tty->info->gid) == 0))
		return R_OK;
	warn_errno("%s: cannot make it again", path);
	return R_FAILED;
}

static int tty_open(struct fds_restore *restore, struct restored_file *f)
{
	const TtyFileEntry *entry = f->entry->tty;
	struct tty *tty = find_tty(restore, f);
	bool master = was_master(restore, entry);
	char path[64];
	int fd;

	if (tty->master < 0 && make_terminal(restore, tty) != R_OK)
		return R_FAILED;
	snprintf(path, sizeof(path), "/dev/pts/%u", tty->info->pty->index);
	/* Opening a master by its link would make a new terminal. */
	fd = master ? fcntl(tty->master, F_DUPFD_CLOEXEC, 0)
		    : open(path,
			   (int)(entry->flags & (O_ACCMODE | O_NONBLOCK)) | O_NOCTTY | O_CLOEXEC);
	if (fd < 0) {
		warn_errno("%s: cannot open it again", path);
		return R_FAILED;
	}
	return fds_restore_adopt_as(restore, f, fd, entry->flags, 0);
}

static int tty_finish_all(struct fds_restore *restore, const struct fds_task *tasks, size_t n)
{
	struct ttys *ttys = fds_restore_kinds(restore)->ttys;

	for (size_t i = 0; ttys && i < ttys->n; i++) {
		if (ttys->list[i].master < 0)
			continue;
		/* In this order: a session that had the terminal would be told of a new size. */
		if (tty_settings_restore(ttys->list[i].master, ttys->list[i].info) != R_OK ||
		    tty_session_restore(&ttys->list[i], tasks, n) != R_OK)
			return R_FAILED;
	}
	return R_OK;
}

static void tty_done(struct fds_restore *restore)
{
	struct fds_restore_kinds *kinds = fds_restore_kinds(restore);

	for (size_t i = 0; kinds->ttys && i < kinds->ttys->n; i++) {
		if (kinds->ttys->list[i].master >= 0)
			close(kinds->ttys->list[i].master);
	}
	if (kinds->ttys)
		free(kinds->ttys->list);
	free(kinds->ttys);
	kinds->ttys = NULL;
}

static void tty_describe(const FileEntry *entry, char *buf, size_t len)
{
	snprintf(buf, len, "pts/%u", entry->tty->tty_info_id - 1);
}

const struct fd_kind fd_kind_tty = {
	.name = "terminal",
	.type = FD_TYPES__TTY,
	.probe = tty_probe,
	.dump = tty_dump,
	.dump_end = tty_dump_end,
	.load = tty_load,
	.check = tty_check,
	.open = tty_open,
	.finish_all = tty_finish_all,
	.done = tty_done,
	.describe = tty_describe,
};
