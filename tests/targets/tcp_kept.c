/* An established TCP connection inside the tree, data on the way in both directions, kept. */
// take: --tcp=keep
#include "target.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	int listener = socket(AF_INET, SOCK_STREAM, 0), client, server, one = 1;
	socklen_t len = sizeof(a);
	char back[32];

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	CHECK(!bind(listener, (struct sockaddr *)&a, sizeof(a)) && !listen(listener, 4));
	CHECK(!getsockname(listener, (struct sockaddr *)&a, &len));
	client = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(!connect(client, (struct sockaddr *)&a, sizeof(a)));
	server = accept(listener, NULL, NULL);
	CHECK(server >= 0);
	CHECK(write(client, "from client", 11) == 11 && write(server, "from server", 11) == 11);

	target_ready();

	CHECK(recv(server, back, 32, 0) == 11 && !memcmp(back, "from client", 11));
	CHECK(recv(client, back, 32, 0) == 11 && !memcmp(back, "from server", 11));
	CHECK(write(client, "more", 4) == 4 && recv(server, back, 32, 0) == 4);
	close(client);
	CHECK(recv(server, back, 32, 0) == 0);
	target_pass();
}
