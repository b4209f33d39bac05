#include "engine/proc/fds/sockets.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"

#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK 72
#endif
#ifndef SO_RESERVE_MEM
#define SO_RESERVE_MEM 73
#endif
#ifndef SO_TXREHASH
#define SO_TXREHASH 74
#endif
#ifndef SO_RCVMARK
#define SO_RCVMARK 75
#endif
#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif
#ifndef SO_PREFER_BUSY_POLL
#define SO_PREFER_BUSY_POLL 69
#endif
#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51
#endif
#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif

/*
 * Options that CRIU's images have no field for and that are set with the very bytes they are read
 * as.  Those that differ from a new socket's are kept; order matters where one needs another.
 */
static const struct symmetric {
	int level, name;
} symmetric[] = {
	{ SOL_SOCKET, SO_DEBUG },
	{ SOL_SOCKET, SO_TIMESTAMP_OLD },
	{ SOL_SOCKET, SO_TIMESTAMPNS_OLD },
	{ SOL_SOCKET, SO_TIMESTAMP_NEW },
	{ SOL_SOCKET, SO_TIMESTAMPNS_NEW },
	{ SOL_SOCKET, SO_TIMESTAMPING_OLD },
	{ SOL_SOCKET, SO_RXQ_OVFL },
	{ SOL_SOCKET, SO_PEEK_OFF },
	{ SOL_SOCKET, SO_BUSY_POLL },
	{ SOL_SOCKET, SO_PREFER_BUSY_POLL },
	{ SOL_SOCKET, SO_SELECT_ERR_QUEUE },
	{ SOL_SOCKET, SO_WIFI_STATUS },
	{ SOL_SOCKET, SO_NOFCS },
	{ SOL_SOCKET, SO_MAX_PACING_RATE },
	{ SOL_SOCKET, SO_ZEROCOPY },
	{ SOL_SOCKET, SO_TXTIME },
	{ SOL_SOCKET, SO_TXREHASH },
	{ SOL_SOCKET, SO_RCVMARK },
	{ SOL_SOCKET, SO_PASSPIDFD },
	{ IPPROTO_IP, IP_RECVTTL },
	{ IPPROTO_IP, IP_RECVTOS },
	{ IPPROTO_IP, IP_RECVERR },
	{ IPPROTO_IP, IP_RECVOPTS },
	{ IPPROTO_IP, IP_RETOPTS },
	{ IPPROTO_IP, IP_MTU_DISCOVER },
	{ IPPROTO_IP, IP_MINTTL },
	{ IPPROTO_IP, IP_TRANSPARENT },
	{ IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT },
	{ IPPROTO_IP, IP_MULTICAST_TTL },
	{ IPPROTO_IP, IP_MULTICAST_LOOP },
	{ IPPROTO_IP, IP_MULTICAST_ALL },
	{ IPPROTO_IP, IP_MULTICAST_IF },
	{ IPPROTO_IP, IP_UNICAST_IF },
	{ IPPROTO_IP, IP_CHECKSUM },
	{ IPPROTO_IP, IP_RECVFRAGSIZE },
	{ IPPROTO_IP, IP_RECVORIGDSTADDR },
	{ IPPROTO_IP, IP_LOCAL_PORT_RANGE },
	{ IPPROTO_IP, IP_OPTIONS },
	{ IPPROTO_IPV6, IPV6_UNICAST_HOPS },
	{ IPPROTO_IPV6, IPV6_MULTICAST_HOPS },
	{ IPPROTO_IPV6, IPV6_MULTICAST_LOOP },
	{ IPPROTO_IPV6, IPV6_MULTICAST_ALL },
	{ IPPROTO_IPV6, IPV6_MULTICAST_IF },
	{ IPPROTO_IPV6, IPV6_MTU_DISCOVER },
	{ IPPROTO_IPV6, IPV6_RECVERR },
	{ IPPROTO_IPV6, IPV6_RECVPKTINFO },
	{ IPPROTO_IPV6, IPV6_RECVHOPLIMIT },
	{ IPPROTO_IPV6, IPV6_RECVRTHDR },
	{ IPPROTO_IPV6, IPV6_RECVHOPOPTS },
	{ IPPROTO_IPV6, IPV6_RECVDSTOPTS },
	{ IPPROTO_IPV6, IPV6_RECVTCLASS },
	{ IPPROTO_IPV6, IPV6_RECVPATHMTU },
	{ IPPROTO_IPV6, IPV6_TCLASS },
	{ IPPROTO_IPV6, IPV6_DONTFRAG },
	{ IPPROTO_IPV6, IPV6_AUTOFLOWLABEL },
	{ IPPROTO_IPV6, IPV6_FREEBIND },
	{ IPPROTO_IPV6, IPV6_TRANSPARENT },
	{ IPPROTO_IPV6, IPV6_MINHOPCOUNT },
	{ IPPROTO_IPV6, IPV6_ADDR_PREFERENCES },
	{ IPPROTO_IPV6, IPV6_UNICAST_IF },
	{ IPPROTO_IPV6, IPV6_RECVORIGDSTADDR },
	{ IPPROTO_IPV6, IPV6_CHECKSUM },
	{ IPPROTO_IPV6, IPV6_HDRINCL },
	{ IPPROTO_TCP, TCP_SYNCNT },
	{ IPPROTO_TCP, TCP_LINGER2 },
	{ IPPROTO_TCP, TCP_DEFER_ACCEPT },
	{ IPPROTO_TCP, TCP_CONGESTION },
	{ IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS },
	{ IPPROTO_TCP, TCP_USER_TIMEOUT },
	{ IPPROTO_TCP, TCP_FASTOPEN },
	{ IPPROTO_TCP, TCP_FASTOPEN_CONNECT },
	{ IPPROTO_TCP, TCP_NOTSENT_LOWAT },
	{ IPPROTO_TCP, TCP_SAVE_SYN },
	{ IPPROTO_TCP, TCP_INQ },
	{ IPPROTO_UDP, UDP_SEGMENT },
	{ IPPROTO_UDP, UDP_GRO },
	{ IPPROTO_UDP, UDP_ENCAP },
	{ IPPROTO_UDP, UDP_NO_CHECK6_TX },
	{ IPPROTO_UDP, UDP_NO_CHECK6_RX },
	{ IPPROTO_UDPLITE, 10 /* UDPLITE_SEND_CSCOV */ },
	{ IPPROTO_UDPLITE, 11 /* UDPLITE_RECV_CSCOV */ },
	{ SOL_NETLINK, NETLINK_PKTINFO },
	{ SOL_NETLINK, NETLINK_BROADCAST_ERROR },
	{ SOL_NETLINK, NETLINK_NO_ENOBUFS },
	{ SOL_NETLINK, NETLINK_LISTEN_ALL_NSID },
	{ SOL_NETLINK, NETLINK_CAP_ACK },
	{ SOL_NETLINK, NETLINK_EXT_ACK },
	{ SOL_NETLINK, NETLINK_GET_STRICT_CHK },
};
#define N_SYMMETRIC (sizeof(symmetric) / sizeof(symmetric[0]))

