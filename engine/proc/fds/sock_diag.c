#include "engine/proc/fds/sockets.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/packet_diag.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"

/* One answer: `body` of the family's message; its attributes follow.  R_OK goes on, R_NOT_FOUND
 * means not this one, anything else ends it. */
typedef int (*answer_fn)(const struct nlmsghdr *h, void *arg);

/* Sends one request and hands the answers to `fn`.  R_OK if `fn` took one, R_NOT_FOUND if none. */
static int ask(const void *request, size_t bytes, int flags, answer_fn fn, void *arg)
{
	struct {
		struct nlmsghdr h;
		uint8_t body[128];
	} req = { 0 };
	static char buf[32768] __attribute__((aligned(8)));
	int nl = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	int result = R_NOT_FOUND;
	bool more = true;

	if (nl < 0) {
		warn_errno("cannot ask for the state of sockets");
		return R_FAILED;
	}
	req.h.nlmsg_len = (uint32_t)NLMSG_LENGTH(bytes);
	req.h.nlmsg_type = SOCK_DIAG_BY_FAMILY;
	req.h.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	memcpy(NLMSG_DATA(&req.h), request, bytes);
	if (send(nl, &req, req.h.nlmsg_len, 0) < 0)
		goto err;
	while (more) {
		ssize_t n = recv(nl, buf, sizeof(buf), 0);
		struct nlmsghdr *h = (struct nlmsghdr *)buf;

		if (n < 0)
			goto err;
		for (; NLMSG_OK(h, (size_t)n); h = NLMSG_NEXT(h, n)) {
			if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR) {
				more = false;
				break;
			}
			if (h->nlmsg_type == SOCK_DIAG_BY_FAMILY && result == R_NOT_FOUND)
				result = fn(h, arg);
			if (!(h->nlmsg_flags & NLM_F_MULTI))
				more = false;
		}
	}
	close(nl);
	return result;
err:
	warn_errno("cannot ask for the state of sockets");
	close(nl);
	return R_FAILED;
}

/* ---- unix ---- */

struct unix_ask {
	uint32_t ino;
	struct unix_facts *facts;
};

static int unix_icons(struct unix_facts *facts, const struct rtattr *a)
{
	size_t bytes = RTA_PAYLOAD(a);

	facts->icons = malloc(bytes ? bytes : 1);
	if (!facts->icons) {
		warn_errno("cannot list connections awaiting accept");
		return R_FAILED;
	}
	memcpy(facts->icons, RTA_DATA(a), bytes);
	facts->n_icons = bytes / sizeof(uint32_t);
	return R_OK;
}

static int unix_answer(const struct nlmsghdr *h, void *arg)
{
	struct unix_ask *q = arg;
	const struct unix_diag_msg *m = NLMSG_DATA(h);
	struct rtattr *a = (struct rtattr *)(m + 1);
	size_t left = h->nlmsg_len - NLMSG_LENGTH(sizeof(*m));

	if (m->udiag_ino != q->ino)
		return R_NOT_FOUND;
	q->facts->state = m->udiag_state;
	for (; RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		switch (a->rta_type) {
		case UNIX_DIAG_PEER:
			q->facts->has_peer = true;
			memcpy(&q->facts->peer_ino, RTA_DATA(a), sizeof(uint32_t));
			break;
		case UNIX_DIAG_ICONS:
			if (unix_icons(q->facts, a))
				return R_FAILED;
			break;
		case UNIX_DIAG_RQLEN:
			memcpy(&q->facts->rqueue, RTA_DATA(a), sizeof(uint32_t));
			memcpy(&q->facts->wqueue, (char *)RTA_DATA(a) + 4, sizeof(uint32_t));
			break;
		case UNIX_DIAG_SHUTDOWN:
			q->facts->shutdown = *(const uint8_t *)RTA_DATA(a);
			break;
		}
	}
	return R_OK;
}

int sock_diag_unix(uint32_t ino, struct unix_facts *facts)
{
	struct unix_diag_req req = {
		.sdiag_family = AF_UNIX,
		.udiag_states = ~0u,
		.udiag_ino = ino,
		.udiag_show = UDIAG_SHOW_PEER | UDIAG_SHOW_ICONS | UDIAG_SHOW_RQLEN,
		.udiag_cookie = { ~0u, ~0u },
	};
	struct unix_ask q = { ino, facts };

	memset(facts, 0, sizeof(*facts));
	return ask(&req, sizeof(req), 0, unix_answer, &q);
}

/* ---- inet ---- */

struct inet_ask {
	uint32_t ino;
	struct inet_facts *facts;
};

