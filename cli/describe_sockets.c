/* Sockets of a process in JSON. */
#include "cli/describe.h"

#include <arpa/inet.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

struct word {
	uint32_t value;
	const char *word;
};

#define WORD(words, value) find_word(words, sizeof(words) / sizeof(words[0]), value)

static const char *find_word(const struct word *words, size_t n, uint32_t value)
{
	for (size_t i = 0; i < n; i++)
		if (words[i].value == value)
			return words[i].word;
	return "other";
}

static const struct word tcp_states[] = {
	{ TCP_ESTABLISHED, "established" },
	{ TCP_SYN_SENT, "syn-sent" },
	{ TCP_SYN_RECV, "syn-recv" },
	{ TCP_FIN_WAIT1, "fin-wait-1" },
	{ TCP_FIN_WAIT2, "fin-wait-2" },
	{ TCP_TIME_WAIT, "time-wait" },
	{ TCP_CLOSE, "closed" },
	{ TCP_CLOSE_WAIT, "close-wait" },
	{ TCP_LAST_ACK, "last-ack" },
	{ TCP_LISTEN, "listening" },
	{ TCP_CLOSING, "closing" },
};

static const struct word types[] = {
	{ SOCK_STREAM, "stream" },
	{ SOCK_DGRAM, "datagram" },
	{ SOCK_SEQPACKET, "seqpacket" },
	{ SOCK_RAW, "raw" },
};

static const struct word ip_protocols[] = {
	{ IPPROTO_TCP, "tcp" },	  { IPPROTO_UDP, "udp" },	{ IPPROTO_UDPLITE, "udplite" },
	{ IPPROTO_ICMP, "icmp" }, { IPPROTO_ICMPV6, "icmpv6" }, { IPPROTO_SCTP, "sctp" },
};

static const struct word netlink_protocols[] = {
	{ NETLINK_ROUTE, "route" },	      { NETLINK_SOCK_DIAG, "sock-diag" },
	{ NETLINK_AUDIT, "audit" },	      { NETLINK_NETFILTER, "netfilter" },
	{ NETLINK_KOBJECT_UEVENT, "uevent" }, { NETLINK_GENERIC, "generic" },
};

static void set_word(json_t *json, const char *key, const char *word)
{
	json_object_set_new(json, key, json_string(word));
}

static void set_number(json_t *json, const char *key, uint64_t value)
{
	json_object_set_new(json, key, json_integer((json_int_t)value));
}

/* "127.0.0.1:80", "[::1]:80".  Words of an address are in network order already. */
static void set_address(json_t *json, const char *key, uint32_t family, const uint32_t *words,
			size_t n, uint32_t port)
{
	bool six = family == AF_INET6;
	char text[INET6_ADDRSTRLEN], whole[INET6_ADDRSTRLEN + 16];

	if (n < (six ? 4u : 1u) || !inet_ntop(six ? AF_INET6 : AF_INET, words, text, sizeof(text)))
		return;
	snprintf(whole, sizeof(whole), six ? "[%s]:%u" : "%s:%u", text, port);
	set_word(json, key, whole);
}

static void add_shutdown(json_t *json, bool has, SkShutdown how)
{
	static const char *const words[] = { NULL, "read", "write", "both" };

	if (has && how > 0 && (size_t)how < sizeof(words) / sizeof(words[0]))
		set_word(json, "shutdown", words[how]);
}

static void add_buffers(json_t *json, const SkOptsEntry *opts)
{
	set_number(json, "send_buffer", opts->so_sndbuf);
	set_number(json, "receive_buffer", opts->so_rcvbuf);
}

static void add_listening(json_t *json, uint32_t backlog, const struct look_queue *queue)
{
	set_number(json, "backlog", backlog);
	if (queue)
		set_number(json, "awaiting_accept", queue->awaiting_accept);
}

static void add_queues(json_t *json, const struct look_queue *queue)
{
	set_number(json, "bytes_receive_queue", queue->bytes_received);
	set_number(json, "bytes_send_queue", queue->bytes_sent);
	if (queue->packets_received)
		set_number(json, "packets_receive_queue", queue->packets_received);
}

/* Only TCP has states of its own; of others the kernel uses two of these numbers. */
static const char *inet_state(const InetSkEntry *sk)
{
	if (sk->proto == IPPROTO_TCP)
		return WORD(tcp_states, sk->state);
	return sk->state == TCP_ESTABLISHED ? "connected" : "unconnected";
}

