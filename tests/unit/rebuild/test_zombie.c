/* A task that dies as it had died: waited for until its end, or until the restore is to stop. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/progress.h"
#include "base/result.h"
#include "engine/proc/trace.h"
#include "engine/rebuild/rebuild.h"

#define TICK_US 50000
/* So many ticks after the restore was told to stop, it hangs. */
#define HANGS_TICKS 60

/* What it is made to do before its end is of no interest here. */
int __wrap_remote_must(struct rebuild_thread *th, const char *what, long nr, uint64_t a0,
		       uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5);
int __wrap_creds_of_zombie(struct rebuild_thread *th);
int __wrap_inject_syscall(struct tracee *t, struct inject_site *site, int64_t *ret, long nr,
			  uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
			  uint64_t a5);

int __wrap_remote_must(struct rebuild_thread *th, const char *what, long nr, uint64_t a0,
		       uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5)
{
	(void)th, (void)what, (void)nr, (void)a0, (void)a1, (void)a2, (void)a3, (void)a4, (void)a5;
	return R_OK;
}

int __wrap_creds_of_zombie(struct rebuild_thread *th)
{
	(void)th;
	return R_OK;
}

/* exit_group(2) has been called. */
int __wrap_inject_syscall(struct tracee *t, struct inject_site *site, int64_t *ret, long nr,
			  uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
			  uint64_t a5)
{
	(void)t, (void)site, (void)ret, (void)nr;
	(void)a0, (void)a1, (void)a2, (void)a3, (void)a4, (void)a5;
	return R_NOT_FOUND;
}

static volatile sig_atomic_t ticks, stopping;
static volatile pid_t child;

static void on_tick(int number)
{
	(void)number;
	if (stopping && ++ticks == HANGS_TICKS)
		kill(child, SIGKILL);
}

static bool tell(void *arg, const char *phase, uint64_t done, uint64_t total,
		 enum progress_unit unit)
{
	(void)arg, (void)phase, (void)done, (void)total, (void)unit;
	return !stopping;
}

static void tick(bool on)
{
	struct itimerval every = { .it_value.tv_usec = on ? TICK_US : 0,
				   .it_interval.tv_usec = on ? TICK_US : 0 };
	struct sigaction action = { .sa_handler = on_tick };

	assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &every, NULL), 0);
}

/* A child that waits, or ends by itself after `ends_us`. */
static pid_t start(useconds_t ends_us)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (ends_us)
		usleep(ends_us);
	while (!ends_us)
		pause();
	_exit(7);
}

/* Lets the task `child` die. */
static int die(bool *dead)
{
	static uint8_t data[4096];
	const struct progress progress = { .tell = tell };
	TaskCoreEntry tc;
	CoreEntry core;
	struct rebuild r = { .data = data, .data_bytes = sizeof(data) };
	struct rebuild_thread thread = { .core = &core, .tid = child, .exists = true };
	struct rebuild_task task = {
		.r = &r, .kind = TASK_ZOMBIE, .pid = child, .threads = &thread, .n_threads = 1
	};
	struct rebuild_task *tasks[] = { &task };
	int rc;

	task_core_entry__init(&tc);
	core_entry__init(&core);
	tc.comm = (char *)"dead";
	tc.exit_code = 7 << 8;
	core.tc = &tc;
	thread.task = &task;
	r.tasks = tasks;
	r.n_tasks = 1;
	stop_begin(&r, &progress);
	ticks = 0;
	tick(true);
	rc = zombies_die(&r);
	tick(false);
	*dead = task.dead;
	return rc;
}

static void its_end_is_waited_for(void **state)
{
	bool dead;

	(void)state;
	stopping = false;
	child = start(4 * TICK_US);
	assert_int_equal(die(&dead), R_OK);
	assert_true(dead);
	assert_int_equal(waitpid(child, NULL, 0), -1);
}

static void its_end_has_been_reported(void **state)
{
	bool dead;

	(void)state;
	stopping = false;
	child = start(1);
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_int_equal(die(&dead), R_OK);
	assert_true(dead);
}

static void one_that_does_not_end_keeps_nobody(void **state)
{
	bool dead;

	(void)state;
	stopping = true;
	child = start(0);
	assert_int_equal(die(&dead), R_FAILED);
	assert_false(dead);
	assert_true(ticks < HANGS_TICKS);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(its_end_is_waited_for),
		cmocka_unit_test(its_end_has_been_reported),
		cmocka_unit_test(one_that_does_not_end_keeps_nobody),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
