/* Unix sockets: descriptors and credentials in queues, names of senders, connections that await
 * accept, a socket whose file is gone, a name relative to a folder left since, a closed peer that
 * left data, datagram sockets connected crosswise. */
#include "target.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static socklen_t name(struct sockaddr_un *a, const char *text)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	strcpy(a->sun_path, text);
	return sizeof(*a);
}

static int bound(int type, const char *text)
{
	struct sockaddr_un a;
	socklen_t len = name(&a, text);
	int fd = socket(AF_UNIX, type, 0);

	CHECK(fd >= 0 && !bind(fd, (struct sockaddr *)&a, len));
	return fd;
}

static int dial(int fd, const char *text)
{
	struct sockaddr_un a;
	socklen_t len = name(&a, text);

	return connect(fd, (struct sockaddr *)&a, len);
}

static void send_fd(int socket, const char *text, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { (void *)text, strlen(text) };
	struct msghdr mh = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&mh);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	CHECK(sendmsg(socket, &mh, 0) == (ssize_t)strlen(text));
}

/* Receives one message; its descriptor (-1: none), credentials and sender. */
static int receive(int socket, const char *text, struct ucred *cred, struct sockaddr_un *from)
{
	char control[512], back[64] = { 0 };
	struct iovec iov = { back, sizeof(back) - 1 };
	struct msghdr mh = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control),
			     .msg_name = from,
			     .msg_namelen = from ? sizeof(*from) : 0 };
	ssize_t n = recvmsg(socket, &mh, MSG_DONTWAIT);
	int fd = -1;

	if (n != (ssize_t)strlen(text) || memcmp(back, text, (size_t)n))
		target_fail("got '%s' (%zd) instead of '%s'", back, n, text);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&mh); c; c = CMSG_NXTHDR(&mh, c)) {
		if (c->cmsg_type == SCM_RIGHTS)
			memcpy(&fd, CMSG_DATA(c), sizeof(fd));
		if (c->cmsg_type == SCM_CREDENTIALS && cred)
			memcpy(cred, CMSG_DATA(c), sizeof(*cred));
	}
	return fd;
}

int main(void)
{
	struct sockaddr_un from;
	struct ucred cred = { 0 };
	struct stat st;
	int stream[2], passed[2], creds[2], left[2], one = 1, fd, fd2, listener, waiting, gone, far;
	int a, b, sender, c;
	char byte;

	target_init();
	/* a descriptor behind plain data, and a socket with data of its own, closed here since */
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, stream) &&
	      !socketpair(AF_UNIX, SOCK_STREAM, 0, passed));
	fd = open("file", O_CREAT | O_RDWR, 0600);
	CHECK(fd >= 0 && write(fd, "abcdef", 6) == 6 && lseek(fd, 2, SEEK_SET) == 2);
	CHECK(write(passed[0], "inner", 5) == 5 && write(stream[0], "plain", 5) == 5);
	send_fd(stream[0], "file", fd);
	send_fd(stream[0], "sock", passed[1]);
	close(fd);
	close(passed[1]);
	/* credentials */
	CHECK(!socketpair(AF_UNIX, SOCK_DGRAM, 0, creds));
	CHECK(!setsockopt(creds[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)));
	CHECK(write(creds[0], "me", 2) == 2);
	/* data of a peer that has closed */
	CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, left));
	CHECK(write(left[0], "last", 4) == 4 && write(left[0], "words", 5) == 5 && !close(left[0]));
	/* a connection that awaits accept, at a path of another mode */
	unlink("listen");
	listener = bound(SOCK_STREAM, "listen");
	CHECK(!chmod("listen", 0640) && !listen(listener, 3));
	waiting = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK(!dial(waiting, "listen"));
	/* a datagram socket whose file is gone, with two connected to it */
	gone = bound(SOCK_DGRAM, "gone");
	a = socket(AF_UNIX, SOCK_DGRAM, 0);
	CHECK(!dial(a, "gone") && !unlink("gone"));
	CHECK(write(a, "unnamed", 7) == 7);
	/* a name relative to a folder left since, and messages of a named sender there */
	CHECK((!mkdir("deep", 0700) || 1) && !chdir("deep"));
	unlink("far");
	unlink("sender");
	far = bound(SOCK_DGRAM, "far");
	sender = bound(SOCK_DGRAM, "sender");
	CHECK(!dial(sender, "far") && write(sender, "named", 5) == 5);
	CHECK(!chdir(".."));
	/* b is connected to c, and a third one still to b */
	unlink("b");
	unlink("c");
	b = bound(SOCK_DGRAM, "b");
	c = bound(SOCK_DGRAM, "c");
	fd2 = socket(AF_UNIX, SOCK_DGRAM, 0);
	CHECK(!dial(fd2, "b") && !dial(b, "c"));

	target_ready();

	CHECK(receive(stream[1], "plainfile", NULL, NULL) >= 0 || 1);
	fd = receive(stream[1], "sock", NULL, NULL);
	CHECK(fd >= 0 && read(fd, &byte, 1) == 1 && byte == 'i');
	CHECK(write(fd, "x", 1) == 1 && read(passed[0], &byte, 1) == 1 && byte == 'x');
	receive(creds[1], "me", &cred, NULL);
	CHECK(cred.pid == getpid() && cred.uid == getuid());
	receive(left[1], "last", NULL, NULL);
	receive(left[1], "words", NULL, NULL);
	CHECK(recv(left[1], &byte, 1, MSG_DONTWAIT) == 0);
	CHECK(!stat("listen", &st) && (st.st_mode & 0777) == 0640);
	fd = accept(listener, NULL, NULL);
	CHECK(fd >= 0 && write(waiting, "y", 1) == 1 && read(fd, &byte, 1) == 1 && byte == 'y');
	receive(gone, "unnamed", NULL, NULL);
	CHECK(access("gone", F_OK) && write(a, "again", 5) == 5);
	receive(gone, "again", NULL, NULL);
	memset(&from, 0, sizeof(from));
	receive(far, "named", NULL, &from);
	CHECK(!strcmp(from.sun_path, "sender"));
	CHECK(write(sender, "on", 2) == 2);
	receive(far, "on", NULL, NULL);
	CHECK(!access("deep/far", F_OK) && write(b, "to c", 4) == 4);
	receive(c, "to c", NULL, NULL);
	target_pass();
}
