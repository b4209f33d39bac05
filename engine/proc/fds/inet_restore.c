/* TCP, UDP, UDP-Lite, ICMP and raw sockets over IPv4 and IPv6: the restore. */
#include "engine/proc/fds/sockets.h"

#include <errno.h>
#include <linux/tcp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/fds/tcp_repair.h"

socklen_t inet_address(const InetSkEntry *e, bool peer, union inet_address *a)
{
	const uint32_t *bytes = peer ? e->dst_addr : e->src_addr;
	uint16_t port = htons((uint16_t)(peer ? e->dst_port : e->src_port));

	memset(a, 0, sizeof(*a));
	a->any.sa_family = (sa_family_t)e->family;
	if (e->family == AF_INET) {
		a->v4.sin_port = port;
		memcpy(&a->v4.sin_addr, bytes, 4);
		return sizeof(a->v4);
	}
	a->v6.sin6_port = port;
	memcpy(&a->v6.sin6_addr, bytes, 16);
	if (e->ifname && IN6_IS_ADDR_LINKLOCAL(&a->v6.sin6_addr))
		a->v6.sin6_scope_id = if_nametoindex(e->ifname);
	return sizeof(a->v6);
}

static const char *address_text(const InetSkEntry *e, bool peer)
{
	static char text[INET6_ADDRSTRLEN + 16];
	char host[INET6_ADDRSTRLEN] = "?";

	inet_ntop((int)e->family, peer ? e->dst_addr : e->src_addr, host, sizeof(host));
	snprintf(text, sizeof(text), "%s port %u", host, peer ? e->dst_port : e->src_port);
	return text;
}

int inet_check(struct fds_restore *restore, struct restored_file *f)
{
	const InetSkEntry *e = f->entry->isk;
	size_t want;

	if (!e || !e->opts || !e->fown || (e->family != AF_INET && e->family != AF_INET6)) {
		warn("file %u: its socket is not described; run 'snap verify'", f->id);
		return R_DAMAGED;
	}
	want = e->family == AF_INET ? 1 : 4;
	if (e->n_src_addr != want || e->n_dst_addr != want) {
		warn("file %u: the addresses of its socket are not whole; run 'snap verify'",
		     f->id);
		return R_DAMAGED;
	}
	if (e->ifname && !if_nametoindex(e->ifname)) {
		warn("file %u: network interface %s of its socket is not there", f->id, e->ifname);
		return R_FAILED;
	}
	return multicast_check(sk_more_find(restore, f->id));
}

