/* Limits, timers and cgroup paths of /proc. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/result.h"
#include "engine/proc/mounts.h"
#include "engine/proc/procfs.h"

static void test_limits(void **state)
{
	struct proc_limits limits;
	char *text;

	(void)state;
	assert_int_equal(procfs_read(getpid(), 0, "limits", &text, NULL), R_OK);
	assert_int_equal(proc_limits_parse(text, &limits), R_OK);
	for (int i = 0; i < PROC_LIMITS; i++) {
		struct rlimit own;

		assert_int_equal(getrlimit((__rlimit_resource_t)i, &own), 0);
		assert_int_equal(limits.cur[i], own.rlim_cur);
		assert_int_equal(limits.max[i], own.rlim_max);
	}
	/* Cut anywhere it is no longer whole. */
	*strstr(text, "Max realtime timeout") = '\0';
	assert_int_equal(proc_limits_parse(text, &limits), R_DAMAGED);
	assert_int_equal(proc_limits_parse("", &limits), R_DAMAGED);
	free(text);
}

static void test_timers(void **state)
{
	static const char text[] = "ID: 2\n"
				   "signal: 10/00000000fffffffd\n"
				   "notify: thread/tid.28887\n"
				   "ClockID: 0\n"
				   "ID: 1\n"
				   "signal: 0/0000000000000000\n"
				   "notify: none/pid.28887\n"
				   "ClockID: -2\n";
	struct proc_timer *timers;
	size_t n;

	(void)state;
	assert_int_equal(proc_timers_parse(text, &timers, &n), R_OK);
	assert_int_equal(n, 2);
	assert_int_equal(timers[0].id, 2);
	assert_int_equal(timers[0].signo, 10);
	assert_int_equal(timers[0].value, 0xfffffffd);
	assert_int_equal(timers[0].notify, SIGEV_THREAD | SIGEV_THREAD_ID);
	assert_int_equal(timers[0].notify_tid, 28887);
	assert_int_equal(timers[1].notify, SIGEV_NONE);
	assert_int_equal(timers[1].clock, -2);
	free(timers);
	assert_int_equal(proc_timers_parse("", &timers, &n), R_OK);
	assert_int_equal(n, 0);
	free(timers);
}

static void test_hostile_timers(void **state)
{
	static const char whole[] = "ID: 2\nsignal: 10/00ff\nnotify: signal/pid.1\nClockID: 0\n";
	static const char *const bad[] = {
		"ID: 99999999999\nsignal: 10/00ff\nnotify: signal/pid.1\nClockID: 0\n",
		"ID: -1\nsignal: 10/00ff\nnotify: signal/pid.1\nClockID: 0\n",
		"ID: 2\nsignal: 65/00ff\nnotify: signal/pid.1\nClockID: 0\n",
		"ID: 2\nsignal: 10/xyz\nnotify: signal/pid.1\nClockID: 0\n",
		"ID: 2\nsignal: 10/00ff\nnotify: morse/pid.1\nClockID: 0\n",
		"ID: 2\nsignal: 10/00ff\nnotify: signal/gid.1\nClockID: 0\n",
		"ID: 2\nsignal: 10/00ff\nnotify: signal/pid.1\nClockID: x\n",
	};
	struct proc_timer *timers;
	size_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(proc_timers_parse(bad[i], &timers, &n), R_DAMAGED);
	for (size_t cut = 1; cut < strlen(whole); cut++) {
		char *copy = strndup(whole, cut);

		assert_int_equal(proc_timers_parse(copy, &timers, &n), R_DAMAGED);
		free(copy);
	}
}

static void test_cgroup(void **state)
{
	char *path;

	(void)state;
	assert_int_equal(proc_cgroup_parse("12:cpu:/a\n0::/user.slice/b c\n", &path), R_OK);
	assert_string_equal(path, "/user.slice/b c");
	free(path);
	assert_int_equal(proc_cgroup_parse("12:cpu:/a\n", &path), R_OK);
	assert_null(path);
	assert_int_equal(proc_cgroup_parse("", &path), R_OK);
	assert_null(path);
}

