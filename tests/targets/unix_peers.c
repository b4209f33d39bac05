/* Whom unix sockets tell of as their peer: pid, user, group and groups of who made the pair, of who
 * listened and who connected, also when it has changed since or is gone, or was not accepted yet.
 */
#include "target.h"

#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

struct peer {
	struct ucred cred;
	gid_t groups[64];
	socklen_t bytes;
};

enum { PAIR_0, PAIR_1, DEAD, DGRAM, LISTENER, ACCEPTED, ABSTRACT_LISTENER, ABSTRACT, SOCKETS };
static int fds[SOCKETS];
static struct peer before[SOCKETS];

static void ask(int fd, struct peer *p)
{
	socklen_t len = sizeof(p->cred);

	memset(p, 0, sizeof(*p));
	p->bytes = sizeof(p->groups);
	CHECK(!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &p->cred, &len));
	CHECK(!getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, p->groups, &p->bytes));
}

static void expect(int fd, const struct peer *wanted, const char *what)
{
	struct peer now;

	ask(fd, &now);
	if (now.cred.pid != wanted->cred.pid || now.cred.uid != wanted->cred.uid ||
	    now.cred.gid != wanted->cred.gid)
		target_fail("%s: peer is %d, %u:%u instead of %d, %u:%u", what, now.cred.pid,
			    now.cred.uid, now.cred.gid, wanted->cred.pid, wanted->cred.uid,
			    wanted->cred.gid);
	if (now.bytes != wanted->bytes || memcmp(now.groups, wanted->groups, now.bytes))
		target_fail("%s: its peer is in other groups", what);
}

static int listen_at(struct sockaddr_un *a, socklen_t len, int type)
{
	int fd = socket(AF_UNIX, type, 0);

	CHECK(fd >= 0 && !bind(fd, (struct sockaddr *)a, len) && !listen(fd, 5));
	return fd;
}

static int dial(struct sockaddr_un *a, socklen_t len, int type)
{
	int fd = socket(AF_UNIX, type, 0);

	CHECK(fd >= 0 && !connect(fd, (struct sockaddr *)a, len));
	return fd;
}

/* One end of a pair whose maker is gone: it comes through another one. */
static int end_of_the_dead(void)
{
	int pair[2], end;
	pid_t child;
	char byte;

	CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair));
	child = fork();
	if (!child) {
		int made[2];
		struct msghdr msg = { 0 };
		struct iovec io = { "x", 1 };
		union {
			struct cmsghdr head;
			char bytes[CMSG_SPACE(sizeof(int))];
		} control = { 0 };

		CHECK(!setgid(3000) && !setuid(3001));
		CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, made));
		msg.msg_iov = &io, msg.msg_iovlen = 1;
		msg.msg_control = &control, msg.msg_controllen = sizeof(control);
		control.head = (struct cmsghdr){ CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
		memcpy(CMSG_DATA(&control.head), made, sizeof(int));
		CHECK(sendmsg(pair[1], &msg, 0) == 1);
		_exit(0);
	}
	expect_child_ok(child);
	{
		struct msghdr msg = { 0 };
		struct iovec io = { &byte, 1 };
		union {
			struct cmsghdr head;
			char bytes[CMSG_SPACE(sizeof(int))];
		} control = { 0 };

		msg.msg_iov = &io, msg.msg_iovlen = 1;
		msg.msg_control = &control, msg.msg_controllen = sizeof(control);
		CHECK(recvmsg(pair[0], &msg, 0) == 1);
		memcpy(&end, CMSG_DATA(&control.head), sizeof(int));
	}
	close(pair[0]);
	close(pair[1]);
	return end;
}

int main(void)
{
	struct sockaddr_un named = { AF_UNIX, "socket" }, abstract = { AF_UNIX, "" };
	static const char *const names[] = {
		"pair",	    "pair",	"pair of the dead", "dgram",
		"listener", "accepted", "listener",	    "accepted (abstract)"
	};
	gid_t groups[] = { 77, 88, 99 };
	socklen_t abstract_len;
	int go[2], ready[2], pair[2], late;
	struct peer pending, in_child[2];
	pid_t child;
	char byte;

	target_init();
	unlink("socket");
	abstract_len = (socklen_t)(sizeof(sa_family_t) + 1 +
				   snprintf(abstract.sun_path + 1, 60, "peers-%d", getpid()));
	CHECK(!pipe(go) && !pipe(ready));
	NEED(!setgroups(2, groups) && !setegid(4321) && !seteuid(1234));
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
	NEED(!seteuid(0) && !setegid(0));
	fds[DEAD] = end_of_the_dead();
	CHECK(!socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
	fds[DGRAM] = pair[0];
	fds[LISTENER] = listen_at(&named, sizeof(named), SOCK_STREAM);
	CHECK(!chmod("socket", 0777));
	fds[ABSTRACT_LISTENER] = listen_at(&abstract, abstract_len, SOCK_SEQPACKET);
	child = fork();
	CHECK(child >= 0);
	if (!child) {
		int a, b, c;

		CHECK(!setgroups(3, groups) && !setgid(2000) && !setuid(2001));
		a = dial(&named, sizeof(named), SOCK_STREAM);
		b = dial(&abstract, abstract_len, SOCK_SEQPACKET);
		CHECK(read(go[0], &byte, 1) == 1);
		c = dial(&named, sizeof(named), SOCK_STREAM);
		ask(a, &in_child[0]);
		ask(b, &in_child[1]);
		CHECK(in_child[0].cred.pid == getppid() && in_child[0].cred.uid == 0);
		CHECK(write(ready[1], "r", 1) == 1);
		CHECK(read(go[0], &byte, 1) == 1);
		expect(a, &in_child[0], "named listener");
		expect(b, &in_child[1], "abstract listener");
		expect(c, &in_child[0], "named listener, not accepted");
		_exit(0);
	}
	fds[ACCEPTED] = accept(fds[LISTENER], NULL, NULL);
	fds[ABSTRACT] = accept(fds[ABSTRACT_LISTENER], NULL, NULL);
	CHECK(fds[ACCEPTED] >= 0 && fds[ABSTRACT] >= 0);
	CHECK(write(go[1], "g", 1) == 1 && read(ready[0], &byte, 1) == 1);
	for (int i = 0; i < SOCKETS; i++)
		ask(fds[i], &before[i]);
	CHECK(before[PAIR_0].cred.uid == 1234 && before[PAIR_0].cred.gid == 4321);
	CHECK(before[DEAD].cred.uid == 3001 && before[ACCEPTED].cred.pid == child);
	pending = before[ACCEPTED];

	target_ready();

	for (int i = 0; i < SOCKETS; i++)
		expect(fds[i], &before[i], names[i]);
	late = accept(fds[LISTENER], NULL, NULL);
	CHECK(late >= 0);
	expect(late, &pending, "accepted only now");
	CHECK(write(go[1], "g", 1) == 1);
	expect_child_ok(child);
	target_pass();
}
