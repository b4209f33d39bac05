/*
 * Established TCP, the restore: a socket under repair is given the addresses, numbers, options and
 * queues of the old one.  What the peer has done to the connection already (its FIN, its
 * acknowledgement of ours) is told to the socket by packets made here.
 */
#include "engine/proc/fds/sockets.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/fds/tcp_repair.h"
#include "store/store.h"

#define TCPOPT_MSS 2
#define TCPOPT_WSCALE 3
#define TCPOPT_SACK_OK 4
#define TCPOPT_STAMP 8

/* One connection as its image tells it. */
struct stream {
	void *image;
	TcpStreamEntry *entry;
	const uint8_t *in, *out;
};

static void stream_close(struct stream *s)
{
	if (s->entry)
		image_free_message(&s->entry->base);
	free(s->image);
}

static int stream_open(struct fds_restore *restore, const InetSkEntry *e, struct stream *s)
{
	struct image_reader reader;
	struct object object;
	ProtobufCMessage *message = NULL;
	const void *data;
	char name[64];
	size_t len;
	int r;

	memset(s, 0, sizeof(*s));
	snprintf(name, sizeof(name), "tcp-stream-%x", e->ino);
	r = store_object(fds_restore_view(restore), fds_restore_generation(restore), name, &object);
	if (!r)
		r = store_read_object(fds_restore_view(restore), &object, &s->image, &len);
	if (!r)
		r = image_open(&reader, IMAGE_TCP_STREAM, name, s->image, len);
	if (!r)
		r = image_next(&reader, &message);
	s->entry = (TcpStreamEntry *)message;
	if (!r)
		r = image_payload(&reader, s->entry->inq_len, &data);
	if (!r) {
		s->in = data;
		r = image_payload(&reader, s->entry->outq_len, &data);
		s->out = data;
	}
	if (!r)
		return R_OK;
	warn("file %u: its TCP connection (%s) cannot be read; run 'snap verify'", e->id, name);
	stream_close(s);
	return R_DAMAGED;
}

static int set_seq(int fd, int queue, uint32_t seq)
{
	if (sk_set_int(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, queue) ||
	    setsockopt(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, &seq, sizeof(seq)))
		return R_FAILED;
	return R_OK;
}

static int set_options(int fd, const TcpStreamEntry *t)
{
	struct tcp_repair_opt opts[4];
	size_t n = 0;
	uint32_t stamp = t->timestamp;

	opts[n++] = (struct tcp_repair_opt){ TCPOPT_MSS, t->mss_clamp };
	if (t->opt_mask & TCPI_OPT_WSCALE)
		opts[n++] =
		    (struct tcp_repair_opt){ TCPOPT_WSCALE, t->snd_wscale | t->rcv_wscale << 16 };
	if (t->opt_mask & TCPI_OPT_SACK)
		opts[n++] = (struct tcp_repair_opt){ TCPOPT_SACK_OK, 0 };
	if (t->opt_mask & TCPI_OPT_TIMESTAMPS)
		opts[n++] = (struct tcp_repair_opt){ TCPOPT_STAMP, 0 };
	if (setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_OPTIONS, opts, (socklen_t)(n * sizeof(*opts))))
		return R_FAILED;
	if ((t->opt_mask & TCPI_OPT_TIMESTAMPS) &&
	    setsockopt(fd, IPPROTO_TCP, TCP_TIMESTAMP, &stamp, sizeof(stamp)))
		return R_FAILED;
	return R_OK;
}

static int fill(int fd, int queue, const uint8_t *data, size_t len)
{
	/* The receive queue takes pieces for which one allocation is found. */
	const size_t most = 65536;

	if (len && sk_set_int(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, queue))
		return R_FAILED;
	while (len) {
		ssize_t n = send(fd, data, len < most ? len : most, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n <= 0)
			return R_FAILED;
		data += n;
		len -= (size_t)n;
	}
	return R_OK;
}

static int set_window(int fd, const TcpStreamEntry *t)
{
	struct tcp_repair_window w = { t->snd_wl1, t->snd_wnd, t->max_window, t->rcv_wnd,
				       t->rcv_wup };

	if (!t->has_snd_wnd)
		return R_OK;
	return setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, &w, sizeof(w));
}

/* ---- packets from the peer ---- */