/* Ping sockets are for groups in a range of the kernel's; take one of them for a moment. */
static int ping_socket(const InetSkEntry *e)
{
	int fd = socket((int)e->family, SOCK_DGRAM | SOCK_CLOEXEC, (int)e->proto);
	unsigned low = 0, high = 0;
	gid_t own = getegid();
	FILE *range;
	int saved;

	if (fd >= 0 || errno != EACCES)
		return fd;
	range = fopen("/proc/sys/net/ipv4/ping_group_range", "re");
	if (!range)
		return -1;
	if (fscanf(range, "%u %u", &low, &high) != 2 || low > high || setegid(low)) {
		fclose(range);
		errno = EACCES;
		return -1;
	}
	fclose(range);
	fd = socket((int)e->family, SOCK_DGRAM | SOCK_CLOEXEC, (int)e->proto);
	saved = errno;
	if (setegid(own)) {
		warn_errno("cannot return to group %u", own);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	errno = saved;
	return fd;
}

static int new_socket(const InetSkEntry *e)
{
	int fd;

	if (e->type == SOCK_DGRAM && (e->proto == IPPROTO_ICMP || e->proto == IPPROTO_ICMPV6))
		fd = ping_socket(e);
	else
		fd = socket((int)e->family, (int)e->type | SOCK_CLOEXEC, (int)e->proto);
	if (fd < 0)
		warn_errno("file %u: cannot make a socket of type %u and IP protocol %u", e->id,
			   e->type, e->proto);
	return fd;
}

static bool is_zero(const uint32_t *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (words[i])
			return false;
	return true;
}

/*
 * Does another socket share the port of this one, which may have given its SO_REUSEPORT up since?
 * Then it is bound with it and gives it up when all are there.
 */
static bool port_shared(struct fds_restore *restore, const InetSkEntry *e)
{
	const struct sockets *s = fds_restore_kinds(restore)->sockets;

	for (size_t i = 0; i < s->n_reuseport; i++)
		if (s->reuseport[i]->src_port == e->src_port &&
		    s->reuseport[i]->proto == e->proto && s->reuseport[i]->id != e->id)
			return true;
	return false;
}

/*
 * The old connections of a killed server linger in TIME_WAIT, and options may have changed since
 * the socket was bound: so it is bound with SO_REUSEADDR (TCP) and IP_FREEBIND, whatever it says
 * later.
 */
static int bind_socket(struct fds_restore *restore, const InetSkEntry *e, int fd)
{
	union inet_address a;
	socklen_t len = inet_address(e, false, &a);
	int off = 0;

	if (e->has_v6only && e->type != SOCK_RAW &&
	    sk_set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, e->v6only))
		goto err;
	if (sk_opts_restore_early(fd, e->opts))
		goto err;
	/* The port of a raw socket is its protocol. */
	if ((!e->src_port || e->type == SOCK_RAW) && is_zero(e->src_addr, e->n_src_addr))
		return R_OK;
	if (e->type == SOCK_STREAM && sk_set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1))
		goto err;
	if (port_shared(restore, e) && sk_set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1))
		goto err;
	if (sk_set_int(fd, IPPROTO_IP, IP_FREEBIND, 1) && errno != ENOPROTOOPT && errno != EINVAL)
		goto err;
	if (e->type == SOCK_RAW) {
		a.v4.sin_port = 0;
		if (e->family == AF_INET6)
			a.v6.sin6_port = 0;
	}
	if (bind(fd, &a.any, len)) {
		warn_errno("file %u: cannot bind to %s again; end the process that has it", e->id,
			   address_text(e, false));
		return R_FAILED;
	}
	if (e->opts->has_reuseaddr && !e->opts->reuseaddr)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &off, sizeof(off));
	return R_OK;
err:
	warn_errno("file %u: cannot prepare its socket for %s", e->id, address_text(e, false));
	return R_FAILED;
}

static int set_ip_opts(const InetSkEntry *e, int fd)
{
	const IpOptsEntry *o = e->ip_opts;
	bool v6 = e->family == AF_INET6;

	if (!o)
		return R_OK;
	/* Images of CRIU's do not tell what is off, and bind_socket() has turned this on. */
	if (!o->has_freebind && sk_set_int(fd, IPPROTO_IP, IP_FREEBIND, 0) &&
	    errno != ENOPROTOOPT && errno != EINVAL)
		goto err;
	/* On IPv6 the IPv4 options tell what to do with mapped addresses. */
	if ((o->has_freebind && sk_set_int(fd, IPPROTO_IP, IP_FREEBIND, o->freebind)) ||
	    (o->has_pktinfo && o->pktinfo && sk_set_int(fd, IPPROTO_IP, IP_PKTINFO, 1)) ||
	    (o->has_tos && o->tos && sk_set_int(fd, IPPROTO_IP, IP_TOS, (int)o->tos)) ||
	    (o->has_ttl && (int)o->ttl != sk_get_int(fd, IPPROTO_IP, IP_TTL, 0) &&
	     sk_set_int(fd, IPPROTO_IP, IP_TTL, (int)o->ttl)))
		goto err;
	if (!o->raw)
		return R_OK;
	if ((o->raw->hdrincl &&
	     sk_set_int(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_HDRINCL : IP_HDRINCL, 1)) ||
	    (o->raw->nodefrag && sk_set_int(fd, IPPROTO_IP, IP_NODEFRAG, 1)))
		goto err;
	if (o->raw->n_icmpv_filter &&
	    setsockopt(fd, v6 ? IPPROTO_ICMPV6 : IPPROTO_RAW, 1, o->raw->icmpv_filter,
		       (socklen_t)(o->raw->n_icmpv_filter * sizeof(uint32_t))))
		goto err;
	return R_OK;
err:
	warn_errno("file %u: cannot set the IP options of its socket again", e->id);
	return R_FAILED;
}

