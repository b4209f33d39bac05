#include "engine/proc/fds/fds.h"

#include <stddef.h>

/* Asked in this order at a take; files with a path come last, as any kind may have one.  One a
 * line.
 */
/* clang-format off */
const struct fd_kind *const fd_kinds[] = {
	/* First, because descriptors in flight become files of every kind. */
	&fd_kind_unix,
	&fd_kind_inet,
	&fd_kind_netlink,
	&fd_kind_packet,
	&fd_kind_eventfd,
	&fd_kind_timerfd,
	&fd_kind_signalfd,
	&fd_kind_epoll,
	&fd_kind_memfd,
	&fd_kind_inotify,
	&fd_kind_pidfd,
	&fd_kind_tty,
	&fd_kind_ns,
	&fd_kind_pipe,
	&fd_kind_fifo,
	&fd_kind_reg,
	NULL,
};
/* clang-format on */
