/* TCP connections that await accept are closed, as established ones are, under the default policy,
 * and the listener goes on; if the program just runs on they are still there. */
#include "target.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), client[2], server;
	struct pollfd p = { listener, POLLIN, 0 };
	socklen_t len = sizeof(a);
	char back[16];
	int waiting = 0;

	signal(SIGPIPE, SIG_IGN);
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK(!bind(listener, (struct sockaddr *)&a, sizeof(a)) && !listen(listener, 4));
	CHECK(!getsockname(listener, (struct sockaddr *)&a, &len));
	for (int i = 0; i < 2; i++) {
		client[i] = socket(AF_INET, SOCK_STREAM, 0);
		CHECK(!connect(client[i], (struct sockaddr *)&a, sizeof(a)));
		CHECK(write(client[i], "old", 3) == 3);
	}

	target_ready();

	while ((server = accept(listener, NULL, NULL)) >= 0) {
		CHECK(read(server, back, 16) == 3 && back[0] == 'o');
		close(server);
		waiting++;
	}
	CHECK(errno == EAGAIN && (waiting == 0 || waiting == 2));
	for (int i = 0; i < 2; i++) {
		/* closed, and never as if data were still to come */
		ssize_t n = recv(client[i], back, 16, MSG_DONTWAIT);

		CHECK(n == 0 || (n < 0 && errno == ECONNRESET));
		close(client[i]);
	}
	client[0] = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(!connect(client[0], (struct sockaddr *)&a, sizeof(a)));
	CHECK(poll(&p, 1, 5000) == 1);
	server = accept(listener, NULL, NULL);
	CHECK(server >= 0 && write(client[0], "new", 3) == 3 && read(server, back, 16) == 3);
	target_pass();
}
