/* An established TCP connection comes back closed, as after a peer's reset, under the default
 * policy; if the program just runs on it is still there.  The listener works either way. */
#include "target.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	int listener = socket(AF_INET, SOCK_STREAM, 0), client, server, one = 1;
	socklen_t len = sizeof(a);
	char back[16];
	ssize_t n;

	signal(SIGPIPE, SIG_IGN);
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	CHECK(!bind(listener, (struct sockaddr *)&a, sizeof(a)) && !listen(listener, 4));
	CHECK(!getsockname(listener, (struct sockaddr *)&a, &len));
	client = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(!connect(client, (struct sockaddr *)&a, sizeof(a)));
	server = accept(listener, NULL, NULL);
	CHECK(server >= 0);

	target_ready();

	/* Either it works, or it says so at once: it must never just hang. */
	n = send(client, "abc", 3, MSG_DONTWAIT);
	if (n == 3) {
		usleep(20000);
		CHECK(recv(server, back, sizeof(back), MSG_DONTWAIT) == 3);
	} else {
		CHECK(errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN);
		n = recv(server, back, sizeof(back), MSG_DONTWAIT);
		CHECK(n == 0 || (n < 0 && errno != EAGAIN));
	}
	close(client);
	close(server);
	client = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(!connect(client, (struct sockaddr *)&a, sizeof(a)));
	server = accept(listener, NULL, NULL);
	CHECK(server >= 0 && write(client, "new", 3) == 3 && read(server, back, 16) == 3);
	target_pass();
}
