/* Connections that await accept belong to no descriptor: they cannot be kept. */
// take: --tcp=keep
// names: await accept
#include "target.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	int client = socket(AF_INET, SOCK_STREAM, 0), server;
	socklen_t len = sizeof(a);
	char back[16];

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK(!bind(listener, (struct sockaddr *)&a, sizeof(a)) && !listen(listener, 4));
	CHECK(!getsockname(listener, (struct sockaddr *)&a, &len));
	CHECK(!connect(client, (struct sockaddr *)&a, sizeof(a)) && write(client, "old", 3) == 3);

	target_ready();

	server = accept(listener, NULL, NULL);
	CHECK(server >= 0 && read(server, back, 16) == 3 && write(server, "answer", 6) == 6);
	CHECK(read(client, back, 16) == 6);
	target_pass();
}
