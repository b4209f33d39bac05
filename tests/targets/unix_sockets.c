/* Unix sockets inside the tree: pairs of three types, queued data, shutdown, a listener at a path
 * and one at an abstract name, an accepted connection, options. */
#include "target.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int listener(struct sockaddr_un *a, socklen_t len)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	CHECK(fd >= 0 && !bind(fd, (struct sockaddr *)a, len) && !listen(fd, 7));
	return fd;
}

static int dial(struct sockaddr_un *a, socklen_t len)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	CHECK(fd >= 0 && !connect(fd, (struct sockaddr *)a, len));
	return fd;
}

static void expect(int fd, const char *text)
{
	char back[100] = { 0 };
	ssize_t n = recv(fd, back, sizeof(back) - 1, MSG_DONTWAIT);

	if (n != (ssize_t)strlen(text) || strcmp(back, text))
		target_fail("got '%s' (%zd) instead of '%s'", back, n, text);
}

int main(void)
{
	struct sockaddr_un named = { AF_UNIX, "socket" }, abstract = { AF_UNIX, "" };
	socklen_t abstract_len, len;
	int stream[2], dgram[2], seq[2], half[2], at_name, at_abstract, client, server;
	int value = 50000, got, type;
	pid_t child;
	char byte;

	abstract_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
				   snprintf(abstract.sun_path + 1, 60, "target-%d", getpid()));
	unlink("socket");
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stream));
	CHECK(!socketpair(AF_UNIX, SOCK_DGRAM, 0, dgram));
	CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, seq));
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, half));
	CHECK(write(stream[0], "to the right", 12) == 12 && write(stream[1], "left", 4) == 4);
	CHECK(write(dgram[0], "one", 3) == 3 && write(dgram[0], "two!", 4) == 4);
	CHECK(write(seq[0], "packet", 6) == 6 && write(seq[0], "next", 4) == 4);
	CHECK(!shutdown(half[0], SHUT_WR));
	CHECK(!setsockopt(stream[0], SOL_SOCKET, SO_SNDBUF, &value, sizeof(value)));
	at_name = listener(&named, sizeof(named));
	at_abstract = listener(&abstract, abstract_len);
	client = dial(&named, sizeof(named));
	server = accept(at_name, NULL, NULL);
	CHECK(server >= 0 && write(server, "hello", 5) == 5);
	child = fork();
	if (!child) {
		close(client);
		CHECK(read(server, &byte, 1) == 1 && byte == '?');
		CHECK(write(server, "!", 1) == 1);
		_exit(0);
	}
	close(server);

	target_ready();

	expect(stream[1], "to the right");
	expect(stream[0], "left");
	expect(dgram[1], "one");
	expect(dgram[1], "two!");
	expect(seq[1], "packet");
	expect(seq[1], "next");
	CHECK(recv(half[1], &byte, 1, MSG_DONTWAIT) == 0 && write(half[1], "x", 1) == 1);
	expect(half[0], "x");
	len = sizeof(got);
	CHECK(!getsockopt(stream[0], SOL_SOCKET, SO_SNDBUF, &got, &len) && got == 2 * value);
	CHECK(!getsockopt(seq[0], SOL_SOCKET, SO_TYPE, &type, &len) && type == SOCK_SEQPACKET);
	CHECK(fcntl(stream[0], F_GETFD) == FD_CLOEXEC && (fcntl(seq[0], F_GETFL) & O_NONBLOCK));
	expect(client, "hello");
	CHECK(write(client, "?", 1) == 1 && read(client, &byte, 1) == 1 && byte == '!');
	expect_child_ok(child);
	CHECK(recv(client, &byte, 1, MSG_DONTWAIT) == 0);
	/* new connections to both names */
	client = dial(&named, sizeof(named));
	server = accept(at_name, NULL, NULL);
	CHECK(server >= 0 && write(client, "new", 3) == 3);
	expect(server, "new");
	client = dial(&abstract, abstract_len);
	server = accept(at_abstract, NULL, NULL);
	CHECK(server >= 0 && write(client, "more", 4) == 4);
	expect(server, "more");
	target_pass();
}
