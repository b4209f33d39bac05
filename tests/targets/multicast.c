/* Multicast groups that sockets have joined: any source, sources let in and left out, IPv4 and
 * IPv6, and one that has joined nothing. */
#include "target.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static unsigned int loopback;

static int bound(int family, int port)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(family, SOCK_DGRAM, 0), one = 1;

	CHECK(fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
	CHECK(!(family == AF_INET ? bind(fd, (struct sockaddr *)&four, sizeof(four))
				  : bind(fd, (struct sockaddr *)&six, sizeof(six))));
	return fd;
}

static struct in_addr v4(const char *text)
{
	struct in_addr a;

	CHECK(inet_pton(AF_INET, text, &a) == 1);
	return a;
}

/* What the socket knows of a group: mode and number of sources, -1 if it has not joined it. */
static int filter_of(int fd, int level, const char *text, unsigned int *mode)
{
	struct {
		struct group_filter filter;
		struct sockaddr_storage more[8];
	} ask = { 0 };
	socklen_t len = sizeof(ask);

	ask.filter.gf_interface = loopback;
	ask.filter.gf_numsrc = 8;
	ask.filter.gf_group.ss_family = level == IPPROTO_IP ? AF_INET : AF_INET6;
	CHECK(inet_pton(ask.filter.gf_group.ss_family, text,
			level == IPPROTO_IP
			    ? (void *)&((struct sockaddr_in *)&ask.filter.gf_group)->sin_addr
			    : (void *)&((struct sockaddr_in6 *)&ask.filter.gf_group)->sin6_addr));
	if (getsockopt(fd, level, MCAST_MSFILTER, &ask, &len))
		return -1;
	*mode = ask.filter.gf_fmode;
	return (int)ask.filter.gf_numsrc;
}

int main(void)
{
	struct ip_mreq_source source = { .imr_interface = v4("127.0.0.1") };
	struct ip_mreqn any = { .imr_multiaddr = v4("239.7.7.1") };
	struct ipv6_mreq six = { 0 };
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr = v4("239.7.7.1") };
	int in, chosen, other, in6, out, off = 0;
	socklen_t len = sizeof(to);
	unsigned int mode = 9;
	char text[8] = "";

	loopback = if_nametoindex("lo");
	NEED(loopback);
	any.imr_ifindex = (int)loopback;
	in = bound(AF_INET, 0);
	chosen = bound(AF_INET, 0);
	other = bound(AF_INET, 0);
	in6 = bound(AF_INET6, 0);
	NEED(!setsockopt(in, IPPROTO_IP, IP_ADD_MEMBERSHIP, &any, sizeof(any)));
	source.imr_multiaddr = v4("239.7.7.2");
	source.imr_sourceaddr = v4("127.0.0.1");
	NEED(!setsockopt(chosen, IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, &source, sizeof(source)));
	source.imr_sourceaddr = v4("127.0.0.2");
	NEED(!setsockopt(chosen, IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, &source, sizeof(source)));
	any.imr_multiaddr = v4("239.7.7.3");
	source.imr_multiaddr = v4("239.7.7.3");
	NEED(!setsockopt(chosen, IPPROTO_IP, IP_ADD_MEMBERSHIP, &any, sizeof(any)));
	NEED(!setsockopt(chosen, IPPROTO_IP, IP_BLOCK_SOURCE, &source, sizeof(source)));
	six.ipv6mr_interface = loopback;
	CHECK(inet_pton(AF_INET6, "ff02::4:7", &six.ipv6mr_multiaddr) == 1);
	NEED(!setsockopt(in6, IPPROTO_IPV6, IPV6_JOIN_GROUP, &six, sizeof(six)));
	CHECK(!setsockopt(other, IPPROTO_IP, IP_MULTICAST_ALL, &off, sizeof(off)));

	target_ready();

	CHECK(filter_of(in, IPPROTO_IP, "239.7.7.1", &mode) == 0 && mode == MCAST_EXCLUDE);
	CHECK(filter_of(chosen, IPPROTO_IP, "239.7.7.1", &mode) == -1);
	CHECK(filter_of(chosen, IPPROTO_IP, "239.7.7.2", &mode) == 2 && mode == MCAST_INCLUDE);
	CHECK(filter_of(chosen, IPPROTO_IP, "239.7.7.3", &mode) == 1 && mode == MCAST_EXCLUDE);
	CHECK(filter_of(other, IPPROTO_IP, "239.7.7.1", &mode) == -1);
	CHECK(filter_of(in6, IPPROTO_IPV6, "ff02::4:7", &mode) == 0 && mode == MCAST_EXCLUDE);
	CHECK(!getsockname(in, (struct sockaddr *)&to, &len));
	to.sin_addr = v4("239.7.7.1");
	out = bound(AF_INET, 0);
	any.imr_multiaddr = v4("239.7.7.1");
	CHECK(!setsockopt(out, IPPROTO_IP, IP_MULTICAST_IF, &any, sizeof(any)));
	CHECK(sendto(out, "hello", 5, 0, (struct sockaddr *)&to, sizeof(to)) == 5);
	usleep(20000);
	CHECK(recv(in, text, sizeof(text), MSG_DONTWAIT) == 5 && !memcmp(text, "hello", 5));
	/* joined once, so left once, by the interface's address as well as by its number */
	any.imr_ifindex = 0;
	any.imr_address = v4("127.0.0.1");
	CHECK(setsockopt(in, IPPROTO_IP, IP_ADD_MEMBERSHIP, &any, sizeof(any)) == -1);
	CHECK(!setsockopt(in, IPPROTO_IP, IP_DROP_MEMBERSHIP, &any, sizeof(any)));
	CHECK(!setsockopt(in6, IPPROTO_IPV6, IPV6_LEAVE_GROUP, &six, sizeof(six)));
	target_pass();
}