int sk_get_int(int fd, int level, int name, int absent)
{
	int value = 0;
	socklen_t len = sizeof(value);

	if (getsockopt(fd, level, name, &value, &len) < 0)
		return absent;
	return value;
}

int sk_set_int(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value));
}

void sk_sort_of(int fd, struct sk_sort *sort)
{
	sort->domain = sk_get_int(fd, SOL_SOCKET, SO_DOMAIN, -1);
	sort->type = sk_get_int(fd, SOL_SOCKET, SO_TYPE, 0);
	sort->protocol = sk_get_int(fd, SOL_SOCKET, SO_PROTOCOL, 0);
	sort->listening = sk_get_int(fd, SOL_SOCKET, SO_ACCEPTCONN, 0) > 0;
}

int sk_check_netns(const struct taken_file *f)
{
	uint64_t theirs = 0, ours = 0;
	socklen_t len = sizeof(theirs);
	int probe;

	if (getsockopt(f->local, SOL_SOCKET, SO_NETNS_COOKIE, &theirs, &len) < 0)
		return R_OK; /* a kernel that does not tell: the lookup by inode will */
	probe = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	len = sizeof(ours);
	if (probe < 0 || getsockopt(probe, SOL_SOCKET, SO_NETNS_COOKIE, &ours, &len) < 0) {
		warn_errno("cannot ask for the own network namespace");
		if (probe >= 0)
			close(probe);
		return R_FAILED;
	}
	close(probe);
	if (theirs == ours)
		return R_OK;
	warn("%s: socket of another network namespace", taken_file_name(f));
	return R_UNSUPPORTED;
}

