/* Open files and sockets of a process in JSON. */
#include "cli/describe.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static const char *kind_word(FdTypes type)
{
	static const char *const words[] = {
		[FD_TYPES__REG] = "file",
		[FD_TYPES__PIPE] = "pipe",
		[FD_TYPES__FIFO] = "fifo",
		[FD_TYPES__INETSK] = "inet socket",
		[FD_TYPES__UNIXSK] = "unix socket",
		[FD_TYPES__EVENTFD] = "eventfd",
		[FD_TYPES__EVENTPOLL] = "epoll",
		[FD_TYPES__INOTIFY] = "inotify",
		[FD_TYPES__SIGNALFD] = "signalfd",
		[FD_TYPES__PACKETSK] = "packet socket",
		[FD_TYPES__TTY] = "terminal",
		[FD_TYPES__FANOTIFY] = "fanotify",
		[FD_TYPES__NETLINKSK] = "netlink socket",
		[FD_TYPES__NS] = "namespace",
		[FD_TYPES__TUNF] = "tun",
		[FD_TYPES__EXT] = "external",
		[FD_TYPES__TIMERFD] = "timerfd",
		[FD_TYPES__MEMFD] = "memfd",
		[FD_TYPES__BPFMAP] = "bpf map",
		[FD_TYPES__PIDFD] = "pidfd",
	};

	if ((size_t)type >= sizeof(words) / sizeof(words[0]) || !words[type])
		return "unknown";
	return words[type];
}

static const char *tcp_state(uint32_t state)
{
	static const char *const words[] = {
		[TCP_ESTABLISHED] = "established",
		[TCP_SYN_SENT] = "syn-sent",
		[TCP_SYN_RECV] = "syn-recv",
		[TCP_FIN_WAIT1] = "fin-wait-1",
		[TCP_FIN_WAIT2] = "fin-wait-2",
		[TCP_TIME_WAIT] = "time-wait",
		[TCP_CLOSE] = "closed",
		[TCP_CLOSE_WAIT] = "close-wait",
		[TCP_LAST_ACK] = "last-ack",
		[TCP_LISTEN] = "listening",
		[TCP_CLOSING] = "closing",
	};

	return state < sizeof(words) / sizeof(words[0]) && words[state] ? words[state] : "unknown";
}

static const char *type_word(uint32_t type)
{
	switch (type & 0xf) {
	case SOCK_STREAM:
		return "stream";
	case SOCK_DGRAM:
		return "datagram";
	case SOCK_SEQPACKET:
		return "seqpacket";
	case SOCK_RAW:
		return "raw";
	default:
		return "unknown";
	}
}

static const char *protocol_word(uint32_t protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return "tcp";
	case IPPROTO_UDP:
		return "udp";
	case IPPROTO_UDPLITE:
		return "udplite";
	case IPPROTO_ICMP:
		return "icmp";
	case IPPROTO_ICMPV6:
		return "icmpv6";
	default:
		return "other";
	}
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
	json_object_set_new(json, key, json_string(whole));
}

static void add_inet(json_t *json, const InetSkEntry *sk)
{
	json_object_set_new(json, "protocol", json_string(protocol_word(sk->proto)));
	json_object_set_new(json, "state", json_string(tcp_state(sk->state)));
	set_address(json, "local", sk->family, sk->src_addr, sk->n_src_addr, sk->src_port);
	if (sk->dst_port)
		set_address(json, "remote", sk->family, sk->dst_addr, sk->n_dst_addr, sk->dst_port);
	json_object_set_new(json, "send_buffer", json_integer(sk->opts->so_sndbuf));
	json_object_set_new(json, "receive_buffer", json_integer(sk->opts->so_rcvbuf));
}

static void add_unix(json_t *json, const UnixSkEntry *sk)
{
	const char *name = (const char *)sk->name.data;
	size_t len = sk->name.len;

	json_object_set_new(json, "type", json_string(type_word(sk->type)));
	json_object_set_new(json, "state", json_string(tcp_state(sk->state)));
	/* A name that begins with a zero is abstract; one of a path may end with one. */
	if (len && !name[0]) {
		json_object_set_new(json, "abstract", describe_text(name + 1, len - 1));
	} else if (len) {
		len = strnlen(name, len);
		json_object_set_new(json, "path", describe_text(name, len));
	}
	json_object_set_new(json, "inode", json_integer(sk->ino));
	if (sk->peer)
		json_object_set_new(json, "peer_inode", json_integer(sk->peer));
}

static void add_access(json_t *json, uint32_t flags)
{
	char text[64];

	snprintf(text, sizeof(text), "%s%s%s",
		 (flags & O_ACCMODE) == O_RDONLY   ? "read"
		 : (flags & O_ACCMODE) == O_WRONLY ? "write"
						   : "read-write",
		 flags & O_APPEND ? " append" : "", flags & O_NONBLOCK ? " nonblock" : "");
	json_object_set_new(json, "access", json_string(text));
}

static void add_reg(json_t *json, const RegFileEntry *reg)
{
	json_object_set_new(json, "path", describe_text(reg->name, strlen(reg->name)));
	json_object_set_new(json, "offset", json_integer((json_int_t)reg->pos));
	add_access(json, reg->flags);
	if (reg->has_size)
		json_object_set_new(json, "size", json_integer((json_int_t)reg->size));
}

static void add_memfd(const struct look *look, json_t *json, const FileEntry *file)
{
	const MemfdInodeEntry *inode = look_memfd(look, file);

	if (!inode)
		return;
	json_object_set_new(json, "name", describe_text(inode->name, strlen(inode->name)));
	json_object_set_new(json, "size", json_integer((json_int_t)inode->size));
}

static void add_details(const struct look *look, json_t *json, const FileEntry *file)
{
	if (file->reg)
		add_reg(json, file->reg);
	if (file->isk)
		add_inet(json, file->isk);
	if (file->usk)
		add_unix(json, file->usk);
	if (file->pipe) {
		json_object_set_new(json, "inode", json_integer(file->pipe->pipe_id));
		add_access(json, file->pipe->flags);
	}
	if (file->fifo)
		json_object_set_new(json, "inode", json_integer(file->fifo->pipe_id));
	if (file->efd)
		json_object_set_new(json, "counter", json_integer((json_int_t)file->efd->counter));
	if (file->epfd)
		json_object_set_new(json, "watches", json_integer((json_int_t)file->epfd->n_tfd));
	if (file->ify)
		json_object_set_new(json, "watches", json_integer((json_int_t)file->ify->n_wd));
	if (file->memfd)
		add_memfd(look, json, file);
}

static bool is_socket(FdTypes type)
{
	return type == FD_TYPES__INETSK || type == FD_TYPES__UNIXSK || type == FD_TYPES__PACKETSK ||
	       type == FD_TYPES__NETLINKSK;
}

json_t *describe_files(const struct look *look, const struct look_task *task, bool sockets_only)
{
	json_t *list = json_array();

	for (size_t i = 0; i < task->n_fds; i++) {
		const FdinfoEntry *fd = task->fds[i];
		const FileEntry *file = look_file(look, fd->id);
		json_t *json;

		if (sockets_only && !is_socket(fd->type))
			continue;
		json =
		    json_pack("{s:I, s:s}", "fd", (json_int_t)fd->fd, "kind", kind_word(fd->type));
		if (fd->flags & FD_CLOEXEC)
			json_object_set_new(json, "cloexec", json_true());
		if (file)
			add_details(look, json, file);
		json_array_append_new(list, json);
	}
	return list;
}
