/* Terminals: what tty.c (take, files) and tty_state.c (settings, sessions) share. */
#ifndef SNAP_ENGINE_PROC_FDS_TTY_H
#define SNAP_ENGINE_PROC_FDS_TTY_H

#include "engine/proc/fds/fds.h"

/* One terminal being brought back. */
struct tty {
	const TtyInfoEntry *info;
	int master; /* a descriptor of our own; -1: not open */
};

struct ttys {
	struct tty *list;
	size_t n;
};

/* Asks terminal `fd` for its settings.  `take` gives the memory.  R_OK or R_FAILED (reported). */
int tty_settings_take(struct fds_take *take, const struct taken_file *f, TtyInfoEntry *info);

/* Gives terminal `fd` (a master) its settings. */
int tty_settings_restore(int fd, const TtyInfoEntry *info);

/* Makes it the controlling terminal of its session and sets its foreground group. */
int tty_session_restore(const struct tty *tty, const struct fds_task *tasks, size_t n);

#endif
