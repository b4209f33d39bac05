/* Packet sockets (AF_PACKET): binding, memberships, options, rings.  Packets that wait are lost. */
#include "engine/proc/fds/sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"

#define NO_FANOUT 0xffffffffu

static bool packet_probe(const struct taken_file *f)
{
	return S_ISSOCK(f->st.st_mode) && !(f->flags & O_PATH) &&
	       sk_get_int(f->local, SOL_SOCKET, SO_DOMAIN, -1) == AF_PACKET;
}

static void dump_options(int fd, PacketSockEntry *e)
{
	e->version = (uint32_t)sk_get_int(fd, SOL_PACKET, PACKET_VERSION, 0);
	e->reserve = (uint32_t)sk_get_int(fd, SOL_PACKET, PACKET_RESERVE, 0);
	e->aux_data = sk_get_int(fd, SOL_PACKET, PACKET_AUXDATA, 0) > 0;
	e->orig_dev = sk_get_int(fd, SOL_PACKET, PACKET_ORIGDEV, 0) > 0;
	e->vnet_hdr = sk_get_int(fd, SOL_PACKET, PACKET_VNET_HDR, 0) > 0;
	e->loss = sk_get_int(fd, SOL_PACKET, PACKET_LOSS, 0) > 0;
	e->timestamp = (uint32_t)sk_get_int(fd, SOL_PACKET, PACKET_TIMESTAMP, 0);
	e->copy_thresh = (uint32_t)sk_get_int(fd, SOL_PACKET, PACKET_COPY_THRESH, 0);
}

static int packet_dump(struct fds_take *take, struct taken_file *f)
{
	PacketSockEntry *e = fds_take_alloc(take, sizeof(*e));
	SnapSocketEntry *more = sk_more_new(take, f);
	struct sockaddr_ll a = { 0 };
	socklen_t len = sizeof(a);
	struct packet_facts facts;
	int r;

	if (!e || !more)
		return R_FAILED;
	r = sk_check_netns(f);
	if (!r)
		r = sock_diag_packet(take, (uint32_t)f->st.st_ino, &facts);
	if (r == R_NOT_FOUND || (!r && getsockname(f->local, (struct sockaddr *)&a, &len))) {
		warn("%s: the kernel does not tell about packet socket %lu", taken_file_name(f),
		     (unsigned long)f->st.st_ino);
		return R_FAILED;
	}
	if (r)
		return r;
	packet_sock_entry__init(e);
	e->id = f->id;
	e->type = (uint32_t)sk_get_int(f->local, SOL_SOCKET, SO_TYPE, SOCK_RAW);
	e->protocol = a.sll_protocol;
	e->flags = f->flags;
	e->ifindex = (uint32_t)a.sll_ifindex;
	e->fown = &f->fown;
	dump_options(f->local, e);
	e->mclist = facts.mclist;
	e->n_mclist = facts.n_mclist;
	/* Packets in the rings are lost like others; a mapped ring is refused with the mapping. */
	e->rx_ring = facts.rx_ring;
	e->tx_ring = facts.tx_ring;
	e->has_fanout = facts.has_fanout;
	e->fanout = facts.has_fanout ? facts.fanout : NO_FANOUT;
	f->entry.psk = e;
	r = sk_opts_dump(take, f, &e->opts, more);
	if (!r)
		sk_more_put(take, more);
	return r;
}

static int packet_check(struct fds_restore *restore, struct restored_file *f)
{
	const PacketSockEntry *e = f->entry->psk;
	char name[IF_NAMESIZE];

	(void)restore;
	if (!e || !e->opts) {
		warn("file %u: its packet socket is not described; run 'snap verify'", f->id);
		return R_DAMAGED;
	}
	if (!e->ifindex || if_indextoname(e->ifindex, name))
		return R_OK;
	warn("file %u: network interface %u of its packet socket is not there", f->id, e->ifindex);
	return R_FAILED;
}

