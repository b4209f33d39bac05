/* An established TCP connection comes back closed, as after a peer's reset, under the default
 * policy; if the program just runs on it is still there.  The listener works either way. */
#include "target.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
	int listener = tcp_listener(), client, server;
	char back[16];
	ssize_t n;

	signal(SIGPIPE, SIG_IGN);
	tcp_connect(listener, &client, &server);

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
	tcp_connect(listener, &client, &server);
	CHECK(write(client, "new", 3) == 3 && read(server, back, 16) == 3);
	target_pass();
}
