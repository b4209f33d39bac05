/* The sockets of each process. */
#include "cli/image_explore.h"

#include "base/result.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static const char *inet_state(uint32_t state)
{
	static const char *const words[] = { "?",	   "ESTABLISHED", "SYN_SENT",  "SYN_RECV",
					     "FIN_WAIT1",  "FIN_WAIT2",	  "TIME_WAIT", "CLOSE",
					     "CLOSE_WAIT", "LAST_ACK",	  "LISTEN" };

	return state < sizeof(words) / sizeof(words[0]) ? words[state] : "?";
}

static const char *kind_of(uint32_t family, uint32_t type, uint32_t proto)
{
	if (family == AF_UNIX)
		return type == SOCK_STREAM  ? "unix stream"
		       : type == SOCK_DGRAM ? "unix dgram"
					    : "unix seqpacket";
	switch (proto) {
	case IPPROTO_TCP:
		return family == AF_INET6 ? "tcp6" : "tcp";
	case IPPROTO_UDP:
		return family == AF_INET6 ? "udp6" : "udp";
	case IPPROTO_UDPLITE:
		return family == AF_INET6 ? "udplite6" : "udplite";
	default:
		return family == AF_INET6 ? "raw6" : "raw";
	}
}

static void address(const uint32_t *words, size_t n, uint32_t port, char text[80])
{
	char ip[INET6_ADDRSTRLEN] = "?";

	if (n == 4)
		inet_ntop(AF_INET6, words, ip, sizeof(ip));
	else if (n == 1)
		inet_ntop(AF_INET, words, ip, sizeof(ip));
	snprintf(text, 80, n == 4 ? "[%s]:%u" : "%s:%u", ip, port);
}

static json_t *inet_socket(const InetSkEntry *sk)
{
	char from[80], to[80];

	address(sk->src_addr, sk->n_src_addr, sk->src_port, from);
	address(sk->dst_addr, sk->n_dst_addr, sk->dst_port, to);
	return json_pack("{s:s, s:s, s:s, s:s}", "kind", kind_of(sk->family, sk->type, sk->proto),
			 "state", inet_state(sk->state), "local", from, "peer", to);
}

static json_t *unix_socket(const struct exploring *e, const FileEntry *file)
{
	const UnixSkEntry *sk = file->usk;
	char peer[40];

	snprintf(peer, sizeof(peer), sk->peer ? "inode %u" : "-", sk->peer);
	return json_pack("{s:s, s:s, s:o, s:s}", "kind", kind_of(AF_UNIX, sk->type, 0), "state",
			 inet_state(sk->state), "local",
			 explore_file_words(e, FD_TYPES__UNIXSK, file->id), "peer", peer);
}

/* NULL if it is no socket. */
static json_t *socket_of(const struct exploring *e, const FileEntry *file)
{
	char text[80];

	if (file && file->isk)
		return inet_socket(file->isk);
	if (file && file->usk)
		return unix_socket(e, file);
	if (file && file->nlsk) {
		snprintf(text, sizeof(text), "port %u", file->nlsk->portid);
		return json_pack("{s:s, s:s, s:s, s:s}", "kind", "netlink", "state", "-", "local",
				 text, "peer", "-");
	}
	if (file && file->psk) {
		snprintf(text, sizeof(text), "interface %u", file->psk->ifindex);
		return json_pack("{s:s, s:s, s:s, s:s}", "kind", "packet", "state", "-", "local",
				 text, "peer", "-");
	}
	return NULL;
}

int explore_sk(const struct exploring *e, json_t **list)
{
	*list = json_array();
	for (size_t i = 0; i < e->n_processes; i++) {
		uint32_t pid = ((const PstreeEntry *)e->processes[i])->pid;
		json_t *sockets = json_array();
		ProtobufCMessage **table;
		size_t n;
		int result = explore_table(e, pid, &table, &n);

		for (size_t k = 0; k < n; k++) {
			const FdinfoEntry *fd = (const FdinfoEntry *)table[k];
			json_t *sk = socket_of(e, explore_file(e, fd->id));

			if (!sk)
				continue;
			json_object_set_new(sk, "fd", json_integer(fd->fd));
			json_array_append_new(sockets, sk);
		}
		free_entries(table, n);
		if (result != R_OK) {
			json_decref(sockets);
			if (result == R_NOT_FOUND)
				continue; /* it has ended */
			return result;
		}
		json_array_append_new(
		    *list, json_pack("{s:I, s:o}", "pid", (json_int_t)pid, "sockets", sockets));
	}
	return R_OK;
}