static void test_hierarchies(void **state)
{
	const char *at =
	    "3:name=a b:/x\n2:cpu,cpuacct:/\nnonsense\n1:pids\n0::/unified\n4:memory:/y:z";
	const char *controllers, *path;
	size_t controllers_len, path_len;

	(void)state;
	assert_true(proc_cgroup_next(&at, &controllers, &controllers_len, &path, &path_len));
	assert_int_equal(controllers_len, 8);
	assert_memory_equal(controllers, "name=a b", 8);
	assert_int_equal(path_len, 2);
	assert_memory_equal(path, "/x", 2);
	assert_true(proc_cgroup_next(&at, &controllers, &controllers_len, &path, &path_len));
	assert_int_equal(path_len, 1);
	assert_true(proc_cgroup_next(&at, &controllers, &controllers_len, &path, &path_len));
	assert_memory_equal(controllers, "memory", 6);
	assert_int_equal(path_len, 4);
	assert_memory_equal(path, "/y:z", 4);
	assert_false(proc_cgroup_next(&at, &controllers, &controllers_len, &path, &path_len));
}

static int parse(const char *text, char *line, size_t room, struct proc_mount *mount)
{
	assert_true(snprintf(line, room, "%s", text) < (int)room);
	return proc_mount_parse(line, mount);
}

static void test_mounts(void **state)
{
	struct proc_mount mount;
	char line[256];

	(void)state;
	assert_int_equal(parse("36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 shared:7 "
			       "propagate_from:2 later:9 - ext3 /dev/a\\134b rw,errors=continue",
			       line, sizeof(line), &mount),
			 R_OK);
	assert_int_equal(mount.id, 36);
	assert_int_equal(mount.parent, 35);
	assert_int_equal(mount.major, 98);
	assert_int_equal(mount.minor, 0);
	assert_string_equal(mount.root, "/mnt1");
	assert_string_equal(mount.mountpoint, "/mnt 2");
	assert_string_equal(mount.options, "rw,noatime");
	assert_string_equal(mount.type, "ext3");
	assert_string_equal(mount.source, "/dev/a\\b");
	assert_string_equal(mount.options_behind, "rw,errors=continue");
	assert_int_equal(mount.shared, 7);
	assert_int_equal(mount.slave_of, 1);
	assert_int_equal(mount.from, 2);
	/* A source may be empty. */
	assert_int_equal(parse("1 0 0:1 / / rw unbindable - tmpfs  rw", line, sizeof(line), &mount),
			 R_OK);
	assert_string_equal(mount.source, "");
	assert_true(mount.unbindable);
	static const char *const bad[] = {
		"",
		"36",
		"36 35",
		"36 35 98 / / rw - ext3 a rw",
		"x 35 98:0 / / rw - ext3 a rw",
		"36 35 98:0 / / rw",
		"36 35 98:0 / / rw - ext3",
		"36 35 98:0 / / rw - ext3 a",
		"36 35 98:0 / / rw shared:x - ext3 a rw",
		"36 99999999999 98:0 / / rw - ext3 a rw",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(parse(bad[i], line, sizeof(line), &mount), R_DAMAGED);
}

static void test_own_mounts(void **state)
{
	char *text, *rest, *line;
	size_t n = 0;

	(void)state;
	assert_int_equal(procfs_read(getpid(), 0, "mountinfo", &text, NULL), R_OK);
	for (rest = text; (line = strsep(&rest, "\n")) && *line; n++) {
		struct proc_mount mount;

		assert_int_equal(proc_mount_parse(line, &mount), R_OK);
		assert_int_equal(*mount.mountpoint, '/');
	}
	assert_true(n > 0);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limits),	       cmocka_unit_test(test_timers),
		cmocka_unit_test(test_hostile_timers), cmocka_unit_test(test_cgroup),
		cmocka_unit_test(test_hierarchies),    cmocka_unit_test(test_mounts),
		cmocka_unit_test(test_own_mounts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
