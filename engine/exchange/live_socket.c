/* Sockets that wait for one peer. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/exchange/live_internal.h"

/* How long an interruption goes unnoticed. */
#define SLICE_MS 100

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static bool read_port(const char *text, in_port_t *port)
{
	unsigned long value;
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	value = strtoul(text, &end, 10);
	*port = htons((uint16_t)value);
	return *end == '\0' && value <= UINT16_MAX;
}

static bool read_v6(const char *host, const char *port, struct live_address *address)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&address->addr;

	in6->sin6_family = AF_INET6;
	address->len = sizeof(*in6);
	if (inet_pton(AF_INET6, host, &in6->sin6_addr) != 1 || !read_port(port, &in6->sin6_port))
		return false;
	address->loopback = IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
	return true;
}

static bool read_v4(const char *host, const char *port, struct live_address *address)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&address->addr;

	in->sin_family = AF_INET;
	address->len = sizeof(*in);
	if (strcmp(host, "localhost") == 0)
		host = "127.0.0.1";
	if (inet_pton(AF_INET, host, &in->sin_addr) != 1 || !read_port(port, &in->sin_port))
		return false;
	address->loopback = ntohl(in->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	return true;
}

static bool read_tcp(const char *text, struct live_address *address)
{
	const char *colon = strrchr(text, ':');
	char host[64];
	size_t len;

	if (!colon)
		return read_v4("localhost", text, address);
	len = (size_t)(colon - text);
	if (!len || len >= sizeof(host))
		return false;
	memcpy(host, text, len);
	host[len] = '\0';
	if (*host != '[')
		return read_v4(host, colon + 1, address);
	if (host[len - 1] != ']')
		return false;
	host[len - 1] = '\0';
	return read_v6(host + 1, colon + 1, address);
}

int live_address_read(const char *text, struct live_address *address)
{
	memset(address, 0, sizeof(*address));
	if (strncmp(text, "unix:", 5) == 0 || strchr(text, '/')) {
		address->path = strncmp(text, "unix:", 5) == 0 ? text + 5 : text;
		address->loopback = true;
		if (*address->path)
			return R_OK;
	} else if (read_tcp(text, address)) {
		return R_OK;
	}
	warn("\"%s\" is no address: use PORT, 127.0.0.1:PORT, [::1]:PORT or unix:PATH", text);
	return R_FAILED;
}

static int failed(struct listener *listener, const char *what)
{
	int rc = errno == EADDRINUSE ? R_BUSY : R_FAILED;

	warn_errno("%s: cannot %s", listener->where, what);
	listener->name[0] = '\0'; /* not ours to take away */
	listener_close(listener);
	return rc;
}

static int begin_listening(struct listener *listener, const struct sockaddr *addr, socklen_t len)
{
	if (bind(listener->fd, addr, len) != 0)
		return failed(listener, "take this address");
	if (listen(listener->fd, 1) != 0) {
		warn_errno("%s: cannot listen", listener->where);
		listener_close(listener);
		return R_FAILED;
	}
	note("waiting for criu at %s", listener->where);
	return R_OK;
}

static void name_tcp(struct listener *listener)
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);
	char host[INET6_ADDRSTRLEN] = "?";

	if (getsockname(listener->fd, (struct sockaddr *)&addr, &len) != 0)
		return;
	if (addr.ss_family == AF_INET) {
		const struct sockaddr_in *in = (struct sockaddr_in *)&addr;

		inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		snprintf(listener->where, sizeof(listener->where), "%s:%u", host,
			 ntohs(in->sin_port));
	} else {
		const struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&addr;

		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
		snprintf(listener->where, sizeof(listener->where), "[%s]:%u", host,
			 ntohs(in6->sin6_port));
	}
}

static int open_tcp(const struct live_address *address, struct listener *listener)
{
	int one = 1;

	*listener = (struct listener){ .dirfd = -1, .loopback = address->loopback };
	snprintf(listener->where, sizeof(listener->where), "the address of --page-server");
	listener->fd =
	    socket(address->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listener->fd < 0 ||
	    setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0)
		return failed(listener, "make a socket");
	if (bind(listener->fd, (const struct sockaddr *)&address->addr, address->len) != 0)
		return failed(listener, "take it");
	name_tcp(listener);
	if (listen(listener->fd, 1) != 0)
		return failed(listener, "listen");
	note("waiting for criu at %s", listener->where);
	return R_OK;
}

