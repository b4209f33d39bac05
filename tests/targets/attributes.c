/* What else a task has: limits, nice, policy, affinity, oom score, umask, folder, name,
 * personality, parent-death signal, timer slack, child-subreaper, command line, environment,
 * executable. */
#include "target.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct state {
	char cwd[PATH_MAX], root[PATH_MAX], exe[PATH_MAX], name[16], oom[32];
	char cmdline[4096], environ[8192], auxv[1024], limits[4096];
	int nice, policy, personality, pdeath, subreaper, io_nice;
	unsigned long slack;
	struct sched_param param;
	cpu_set_t affinity;
	mode_t mask;
};

static void slurp(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY);

	CHECK(fd >= 0 && read(fd, buf, size) >= 0);
	close(fd);
}

static void look(struct state *s)
{
	memset(s, 0, sizeof(*s));
	CHECK(getcwd(s->cwd, sizeof(s->cwd)));
	CHECK(readlink("/proc/self/root", s->root, sizeof(s->root) - 1) > 0);
	CHECK(readlink("/proc/self/exe", s->exe, sizeof(s->exe) - 1) > 0);
	prctl(PR_GET_NAME, s->name);
	slurp("/proc/self/oom_score_adj", s->oom, sizeof(s->oom));
	slurp("/proc/self/cmdline", s->cmdline, sizeof(s->cmdline));
	slurp("/proc/self/environ", s->environ, sizeof(s->environ));
	slurp("/proc/self/auxv", s->auxv, sizeof(s->auxv));
	slurp("/proc/self/limits", s->limits, sizeof(s->limits));
	s->nice = getpriority(PRIO_PROCESS, 0);
	s->policy = sched_getscheduler(0);
	CHECK(!sched_getparam(0, &s->param));
	CHECK(!sched_getaffinity(0, sizeof(s->affinity), &s->affinity));
	s->personality = personality(0xffffffff);
	prctl(PR_GET_PDEATHSIG, &s->pdeath);
	prctl(PR_GET_CHILD_SUBREAPER, &s->subreaper);
	s->slack = prctl(PR_GET_TIMERSLACK);
	s->mask = umask(0);
	umask(s->mask);
}

#define SAME(field) CHECK(!memcmp(&before.field, &now.field, sizeof(now.field)))

static struct state before, now;

static void compare(void)
{
	look(&now);
	SAME(cwd);
	SAME(root);
	SAME(exe);
	SAME(name);
	SAME(oom);
	SAME(cmdline);
	SAME(environ);
	SAME(auxv);
	SAME(limits);
	SAME(nice);
	SAME(policy);
	SAME(param);
	SAME(affinity);
	SAME(personality);
	SAME(pdeath);
	SAME(subreaper);
	SAME(slack);
	SAME(mask);
}

static void set(void)
{
	struct rlimit nofile = { 200, 300 }, core = { 0, 4096 };
	FILE *f = fopen("/proc/self/oom_score_adj", "w");
	cpu_set_t one;

	CHECK(f && fprintf(f, "321\n") > 0 && !fclose(f));
	CHECK(!setrlimit(RLIMIT_NOFILE, &nofile) && !setrlimit(RLIMIT_CORE, &core));
	CHECK(!setpriority(PRIO_PROCESS, 0, 7));
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	CHECK(!sched_setaffinity(0, sizeof(one), &one));
	umask(027);
	CHECK(!prctl(PR_SET_NAME, "odd ) name"));
	CHECK(!prctl(PR_SET_CHILD_SUBREAPER, 1));
	CHECK(!prctl(PR_SET_TIMERSLACK, 123456));
	CHECK(personality(ADDR_NO_RANDOMIZE) >= 0);
	CHECK(!mkdir("below", 0700) && !chdir("below"));
}

int main(void)
{
	struct sched_param batch = { 0 }, fifo = { .sched_priority = 3 };
	pid_t child;
	int go[2];
	char byte;

	target_init();
	system("rm -rf below");
	set();
	CHECK(!pipe(go));
	child = fork();
	if (!child) {
		int real_time = !sched_setscheduler(0, SCHED_FIFO, &fifo);

		if (!real_time)
			CHECK(!sched_setscheduler(0, SCHED_BATCH, &batch));
		CHECK(!prctl(PR_SET_PDEATHSIG, SIGUSR2));
		look(&before);
		CHECK(read(go[0], &byte, 1) == 1);
		compare();
		_exit(0);
	}
	look(&before);
	usleep(50000);

	target_ready();

	compare();
	CHECK(write(go[1], "x", 1) == 1);
	expect_child_ok(child);
	target_pass();
}
