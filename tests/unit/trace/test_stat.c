/* The parsers of /proc/PID/stat and status, on texts good and bad, and on this very process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/result.h"
#include "engine/proc/stat.h"

static const char numbers[] =
    "7 8 9 34816 -1 4194560 1 2 3 4 5 6 7 8 20 -5 3 0 123456789 10 11 18446744073709551615 "
    "93824992231424 93824992300000 140737488347136 0 0 0 0 4096 0 0 0 0 17 2 40 1 0 0 0 "
    "93824992400000 93824992500000 93824992600000 140737488348001 140737488348010 "
    "140737488348020 140737488351000 9\n";

static int parse_stat(const char *name, const char *rest, struct proc_stat *out)
{
	char text[4096];
	snprintf(text, sizeof text, "42 (%s) %s", name, rest);
	return proc_stat_parse(text, strlen(text), out);
}

static void stat_fields(void **state)
{
	(void)state;
	struct proc_stat s;
	char rest[1024];
	snprintf(rest, sizeof rest, "Z %s", numbers);
	assert_int_equal(parse_stat("a.out", rest, &s), R_OK);
	assert_int_equal(s.pid, 42);
	assert_string_equal(s.comm, "a.out");
	assert_int_equal(s.state, 'Z');
	assert_int_equal(s.ppid, 7);
	assert_int_equal(s.pgid, 8);
	assert_int_equal(s.sid, 9);
	assert_int_equal(s.tty_nr, 34816);
	assert_int_equal(s.tty_pgid, -1);
	assert_int_equal(s.nice, -5);
	assert_int_equal(s.threads, 3);
	assert_int_equal(s.start_time, 123456789);
	assert_int_equal(s.start_code, 93824992231424);
	assert_int_equal(s.start_stack, 140737488347136);
	assert_int_equal(s.rt_priority, 40);
	assert_int_equal(s.policy, 1);
	assert_int_equal(s.start_brk, 93824992600000);
	assert_int_equal(s.env_end, 140737488351000);
	assert_int_equal(s.exit_code, 9);
}

static void stat_names_may_hold_anything(void **state)
{
	(void)state;
	struct proc_stat s;
	char rest[1024];
	snprintf(rest, sizeof rest, "S %s", numbers);
	assert_int_equal(parse_stat("a) R 1 (b", rest, &s), R_OK);
	assert_string_equal(s.comm, "a) R 1 (b");
	assert_int_equal(s.ppid, 7);
	assert_int_equal(parse_stat("", rest, &s), R_OK);
	assert_string_equal(s.comm, "");
	assert_int_equal(parse_stat("\n", rest, &s), R_OK);
	assert_string_equal(s.comm, "\n");
	assert_int_equal(parse_stat("kworker/u257:0-events_unbound", rest, &s), R_OK);
	assert_int_equal(strlen(s.comm), PROC_COMM_BYTES - 1);
}

/* Every beginning of a good text: all but the whole are refused, and nothing behind is read. */
static void stat_cut_short(void **state)
{
	(void)state;
	struct proc_stat s;
	char text[1024];
	snprintf(text, sizeof text, "42 (x) R %s", numbers);
	size_t whole = strlen(text);
	for (size_t len = 0; len < whole - 2; len++) {
		char *cut = malloc(len + 1);
		memcpy(cut, text, len);
		cut[len] = '\0';
		assert_int_equal(proc_stat_parse(cut, len, &s), R_DAMAGED);
		free(cut);
	}
	assert_int_equal(proc_stat_parse(text, whole, &s), R_OK);
	assert_int_equal(proc_stat_parse("42 (x) R 1\0 2", 13, &s), R_DAMAGED);
}

static void status_fields(void **state)
{
	(void)state;
	static const char text[] =
	    "Name:\tState:\tX\nUmask:\t0027\nState:\tT (stopped)\nTgid:\t42\nPid:\t43\nPPid:\t1\n"
	    "TracerPid:\t77\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nFDSize:\t64\nGroups:\t\n"
	    "NSpid:\t43\t2\nSigPnd:\t0000000000000001\nShdPnd:\t8000000000000000\n"
	    "SigBlk:\t0000000000010000\nSigIgn:\t0000000000001000\nSigCgt:\t00000001800004ec\n"
	    "CapInh:\t0000000000000000\nCapPrm:\t000001ffffffffff\nCapEff:\t0000000000000400\n"
	    "CapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\n"
	    "Seccomp:\t2\nSeccomp_filters:\t3\n";
	struct proc_status s;
	assert_int_equal(proc_status_parse(text, sizeof text - 1, &s), R_OK);
	assert_int_equal(s.state, 'T');
	assert_int_equal(s.umask, 027);
	assert_int_equal(s.tgid, 42);
	assert_int_equal(s.tracer_pid, 77);
	assert_int_equal(s.uid[0], 1);
	assert_int_equal(s.uid[3], 4);
	assert_int_equal(s.gid[3], 8);
	assert_int_equal(s.group_count, 0);
	assert_int_equal(s.levels_of_pid, 2);
	assert_int_equal(s.sig_pending, 1);
	assert_true(s.shared_pending == 1ULL << 63);
	assert_int_equal(s.cap_effective, 0x400);
	assert_int_equal(s.no_new_privs, 1);
	assert_int_equal(s.seccomp, 2);
	assert_int_equal(s.seccomp_filters, 3);
	assert_int_equal(proc_status_parse("Name:\tx\n", 8, &s), R_DAMAGED);
	assert_int_equal(proc_status_parse("", 0, &s), R_DAMAGED);
}

static void status_groups(void **state)
{
	(void)state;
	char text[8192] = "State:\tR\nTgid:\t1\nGroups:\t";
	for (int i = 0; i < 300; i++)
		snprintf(text + strlen(text), 16, "%d ", i);
	struct proc_status s;
	assert_int_equal(proc_status_parse(text, strlen(text), &s), R_OK);
	assert_int_equal(s.group_count, PROC_GROUPS_MAX);
	assert_int_equal(s.groups[PROC_GROUPS_MAX - 1], PROC_GROUPS_MAX - 1);
}

static void this_process(void **state)
{
	(void)state;
	struct proc_stat stat;
	struct proc_status status;
	pid_t *tids;
	size_t count;
	assert_int_equal(proc_stat_read(getpid(), 0, &stat), R_OK);
	assert_int_equal(stat.pid, getpid());
	assert_int_equal(stat.ppid, getppid());
	assert_int_equal(stat.sid, getsid(0));
	assert_int_equal(stat.pgid, getpgrp());
	assert_int_equal(stat.threads, 1);
	assert_int_equal(proc_status_read(getpid(), getpid(), &status), R_OK);
	assert_int_equal(status.tgid, getpid());
	assert_int_equal(status.uid[1], geteuid());
	assert_int_equal(proc_threads(getpid(), &tids, &count), R_OK);
	assert_int_equal(count, 1);
	assert_int_equal(tids[0], getpid());
	free(tids);
	assert_int_equal(proc_stat_read(1 << 30, 0, &stat), R_NOT_FOUND);
	assert_int_equal(proc_threads(1 << 30, &tids, &count), R_NOT_FOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stat_fields),	  cmocka_unit_test(stat_names_may_hold_anything),
		cmocka_unit_test(stat_cut_short), cmocka_unit_test(status_fields),
		cmocka_unit_test(status_groups),  cmocka_unit_test(this_process),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