/* The file is the socket of somebody who listens, or of nobody any more, and goes then. */
static int make_room(struct listener *listener, const struct sockaddr_un *un)
{
	struct stat st;
	int fd, rc;

	if (fstatat(listener->dirfd, listener->name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return R_OK;
	if (!S_ISSOCK(st.st_mode)) {
		warn("%s is there, and no socket; it is left alone", listener->where);
		return R_FAILED;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	rc = fd < 0 ? -1 : connect(fd, (const struct sockaddr *)un, sizeof(*un));
	if (fd >= 0 && rc != 0 && errno == ECONNREFUSED) {
		note("%s: nobody listened there any more", listener->where);
		rc = unlinkat(listener->dirfd, listener->name, 0) == 0 ? R_OK : R_FAILED;
		if (rc != R_OK)
			warn_errno("%s", listener->where);
	} else {
		warn("%s: somebody listens there; give another one, or wait for its end",
		     listener->where);
		rc = R_BUSY;
	}
	if (fd >= 0)
		close(fd);
	return rc;
}

/* By way of /proc/self/fd, so that the path may be of any length; only our user may connect. */
static int open_unix(struct listener *listener)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	mode_t mask;
	int rc;

	listener->loopback = true;
	listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listener->fd < 0 ||
	    snprintf(un.sun_path, sizeof(un.sun_path), "/proc/self/fd/%d/%s", listener->dirfd,
		     listener->name) >= (int)sizeof(un.sun_path)) {
		errno = listener->fd < 0 ? errno : ENAMETOOLONG;
		return failed(listener, "make a socket");
	}
	rc = make_room(listener, &un);
	if (rc != R_OK) {
		listener->name[0] = '\0';
		listener_close(listener);
		return rc;
	}
	mask = umask(0177);
	rc = begin_listening(listener, (const struct sockaddr *)&un, sizeof(un));
	umask(mask);
	return rc;
}

int listener_open_at(int dirfd, const char *path, const char *name, struct listener *listener)
{
	*listener = (struct listener){ .fd = -1, .dirfd = fcntl(dirfd, F_DUPFD_CLOEXEC, 0) };
	snprintf(listener->where, sizeof(listener->where), "%s/%s", path, name);
	if (listener->dirfd < 0)
		return failed(listener, "open its folder");
	snprintf(listener->name, sizeof(listener->name), "%s", name);
	return open_unix(listener);
}

static int open_path(const char *path, struct listener *listener)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	char folder[PATH_MAX] = ".";

	*listener = (struct listener){ .fd = -1, .dirfd = -1 };
	snprintf(listener->where, sizeof(listener->where), "%s", path);
	if (slash)
		snprintf(folder, sizeof(folder), "%.*s", slash == path ? 1 : (int)(slash - path),
			 path);
	errno = EINVAL;
	if (!*name || strlen(name) >= sizeof(listener->name))
		return failed(listener, "make a socket of this name");
	listener->dirfd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (listener->dirfd < 0)
		return failed(listener, "open its folder");
	snprintf(listener->name, sizeof(listener->name), "%s", name);
	return open_unix(listener);
}

int listener_open(const struct live_address *address, struct listener *listener)
{
	return address->path ? open_path(address->path, listener) : open_tcp(address, listener);
}

void listener_close(struct listener *listener)
{
	if (listener->fd >= 0)
		close(listener->fd);
	if (listener->dirfd >= 0 && listener->name[0])
		unlinkat(listener->dirfd, listener->name, 0);
	if (listener->dirfd >= 0)
		close(listener->dirfd);
	listener->fd = listener->dirfd = -1;
	listener->name[0] = '\0';
}

int live_poll(struct pollfd *fds, size_t n, uint64_t timeout_s, const struct progress *progress)
{
	uint64_t end = now_ms() + timeout_s * 1000;

	for (;;) {
		int ready = poll(fds, n, SLICE_MS);

		if (ready > 0)
			return R_OK;
		if (ready < 0 && errno != EINTR) {
			warn_errno("cannot wait for a peer");
			return R_FAILED;
		}
		if (!progress_tell(progress, "waiting", 0, 0, PROGRESS_BYTES))
			return R_FAILED;
		if (timeout_s && now_ms() >= end)
			return R_NOT_FOUND;
	}
}

/*
 * Has it begun to speak?  Whoever only looks whether somebody listens (a second snap does, for a
 * socket that is there) goes without a word, and is no peer.  R_OK; R_NOT_FOUND, told; R_FAILED,
 * reported, or interrupted.
 */
static int hear(int fd, uint64_t timeout_s, const struct progress *progress)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	char first;
	int rc;

	timeout_s = timeout_s ? timeout_s : LIVE_SILENCE_S;
	rc = live_poll(&wait, 1, timeout_s, progress);
	if (rc == R_NOT_FOUND)
		warn("the peer sent nothing for %llu s: given up", (unsigned long long)timeout_s);
	if (rc != R_OK)
		return R_FAILED;
	if (recv(fd, &first, 1, MSG_PEEK) > 0)
		return R_OK;
	note("a peer left without a word; still waiting");
	return R_NOT_FOUND;
}

int listener_accept(struct listener *listener, uint64_t timeout_s, const struct progress *progress,
		    int *fd)
{
	struct pollfd wait = { .fd = listener->fd, .events = POLLIN };
	int one = 1, rc;

	for (;;) {
		rc = live_poll(&wait, 1, timeout_s, progress);
		if (rc == R_NOT_FOUND)
			warn("%s: nobody connected within %llu s", listener->where,
			     (unsigned long long)timeout_s);
		if (rc != R_OK)
			return R_FAILED;
		*fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (*fd < 0)
			continue; /* it is gone again */
		rc = R_NOT_FOUND;
		if (peer_is_ours(*fd, listener->loopback))
			rc = hear(*fd, timeout_s, progress);
		else
			note("%s: a peer of another user, or gone already, was turned away",
			     listener->where);
		if (rc == R_OK)
			break;
		close(*fd);
		if (rc == R_FAILED)
			return R_FAILED;
	}
	setsockopt(*fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	listener_close(listener);
	return R_OK;
}
