/*
 * outside LIBRARY COMMAND...: runs a command under valgrind that needs calls valgrind does not
 * know.
 *
 * Valgrind 3.19 answers ENOSYS to pidfd_open() and pidfd_getfd(), without which nothing is taken.
 * The library (forward.c) is preloaded into the command and sends them here, to a process valgrind
 * has nothing to do with, over a socket.  Exit code: that of the command.
 */
#include "forward.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* One call.  False if there will be none any more. */
static bool serve(int sock)
{
	struct forwarded call;
	int given = -1, got;

	if (forward_receive(sock, &call, sizeof(call), &given) != sizeof(call))
		return false;
	if (call.fd_argument >= 0)
		call.args[call.fd_argument] = given;
	got = (int)syscall(call.number, call.args[0], call.args[1], call.args[2], call.args[3]);
	call.result = got < 0 ? -errno : 0;
	forward_send(sock, &call, sizeof(call), got);
	if (got >= 0)
		close(got);
	if (given >= 0)
		close(given);
	return true;
}

int main(int argc, char **argv)
{
	int socks[2], status, child_fd;
	struct pollfd fds[2];
	pid_t child;

	if (argc < 3 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks))
		return 125;
	child = fork();
	if (child == 0) {
		if (dup2(socks[1], FORWARD_FD) < 0 || setenv("LD_PRELOAD", argv[1], 1))
			_exit(125);
		execvp(argv[2], argv + 2);
		_exit(127);
	}
	close(socks[1]);
	child_fd = child < 0 ? -1 : (int)syscall(SYS_pidfd_open, child, 0);
	if (child_fd < 0)
		return 125;
	fds[0] = (struct pollfd){ socks[0], POLLIN, 0 };
	fds[1] = (struct pollfd){ child_fd, POLLIN, 0 };
	while (!fds[1].revents)
		if (poll(fds, 2, -1) > 0 && fds[0].revents && !serve(socks[0]))
			fds[0].fd = -1;
	if (waitpid(child, &status, 0) != child)
		return 125;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
