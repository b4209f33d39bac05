/* A datagram under construction (UDP_CORK). */
// names: corked UDP
#include "target.h"

#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(9) };
	int fd = socket(AF_INET, SOCK_DGRAM, 0), one = 1, value = 0;
	socklen_t len = sizeof(value);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK(!connect(fd, (struct sockaddr *)&a, sizeof(a)));
	CHECK(!setsockopt(fd, IPPROTO_UDP, UDP_CORK, &one, sizeof(one)) &&
	      write(fd, "part", 4) == 4);

	target_ready();

	CHECK(!getsockopt(fd, IPPROTO_UDP, UDP_CORK, &value, &len) && value == 1);
	CHECK(write(fd, "rest", 4) == 4);
	target_pass();
}
