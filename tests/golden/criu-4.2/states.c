/*
 * states STATE: sets one kind of state up, makes the file "ready" and sleeps.  What CRIU dumped of
 * these processes are the images beside this file; README.md tells how.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NEED(call) \
	do { \
		if ((call) < 0) { \
			perror(#call); \
			exit(1); \
		} \
	} while (0)

static void sleeping(void)
{
}

static void *thread(void *arg)
{
	(void)arg;
	for (;;)
		pause();
}

static void threads(void)
{
	pthread_t t;

	for (int i = 0; i < 3; i++)
		if (pthread_create(&t, NULL, thread, NULL))
			exit(1);
}

static void tree(void)
{
	if (fork() == 0) {
		if (fork() == 0)
			thread(NULL);
		thread(NULL);
	}
	if (fork() == 0)
		_exit(7); /* stays a zombie */
	usleep(100000);
}

static void pipes(void)
{
	int fd[2], fifo;

	NEED(pipe2(fd, O_NONBLOCK));
	NEED(write(fd[1], "waiting in a pipe", 17));
	NEED(mkfifo("fifo", 0600));
	NEED(fifo = open("fifo", O_RDWR));
	NEED(write(fifo, "and in a fifo", 13));
}

static void unix_sockets(void)
{
	struct sockaddr_un name = { AF_UNIX, "" }, hidden = { AF_UNIX, "\0hidden\n=x" };
	int pair[2], one[2], bound;
	char byte = 'r';
	struct iovec iov = { &byte, 1 };
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	NEED(write(pair[0], "queued bytes", 12));
	NEED(socketpair(AF_UNIX, SOCK_DGRAM, 0, one));
	NEED(write(one[0], "first", 5));
	NEED(write(one[0], "second", 6));
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &pair[0], sizeof(int));
	NEED(sendmsg(one[0], &msg, 0));
	strcpy(name.sun_path, "listening");
	NEED(bound = socket(AF_UNIX, SOCK_STREAM, 0));
	NEED(bind(bound, (struct sockaddr *)&name, sizeof(name)));
	NEED(listen(bound, 3));
	NEED(bound = socket(AF_UNIX, SOCK_DGRAM, 0));
	NEED(bind(bound, (struct sockaddr *)&hidden, sizeof(sa_family_t) + 10));
}

static void inet(void)
{
	struct sockaddr_in a = { AF_INET, htons(47001), { htonl(INADDR_LOOPBACK) } };
	struct sockaddr_in6 b = { AF_INET6, htons(47002), 0, IN6ADDR_LOOPBACK_INIT, 0 };
	int fd, peer;

	NEED(fd = socket(AF_INET, SOCK_STREAM, 0));
	NEED(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int)));
	NEED(bind(fd, (struct sockaddr *)&a, sizeof(a)));
	NEED(listen(fd, 5));
	NEED(peer = socket(AF_INET, SOCK_STREAM, 0));
	NEED(connect(peer, (struct sockaddr *)&a, sizeof(a)));
	NEED(fd = accept(fd, NULL, NULL));
	NEED(write(peer, "on its way", 10));
	NEED(fd = socket(AF_INET6, SOCK_DGRAM, 0));
	NEED(bind(fd, (struct sockaddr *)&b, sizeof(b)));
	NEED(socket(AF_INET, SOCK_DGRAM, 0));
}

static void timers(void)
{
	struct itimerval every = { { 1000, 5 }, { 2000, 6 } };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL,
				  .sigev_signo = SIGRTMIN + 1,
				  .sigev_value.sival_ptr = (void *)0x123456789 };
	struct itimerspec spec = { { 3000, 7 }, { 4000, 8 } };
	sigset_t set;
	timer_t t;
	int fd;

	NEED(setitimer(ITIMER_REAL, &every, NULL));
	NEED(timer_create(CLOCK_MONOTONIC, &event, &t));
	NEED(timer_settime(t, 0, &spec, NULL));
	NEED(fd = timerfd_create(CLOCK_MONOTONIC, 0));
	NEED(timerfd_settime(fd, 0, &spec, NULL));
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGRTMAX);
	NEED(sigprocmask(SIG_BLOCK, &set, NULL));
	NEED(kill(getpid(), SIGUSR1)); /* stays pending */
	NEED(sigqueue(getpid(), SIGRTMAX, (union sigval){ .sival_int = 77 }));
	NEED(signalfd(-1, &set, 0));
}

static void memory(void)
{
	char *map;
	int fd;

	NEED(fd = memfd_create("named", MFD_ALLOW_SEALING));
	NEED(ftruncate(fd, 3 * 4096));
	NEED(pwrite(fd, "in a memfd", 10, 4096));
	NEED(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW));
	map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	strcpy(map, "shared and anonymous");
	map = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	strcpy(map + 8192, "private");
	madvise(map, 4096, MADV_DONTFORK);
	mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_GROWSDOWN | MAP_ANONYMOUS, -1, 0);
}

