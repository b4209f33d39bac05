#include "engine/proc/fds/tcp_repair.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <fcntl.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"

/* TCP gives a silent peer up after 15 minutes (tcp_retries2) with usual settings. */
#define LOCK_TIMEOUT "20m"

/* What `criu restore` is told to take away (export_own.c) is named like this too. */
#define TABLE TCP_LOCK_TABLE_PREFIX TCP_LOCK_ID "%d"
#define TABLE_NAME_MAX 64

static const char table_commands[] =
    "add table inet %1$s\n"
    "add set inet %1$s locked4 { type ipv4_addr . inet_service . ipv4_addr . inet_service; "
    "flags timeout; timeout " LOCK_TIMEOUT "; }\n"
    "add set inet %1$s locked6 { type ipv6_addr . inet_service . ipv6_addr . inet_service; "
    "flags timeout; timeout " LOCK_TIMEOUT "; }\n"
    "add chain inet %1$s input { type filter hook input priority -350; }\n"
    "flush chain inet %1$s input\n"
    "add rule inet %1$s input ip saddr . tcp sport . ip daddr . tcp dport @locked4 "
    "meta mark != 0xc114 drop\n"
    "add rule inet %1$s input ip6 saddr . tcp sport . ip6 daddr . tcp dport @locked6 "
    "meta mark != 0xc114 drop\n";

/* Gives nft its commands; its messages are shown with `loud` only.  R_OK, R_NOT_FOUND, R_FAILED. */
static int nft(const char *commands, bool loud)
{
	static char *const argv[] = { "nft", "-f", "-", NULL };
	static char *const env[] = { "PATH=/usr/sbin:/sbin:/usr/bin:/bin", NULL };
	posix_spawn_file_actions_t actions;
	int pipe_ends[2], status, r;
	pid_t pid;

	if (pipe2(pipe_ends, O_CLOEXEC))
		return R_FAILED;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, pipe_ends[0], 0);
	if (!loud)
		posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	r = access("/usr/sbin/nft", X_OK)
		? ENOENT
		: posix_spawn(&pid, "/usr/sbin/nft", &actions, NULL, argv, env);
	posix_spawn_file_actions_destroy(&actions);
	close(pipe_ends[0]);
	if (r) {
		close(pipe_ends[1]);
		errno = r;
		return r == ENOENT ? R_NOT_FOUND : R_FAILED;
	}
	/* Shorter than a pipe holds. */
	r = io_write_all(pipe_ends[1], commands, strlen(commands));
	close(pipe_ends[1]);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return R_FAILED;
	return !r && WIFEXITED(status) && !WEXITSTATUS(status) ? R_OK : R_FAILED;
}

/* The peer's end as the network shows it: mapped IPv4 addresses are IPv4. */
static bool as_v4(const InetSkEntry *e)
{
	return e->family == AF_INET ||
	       IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)(const void *)e->dst_addr);
}

static void element(pid_t root, const InetSkEntry *e, char *text, size_t len)
{
	char src[INET6_ADDRSTRLEN] = "", dst[INET6_ADDRSTRLEN] = "";
	bool v4 = as_v4(e);
	size_t at = v4 && e->family == AF_INET6 ? 3 : 0;

	inet_ntop(v4 ? AF_INET : AF_INET6, e->src_addr + at, src, sizeof(src));
	inet_ntop(v4 ? AF_INET : AF_INET6, e->dst_addr + at, dst, sizeof(dst));
	snprintf(text, len, "element inet " TABLE " locked%s { %s . %u . %s . %u }\n", (int)root,
		 v4 ? "4" : "6", dst, e->dst_port, src, e->src_port);
}

int tcp_lock(pid_t root, const InetSkEntry *e)
{
	char commands[3072], text[256], name[TABLE_NAME_MAX];
	int r, n;

	element(root, e, text, sizeof(text));
	snprintf(name, sizeof(name), TABLE, (int)root);
	n = snprintf(commands, sizeof(commands), table_commands, name);
	snprintf(commands + n, sizeof(commands) - (size_t)n, "add %s", text);
	r = nft(commands, true);
	if (r == R_NOT_FOUND) {
		warn("the TCP connection from port %u to port %u: keeping it while the tree is "
		     "ended needs the program nft (package nftables); install it, or use "
		     "--tcp=close",
		     e->src_port, e->dst_port);
		return R_UNSUPPORTED;
	}
	if (r)
		warn("the TCP connection from port %u to port %u: its packets cannot be held back",
		     e->src_port, e->dst_port);
	return r;
}

void tcp_unlock(pid_t root, const InetSkEntry *e)
{
	char commands[512], text[256];

	element(root, e, text, sizeof(text));
	snprintf(commands, sizeof(commands), "delete %s", text);
	nft(commands, false);
}

void tcp_unlock_all(pid_t root)
{
	char commands[TABLE_NAME_MAX + 32];

	snprintf(commands, sizeof(commands), "delete table inet " TABLE "\n", (int)root);
	nft(commands, false);
}

/* CRIU cuts names that are longer. */
#define CRIU_TABLE_MAX 32

void tcp_unlock_criu(const char *id)
{
	char table[CRIU_TABLE_MAX], commands[CRIU_TABLE_MAX + 32];

	/* It goes into a command. */
	if (!*id || id[strspn(id, "0123456789abcdefABCDEF-")])
		return;
	snprintf(table, sizeof(table), "inet " TCP_LOCK_TABLE_PREFIX "%s", id);
	snprintf(commands, sizeof(commands), "delete table %s\n", table);
	nft(commands, false);
}
