/* An established TCP connection inside the tree, data on the way in both directions, kept. */
// take: --tcp=keep
#include "target.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
	int listener = tcp_listener(), client, server;
	char back[32];

	tcp_connect(listener, &client, &server);
	CHECK(write(client, "from client", 11) == 11 && write(server, "from server", 11) == 11);

	target_ready();

	CHECK(recv(server, back, 32, 0) == 11 && !memcmp(back, "from client", 11));
	CHECK(recv(client, back, 32, 0) == 11 && !memcmp(back, "from server", 11));
	CHECK(write(client, "more", 4) == 4 && recv(server, back, 32, 0) == 4);
	close(client);
	CHECK(recv(server, back, 32, 0) == 0);
	target_pass();
}
