/* Real, effective and saved ids, groups, capability sets, securebits, no_new_privs,
 * keepcaps and dumpable of two processes. */
#include "target.h"

#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *const lines[] = { "Uid:",	"Gid:",	   "Groups:", "CapInh:",    "CapPrm:",
				     "CapEff:", "CapBnd:", "CapAmb:", "NoNewPrivs:" };
#define LINES (sizeof(lines) / sizeof(lines[0]))

struct state {
	char text[LINES][256];
	int securebits, dumpable, keepcaps;
};

static void look(struct state *s)
{
	memset(s, 0, sizeof(*s));
	for (size_t i = 0; i < LINES; i++)
		CHECK(!proc_line("status", lines[i], s->text[i], sizeof(s->text[i])));
	s->securebits = prctl(PR_GET_SECUREBITS);
	s->dumpable = prctl(PR_GET_DUMPABLE);
	s->keepcaps = prctl(PR_GET_KEEPCAPS);
}

static void compare(const struct state *before, const struct state *now)
{
	for (size_t i = 0; i < LINES; i++)
		if (strcmp(before->text[i], now->text[i]))
			target_fail("%s was %s", now->text[i], before->text[i]);
	CHECK(before->securebits == now->securebits);
	CHECK(before->dumpable == now->dumpable);
	CHECK(before->keepcaps == now->keepcaps);
}

static void set_caps(uint32_t effective, uint32_t permitted, uint32_t inheritable)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { { effective, permitted, inheritable } };

	NEED(!syscall(SYS_capset, &header, data));
}

static volatile int *started;

static void child(void)
{
	gid_t groups[3] = { 100, 2000, 30000 };
	struct state before, now;

	NEED(!setgroups(3, groups));
	NEED(!prctl(PR_CAPBSET_DROP, CAP_SYS_MODULE));
	NEED(!prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP | SECBIT_KEEP_CAPS));
	NEED(!setresgid(1001, 1002, 1003));
	NEED(!setresuid(2001, 2002, 2003));
	set_caps(1 << CAP_NET_RAW, 1 << CAP_NET_RAW | 1 << CAP_KILL, 1 << CAP_NET_RAW);
	NEED(!prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW, 0, 0));
	NEED(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	look(&before);
	*started = 1;
	while (!target_is_judged())
		usleep(5000);
	look(&now);
	compare(&before, &now);
	CHECK(seteuid(0) < 0);
	_exit(0);
}

int main(void)
{
	struct state before, now;
	pid_t pid;

	NEED(getuid() == 0);
	target_init();
	/* the child, which is nobody here, may have to write a verdict */
	NEED(!system("chmod 777 ."));
	started = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid = fork();
	if (!pid)
		child();
	while (!*started && !target_is_judged())
		usleep(1000);
	look(&before);

	target_ready();

	look(&now);
	compare(&before, &now);
	expect_child_ok(pid);
	target_pass();
}
