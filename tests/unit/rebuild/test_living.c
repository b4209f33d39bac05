/* The living target is ended only as long as its pid is still its own. */
#include <errno.h>
#include <linux/sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/engine.h"
#include "engine/proc/files/restore.h"
#include "engine/proc/stat.h"
#include "engine/rebuild/rebuild.h"

/* Start times are told in ticks of 10 ms. */
#define LATER_US 50000

static void remember(const char *line, void *arg)
{
	snprintf(arg, 256, "%s", line);
}

/* A child that waits to be killed and does not outlive this program; with the pid `pid` if not 0.
 */
static pid_t start(pid_t pid)
{
	struct clone_args args = {
		.exit_signal = SIGCHLD,
		.set_tid = pid ? (uint64_t)(uintptr_t)&pid : 0,
		.set_tid_size = pid != 0,
	};
	pid_t parent = getpid(), child = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

	if (child)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (getppid() == parent)
		pause();
	_exit(0);
}

static void end(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* Finds `pid` to be the living target. */
static void prove(pid_t pid, struct rebuild *r, struct restore_options *opts)
{
	struct proc_stat stat;

	assert_int_equal(proc_stat_read(pid, 0, &stat), R_OK);
	*opts = (struct restore_options){
		.replace = true,
		.living_pid = pid,
		.living_start = stat.start_time,
	};
	*r = (struct rebuild){ .files = files_restore_new(RESTORE_FILES_STRICT, NULL, NULL) };
	assert_non_null(r->files);
	assert_int_equal(living_prove(r, opts), R_OK);
	assert_int_equal(r->living, pid);
}

static void the_target_is_ended(void **state)
{
	struct restore_options opts;
	struct rebuild r;
	pid_t pid = start(0);
	int status;

	(void)state;
	assert_true(pid > 0);
	prove(pid, &r, &opts);
	assert_int_equal(living_replace(&r), R_OK);
	assert_true(r.living_ended);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	files_restore_free(r.files);
}

static void whoever_has_its_pid_now_is_not(void **state)
{
	struct restore_options opts;
	struct proc_status status;
	struct rebuild r;
	char said[256] = "";
	pid_t pid = start(0);
	int rc;

	(void)state;
	assert_true(pid > 0);
	usleep(LATER_US);
	prove(pid, &r, &opts);
	end(pid);
	if (start(pid) != pid) {
		assert_true(errno == EPERM || errno == ENOSYS);
		files_restore_free(r.files);
		print_message("a process cannot be given a pid here: %s\n", strerror(errno));
		skip();
	}
	usleep(LATER_US);
	warn_set_hook(remember, said);
	rc = living_replace(&r);
	warn_set_hook(NULL, NULL);
	assert_int_equal(rc, R_BUSY);
	assert_false(r.living_ended);
	assert_non_null(strstr(said, "has ended"));
	/* It is there, and neither held nor stopped. */
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	assert_int_equal(proc_status_read(pid, 0, &status), R_OK);
	assert_int_equal(status.tracer_pid, 0);
	assert_int_not_equal(status.state, 'T');
	end(pid);
	files_restore_free(r.files);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_target_is_ended),
		cmocka_unit_test(whoever_has_its_pid_now_is_not),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
