/* A pseudo-terminal of the target's own: settings, window size, contents on the way, a child whose
 * controlling terminal it is, foreground group. */
#include "target.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static volatile int got_winch;

static void winch(int signal)
{
	got_winch = 1;
}

static void shell(const char *name)
{
	char line[64];
	ssize_t n;
	int tty;

	CHECK(setsid() > 0);
	tty = open(name, O_RDWR);
	CHECK(tty >= 0 && tcgetpgrp(tty) == getpgrp());
	signal(SIGWINCH, winch);
	CHECK(write(tty, "$ ", 2) == 2);
	/* a signal may come first: the window changes below */
	do
		n = read(tty, line, sizeof(line));
	while (n < 0);
	CHECK(n == 4 && !memcmp(line, "run\n", 4));
	CHECK(tcgetpgrp(tty) == getpgrp() && !strcmp(ttyname(tty), name));
	CHECK(open("/dev/tty", O_RDWR) >= 0);
	CHECK(got_winch);
	CHECK(write(tty, "ran", 3) == 3);
	_exit(0);
}

int main(void)
{
	struct winsize size = { .ws_row = 33, .ws_col = 77 }, now;
	struct termios t, t_now;
	char name[64], back[64];
	int master = posix_openpt(O_RDWR | O_NOCTTY), tty;
	struct pollfd p = { .events = POLLIN };
	size_t n = 0;
	pid_t child;

	NEED(master >= 0 && !grantpt(master) && !unlockpt(master));
	CHECK(!ptsname_r(master, name, sizeof(name)));
	tty = open(name, O_RDWR | O_NOCTTY);
	NEED(tty >= 0);
	CHECK(!tcgetattr(tty, &t));
	t.c_lflag &= ~(tcflag_t)ECHO;
	t.c_oflag &= ~(tcflag_t)OPOST;
	t.c_cc[VEOF] = 3;
	CHECK(!tcsetattr(tty, TCSANOW, &t) && !ioctl(master, TIOCSWINSZ, &size));
	child = fork();
	if (!child)
		shell(name);
	p.fd = master;
	CHECK(poll(&p, 1, 5000) == 1 && read(master, back, 2) == 2);

	target_ready();

	CHECK(!tcgetattr(tty, &t_now) && t_now.c_lflag == t.c_lflag && t_now.c_oflag == t.c_oflag);
	CHECK(!memcmp(t_now.c_cc, t.c_cc, NCCS));
	CHECK(!ioctl(tty, TIOCGWINSZ, &now) && now.ws_row == 33 && now.ws_col == 77);
	CHECK(!ptsname_r(master, back, sizeof(back)) && !strcmp(back, name));
	size.ws_row = 50;
	CHECK(!ioctl(master, TIOCSWINSZ, &size));
	usleep(20000);
	CHECK(write(master, "run\n", 4) == 4);
	while (n < 3 && poll(&p, 1, 5000) == 1) {
		ssize_t got = read(master, back + n, 3 - n);

		CHECK(got > 0);
		n += (size_t)got;
	}
	CHECK(n == 3 && !memcmp(back, "ran", 3));
	expect_child_ok(child);
	target_pass();
}
