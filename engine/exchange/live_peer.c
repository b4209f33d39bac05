/* Whose process is at the other end of a socket? */
#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/result.h"
#include "engine/exchange/live_internal.h"

#define TCP_TABLE_MAX ((size_t)64 << 20)
#define STATE_ESTABLISHED 1u

/* An end of a connection as /proc/net/tcp prints it: words in the order they have in memory. */
static void print_end(const struct sockaddr_storage *end, char text[48])
{
	if (end->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)end;

		snprintf(text, 48, "%08X:%04X", in->sin_addr.s_addr, ntohs(in->sin_port));
	} else {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)end;
		uint32_t words[4];

		memcpy(words, &in6->sin6_addr, sizeof(words));
		snprintf(text, 48, "%08X%08X%08X%08X:%04X", words[0], words[1], words[2], words[3],
			 ntohs(in6->sin6_port));
	}
}

/* The user who made the socket with these ends; false: there is none that is connected. */
static bool owner_in(const char *table, const char *local, const char *remote, uid_t *uid)
{
	char *text, *rest;
	size_t len;
	bool found = false;

	if (io_read_file(AT_FDCWD, table, TCP_TABLE_MAX, &text, &len) != R_OK)
		return false;
	for (char *line = strtok_r(text, "\n", &rest); line && !found;
	     line = strtok_r(NULL, "\n", &rest)) {
		char one[48], two[48];
		unsigned int state, user;

		if (sscanf(line, " %*d: %47s %47s %x %*s %*s %*s %u", one, two, &state, &user) != 4)
			continue;
		found = state == STATE_ESTABLISHED && strcmp(one, local) == 0 &&
			strcmp(two, remote) == 0;
		*uid = user;
	}
	free(text);
	return found;
}

static bool tcp_owner(int fd, uid_t *uid)
{
	struct sockaddr_storage peer = { 0 }, here = { 0 };
	socklen_t peer_len = sizeof(peer), here_len = sizeof(here);
	char local[48], remote[48];

	if (getpeername(fd, (struct sockaddr *)&peer, &peer_len) != 0 ||
	    getsockname(fd, (struct sockaddr *)&here, &here_len) != 0)
		return false;
	print_end(&peer, local);
	print_end(&here, remote);
	return owner_in(peer.ss_family == AF_INET ? "/proc/net/tcp" : "/proc/net/tcp6", local,
			remote, uid);
}

bool peer_is_ours(int fd, bool loopback)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	int family;
	uid_t uid;

	if (!loopback)
		return true;
	len = sizeof(family);
	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len) != 0)
		return false;
	if (family == AF_UNIX) {
		len = sizeof(cred);
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0)
			return false;
		uid = cred.uid;
	} else if (!tcp_owner(fd, &uid)) {
		return false;
	}
	return uid == 0 || uid == geteuid();
}