static int set_tcp_opts(const InetSkEntry *e, int fd)
{
	const TcpOptsEntry *o = e->tcp_opts;

	if (!o)
		return R_OK;
	if ((o->nodelay && sk_set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1)) ||
	    (o->cork && sk_set_int(fd, IPPROTO_TCP, TCP_CORK, 1)) ||
	    (o->has_keepcnt && o->keepcnt &&
	     sk_set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, (int)o->keepcnt)) ||
	    (o->has_keepidle && o->keepidle &&
	     sk_set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, (int)o->keepidle)) ||
	    (o->has_keepintvl && o->keepintvl &&
	     sk_set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, (int)o->keepintvl))) {
		warn_errno("file %u: cannot set the TCP options of its socket again", e->id);
		return R_FAILED;
	}
	return R_OK;
}

static int connect_socket(const InetSkEntry *e, int fd)
{
	static const int how[] = { -1, SHUT_RD, SHUT_WR, SHUT_RDWR };
	union inet_address a;
	socklen_t len = inet_address(e, true, &a);
	uint32_t down = e->has_shutdown ? (uint32_t)e->shutdown & 3 : 0;

	if (e->state == SK_LISTEN && listen(fd, (int)e->backlog)) {
		warn_errno("file %u: cannot listen at %s again; end the process that does", e->id,
			   address_text(e, false));
		return R_FAILED;
	}
	if (e->type == SOCK_STREAM)
		return R_OK;
	if (e->state == SK_ESTABLISHED && connect(fd, &a.any, len)) {
		warn_errno("file %u: cannot connect to %s again", e->id, address_text(e, true));
		return R_FAILED;
	}
	/* On an unconnected socket it works and complains all the same. */
	if (down && shutdown(fd, how[down]) && errno != ENOTCONN) {
		warn_errno("file %u: cannot shut its socket down again", e->id);
		return R_FAILED;
	}
	return R_OK;
}

static bool is_kept(const InetSkEntry *e, const SnapSocketEntry *more)
{
	return e->type == SOCK_STREAM && e->state != SK_CLOSE && e->state != SK_LISTEN &&
	       !(more && more->reset);
}

static int set_options(const InetSkEntry *e, int fd, const SnapSocketEntry *more)
{
	if (set_ip_opts(e, fd) || (e->type == SOCK_STREAM && set_tcp_opts(e, fd)))
		return R_FAILED;
	if (multicast_restore(fd, more))
		return R_FAILED;
	return sk_opts_restore(fd, e->id, e->opts, more);
}

int inet_open(struct fds_restore *restore, struct restored_file *f)
{
	const InetSkEntry *e = f->entry->isk;
	const SnapSocketEntry *more = sk_more_find(restore, f->id);
	bool fresh = false;
	int fd;

	if (more && more->reset) {
		fd = tcp_open_reset(e, more->reset_told);
	} else if (is_kept(e, more)) {
		fd = tcp_open_kept(restore, e);
	} else {
		fd = new_socket(e);
		fresh = true;
	}
	if (fd < 0)
		return R_FAILED;
	if (fresh && (bind_socket(restore, e, fd) || connect_socket(e, fd)))
		goto err;
	/* While under repair a connection may share its port, whatever its options say. */
	if (!is_kept(e, more) && set_options(e, fd, more))
		goto err;
	if (fresh && port_shared(restore, e) && sk_set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1))
		goto err;
	if (more && more->awaited)
		note("file %u: %u TCP connections that awaited accept at %s are closed", e->id,
		     more->awaited, address_text(e, false));
	return fds_restore_adopt_as(restore, f, fd, e->flags, -1);
err:
	close(fd);
	return R_FAILED;
}

int inet_finish(struct fds_restore *restore, struct restored_file *f, const struct fds_task *task,
		int fd)
{
	const InetSkEntry *e = f->entry->isk;
	const SnapSocketEntry *more = sk_more_find(restore, f->id);
	int r;

	(void)task, (void)fd;
	if (!is_kept(e, more)) {
		if (!e->opts->so_reuseport && port_shared(restore, e))
			sk_set_int(f->local, SOL_SOCKET, SO_REUSEPORT, 0);
		return R_OK;
	}
	r = tcp_resume(restore, f->local, e);
	fds_restore_kinds(restore)->tcp_resumed = true;
	return r ? r : set_options(e, f->local, more);
}

int inet_finish_all(struct fds_restore *restore, const struct fds_task *tasks, size_t n)
{
	(void)tasks, (void)n;
	if (fds_restore_kinds(restore)->tcp_resumed)
		tcp_unlock_all(fds_restore_root(restore));
	return R_OK;
}
