/*
 * Who is at the other end of a unix socket (SO_PEERCRED, SO_PEERGROUPS).  The kernel notes the pid
 * and the identity of whoever calls socketpair(2), listen(2) or connect(2).  So a restore makes
 * these calls in a child with that pid and identity, which shares our descriptors and is gone
 * before the task of that pid is made.
 */
#include "engine/proc/fds/sockets.h"

#include <errno.h>
#include <linux/sched.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/stat.h"

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

#define GROUPS_MAX 65536

static SnapPeer *new_peer(struct fds_take *take, pid_t pid, uid_t uid, gid_t gid)
{
	SnapPeer *peer = fds_take_alloc(take, sizeof(*peer));

	if (!peer)
		return NULL;
	snap_peer__init(peer);
	peer->pid = (uint32_t)pid;
	peer->uid = uid;
	peer->gid = gid;
	return peer;
}

int unix_peer_dump(struct fds_take *take, const struct taken_file *f, SnapPeer **peer)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	gid_t none;

	*peer = NULL;
	/* Without a peer the ids are those of nobody: -1. */
	if (getsockopt(f->local, SOL_SOCKET, SO_PEERCRED, &cred, &len) || cred.uid == (uid_t)-1)
		return R_OK;
	*peer = new_peer(take, cred.pid, cred.uid, cred.gid);
	if (!*peer)
		return R_FAILED;
	len = 0;
	if (!getsockopt(f->local, SOL_SOCKET, SO_PEERGROUPS, &none, &len) || errno != ERANGE)
		return R_OK;
	(*peer)->groups = fds_take_alloc(take, len);
	if (!(*peer)->groups)
		return R_FAILED;
	if (getsockopt(f->local, SOL_SOCKET, SO_PEERGROUPS, (*peer)->groups, &len)) {
		warn_errno("%s: cannot ask for the groups of its peer", taken_file_name(f));
		return R_FAILED;
	}
	(*peer)->n_groups = len / sizeof(gid_t);
	return R_OK;
}

int unix_peer_of_task(struct fds_take *take, pid_t pid, SnapPeer **peer)
{
	struct proc_status status;
	int r = proc_status_read(pid, 0, &status);

	if (r)
		return R_FAILED;
	*peer = new_peer(take, pid, status.uid[1], status.gid[1]);
	if (!*peer || !((*peer)->groups = fds_take_alloc(take, sizeof(status.groups))))
		return R_FAILED;
	memcpy((*peer)->groups, status.groups, status.group_count * sizeof(gid_t));
	(*peer)->n_groups = status.group_count;
	return R_OK;
}

/* What the child tells, in memory it shares with us. */
struct told {
	int error;
	int out[2];
};

/* Capabilities stay, whatever the identity: what is called may be out of its reach. */
static int take_on(const SnapPeer *peer)
{
	static gid_t groups[GROUPS_MAX];

	if (!peer)
		return 0;
	for (size_t i = 0; i < peer->n_groups && i < GROUPS_MAX; i++)
		groups[i] = peer->groups[i];
	prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP);
	if (syscall(SYS_setgroups, peer->n_groups, groups) ||
	    syscall(SYS_setresgid, -1, peer->gid, -1) || syscall(SYS_setresuid, -1, peer->uid, -1))
		return errno;
	return 0;
}

static pid_t start_child(const SnapPeer *peer)
{
	pid_t wanted = peer ? (pid_t)peer->pid : 0;
	struct clone_args args = { .flags = CLONE_FILES, .exit_signal = SIGCHLD };

	if (wanted > 0) {
		args.set_tid = (uintptr_t)&wanted;
		args.set_tid_size = 1;
	}
	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

/*
 * Calls `fn` as `peer` (NULL: as we are).  It gives 0, or -1 with errno set; `out` is what it left
 * there, `*as` the pid it had.  R_OK, or R_FAILED with errno set.
 */
static int call_as(uint32_t id, const SnapPeer *peer, int (*fn)(int out[2], void *arg), void *arg,
		   int out[2], pid_t *as)
{
	struct told *told;
	int error;

	told = mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (told == MAP_FAILED)
		return R_FAILED;
	told->error = EINTR;
	*as = start_child(peer);
	if (*as < 0 && errno == EEXIST) {
		/* The other end is of another process, which lives on, or its number is used again.
		 */
		SnapPeer nameless = *peer;

		note("file %u: its unix socket tells another pid than %u of its peer, as that is "
		     "in use",
		     id, peer->pid);
		nameless.pid = 0;
		*as = start_child(&nameless);
	}
	if (*as < 0)
		told->error = errno;
	if (*as == 0) {
		told->error = take_on(peer);
		if (!told->error && fn(told->out, arg))
			told->error = errno;
		_exit(0);
	}
	while (*as > 0 && waitpid(*as, NULL, 0) < 0 && errno == EINTR)
		;
	memcpy(out, told->out, sizeof(told->out));
	error = told->error;
	munmap(told, sizeof(*told));
	errno = error;
	return error ? R_FAILED : R_OK;
}

static int call_pair(int out[2], void *arg)
{
	return socketpair(AF_UNIX, *(int *)arg | SOCK_CLOEXEC, 0, out);
}

int unix_pair_as(uint32_t id, const SnapPeer *peer, int type, int pair[2])
{
	pid_t as;

	return call_as(id, peer, call_pair, &type, pair, &as);
}

static int call_listen(int out[2], void *arg)
{
	const int *fd_and_backlog = arg;

	(void)out;
	return listen(fd_and_backlog[0], fd_and_backlog[1]);
}

int unix_listen_as(uint32_t id, const SnapPeer *peer, int fd, int backlog)
{
	int arg[2] = { fd, backlog }, out[2];
	pid_t as;

	return call_as(id, peer, call_listen, arg, out, &as);
}

static int call_connect(int out[2], void *arg)
{
	const int *fd_and_to = arg;

	(void)out;
	return unix_connect_fd(fd_and_to[0], fd_and_to[1]);
}

int unix_connect_as(uint32_t id, const SnapPeer *peer, int fd, int to, pid_t *as)
{
	int arg[2] = { fd, to }, out[2];

	return call_as(id, peer, call_connect, arg, out, as);
}
