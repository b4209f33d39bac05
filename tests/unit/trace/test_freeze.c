/* Holds whole trees: finds all of it in order, lets it go on, ends it. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/freeze.h"
#include "engine/proc/trace.h"
#include "holder.h"

/* 1 + 3 + 9 waiting, and one ended child of each of the 4 that have children. */
#define DEPTH 2
#define WIDTH 3
#define LIVING 13
#define ENDED 4

static pid_t start(const char *a, const char *b)
{
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		execl(FOREST_PROGRAM, "forest", a, b, (char *)NULL);
		_exit(127);
	}
	return pid;
}

static size_t zombies(const struct tree *tree)
{
	size_t n = 0;
	for (size_t i = 0; i < tree->task_count; i++)
		n += tree->tasks[i].zombie;
	return n;
}

/* Freezes until the tree has grown to its full size. */
static void freeze_grown(pid_t root, struct tree *tree)
{
	for (int i = 0; i < 2000; i++) {
		int rc = tree_freeze(root, tree);
		if (rc == R_OK && tree->task_count == LIVING + ENDED && zombies(tree) == ENDED)
			return;
		if (rc == R_OK)
			tree_release(tree);
		pause_us(2000);
	}
	fail_msg("the tree does not grow");
}

static void check_order(const struct tree *tree, pid_t root)
{
	assert_int_equal(tree->tasks[0].pid, root);
	for (size_t i = 1; i < tree->task_count; i++) {
		bool parent_before = false;
		for (size_t j = 0; j < i; j++)
			parent_before |= tree->tasks[j].pid == tree->tasks[i].ppid;
		assert_true(parent_before);
	}
}

/* What the dead left behind. */
static void reap_orphans(void)
{
	for (int waits = 0; waits < 2000;) {
		pid_t got = waitpid(-1, NULL, WNOHANG);
		if (got < 0)
			return;
		if (got == 0) {
			waits++;
			pause_us(1000);
		}
	}
	fail_msg("an orphan lives on");
}

static void a_tree_is_found_whole(void **state)
{
	(void)state;
	pid_t root = start("2", "3");
	struct tree tree;
	freeze_grown(root, &tree);
	check_order(&tree, root);
	assert_int_equal(tree_threads(&tree), LIVING);
	for (size_t i = 0; i < tree.task_count; i++) {
		const struct tree_task *task = &tree.tasks[i];
		assert_string_equal(task->comm, "forest");
		assert_int_equal(task->pgid, getpgrp());
		assert_int_equal(task->thread_count, task->zombie ? 0 : 1);
		if (task->zombie) {
			int depth = task->ppid == root ? 2 : 1;
			assert_true(WIFEXITED(task->exit_code));
			assert_int_equal(WEXITSTATUS(task->exit_code), 10 + depth);
		}
	}
	assert_int_equal(tree_release(&tree), R_OK);
	assert_true(tree.frozen_ns > 0);

	freeze_grown(root, &tree);
	pid_t pids[LIVING + ENDED];
	for (size_t i = 0; i < tree.task_count; i++)
		pids[i] = tree.tasks[i].pid;
	assert_int_equal(tree_kill(&tree), R_OK);
	int status;
	assert_int_equal(waitpid(root, &status, WNOHANG), root); /* dead, and left to us */
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
	for (size_t i = 0; i < LIVING + ENDED; i++) {
		struct proc_stat stat;
		int rc = R_OK;
		/* Children of the dead are ours to wait for, as their new parent. */
		waitpid(pids[i], NULL, WNOHANG);
		for (int wait = 0; rc == R_OK && wait < 2000; wait++) {
			rc = proc_stat_read(pids[i], 0, &stat);
			if (rc == R_OK && stat.state == 'Z')
				break;
			pause_us(1000);
		}
		assert_true(rc == R_NOT_FOUND || stat.state == 'Z');
	}
	reap_orphans();
}

