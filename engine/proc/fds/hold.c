/* What is decided about connections at a take, and those that wait for the end of their tree. */
#include "engine/proc/fds/fds_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/fds/sockets.h"
#include "engine/proc/fds/tcp_repair.h"

struct fds_hold {
	pid_t root;
	int *fds;
	size_t n, room;
};

void fds_take_set_tcp(struct fds_take *take, enum tcp_policy policy, bool ends)
{
	take->tcp = policy;
	take->ends = ends;
}

enum tcp_policy fds_take_tcp(struct fds_take *take)
{
	return take->tcp;
}

bool fds_take_ends(struct fds_take *take)
{
	return take->ends;
}

int fds_take_hold_tcp(struct fds_take *take, int local)
{
	int fd;

	if (!take->hold)
		take->hold = calloc(1, sizeof(*take->hold));
	if (!take->hold) {
		warn_errno("no memory for a list of connections");
		return R_FAILED;
	}
	take->hold->root = fds_take_root(take);
	if (grow(&take->hold->fds, take->hold->n, &take->hold->room, sizeof(int)))
		return R_FAILED;
	fd = fcntl(local, F_DUPFD_CLOEXEC, 0);
	if (fd < 0) {
		warn_errno("no descriptor for a connection");
		return R_FAILED;
	}
	take->hold->fds[take->hold->n++] = fd;
	return R_OK;
}

struct fds_hold *fds_take_hold(struct fds_take *take)
{
	struct fds_hold *hold = take->hold;

	take->hold = NULL;
	return hold;
}

/* Ends the lock of a connection by asking the socket who is at its ends. */
static void unlock(pid_t root, int fd)
{
	InetSkEntry e = INET_SK_ENTRY__INIT;
	union inet_address own, peer;
	socklen_t own_len = sizeof(own), peer_len = sizeof(peer);
	bool v6;

	if (getsockname(fd, &own.any, &own_len) || getpeername(fd, &peer.any, &peer_len))
		return;
	v6 = own.any.sa_family == AF_INET6;
	e.family = own.any.sa_family;
	e.src_addr = v6 ? (uint32_t *)&own.v6.sin6_addr : (uint32_t *)&own.v4.sin_addr;
	e.dst_addr = v6 ? (uint32_t *)&peer.v6.sin6_addr : (uint32_t *)&peer.v4.sin_addr;
	e.src_port = ntohs(v6 ? own.v6.sin6_port : own.v4.sin_port);
	e.dst_port = ntohs(v6 ? peer.v6.sin6_port : peer.v4.sin_port);
	tcp_unlock(root, &e);
}

void fds_hold_end(struct fds_hold *hold, bool ended)
{
	if (!hold)
		return;
	for (size_t i = 0; i < hold->n; i++) {
		if (!ended) {
			unlock(hold->root, hold->fds[i]);
			if (sk_set_int(hold->fds[i], IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP))
				warn_errno("a TCP connection cannot be brought back to life");
		}
		close(hold->fds[i]);
	}
	free(hold->fds);
	free(hold);
}
