/*
 * A TCP socket that its peer has reset.  It is made by a real reset: the socket connects to a
 * listener of ours at the same address, which closes the connection without lingering.
 */
#include "engine/proc/fds/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"

/* More than a loopback connection ever takes. */
#define CONNECT_MS 2000

/* Binds although others have the port: the accepted sockets of a server share it with its listener.
 * Only a socket under repair may. */
static int bind_shared(int fd, const union inet_address *a, socklen_t len)
{
	int r;

	if (sk_set_int(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON))
		return R_FAILED;
	r = bind(fd, &a->any, len);
	if (sk_set_int(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP))
		return R_FAILED;
	return r ? R_FAILED : R_OK;
}

static void without_port(union inet_address *a)
{
	if (a->any.sa_family == AF_INET)
		a->v4.sin_port = 0;
	else
		a->v6.sin6_port = 0;
}

static bool is_any(const union inet_address *a)
{
	return a->any.sa_family == AF_INET ? a->v4.sin_addr.s_addr == htonl(INADDR_ANY)
					   : IN6_IS_ADDR_UNSPECIFIED(&a->v6.sin6_addr);
}

static void to_loopback(union inet_address *a)
{
	if (a->any.sa_family == AF_INET)
		a->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		a->v6.sin6_addr = in6addr_loopback;
}

/* A listener at an address of this machine, at any port; -1 if it has no such address. */
static int listener_at(union inet_address *a, socklen_t len)
{
	socklen_t got = sizeof(*a);
	int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	without_port(a);
	if (fd >= 0 && !bind(fd, &a->any, len) && !listen(fd, 8) && !getsockname(fd, &a->any, &got))
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static bool same_peer(const union inet_address *a, const union inet_address *b)
{
	return a->any.sa_family == AF_INET
		   ? a->v4.sin_port == b->v4.sin_port &&
			 a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr
		   : a->v6.sin6_port == b->v6.sin6_port &&
			 IN6_ARE_ADDR_EQUAL(&a->v6.sin6_addr, &b->v6.sin6_addr);
}

/* Accepts connections and resets them until that of `fd` was among them. */
static int reset_by(int listener, int fd)
{
	struct linger now = { 1, 0 };
	struct pollfd p = { listener, POLLIN, 0 }, done = { fd, POLLRDHUP, 0 };
	union inet_address own, peer;
	bool ours = false;

	while (!ours) {
		socklen_t own_len = sizeof(own), peer_len = sizeof(peer);
		int a;

		if (poll(&p, 1, CONNECT_MS) != 1)
			return R_FAILED;
		a = accept4(listener, &peer.any, &peer_len, SOCK_CLOEXEC);
		if (a < 0)
			return R_FAILED;
		ours = !getsockname(fd, &own.any, &own_len) && same_peer(&own, &peer);
		setsockopt(a, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		close(a);
	}
	return poll(&done, 1, CONNECT_MS) == 1 ? R_OK : R_FAILED;
}

int tcp_open_reset(const InetSkEntry *e, bool told)
{
	union inet_address own, at;
	socklen_t len = inet_address(e, false, &own);
	int fd = socket((int)e->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
	int listener;

	at = own;
	if (is_any(&at))
		to_loopback(&at);
	listener = listener_at(&at, len);
	if (listener < 0) {
		/* The old address is gone from this machine. */
		own = at;
		without_port(&own);
		to_loopback(&own);
		at = own;
		listener = listener_at(&at, len);
	}
	if (fd < 0 || listener < 0)
		goto err;
	if (bind_shared(fd, &own, len) && errno != EADDRINUSE)
		goto err;
	if (connect(fd, &at.any, len) && errno != EINPROGRESS)
		goto err;
	if (reset_by(listener, fd))
		goto err;
	close(listener);
	if (told)
		sk_get_int(fd, SOL_SOCKET, SO_ERROR, 0);
	/* Blocking again; the flags of the entry are set later. */
	if (fcntl(fd, F_SETFL, 0))
		goto err_fd;
	return fd;
err:
	if (listener >= 0)
		close(listener);
err_fd:
	warn_errno("file %u: cannot make a TCP connection that is reset", e->id);
	if (fd >= 0)
		close(fd);
	return -1;
}