static void stopped_after_release(void **state)
{
	(void)state;
	pid_t root = start("2", "3");
	struct tree tree;
	freeze_grown(root, &tree);
	pid_t living[LIVING + ENDED];
	size_t n = 0;
	for (size_t i = 0; i < tree.task_count; i++)
		if (!tree.tasks[i].zombie)
			living[n++] = tree.tasks[i].pid;
	assert_int_equal(tree_stop(&tree), R_OK);
	assert_int_equal(tree_release(&tree), R_OK);
	/* Each stops when it gets to run, in any order. */
	for (size_t k = 0; k < n; k++) {
		struct proc_stat stat = { 0 };
		for (int i = 0; i < 2000 && stat.state != 'T'; i++) {
			pause_us(1000);
			assert_int_equal(proc_stat_read(living[k], 0, &stat), R_OK);
		}
		assert_int_equal(stat.state, 'T');
	}
	freeze_grown(root, &tree);
	assert_true(tree.tasks[0].stopped);
	assert_int_equal(tree_kill(&tree), R_OK);
	reap_orphans();
}

/* Processes and threads come and go while they are being caught. */
static void a_storm_stands_still(void **state)
{
	(void)state;
	pid_t root = start("storm", NULL);
	uint64_t seed = 77;
	pause_us(20000);
	for (int i = 0; i < 100; i++) {
		struct tree tree;
		int rc = tree_freeze(root, &tree);
		assert_int_equal(rc, R_OK);
		check_order(&tree, root);
		/* Nothing may come into being now. */
		for (size_t j = 0; j < tree.task_count; j++) {
			const struct tree_task *task = &tree.tasks[j];
			pid_t *tids;
			size_t count;
			if (task->zombie)
				continue;
			assert_int_equal(proc_threads(task->pid, &tids, &count), R_OK);
			assert_true(count >= task->thread_count);
			free(tids);
			for (size_t k = 0; k < task->thread_count; k++)
				assert_int_equal(task->threads[k]->pid, task->pid);
		}
		assert_int_equal(tree_release(&tree), R_OK);
		pause_us((unsigned)(prng(&seed) % 3000));
	}
	int status;
	assert_int_equal(waitpid(root, &status, WNOHANG), 0);
	kill(root, SIGKILL);
	assert_int_equal(waitpid(root, &status, 0), root);
	reap_orphans();
}

/* The children of whoever calls, and the signals that tell of them, are none of its business. */
static void other_children_are_left_alone(void **state)
{
	(void)state;
	pid_t root = start("0", "0");
	sigset_t blocked, before;
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGCHLD);
	sigprocmask(SIG_BLOCK, &blocked, &before);
	for (int i = 0; i < 20; i++) {
		siginfo_t info;
		struct tree tree;
		int status;
		pid_t child = fork();
		if (child == 0)
			_exit(i);
		assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
		assert_int_equal(tree_freeze(root, &tree), R_OK);
		assert_int_equal(tree_release(&tree), R_OK);
		assert_int_equal(sigtimedwait(&blocked, &info, &(struct timespec){ 0 }), SIGCHLD);
		assert_int_equal(info.si_pid, child);
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(WEXITSTATUS(status), i);
		while (sigtimedwait(&blocked, &info, &(struct timespec){ 0 }) == SIGCHLD)
			;
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	kill(root, SIGKILL);
	assert_int_equal(waitpid(root, NULL, 0), root);
}

static void remember(const char *line, void *arg)
{
	snprintf(arg, 256, "%s", line);
}

static void nobody_there(void **state)
{
	(void)state;
	char said[256] = "";
	struct tree tree;
	warn_set_hook(remember, said);
	int rc = tree_freeze(1 << 30, &tree);
	warn_set_hook(NULL, NULL);
	assert_int_equal(rc, R_NOT_FOUND);
	assert_non_null(strstr(said, "no process"));
}

int main(void)
{
	/* Orphans of the trees come to this program, and none outlives it. */
	if (prctl(PR_SET_CHILD_SUBREAPER, 1))
		return 1;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tree_is_found_whole),
		cmocka_unit_test(stopped_after_release),
		cmocka_unit_test(a_storm_stands_still),
		cmocka_unit_test(other_children_are_left_alone),
		cmocka_unit_test(nobody_there),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