int sk_bytes(struct fds_take *take, ProtobufCBinaryData *to, const void *from, size_t len)
{
	to->data = fds_take_alloc(take, len ? len : 1);
	if (!to->data)
		return R_FAILED;
	memcpy(to->data, from, len);
	to->len = len;
	return R_OK;
}

/* TCP keeps the hops of the first packet in the options for multicast, which it lets nobody set. */
static bool means_nothing(const struct sk_sort *sort, const struct symmetric *s)
{
	if (sort->type != SOCK_STREAM)
		return false;
	return (s->level == IPPROTO_IP &&
		(s->name == IP_MULTICAST_TTL || s->name == IP_MULTICAST_LOOP ||
		 s->name == IP_MULTICAST_IF)) ||
	       (s->level == IPPROTO_IPV6 &&
		(s->name == IPV6_MULTICAST_HOPS || s->name == IPV6_MULTICAST_LOOP ||
		 s->name == IPV6_MULTICAST_IF));
}

/* Keeps the options of the table that a new socket of the sort does not have. */
static int dump_symmetric(struct fds_take *take, const struct taken_file *f, SnapSocketEntry *more)
{
	struct sk_sort sort;
	int fresh;

	sk_sort_of(f->local, &sort);
	fresh = socket(sort.domain, sort.type | SOCK_CLOEXEC, sort.protocol);
	more->opts = fds_take_alloc(take, N_SYMMETRIC * sizeof(*more->opts));
	if (!more->opts)
		goto err;
	for (size_t i = 0; i < N_SYMMETRIC; i++) {
		const struct symmetric *s = &symmetric[i];
		uint8_t is[64] = { 0 }, was[64] = { 0 };
		socklen_t is_len = sizeof(is), was_len = sizeof(was);
		SnapSockoptEntry *opt;

		if (means_nothing(&sort, s) ||
		    getsockopt(f->local, s->level, s->name, is, &is_len) < 0)
			continue;
		if (fresh >= 0 && !getsockopt(fresh, s->level, s->name, was, &was_len) &&
		    was_len == is_len && !memcmp(is, was, is_len))
			continue;
		opt = fds_take_alloc(take, sizeof(*opt));
		if (!opt)
			goto err;
		snap_sockopt_entry__init(opt);
		opt->level = (uint32_t)s->level;
		opt->name = (uint32_t)s->name;
		if (sk_bytes(take, &opt->value, is, is_len))
			goto err;
		more->opts[more->n_opts++] = opt;
	}
	if (fresh >= 0)
		close(fresh);
	return R_OK;
err:
	if (fresh >= 0)
		close(fresh);
	return R_FAILED;
}

