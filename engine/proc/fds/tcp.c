/* Established TCP, the take: by policy refused, marked to come back reset, or read out. */
#include "engine/proc/fds/sockets.h"

#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "dedup/dedup.h"
#include "engine/proc/fds/tcp_repair.h"

/* How often a connection is read again because data came meanwhile. */
#define READ_TRIES 20

static int repair(int fd, int on)
{
	return sk_set_int(fd, IPPROTO_TCP, TCP_REPAIR, on);
}

static int queue_seq(int fd, int queue, uint32_t *seq)
{
	socklen_t len = sizeof(*seq);

	if (sk_set_int(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, queue) ||
	    getsockopt(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, seq, &len))
		return R_FAILED;
	return R_OK;
}

/* Whose FIN the sequence numbers count in. */
bool tcp_fin_sent(uint32_t state)
{
	return state == SK_FIN_WAIT1 || state == SK_FIN_WAIT2 || state == SK_CLOSING ||
	       state == SK_LAST_ACK;
}

bool tcp_fin_received(uint32_t state)
{
	return state == SK_CLOSE_WAIT || state == SK_CLOSING || state == SK_LAST_ACK;
}

static int read_options(int fd, TcpStreamEntry *t)
{
	struct tcp_info info = { 0 };
	struct tcp_repair_window w;
	socklen_t len = sizeof(info), w_len = sizeof(w);
	int stamp;

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len))
		return R_FAILED;
	t->opt_mask = info.tcpi_options & (TCPI_OPT_TIMESTAMPS | TCPI_OPT_SACK | TCPI_OPT_WSCALE);
	t->snd_wscale = info.tcpi_snd_wscale;
	t->has_rcv_wscale = true;
	t->rcv_wscale = info.tcpi_rcv_wscale;
	/* Under repair the clamp is told, not the present size. */
	t->mss_clamp = (uint32_t)sk_get_int(fd, IPPROTO_TCP, TCP_MAXSEG, 536);
	stamp = sk_get_int(fd, IPPROTO_TCP, TCP_TIMESTAMP, 0);
	t->has_timestamp = true;
	t->timestamp = (uint32_t)stamp;
	if (getsockopt(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, &w, &w_len))
		return R_FAILED;
	t->has_snd_wl1 = t->has_snd_wnd = t->has_max_window = t->has_rcv_wnd = t->has_rcv_wup =
	    true;
	t->snd_wl1 = w.snd_wl1;
	t->snd_wnd = w.snd_wnd;
	t->max_window = w.max_window;
	t->rcv_wnd = w.rcv_wnd;
	t->rcv_wup = w.rcv_wup;
	return R_OK;
}

static int peek_queue(int fd, int queue, uint8_t **data, uint32_t bytes)
{
	ssize_t n;

	*data = malloc(bytes ? bytes : 1);
	if (!*data)
		return R_FAILED;
	if (!bytes)
		return R_OK;
	if (sk_set_int(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, queue))
		return R_FAILED;
	n = recv(fd, *data, bytes, MSG_PEEK | MSG_DONTWAIT);
	return n == (ssize_t)bytes ? R_OK : R_FAILED;
}

struct stream {
	TcpStreamEntry entry;
	uint8_t *in, *out;
};

static void stream_free(struct stream *s)
{
	free(s->in);
	free(s->out);
	s->in = s->out = NULL;
}

/*
 * Reads everything of a socket under repair.  The network goes on meanwhile; R_BUSY if a number
 * moved between the first look and the last.
 */