static int set_options(const PacketSockEntry *e, int fd)
{
	const struct {
		int name, value;
	} list[] = {
		{ PACKET_VERSION, (int)e->version },
		{ PACKET_RESERVE, (int)e->reserve },
		{ PACKET_AUXDATA, e->aux_data },
		{ PACKET_ORIGDEV, e->orig_dev },
		{ PACKET_VNET_HDR, e->vnet_hdr },
		{ PACKET_LOSS, e->loss },
		{ PACKET_TIMESTAMP, (int)e->timestamp },
		{ PACKET_COPY_THRESH, (int)e->copy_thresh },
	};

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		if (list[i].value && sk_set_int(fd, SOL_PACKET, list[i].name, list[i].value)) {
			warn_errno("file %u: cannot set option %d of its packet socket", e->id,
				   list[i].name);
			return R_FAILED;
		}
	return R_OK;
}

static int join(const PacketSockEntry *e, int fd)
{
	for (size_t i = 0; i < e->n_mclist; i++) {
		const PacketMclist *m = e->mclist[i];
		/* The kernel's structure with room for addresses of any interface. */
		struct {
			int ifindex;
			unsigned short type, alen;
			unsigned char address[32];
		} req = {
			(int)m->index, (unsigned short)m->type, (unsigned short)m->addr.len, { 0 }
		};

		memcpy(req.address, m->addr.data,
		       m->addr.len < sizeof(req.address) ? m->addr.len : sizeof(req.address));
		if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &req, sizeof(req))) {
			warn_errno("file %u: cannot join membership %zu of its packet socket",
				   e->id, i);
			return R_FAILED;
		}
	}
	if (e->has_fanout && e->fanout != NO_FANOUT &&
	    sk_set_int(fd, SOL_PACKET, PACKET_FANOUT, (int)e->fanout)) {
		warn_errno("file %u: cannot join the fanout of its packet socket", e->id);
		return R_FAILED;
	}
	return R_OK;
}

static int make_ring(const PacketSockEntry *e, int fd, int which, const PacketRing *ring)
{
	struct tpacket_req3 req = { 0 };

	if (!ring)
		return R_OK;
	req.tp_block_size = ring->block_size;
	req.tp_block_nr = ring->block_nr;
	req.tp_frame_size = ring->frame_size;
	req.tp_frame_nr = ring->frame_nr;
	req.tp_retire_blk_tov = ring->retire_tmo;
	req.tp_sizeof_priv = ring->sizeof_priv;
	req.tp_feature_req_word = ring->features;
	if (!setsockopt(fd, SOL_PACKET, which, &req,
			e->version == TPACKET_V3 ? sizeof(req) : sizeof(struct tpacket_req)))
		return R_OK;
	warn_errno("file %u: cannot make the ring of its packet socket", e->id);
	return R_FAILED;
}

static int packet_open(struct fds_restore *restore, struct restored_file *f)
{
	const PacketSockEntry *e = f->entry->psk;
	struct sockaddr_ll a = {
		.sll_family = AF_PACKET,
		.sll_protocol = (uint16_t)e->protocol,
		.sll_ifindex = (int)e->ifindex,
	};
	int fd = socket(AF_PACKET, (int)e->type | SOCK_CLOEXEC, (int)e->protocol);

	if (fd < 0) {
		warn_errno("file %u: cannot make a packet socket", f->id);
		return R_FAILED;
	}
	if (e->ifindex && bind(fd, (struct sockaddr *)&a, sizeof(a))) {
		warn_errno("file %u: cannot bind its packet socket to interface %u", f->id,
			   e->ifindex);
		goto err;
	}
	if (set_options(e, fd) || make_ring(e, fd, PACKET_RX_RING, e->rx_ring) ||
	    make_ring(e, fd, PACKET_TX_RING, e->tx_ring) || join(e, fd) ||
	    sk_opts_restore(fd, f->id, e->opts, sk_more_find(restore, f->id)))
		goto err;
	return fds_restore_adopt_as(restore, f, fd, e->flags, -1);
err:
	close(fd);
	return R_FAILED;
}

static void packet_describe(const FileEntry *entry, char *buf, size_t len)
{
	snprintf(buf, len, "packet socket protocol %04x interface %u",
		 ntohs((uint16_t)entry->psk->protocol), entry->psk->ifindex);
}

const struct fd_kind fd_kind_packet = {
	.name = "packet socket",
	.type = FD_TYPES__PACKETSK,
	.probe = packet_probe,
	.dump = packet_dump,
	.load = sockets_load,
	.check = packet_check,
	.open = packet_open,
	.done = sockets_done,
	.describe = packet_describe,
};