static int dump_filter(struct fds_take *take, const struct taken_file *f, SkOptsEntry *o)
{
	struct sock_filter *filter;
	socklen_t len = 0;

	/* With no room the kernel tells the number of instructions; the unit is one of them. */
	if (getsockopt(f->local, SOL_SOCKET, SO_GET_FILTER, NULL, &len) < 0) {
		if (errno == ENOPROTOOPT || errno == EOPNOTSUPP)
			return R_OK;
		warn_errno("%s: its socket filter cannot be read (an eBPF program)",
			   taken_file_name(f));
		return R_UNSUPPORTED;
	}
	if (!len)
		return R_OK;
	filter = fds_take_alloc(take, len * sizeof(*filter));
	o->so_filter = fds_take_alloc(take, len * sizeof(*o->so_filter));
	if (!filter || !o->so_filter)
		return R_FAILED;
	if (getsockopt(f->local, SOL_SOCKET, SO_GET_FILTER, filter, &len) < 0) {
		warn_errno("%s: cannot read its socket filter", taken_file_name(f));
		return R_FAILED;
	}
	for (socklen_t i = 0; i < len; i++)
		o->so_filter[i] = (uint64_t)filter[i].code << 48 | (uint64_t)filter[i].jt << 40 |
				  (uint64_t)filter[i].jf << 32 | filter[i].k;
	o->n_so_filter = len;
	return R_OK;
}

static void dump_timeouts(int fd, SkOptsEntry *o)
{
	struct timeval tv = { 0 };
	socklen_t len = sizeof(tv);

	if (!getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, &len)) {
		o->so_snd_tmo_sec = (uint64_t)tv.tv_sec;
		o->so_snd_tmo_usec = (uint64_t)tv.tv_usec;
	}
	len = sizeof(tv);
	if (!getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, &len)) {
		o->so_rcv_tmo_sec = (uint64_t)tv.tv_sec;
		o->so_rcv_tmo_usec = (uint64_t)tv.tv_usec;
	}
}

static int dump_device(struct fds_take *take, int fd, SkOptsEntry *o)
{
	char device[64] = "";
	socklen_t len = sizeof(device) - 1;

	if (getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, &len) < 0 || !len || !device[0])
		return R_OK;
	o->so_bound_dev = fds_take_strdup(take, device);
	return o->so_bound_dev ? R_OK : R_FAILED;
}

#define GET_OPT(field, name) \
	do { \
		int value_ = sk_get_int(fd, SOL_SOCKET, name, -1); \
		if (value_ >= 0) { \
			o->has_##field = true; \
			o->field = value_; \
		} \
	} while (0)

int sk_opts_dump(struct fds_take *take, const struct taken_file *f, SkOptsEntry **opts,
		 SnapSocketEntry *more)
{
	SkOptsEntry *o = fds_take_alloc(take, sizeof(*o));
	struct linger linger = { 0 };
	socklen_t len = sizeof(linger);
	int fd = f->local, r;

	if (!o)
		return R_FAILED;
	sk_opts_entry__init(o);
	o->so_sndbuf = (uint32_t)sk_get_int(fd, SOL_SOCKET, SO_SNDBUF, 0);
	o->so_rcvbuf = (uint32_t)sk_get_int(fd, SOL_SOCKET, SO_RCVBUF, 0);
	dump_timeouts(fd, o);
	GET_OPT(reuseaddr, SO_REUSEADDR);
	GET_OPT(so_reuseport, SO_REUSEPORT);
	GET_OPT(so_priority, SO_PRIORITY);
	GET_OPT(so_rcvlowat, SO_RCVLOWAT);
	GET_OPT(so_mark, SO_MARK);
	GET_OPT(so_passcred, SO_PASSCRED);
	GET_OPT(so_passsec, SO_PASSSEC);
	GET_OPT(so_dontroute, SO_DONTROUTE);
	GET_OPT(so_no_check, SO_NO_CHECK);
	GET_OPT(so_broadcast, SO_BROADCAST);
	GET_OPT(so_keepalive, SO_KEEPALIVE);
	GET_OPT(so_oobinline, SO_OOBINLINE);
	GET_OPT(so_buf_lock, SO_BUF_LOCK);
	if (!getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &len) && linger.l_onoff) {
		o->has_so_linger = true;
		o->so_linger = (uint32_t)linger.l_linger;
	}
	*opts = o;
	r = dump_device(take, fd, o);
	if (!r)
		r = dump_filter(take, f, o);
	if (!r)
		r = dump_symmetric(take, f, more);
	return r;
}