struct packet {
	union {
		struct iphdr v4;
		struct ip6_hdr v6;
	} ip;
	struct tcphdr tcp;
};

static uint32_t sum16(const void *data, size_t len, uint32_t sum)
{
	const uint8_t *p = data;

	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	return sum;
}

static uint16_t checksum(const struct tcphdr *tcp, const void *src, const void *dst, size_t bytes)
{
	uint32_t sum = sum16(tcp, sizeof(*tcp), 0);

	sum = sum16(src, bytes, sum);
	sum = sum16(dst, bytes, sum);
	sum += IPPROTO_TCP + sizeof(*tcp);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

/* Sends our own socket a packet in the name of its peer. */
static int tell(const InetSkEntry *e, bool fin, uint32_t seq, uint32_t ack)
{
	bool v4 = e->family == AF_INET ||
		  IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)(const void *)e->dst_addr);
	size_t bytes = v4 ? 4 : 16, at = v4 && e->family == AF_INET6 ? 3 : 0, head;
	const void *src = e->dst_addr + at, *dst = e->src_addr + at;
	union inet_address to = { 0 };
	struct {
		uint8_t bytes[sizeof(struct packet)];
	} out = { 0 };
	struct tcphdr tcp = { 0 };
	int fd = socket(v4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW), r;

	if (fd < 0)
		return R_FAILED;
	tcp.source = htons((uint16_t)e->dst_port);
	tcp.dest = htons((uint16_t)e->src_port);
	tcp.seq = htonl(seq);
	tcp.ack_seq = htonl(ack);
	tcp.doff = sizeof(tcp) / 4;
	tcp.ack = 1;
	tcp.fin = fin;
	tcp.window = htons(1024);
	tcp.check = checksum(&tcp, src, dst, bytes);
	if (v4) {
		struct iphdr ip = { .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_TCP };

		ip.tot_len = htons(sizeof(ip) + sizeof(tcp));
		memcpy(&ip.saddr, src, 4);
		memcpy(&ip.daddr, dst, 4);
		head = sizeof(ip);
		memcpy(out.bytes, &ip, head);
		to.v4.sin_family = AF_INET;
		memcpy(&to.v4.sin_addr, dst, 4);
	} else {
		struct ip6_hdr ip = { 0 };

		ip.ip6_vfc = 6 << 4;
		ip.ip6_plen = htons(sizeof(tcp));
		ip.ip6_nxt = IPPROTO_TCP;
		ip.ip6_hlim = 64;
		memcpy(&ip.ip6_src, src, 16);
		memcpy(&ip.ip6_dst, dst, 16);
		head = sizeof(ip);
		memcpy(out.bytes, &ip, head);
		to.v6.sin6_family = AF_INET6;
		memcpy(&to.v6.sin6_addr, dst, 16);
	}
	memcpy(out.bytes + head, &tcp, sizeof(tcp));
	r = sk_set_int(fd, SOL_SOCKET, SO_MARK, (int)TCP_LOCK_MARK);
	if (!r && sendto(fd, out.bytes, head + sizeof(tcp), 0, &to.any,
			 v4 ? sizeof(to.v4) : sizeof(to.v6)) < 0)
		r = R_FAILED;
	close(fd);
	return r ? R_FAILED : R_OK;
}

static int state_of(int fd)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len))
		return -1;
	return info.tcpi_state;
}

/* From ESTABLISHED to the state it was in. */
static int close_halves(int fd, const InetSkEntry *e, const TcpStreamEntry *t)
{
	uint32_t out_end = t->outq_seq; /* behind everything sent, FIN included */
	uint32_t in_fin = t->inq_seq - 1;
	bool fin_first = e->state == SK_LAST_ACK || e->state == SK_CLOSE_WAIT;
	/* What the peer has acknowledged when its FIN comes: nothing of what is still queued. */
	uint32_t acked = out_end - t->outq_len - (tcp_fin_sent(e->state) ? 1 : 0);

	if (fin_first && tell(e, true, in_fin, acked))
		return R_FAILED;
	if (tcp_fin_sent(e->state)) {
		if (sk_set_int(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_SEND_QUEUE) ||
		    shutdown(fd, SHUT_WR))
			return R_FAILED;
		if (e->state == SK_FIN_WAIT2 && tell(e, false, t->inq_seq, out_end))
			return R_FAILED;
	}
	if (e->state == SK_CLOSING && tell(e, true, in_fin, acked))
		return R_FAILED;
	/* Loopback hands packets over at once or in the next softirq. */
	for (int i = 0; i < 100 && state_of(fd) != (int)e->state; i++)
		usleep(1000);
	if (state_of(fd) == (int)e->state)
		return R_OK;
	warn("file %u: its TCP connection is in state %d instead of %u", e->id, state_of(fd),
	     e->state);
	errno = EPROTO;
	return R_FAILED;
}

