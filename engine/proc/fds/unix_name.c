/*
 * Names of unix sockets at restore.  bind(2) looks at the caller's root, working folder and umask,
 * so it is done by a child of ours that takes on what is needed; the name sticks to the socket,
 * which both share.
 */
#include "engine/proc/fds/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"

#ifndef SIOCUNIXFILE
#define SIOCUNIXFILE (SIOCPROTOPRIVATE + 0)
#endif

socklen_t unix_address(struct sockaddr_un *sun, const void *name, size_t len)
{
	memset(sun, 0, sizeof(*sun));
	sun->sun_family = AF_UNIX;
	if (len > sizeof(sun->sun_path))
		len = sizeof(sun->sun_path);
	memcpy(sun->sun_path, name, len);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

/* Makes the folders above the last component of a path. */
static void make_folders(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(path, 0700);
		*slash = '/';
	}
}

/* In the child: exits with errno. */
static void __attribute__((noreturn))
bind_in_child(int fd, const void *name, size_t len, const char *dir, const char *root)
{
	struct sockaddr_un sun;
	socklen_t sun_len = unix_address(&sun, name, len);
	char path[sizeof(sun.sun_path) + 1] = "";

	memcpy(path, sun.sun_path, sizeof(sun.sun_path));
	umask(0177);
	if (root && (chroot(root) || chdir("/")))
		_exit(errno);
	if (dir && chdir(dir))
		_exit(errno);
	if (root) {
		umask(0077);
		make_folders(path);
	}
	_exit(bind(fd, (struct sockaddr *)&sun, sun_len) ? errno : 0);
}

static int bind_elsewhere(int fd, const void *name, size_t len, const char *dir, const char *root)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return R_FAILED;
	if (pid == 0)
		bind_in_child(fd, name, len, dir, root);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return R_FAILED;
	errno = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
	return errno ? R_FAILED : R_OK;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static int bind_abstract(int fd, uint32_t id, const void *name, size_t len)
{
	struct sockaddr_un sun;
	socklen_t sun_len = unix_address(&sun, name, len);

	if (!bind(fd, (struct sockaddr *)&sun, sun_len))
		return R_OK;
	warn_errno("file %u: cannot bind unix socket @%.*s; end the process that uses the name", id,
		   (int)len - 1, (const char *)name + 1);
	return R_FAILED;
}

int unix_bind_hidden(int fd, uint32_t id, const void *name, size_t len)
{
	char dir[] = "/tmp/snap-sock-XXXXXX";
	int r;

	if (!*(const char *)name)
		return bind_abstract(fd, id, name, len);
	if (!mkdtemp(dir)) {
		warn_errno("cannot make a folder in /tmp");
		return R_FAILED;
	}
	r = bind_elsewhere(fd, name, len, NULL, dir);
	if (r)
		warn_errno("file %u: cannot name unix socket %.*s", id, (int)len,
			   (const char *)name);
	if (nftw(dir, remove_one, 4, FTW_DEPTH | FTW_PHYS) < 0)
		warn_errno("cannot remove %s", dir);
	return r;
}

/* A socket file in the way may go if nobody answers there. */
static bool answers(const char *path)
{
	static const int types[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };
	struct sockaddr_un sun;
	socklen_t len = unix_address(&sun, path, strlen(path) + 1);

	for (size_t i = 0; i < 3; i++) {
		int fd = socket(AF_UNIX, types[i] | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		int r = connect(fd, (struct sockaddr *)&sun, len);
		bool there = r == 0 || errno == EAGAIN;

		close(fd);
		if (there)
			return true;
	}
	return false;
}

/* Frees the name for bind; `path` is short enough for an address through /proc/self/fd. */
static int make_way(uint32_t id, const char *dir, const char *name)
{
	int dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC), fd;
	struct stat st;
	char link[64];

	if (dirfd < 0) {
		warn_errno("file %u: unix socket %s: its folder %s", id, name, dir);
		return R_FAILED;
	}
	fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		close(dirfd);
		return R_OK;
	}
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (fstat(fd, &st) || !S_ISSOCK(st.st_mode)) {
		warn("file %u: %s (in %s) is in the way of a unix socket; move it away", id, name,
		     dir);
		goto err;
	}
	if (answers(link)) {
		warn("file %u: unix socket %s (in %s) is in use by another process; end it first",
		     id, name, dir);
		goto err;
	}
	if (unlinkat(dirfd, name, 0)) {
		warn_errno("file %u: cannot remove the old socket file %s (in %s)", id, name, dir);
		goto err;
	}
	close(fd);
	close(dirfd);
	return R_OK;
err:
	close(fd);
	close(dirfd);
	return R_FAILED;
}

int unix_bind_visible(int fd, uint32_t id, const void *name, size_t len, const char *dir,
		      const FilePermsEntry *perms)
{
	char path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1] = "", link[64];
	int file, r = R_OK;

	if (!*(const char *)name)
		return bind_abstract(fd, id, name, len);
	memcpy(path, name, len < sizeof(path) ? len : sizeof(path) - 1);
	if (!dir)
		dir = "/";
	if (make_way(id, dir, path))
		return R_FAILED;
	if (bind_elsewhere(fd, name, len, dir, NULL)) {
		warn_errno("file %u: cannot bind unix socket %s (in %s)", id, path, dir);
		return R_FAILED;
	}
	if (!perms)
		return R_OK;
	file = ioctl(fd, SIOCUNIXFILE);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", file);
	if (file < 0 || chown(link, perms->uid, perms->gid) || chmod(link, perms->mode & 07777)) {
		warn_errno("file %u: cannot set owner and mode of %s (in %s)", id, path, dir);
		r = R_FAILED;
	}
	if (file >= 0)
		close(file);
	return r;
}

int unix_reach(int to, struct sockaddr_un *sun, socklen_t *len, int *file)
{
	char link[64];

	*file = -1;
	*len = sizeof(*sun);
	memset(sun, 0, sizeof(*sun));
	if (getsockname(to, (struct sockaddr *)sun, len) < 0)
		return R_FAILED;
	if (*len <= offsetof(struct sockaddr_un, sun_path)) {
		errno = ENOTCONN;
		return R_FAILED;
	}
	if (!sun->sun_path[0])
		return R_OK;
	*file = ioctl(to, SIOCUNIXFILE);
	if (*file < 0)
		return R_FAILED;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", *file);
	*len = unix_address(sun, link, strlen(link) + 1);
	return R_OK;
}

int unix_connect_fd(int fd, int to)
{
	struct sockaddr_un sun;
	socklen_t len;
	int file, r;

	if (unix_reach(to, &sun, &len, &file))
		return R_FAILED;
	r = connect(fd, (struct sockaddr *)&sun, len);
	if (file >= 0) {
		int saved = errno;

		close(file);
		errno = saved;
	}
	return r ? R_FAILED : R_OK;
}