static int read_stream(int fd, uint32_t state, struct stream *s)
{
	TcpStreamEntry *t = &s->entry;
	uint32_t in_seq, out_seq;
	int in, out, unsent, out_again;

	tcp_stream_entry__init(t);
	if (queue_seq(fd, TCP_RECV_QUEUE, &t->inq_seq) ||
	    queue_seq(fd, TCP_SEND_QUEUE, &t->outq_seq) || ioctl(fd, SIOCINQ, &in) ||
	    ioctl(fd, SIOCOUTQ, &out) || ioctl(fd, SIOCOUTQNSD, &unsent))
		return R_FAILED;
	out_again = out;
	/* A FIN not yet acknowledged counts as a byte. */
	if (out > 0 && tcp_fin_sent(state) && state != SK_FIN_WAIT2) {
		out--;
		unsent = unsent > 0 ? unsent - 1 : 0;
	}
	t->inq_len = (uint32_t)in;
	t->outq_len = (uint32_t)out;
	t->has_unsq_len = true;
	t->unsq_len = (uint32_t)unsent;
	if (peek_queue(fd, TCP_RECV_QUEUE, &s->in, t->inq_len) ||
	    peek_queue(fd, TCP_SEND_QUEUE, &s->out, t->outq_len) || read_options(fd, t) ||
	    queue_seq(fd, TCP_RECV_QUEUE, &in_seq) || queue_seq(fd, TCP_SEND_QUEUE, &out_seq) ||
	    ioctl(fd, SIOCOUTQ, &out))
		return R_BUSY;
	return in_seq == t->inq_seq && out_seq == t->outq_seq && out == out_again ? R_OK : R_BUSY;
}

static int put_stream(struct fds_take *take, const struct taken_file *f, const struct stream *s)
{
	struct image_writer w;
	char name[64];
	int r;

	image_writer_init(&w, IMAGE_TCP_STREAM);
	image_add(&w, &s->entry.base);
	image_add_payload(&w, s->in, s->entry.inq_len);
	image_add_payload(&w, s->out, s->entry.outq_len);
	r = image_finish(&w);
	snprintf(name, sizeof(name), "tcp-stream-%x", f->entry.isk->ino);
	if (!r && fds_take_ingest(take))
		r = object_put(fds_take_ingest(take), name, w.data, w.len);
	image_writer_free(&w);
	return r;
}

/*
 * The socket of the target is under repair only within this function, unless the tree is about to
 * be ended: then the network is shut out first and the socket stays under repair, so that it closes
 * without a word.
 */
static int keep(struct fds_take *take, struct taken_file *f, InetSkEntry *e)
{
	struct stream s = { 0 };
	bool ends = fds_take_ends(take);
	int r = R_BUSY;

	if (ends && fds_take_ingest(take)) {
		r = tcp_lock(fds_take_root(take), e);
		if (r)
			return r;
		r = fds_take_hold_tcp(take, f->local);
		if (r) {
			tcp_unlock(fds_take_root(take), e);
			return r;
		}
	}
	r = R_BUSY;
	for (int i = 0; r == R_BUSY && i < READ_TRIES; i++) {
		struct tcp_info info = { 0 };
		socklen_t len = sizeof(info);

		stream_free(&s);
		if (repair(f->local, TCP_REPAIR_ON)) {
			r = R_FAILED;
			break;
		}
		if (!getsockopt(f->local, IPPROTO_TCP, TCP_INFO, &info, &len))
			e->state = info.tcpi_state;
		r = read_stream(f->local, e->state, &s);
		if (!ends && repair(f->local, TCP_REPAIR_OFF_NO_WP)) {
			warn_errno("%s: cannot return its TCP connection to normal",
				   taken_file_name(f));
			r = R_FAILED;
		}
	}
	if (r)
		warn_errno("%s: cannot read its TCP connection out; use --tcp=close",
			   taken_file_name(f));
	else
		r = put_stream(take, f, &s);
	stream_free(&s);
	return r == R_BUSY ? R_FAILED : r;
}

int tcp_dump(struct fds_take *take, struct taken_file *f, InetSkEntry *e, SnapSocketEntry *more)
{
	switch (fds_take_tcp(take)) {
	case TCP_CLOSE:
		more->has_reset = more->reset = true;
		return R_OK;
	case TCP_REFUSE:
		warn("%s: established TCP connection (port %u to port %u)", taken_file_name(f),
		     e->src_port, e->dst_port);
		return R_UNSUPPORTED;
	case TCP_KEEP:
		break;
	}
	if (e->state == SK_SYN_SENT || e->state == SK_SYN_RECV) {
		warn("%s: TCP connection that is still being made; take again", taken_file_name(f));
		return R_UNSUPPORTED;
	}
	return keep(take, f, e);
}