/* ---- the socket ---- */

static int connect_silently(int fd, const InetSkEntry *e, const TcpStreamEntry *t)
{
	union inet_address own, peer;
	socklen_t len = inet_address(e, false, &own);
	uint32_t in = t->inq_seq - t->inq_len - (tcp_fin_received(e->state) ? 1 : 0);
	uint32_t out = t->outq_seq - t->outq_len - (tcp_fin_sent(e->state) ? 1 : 0);

	inet_address(e, true, &peer);
	if (sk_opts_restore_early(fd, e->opts))
		return R_FAILED;
	sk_set_int(fd, IPPROTO_IP, IP_FREEBIND, 1);
	if (sk_set_int(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON) ||
	    sk_set_int(fd, SOL_SOCKET, SO_SNDBUFFORCE, (int)(4 * t->outq_len + 262144)) ||
	    sk_set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, (int)(4 * t->inq_len + 262144)) ||
	    set_seq(fd, TCP_SEND_QUEUE, out) || set_seq(fd, TCP_RECV_QUEUE, in) ||
	    bind(fd, &own.any, len) || connect(fd, &peer.any, len))
		return R_FAILED;
	return R_OK;
}

int tcp_open_kept(struct fds_restore *restore, const InetSkEntry *e)
{
	struct stream s;
	size_t sent;
	int fd;

	if (stream_open(restore, e, &s))
		return -1;
	fd = socket((int)e->family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
	if (fd < 0 || connect_silently(fd, e, s.entry) || set_options(fd, s.entry))
		goto err;
	sent = s.entry->outq_len - (tcp_fin_sent(e->state) ? 0 : s.entry->unsq_len);
	if (fill(fd, TCP_RECV_QUEUE, s.in, s.entry->inq_len) ||
	    fill(fd, TCP_SEND_QUEUE, s.out, sent))
		goto err;
	/* The window may only be told when the numbers are, the peer's FIN included; and the
	 * packets that told it have told another one. */
	if ((!tcp_fin_received(e->state) && set_window(fd, s.entry)) ||
	    close_halves(fd, e, s.entry) || set_window(fd, s.entry))
		goto err;
	stream_close(&s);
	return fd;
err:
	warn_errno("file %u: cannot take over its TCP connection from port %u to port %u", e->id,
		   e->src_port, e->dst_port);
	if (fd >= 0)
		close(fd);
	stream_close(&s);
	return -1;
}

/* A dump of CRIU's may have left its own lock, as one for all connections. */
static int unlock_criu(struct fds_restore *restore, const ProtobufCMessage *message,
		       const void *payload, size_t bytes)
{
	const InventoryEntry *entry = (const InventoryEntry *)message;

	(void)restore, (void)payload, (void)bytes;
	if (entry->dump_criu_run_id && entry->network_lock_method == CRIU_LOCK_NFTABLES)
		tcp_unlock_criu(entry->dump_criu_run_id);
	return R_OK;
}

int tcp_resume(struct fds_restore *restore, int fd, const InetSkEntry *e)
{
	struct stream s;
	size_t unsent;
	int r = R_OK;

	if (stream_open(restore, e, &s))
		return R_DAMAGED;
	if (!fds_restore_kinds(restore)->tcp_resumed)
		fds_restore_each(restore, IMAGE_INVENTORY, NULL, unlock_criu);
	tcp_unlock(fds_restore_root(restore), e);
	if (sk_set_int(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF))
		goto err;
	/* What had never been sent is sent by the socket itself. */
	unsent = tcp_fin_sent(e->state) ? 0 : s.entry->unsq_len;
	if (unsent && send(fd, s.out + s.entry->outq_len - unsent, unsent,
			   MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)unsent)
		goto err;
	stream_close(&s);
	return r;
err:
	warn_errno("file %u: cannot resume its TCP connection", e->id);
	stream_close(&s);
	return R_FAILED;
}