static int failed(uint32_t id, const char *what)
{
	warn_errno("file %u: cannot set %s of its socket again", id, what);
	return R_FAILED;
}

int sk_opts_restore_early(int fd, const SkOptsEntry *o)
{
	if (o->has_reuseaddr && o->reuseaddr && sk_set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1))
		return R_FAILED;
	if (o->has_so_reuseport && o->so_reuseport && sk_set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1))
		return R_FAILED;
	if (o->so_bound_dev && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, o->so_bound_dev,
					  (socklen_t)strlen(o->so_bound_dev) + 1))
		return R_FAILED;
	return R_OK;
}

/* Options of SOL_SOCKET that are one number and that only differ from a new socket's when told. */
static int restore_numbers(int fd, uint32_t id, const SkOptsEntry *o)
{
	const struct {
		bool has;
		int name, value;
		const char *text;
	} list[] = {
		{ o->has_reuseaddr, SO_REUSEADDR, o->reuseaddr, "SO_REUSEADDR" },
		{ o->has_so_reuseport, SO_REUSEPORT, o->so_reuseport, "SO_REUSEPORT" },
		{ o->has_so_priority, SO_PRIORITY, (int)o->so_priority, "SO_PRIORITY" },
		{ o->has_so_rcvlowat, SO_RCVLOWAT, (int)o->so_rcvlowat, "SO_RCVLOWAT" },
		{ o->has_so_mark, SO_MARK, (int)o->so_mark, "SO_MARK" },
		{ o->has_so_passcred, SO_PASSCRED, o->so_passcred, "SO_PASSCRED" },
		{ o->has_so_passsec, SO_PASSSEC, o->so_passsec, "SO_PASSSEC" },
		{ o->has_so_dontroute, SO_DONTROUTE, o->so_dontroute, "SO_DONTROUTE" },
		{ o->has_so_no_check, SO_NO_CHECK, o->so_no_check, "SO_NO_CHECK" },
		{ o->has_so_broadcast, SO_BROADCAST, o->so_broadcast, "SO_BROADCAST" },
		{ o->has_so_keepalive, SO_KEEPALIVE, o->so_keepalive, "SO_KEEPALIVE" },
		{ o->has_so_oobinline, SO_OOBINLINE, (int)o->so_oobinline, "SO_OOBINLINE" },
	};

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		if (list[i].has && sk_get_int(fd, SOL_SOCKET, list[i].name, 0) != list[i].value &&
		    sk_set_int(fd, SOL_SOCKET, list[i].name, list[i].value))
			return failed(id, list[i].text);
	return R_OK;
}

/* The kernel doubles what it is given and tells the double; the FORCE forms pass any limit. */
static int restore_buffers(int fd, uint32_t id, const SkOptsEntry *o)
{
	if (o->so_sndbuf && (int)o->so_sndbuf != sk_get_int(fd, SOL_SOCKET, SO_SNDBUF, 0) &&
	    sk_set_int(fd, SOL_SOCKET, SO_SNDBUFFORCE, (int)(o->so_sndbuf / 2)) &&
	    sk_set_int(fd, SOL_SOCKET, SO_SNDBUF, (int)(o->so_sndbuf / 2)))
		return failed(id, "SO_SNDBUF");
	if (o->so_rcvbuf && (int)o->so_rcvbuf != sk_get_int(fd, SOL_SOCKET, SO_RCVBUF, 0) &&
	    sk_set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, (int)(o->so_rcvbuf / 2)) &&
	    sk_set_int(fd, SOL_SOCKET, SO_RCVBUF, (int)(o->so_rcvbuf / 2)))
		return failed(id, "SO_RCVBUF");
	if (o->has_so_buf_lock)
		sk_set_int(fd, SOL_SOCKET, SO_BUF_LOCK, (int)o->so_buf_lock);
	return R_OK;
}