static int inet_answer(const struct nlmsghdr *h, void *arg)
{
	struct inet_ask *q = arg;
	const struct inet_diag_msg *m = NLMSG_DATA(h);
	struct rtattr *a = (struct rtattr *)(m + 1);
	size_t left = h->nlmsg_len - NLMSG_LENGTH(sizeof(*m));

	if (m->idiag_inode != q->ino)
		return R_NOT_FOUND;
	q->facts->state = m->idiag_state;
	q->facts->rqueue = m->idiag_rqueue;
	q->facts->wqueue = m->idiag_wqueue;
	q->facts->ifindex = m->id.idiag_if;
	for (; RTA_OK(a, left); a = RTA_NEXT(a, left))
		if (a->rta_type == INET_DIAG_SHUTDOWN)
			q->facts->shutdown = *(const uint8_t *)RTA_DATA(a);
	return R_OK;
}

int sock_diag_inet(int family, int protocol, uint32_t ino, struct inet_facts *facts)
{
	struct inet_diag_req_v2 req = {
		.sdiag_family = (uint8_t)family,
		.sdiag_protocol = (uint8_t)protocol,
		.idiag_ext = 1 << (INET_DIAG_SHUTDOWN - 1),
		.idiag_states = ~0u,
	};
	struct inet_ask q = { ino, facts };

	memset(facts, 0, sizeof(*facts));
	return ask(&req, sizeof(req), NLM_F_DUMP, inet_answer, &q);
}

/* ---- packet ---- */

struct packet_ask {
	struct fds_take *take;
	uint32_t ino;
	struct packet_facts *facts;
};

static int packet_mclist(const struct packet_ask *q, struct rtattr *a)
{
	const struct packet_diag_mclist *m = RTA_DATA(a);
	size_t n = RTA_PAYLOAD(a) / sizeof(*m);

	q->facts->mclist = fds_take_alloc(q->take, (n + 1) * sizeof(*q->facts->mclist));
	if (!q->facts->mclist)
		return R_FAILED;
	for (size_t i = 0; i < n; i++) {
		PacketMclist *e = fds_take_alloc(q->take, sizeof(*e));

		if (!e)
			return R_FAILED;
		packet_mclist__init(e);
		e->index = (uint32_t)m[i].pdmc_index;
		e->type = m[i].pdmc_type;
		if (sk_bytes(q->take, &e->addr, m[i].pdmc_addr, m[i].pdmc_alen))
			return R_FAILED;
		q->facts->mclist[q->facts->n_mclist++] = e;
	}
	return R_OK;
}

static int packet_ring(const struct packet_ask *q, struct rtattr *a, PacketRing **ring)
{
	const struct packet_diag_ring *m = RTA_DATA(a);
	PacketRing *e = fds_take_alloc(q->take, sizeof(*e));

	if (!e)
		return R_FAILED;
	packet_ring__init(e);
	e->block_size = m->pdr_block_size;
	e->block_nr = m->pdr_block_nr;
	e->frame_size = m->pdr_frame_size;
	e->frame_nr = m->pdr_frame_nr;
	e->retire_tmo = m->pdr_retire_tmo;
	e->sizeof_priv = m->pdr_sizeof_priv;
	e->features = m->pdr_features;
	*ring = e;
	return R_OK;
}

static int packet_answer(const struct nlmsghdr *h, void *arg)
{
	struct packet_ask *q = arg;
	const struct packet_diag_msg *m = NLMSG_DATA(h);
	struct rtattr *a = (struct rtattr *)(m + 1);
	size_t left = h->nlmsg_len - NLMSG_LENGTH(sizeof(*m));
	int r = R_OK;

	if (m->pdiag_ino != q->ino)
		return R_NOT_FOUND;
	for (; !r && RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		switch (a->rta_type) {
		case PACKET_DIAG_MCLIST:
			r = packet_mclist(q, a);
			break;
		case PACKET_DIAG_RX_RING:
			r = packet_ring(q, a, &q->facts->rx_ring);
			break;
		case PACKET_DIAG_TX_RING:
			r = packet_ring(q, a, &q->facts->tx_ring);
			break;
		case PACKET_DIAG_FANOUT:
			q->facts->has_fanout = true;
			memcpy(&q->facts->fanout, RTA_DATA(a), sizeof(uint32_t));
			break;
		}
	}
	return r;
}

int sock_diag_packet(struct fds_take *take, uint32_t ino, struct packet_facts *facts)
{
	struct packet_diag_req req = {
		.sdiag_family = AF_PACKET,
		.pdiag_show = PACKET_SHOW_MCLIST | PACKET_SHOW_RING_CFG | PACKET_SHOW_FANOUT |
			      PACKET_SHOW_INFO,
		.pdiag_cookie = { ~0u, ~0u },
	};
	struct packet_ask q = { take, ino, facts };

	memset(facts, 0, sizeof(*facts));
	return ask(&req, sizeof(req), NLM_F_DUMP, packet_answer, &q);
}
