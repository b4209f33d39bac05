/* Raw, UDP-Lite, netlink and packet sockets, classic filters, half closed UDP, SO_REUSEPORT given
 * up after binding, options beyond the usual. */
#include "target.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static int option(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	CHECK(!getsockopt(fd, level, name, &value, &len));
	return value;
}

static void set(int fd, int level, int name, int value)
{
	CHECK(!setsockopt(fd, level, name, &value, sizeof(value)));
}

int main(void)
{
	struct sock_filter code[2] = { BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0x12345678),
				       BPF_STMT(BPF_RET | BPF_K, 0) },
			   got[8];
	struct sock_fprog prog = { 2, code };
	struct sockaddr_in a = { .sin_family = AF_INET }, now;
	struct sockaddr_nl nl = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK }, nl_now;
	struct sockaddr_ll ll = { .sll_family = AF_PACKET }, ll_now;
	struct timeval tv = { 3, 250000 }, tv_now;
	struct linger lg = { 1, 7 }, lg_now;
	socklen_t len = sizeof(a);
	int udp = socket(AF_INET, SOCK_DGRAM, 0), lite, raw, netlink, packet, share[2], half;
	struct pollfd hup = { -1, POLLRDHUP, 0 };

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK(!bind(udp, (struct sockaddr *)&a, len) &&
	      !getsockname(udp, (struct sockaddr *)&a, &len));
	CHECK(!setsockopt(udp, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)));
	set(udp, IPPROTO_IP, IP_TOS, 0x10); /* sets the priority, too */
	set(udp, SOL_SOCKET, SO_PRIORITY, 5);
	set(udp, SOL_SOCKET, SO_BROADCAST, 1);
	set(udp, SOL_SOCKET, SO_TIMESTAMP, 1);
	set(udp, IPPROTO_IP, IP_MULTICAST_TTL, 9);
	CHECK(!setsockopt(udp, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
	half = socket(AF_INET, SOCK_DGRAM, 0);
	CHECK(!connect(half, (struct sockaddr *)&a, len) && !shutdown(half, SHUT_RD));
	lite = socket(AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE);
	NEED(lite >= 0);
	set(lite, IPPROTO_UDPLITE, 10, 16);
	raw = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
	NEED(raw >= 0);
	set(raw, IPPROTO_IP, IP_HDRINCL, 1);
	netlink = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	CHECK(netlink >= 0 && !bind(netlink, (struct sockaddr *)&nl, sizeof(nl)));
	len = sizeof(nl);
	CHECK(!getsockname(netlink, (struct sockaddr *)&nl, &len));
	packet = socket(AF_PACKET, SOCK_DGRAM, 0);
	NEED(packet >= 0);
	ll.sll_ifindex = (int)if_nametoindex("lo");
	ll.sll_protocol = htons(0x88b5);
	CHECK(!bind(packet, (struct sockaddr *)&ll, sizeof(ll)));
	set(packet, SOL_PACKET, PACKET_AUXDATA, 1);
	a.sin_port = 0;
	for (int i = 0; i < 2; i++) {
		share[i] = socket(AF_INET, SOCK_STREAM, 0);
		set(share[i], SOL_SOCKET, SO_REUSEPORT, 1);
		len = sizeof(a);
		CHECK(!bind(share[i], (struct sockaddr *)&a, len) && !listen(share[i], 2));
		CHECK(!getsockname(share[i], (struct sockaddr *)&a, &len));
	}
	set(share[0], SOL_SOCKET, SO_REUSEPORT, 0);
	CHECK(!setsockopt(share[0], SOL_SOCKET, SO_LINGER, &lg, sizeof(lg)));

	target_ready();

	hup.fd = half;
	len = 8;
	CHECK(!getsockopt(udp, SOL_SOCKET, SO_GET_FILTER, got, &len) && len == 2);
	CHECK(got[0].code == code[0].code && got[0].k == code[0].k);
	CHECK(option(udp, SOL_SOCKET, SO_PRIORITY) == 5 &&
	      option(udp, SOL_SOCKET, SO_BROADCAST) == 1);
	CHECK(option(udp, SOL_SOCKET, SO_TIMESTAMP) == 1 &&
	      option(udp, IPPROTO_IP, IP_TOS) == 0x10);
	CHECK(option(udp, IPPROTO_IP, IP_MULTICAST_TTL) == 9);
	len = sizeof(tv_now);
	CHECK(!getsockopt(udp, SOL_SOCKET, SO_RCVTIMEO, &tv_now, &len));
	CHECK(tv_now.tv_sec == 3 && tv_now.tv_usec >= 240000 && tv_now.tv_usec <= 260000);
	CHECK(poll(&hup, 1, 0) == 1 && (hup.revents & POLLRDHUP) && send(half, "x", 1, 0) == 1);
	CHECK(option(lite, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_UDPLITE);
	CHECK(option(lite, IPPROTO_UDPLITE, 10) == 16);
	CHECK(option(raw, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_ICMP);
	CHECK(option(raw, IPPROTO_IP, IP_HDRINCL) == 1);
	len = sizeof(nl_now);
	CHECK(!getsockname(netlink, (struct sockaddr *)&nl_now, &len));
	CHECK(nl_now.nl_pid == nl.nl_pid && nl_now.nl_groups == RTMGRP_LINK);
	len = sizeof(ll_now);
	CHECK(!getsockname(packet, (struct sockaddr *)&ll_now, &len));
	CHECK(ll_now.sll_ifindex == ll.sll_ifindex && ll_now.sll_protocol == ll.sll_protocol);
	CHECK(option(packet, SOL_PACKET, PACKET_AUXDATA) == 1);
	for (int i = 0; i < 2; i++) {
		len = sizeof(now);
		CHECK(!getsockname(share[i], (struct sockaddr *)&now, &len) &&
		      now.sin_port == a.sin_port);
		CHECK(option(share[i], SOL_SOCKET, SO_REUSEPORT) == i);
	}
	len = sizeof(lg_now);
	CHECK(!getsockopt(share[0], SOL_SOCKET, SO_LINGER, &lg_now, &len));
	CHECK(lg_now.l_onoff == 1 && lg_now.l_linger == 7);
	target_pass();
}