static void add_inet(json_t *json, const InetSkEntry *sk, const struct look_queue *queue,
		     bool whole)
{
	bool listening = sk->proto == IPPROTO_TCP && sk->state == TCP_LISTEN;

	set_word(json, "type", WORD(types, sk->type & 0xf));
	set_word(json, "protocol", WORD(ip_protocols, sk->proto));
	set_word(json, "state", inet_state(sk));
	set_address(json, "local", sk->family, sk->src_addr, sk->n_src_addr, sk->src_port);
	if (sk->dst_port)
		set_address(json, "remote", sk->family, sk->dst_addr, sk->n_dst_addr, sk->dst_port);
	if (sk->ifname)
		json_object_set_new(json, "interface",
				    describe_text(sk->ifname, strlen(sk->ifname)));
	add_shutdown(json, sk->has_shutdown, sk->shutdown);
	set_number(json, "inode", sk->ino);
	add_buffers(json, sk->opts);
	if (listening)
		add_listening(json, sk->backlog, queue);
	if (queue && whole)
		add_queues(json, queue);
	if (queue && queue->reset)
		json_object_set_new(json, "comes_back_reset", json_true());
}

/* A name that begins with a zero is abstract; one of a path may end with one. */
static void add_name(json_t *json, const ProtobufCBinaryData *from)
{
	const char *name = (const char *)from->data;

	if (from->len && !name[0])
		json_object_set_new(json, "abstract", describe_text(name + 1, from->len - 1));
	else if (from->len)
		json_object_set_new(json, "path", describe_text(name, strnlen(name, from->len)));
}

static void add_peer(const struct look *look, const FileEntry *file, const struct look_queue *queue,
		     json_t *json)
{
	const struct look_task *task;
	uint32_t fd;

	if (file->usk->peer)
		set_number(json, "peer_inode", file->usk->peer);
	task = look_unix_peer(look, file, &fd);
	if (task) {
		set_number(json, "peer_pid", task->pid);
		set_number(json, "peer_fd", fd);
	}
	if (queue && queue->outside)
		json_object_set_new(json, "peer_outside", json_true());
}

static void add_unix(const struct look *look, json_t *json, const FileEntry *file,
		     const struct look_queue *queue)
{
	const UnixSkEntry *sk = file->usk;

	set_word(json, "type", WORD(types, sk->type & 0xf));
	set_word(json, "state",
		 sk->state == TCP_LISTEN	? "listening"
		 : sk->state == TCP_ESTABLISHED ? "established"
						: "unconnected");
	add_name(json, &sk->name);
	set_number(json, "inode", sk->ino);
	add_peer(look, file, queue, json);
	add_shutdown(json, sk->has_shutdown, sk->shutdown);
	add_buffers(json, sk->opts);
	if (sk->state == TCP_LISTEN)
		add_listening(json, sk->backlog, queue);
	else if (queue)
		add_queues(json, queue);
}

static void add_netlink(json_t *json, const NetlinkSkEntry *sk)
{
	set_word(json, "protocol", WORD(netlink_protocols, sk->protocol));
	set_number(json, "port", sk->portid);
	set_number(json, "inode", sk->ino);
	add_buffers(json, sk->opts);
}

static void add_packet(json_t *json, const PacketSockEntry *sk)
{
	char protocol[16];

	snprintf(protocol, sizeof(protocol), "0x%04x", ntohs((uint16_t)sk->protocol));
	set_word(json, "type", WORD(types, sk->type & 0xf));
	set_word(json, "protocol", protocol);
	set_number(json, "interface", sk->ifindex);
	add_buffers(json, sk->opts);
}

void describe_socket(const struct look *look, const struct look_queues *queues,
		     const FileEntry *file, json_t *json)
{
	struct look_queue queue;
	bool whole = queues && look_queue(queues, file, &queue);

	if (file->isk)
		add_inet(json, file->isk, queues ? &queue : NULL, whole);
	if (file->usk)
		add_unix(look, json, file, whole ? &queue : NULL);
	if (file->nlsk)
		add_netlink(json, file->nlsk);
	if (file->psk)
		add_packet(json, file->psk);
}