static void events(void)
{
	struct epoll_event event = { EPOLLIN | EPOLLET, { .u64 = 0xfedcba9876543210 } };
	int epoll, fd;

	NEED(epoll = epoll_create1(EPOLL_CLOEXEC));
	NEED(fd = eventfd(5, EFD_NONBLOCK));
	NEED(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
	NEED(fd = inotify_init1(0));
	NEED(inotify_add_watch(fd, ".", IN_CREATE | IN_DELETE));
	fd = fanotify_init(FAN_CLASS_NOTIF, O_RDONLY);
	if (fd >= 0)
		fanotify_mark(fd, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, ".");
}

static void ghosts(void)
{
	int fd;

	NEED(fd = open("small", O_RDWR | O_CREAT, 0640));
	NEED(write(fd, "the contents of a removed file", 30));
	NEED(unlink("small"));
	NEED(fd = open("sparse", O_RDWR | O_CREAT, 0600));
	NEED(ftruncate(fd, 1 << 20));
	NEED(pwrite(fd, "begin", 5, 0));
	NEED(pwrite(fd, "middle", 6, 500000));
	NEED(unlink("sparse"));
	NEED(fd = open("folder", O_RDWR | O_CREAT, 0600));
	NEED(unlink("folder"));
}

static void locks(void)
{
	struct flock lock = { .l_type = F_WRLCK, .l_start = 10, .l_len = 20 };
	int fd;

	NEED(fd = open("locked", O_RDWR | O_CREAT | O_APPEND, 0600));
	NEED(flock(fd, LOCK_EX));
	NEED(fd = open("ranged", O_RDWR | O_CREAT, 0600));
	NEED(fcntl(fd, F_SETLK, &lock));
	NEED(fcntl(fd, F_SETOWN, getpid()));
}

static void terminal(void)
{
	struct winsize size = { 24, 80, 1, 2 };
	int master, slave;

	NEED(master = posix_openpt(O_RDWR | O_NOCTTY));
	NEED(grantpt(master));
	NEED(unlockpt(master));
	NEED(ioctl(master, TIOCSWINSZ, &size));
	NEED(slave = open(ptsname(master), O_RDWR | O_NOCTTY));
	NEED(ioctl(slave, TIOCSCTTY, 0));
	NEED(write(slave, "to be read", 10));
}

/* To be run in an ipc namespace of its own. */
static void ipc(void)
{
	struct {
		long type;
		char text[13];
	} message = { 0x500000001, "thirteen char" };
	unsigned short values[3] = { 1, 65, 999 };
	int id;

	NEED(id = msgget(0x11, IPC_CREAT | 0600));
	NEED(msgsnd(id, &message, 13, 0));
	message.type = 2;
	NEED(msgsnd(id, &message, 5, 0));
	NEED(id = semget(0x22, 3, IPC_CREAT | 0640));
	NEED(semctl(id, 0, SETALL, values));
	NEED(id = shmget(0x33, 4099, IPC_CREAT | 0644));
	strcpy(shmat(id, NULL, 0), "in a segment");
	NEED(shmget(0x44, 7, IPC_CREAT | 0600));
}

/* Run with its root already a file system of its own, and the one before at old. */
static void mounts(void)
{
	NEED(umount2("/old", MNT_DETACH));
	NEED(close_range(0, ~0u, 0)); /* of files outside */
}

/* Groups, two capabilities that may be used and one that may be inherited. */
static void credentials(void)
{
	gid_t groups[] = { 7, 70, 700 };
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct caps[2] = {
		{ 1u << CAP_KILL | 1u << CAP_NET_RAW, 1u << CAP_KILL | 1u << CAP_NET_RAW,
		  1u << CAP_NET_RAW },
	};

	NEED(setgroups(3, groups));
	NEED(syscall(SYS_capset, &head, caps));
	NEED(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

/* A child that SIGSTOP has stopped. */
static void stopped(void)
{
	pid_t child = fork();

	if (child == 0)
		thread(NULL);
	NEED(kill(child, SIGSTOP));
	NEED(waitpid(child, NULL, WUNTRACED));
}

static const struct {
	const char *name;
	void (*set_up)(void);
} states[] = {
	{ "sleeping", sleeping }, { "threads", threads },
	{ "tree", tree },	  { "pipes", pipes },
	{ "unix", unix_sockets }, { "inet", inet },
	{ "timers", timers },	  { "memory", memory },
	{ "events", events },	  { "ghosts", ghosts },
	{ "locks", locks },	  { "terminal", terminal },
	{ "ipc", ipc },		  { "net", sleeping },
	{ "mounts", mounts },	  { "credentials", credentials },
	{ "stopped", stopped },
};

int main(int argc, char **argv)
{
	int fd;

	for (size_t i = 0; argc == 2 && i < sizeof(states) / sizeof(states[0]); i++) {
		if (strcmp(states[i].name, argv[1]) != 0)
			continue;
		states[i].set_up();
		NEED(fd = open("ready", O_WRONLY | O_CREAT, 0600));
		close(fd);
		thread(NULL);
	}
	fprintf(stderr, "usage: states STATE\n");
	return 2;
}
