/* A system call sent to a process outside of valgrind, whose result is a descriptor. */
#ifndef SNAP_TESTS_VALGRIND_FORWARD_H
#define SNAP_TESTS_VALGRIND_FORWARD_H

#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

#define FORWARD_FD 900 /* of the socket, in the command */

struct forwarded {
	long number, args[4];
	int fd_argument; /* which of them is a descriptor, sent along; -1: none */
	int result;	 /* 0 and a descriptor, or -errno */
};

/* One message, with `fd` unless that is -1; -1 if it could not be sent. */
static inline ssize_t forward_send(int sock, void *data, size_t bytes, int fd)
{
	char room[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { data, bytes };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (fd >= 0) {
		msg.msg_control = room;
		msg.msg_controllen = sizeof(room);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	return sendmsg(sock, &msg, MSG_NOSIGNAL);
}

/* One message, and in `*fd` the descriptor that came with it, or -1. */
static inline ssize_t forward_receive(int sock, void *data, size_t bytes, int *fd)
{
	char room[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { data, bytes };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = room,
			      .msg_controllen = sizeof(room) };
	ssize_t got = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = got < 0 ? NULL : CMSG_FIRSTHDR(&msg);

	*fd = -1;
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(c), sizeof(int));
	return got;
}

#endif
