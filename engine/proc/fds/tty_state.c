#include "engine/proc/fds/tty.h"

#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/trace.h"

/* Of the kernel's asm/ioctls.h: termios with its speeds as numbers. */
#define GET_TERMIOS2 _IOR('T', 0x2A, struct termios2)
#define SET_TERMIOS2 _IOW('T', 0x2B, struct termios2)

static TermiosEntry *take_termios(struct fds_take *take, const struct termios2 *from)
{
	TermiosEntry *entry = fds_take_alloc(take, sizeof(*entry));

	if (!entry)
		return NULL;
	termios_entry__init(entry);
	entry->c_iflag = from->c_iflag;
	entry->c_oflag = from->c_oflag;
	entry->c_cflag = from->c_cflag;
	entry->c_lflag = from->c_lflag;
	entry->c_line = from->c_line;
	entry->c_ispeed = from->c_ispeed;
	entry->c_ospeed = from->c_ospeed;
	entry->c_cc = fds_take_alloc(take, NCCS * sizeof(uint32_t));
	if (!entry->c_cc)
		return NULL;
	entry->n_c_cc = NCCS;
	for (int i = 0; i < NCCS; i++)
		entry->c_cc[i] = from->c_cc[i];
	return entry;
}

int tty_settings_take(struct fds_take *take, const struct taken_file *f, TtyInfoEntry *info)
{
	struct termios2 now;
	struct winsize size;
	int on;

	if (ioctl(f->local, GET_TERMIOS2, &now) != 0 || ioctl(f->local, TIOCGWINSZ, &size) != 0) {
		warn_errno("%s: cannot ask the terminal for its settings", taken_file_name(f));
		return R_FAILED;
	}
	info->termios = take_termios(take, &now);
	info->winsize = fds_take_alloc(take, sizeof(*info->winsize));
	if (!info->termios || !info->winsize)
		return R_FAILED;
	winsize_entry__init(info->winsize);
	info->winsize->ws_row = size.ws_row;
	info->winsize->ws_col = size.ws_col;
	info->winsize->ws_xpixel = size.ws_xpixel;
	info->winsize->ws_ypixel = size.ws_ypixel;
	if (ioctl(f->local, TIOCGPTLCK, &on) == 0)
		info->locked = on;
	if (ioctl(f->local, TIOCGEXCL, &on) == 0)
		info->exclusive = on;
	if (ioctl(f->local, TIOCGPKT, &on) == 0)
		info->packet_mode = on;
	return R_OK;
}

/* Images of CRIU's have the bytes packed into the first words. */
static cc_t character(const TtyInfoEntry *info, size_t i)
{
	const TermiosEntry *entry = info->termios;

	if (!info->termios_locked)
		return i < entry->n_c_cc ? (cc_t)entry->c_cc[i] : 0;
	return i / 4 < entry->n_c_cc ? (cc_t)(entry->c_cc[i / 4] >> i % 4 * 8) : 0;
}

static int set_termios(int fd, const TtyInfoEntry *info)
{
	const TermiosEntry *entry = info->termios;
	struct termios2 want = { 0 };

	want.c_iflag = entry->c_iflag;
	want.c_oflag = entry->c_oflag;
	want.c_cflag = entry->c_cflag;
	want.c_lflag = entry->c_lflag;
	want.c_line = (cc_t)entry->c_line;
	want.c_ispeed = entry->c_ispeed;
	want.c_ospeed = entry->c_ospeed;
	for (size_t i = 0; i < NCCS; i++)
		want.c_cc[i] = character(info, i);
	return ioctl(fd, SET_TERMIOS2, &want);
}

int tty_settings_restore(int fd, const TtyInfoEntry *info)
{
	int locked = info->locked, packet = info->packet_mode;

	if (info->termios && set_termios(fd, info) != 0)
		goto err0;
	if (info->winsize) {
		struct winsize size = {
			.ws_row = (unsigned short)info->winsize->ws_row,
			.ws_col = (unsigned short)info->winsize->ws_col,
			.ws_xpixel = (unsigned short)info->winsize->ws_xpixel,
			.ws_ypixel = (unsigned short)info->winsize->ws_ypixel,
		};

		if (ioctl(fd, TIOCSWINSZ, &size) != 0)
			goto err0;
	}
	if (packet && ioctl(fd, TIOCPKT, &packet) != 0)
		goto err0;
	if (ioctl(fd, TIOCSPTLCK, &locked) != 0 || (info->exclusive && ioctl(fd, TIOCEXCL) != 0))
		goto err0;
	return R_OK;

err0:
	warn_errno("terminal %u: cannot give it its settings", info->id);
	return R_FAILED;
}

/* The leader opens the terminal, which makes it the session's; its path and group are arguments. */
static int claim(const struct fds_task *leader, const TtyInfoEntry *info)
{
	struct {
		int32_t group;
		char path[32];
	} args = { .group = (int32_t)info->pgrp };
	uint64_t at = leader->site->data;
	int64_t fd, ret;
	int result;

	snprintf(args.path, sizeof(args.path), "/dev/pts/%u", info->pty->index);
	if (trace_write(leader->pid, at, &args, sizeof(args)) != R_OK) {
		warn_errno("pid %d: cannot write to it", (int)leader->pid);
		return R_FAILED;
	}
	if (fds_call(leader, "open of its controlling terminal", &fd, SYS_open,
		     at + offsetof(typeof(args), path), O_RDWR, 0) != R_OK)
		return R_FAILED;
	result = fds_call(leader, "TIOCSCTTY of its controlling terminal", &ret, SYS_ioctl,
			  (uint64_t)fd, TIOCSCTTY, 0);
	if (result == R_OK && info->pgrp)
		result = fds_call(leader, "TIOCSPGRP of its controlling terminal", &ret, SYS_ioctl,
				  (uint64_t)fd, TIOCSPGRP, at + offsetof(typeof(args), group));
	if (fds_call(leader, "close of its controlling terminal", &ret, SYS_close, (uint64_t)fd, 0,
		     0) != R_OK)
		return R_FAILED;
	return result;
}

int tty_session_restore(const struct tty *tty, const struct fds_task *tasks, size_t n)
{
	const TtyInfoEntry *info = tty->info;
	int unlock = 0, locked = info->locked;

	if (info->sid == 0 || !info->pty)
		return R_OK;
	for (size_t i = 0; i < n; i++) {
		int result;

		if (tasks[i].pid != (pid_t)info->sid)
			continue;
		if (ioctl(tty->master, TIOCSPTLCK, &unlock) != 0)
			return R_FAILED;
		result = claim(&tasks[i], info);
		return ioctl(tty->master, TIOCSPTLCK, &locked) == 0 ? result : R_FAILED;
	}
	detail("terminal %u: the leader of its session %u is gone", info->id, info->sid);
	return R_OK;
}
