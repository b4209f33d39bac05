/* TCP and UDP over IPv4 and IPv6: listening (with backlog and options), bound, unbound, connected
 * UDP; the listeners serve new clients afterwards, UDP keeps its peer. */
#include "target.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static union address loopback(int family)
{
	union address a;

	memset(&a, 0, sizeof(a));
	a.any.sa_family = (sa_family_t)family;
	if (family == AF_INET)
		a.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		a.v6.sin6_addr = in6addr_loopback;
	return a;
}

static union address bound(int fd, int family)
{
	union address a = loopback(family);
	socklen_t len = sizeof(a);

	NEED(!bind(fd, &a.any, sizeof(a)));
	CHECK(!getsockname(fd, &a.any, &len));
	return a;
}

static void same_name(int fd, union address before)
{
	union address now;
	socklen_t len = sizeof(now);

	memset(&now, 0, sizeof(now));
	CHECK(!getsockname(fd, &now.any, &len));
	CHECK(now.any.sa_family == before.any.sa_family && now.v4.sin_port == before.v4.sin_port);
}

static int option(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	CHECK(!getsockopt(fd, level, name, &value, &len));
	return value;
}

static void serves(int listener, union address *a)
{
	int client = socket(a->any.sa_family, SOCK_STREAM, 0), server;
	char back[8];

	CHECK(!connect(client, &a->any, sizeof(*a)));
	server = accept(listener, NULL, NULL);
	CHECK(server >= 0 && write(client, "abc", 3) == 3 && read(server, back, 8) == 3);
	close(client);
	close(server);
}

int main(void)
{
	static const int families[2] = { AF_INET, AF_INET6 };
	union address tcp_name[2], udp_name[2], peer_name[2], bound_name;
	int tcp[2], udp[2], peer[2], plain = socket(AF_INET, SOCK_STREAM, 0), only_bound, one = 1;
	int buffer = 70000;
	char back[16];

	for (int i = 0; i < 2; i++) {
		tcp[i] = socket(families[i], SOCK_STREAM | SOCK_CLOEXEC, 0);
		CHECK(!setsockopt(tcp[i], SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
		CHECK(!setsockopt(tcp[i], SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)));
		CHECK(!setsockopt(tcp[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
		CHECK(!setsockopt(tcp[i], SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer)));
		tcp_name[i] = bound(tcp[i], families[i]);
		CHECK(!listen(tcp[i], 17));
		udp[i] = socket(families[i], SOCK_DGRAM, 0);
		peer[i] = socket(families[i], SOCK_DGRAM, 0);
		udp_name[i] = bound(udp[i], families[i]);
		peer_name[i] = bound(peer[i], families[i]);
		CHECK(!connect(udp[i], &peer_name[i].any, sizeof(peer_name[i])));
	}
	only_bound = socket(AF_INET, SOCK_STREAM, 0);
	bound_name = bound(only_bound, AF_INET);

	target_ready();

	for (int i = 0; i < 2; i++) {
		same_name(tcp[i], tcp_name[i]);
		CHECK(option(tcp[i], SOL_SOCKET, SO_REUSEADDR) == 1);
		CHECK(option(tcp[i], SOL_SOCKET, SO_KEEPALIVE) == 1);
		CHECK(option(tcp[i], IPPROTO_TCP, TCP_NODELAY) == 1);
		CHECK(option(tcp[i], SOL_SOCKET, SO_RCVBUF) == 2 * buffer);
		CHECK(option(tcp[i], SOL_SOCKET, SO_ACCEPTCONN) == 1);
		serves(tcp[i], &tcp_name[i]);
		same_name(udp[i], udp_name[i]);
		CHECK(send(udp[i], "to peer", 7, 0) == 7);
		CHECK(recv(peer[i], back, sizeof(back), 0) == 7);
		CHECK(sendto(peer[i], "back", 4, 0, &udp_name[i].any, sizeof(udp_name[i])) == 4);
		CHECK(recv(udp[i], back, sizeof(back), 0) == 4);
	}
	same_name(only_bound, bound_name);
	CHECK(!listen(only_bound, 1));
	serves(only_bound, &bound_name);
	CHECK(!connect(plain, &tcp_name[0].any, sizeof(tcp_name[0])));
	target_pass();
}