static int restore_timeouts(int fd, uint32_t id, const SkOptsEntry *o)
{
	struct timeval snd = { (time_t)o->so_snd_tmo_sec, (suseconds_t)o->so_snd_tmo_usec };
	struct timeval rcv = { (time_t)o->so_rcv_tmo_sec, (suseconds_t)o->so_rcv_tmo_usec };

	if ((snd.tv_sec || snd.tv_usec) &&
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &snd, sizeof(snd)))
		return failed(id, "SO_SNDTIMEO");
	if ((rcv.tv_sec || rcv.tv_usec) &&
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &rcv, sizeof(rcv)))
		return failed(id, "SO_RCVTIMEO");
	return R_OK;
}

static int restore_filter(int fd, uint32_t id, const SkOptsEntry *o)
{
	struct sock_fprog prog = { 0 };
	int r;

	if (!o->n_so_filter)
		return R_OK;
	prog.len = (unsigned short)o->n_so_filter;
	prog.filter = calloc(o->n_so_filter, sizeof(*prog.filter));
	if (!prog.filter)
		return failed(id, "the filter");
	for (size_t i = 0; i < o->n_so_filter; i++) {
		prog.filter[i].code = (uint16_t)(o->so_filter[i] >> 48);
		prog.filter[i].jt = (uint8_t)(o->so_filter[i] >> 40);
		prog.filter[i].jf = (uint8_t)(o->so_filter[i] >> 32);
		prog.filter[i].k = (uint32_t)o->so_filter[i];
	}
	r = setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog));
	free(prog.filter);
	return r ? failed(id, "the filter") : R_OK;
}

int sk_opts_restore(int fd, uint32_t id, const SkOptsEntry *o, const SnapSocketEntry *more)
{
	struct linger linger = { 1, (int)o->so_linger };

	if (restore_numbers(fd, id, o) || restore_buffers(fd, id, o) ||
	    restore_timeouts(fd, id, o) || restore_filter(fd, id, o))
		return R_FAILED;
	if (o->has_so_linger && setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)))
		return failed(id, "SO_LINGER");
	if (more && more->has_uid && (more->uid || more->gid) && fchown(fd, more->uid, more->gid))
		return failed(id, "the owner");
	for (size_t i = 0; more && i < more->n_opts; i++) {
		const SnapSockoptEntry *opt = more->opts[i];
		uint8_t is[64] = { 0 };
		socklen_t is_len = sizeof(is);

		/* Many can be read everywhere and set only where they mean something. */
		if (!getsockopt(fd, (int)opt->level, (int)opt->name, is, &is_len) &&
		    is_len == opt->value.len &&
		    (is_len == 0 || !memcmp(is, opt->value.data, is_len)))
			continue;
		if (setsockopt(fd, (int)opt->level, (int)opt->name, opt->value.data,
			       (socklen_t)opt->value.len)) {
			warn_errno("file %u: cannot set option %u of level %u of its socket again",
				   id, opt->name, opt->level);
			return R_FAILED;
		}
	}
	return R_OK;
}

/* ---- snap-sockets ---- */

SnapSocketEntry *sk_more_new(struct fds_take *take, const struct taken_file *f)
{
	SnapSocketEntry *more = fds_take_alloc(take, sizeof(*more));

	if (!more)
		return NULL;
	snap_socket_entry__init(more);
	more->id = f->id;
	return more;
}

void sk_more_put(struct fds_take *take, const SnapSocketEntry *more)
{
	fds_take_put(take, IMAGE_SNAP_SOCKETS, &more->base, NULL, 0);
}

void sk_more_put_owned(struct fds_take *take, const struct taken_file *f, SnapSocketEntry *more)
{
	more->has_uid = more->has_gid = true;
	more->uid = f->st.st_uid;
	more->gid = f->st.st_gid;
	sk_more_put(take, more);
}

const SnapSocketEntry *sk_more_find(struct fds_restore *restore, uint32_t id)
{
	const struct sockets *s = fds_restore_kinds(restore)->sockets;

	for (size_t i = 0; s && i < s->n_more; i++)
		if (s->more[i]->id == id)
			return s->more[i];
	return NULL;
}
