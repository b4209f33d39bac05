/* A process that executes itself in one thread after the other stands still when it is told to. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/result.h"
#include "engine/proc/freeze.h"
#include "engine/proc/trace.h"
#include "holder.h"

#define FREEZES 200

static pid_t program;

static int end(void **state)
{
	int status = 0;
	(void)state;
	kill(program, SIGKILL);
	if (waitpid(program, &status, 0) == program && WIFSIGNALED(status) &&
	    WTERMSIG(status) == SIGKILL)
		return 0;
	print_message("the program ended by itself, status %#x\n", (unsigned)status);
	return -1;
}

static pid_t start(_Atomic uint32_t **count)
{
	char self[16];
	int fd = memfd_create("count", 0);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 4096), 0);
	*count = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(*count, MAP_FAILED);
	snprintf(self, sizeof self, "%d", getpid());
	pid_t pid = program = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (fd == 3 || dup2(fd, 3) == 3)
			execl(EXECS_PROGRAM, "execs", self, (char *)NULL);
		_exit(127);
	}
	close(fd);
	for (int i = 0; **count < 3; i++) {
		assert_true(i < 5000);
		pause_us(1000);
	}
	return pid;
}

/* All of it, and none of it goes on. */
static void check_still(const struct tree *tree, pid_t pid, const _Atomic uint32_t *count)
{
	assert_int_equal(tree->task_count, 1);
	const struct tree_task *task = &tree->tasks[0];
	assert_int_equal(task->pid, pid);
	assert_int_equal(task->threads[0]->tid, pid);
	pid_t *tids;
	size_t found;
	uint32_t before = *count;
	assert_int_equal(proc_threads(pid, &tids, &found), R_OK);
	assert_int_equal(found, task->thread_count);
	free(tids);
	pause_us(300);
	for (size_t i = 0; i < task->thread_count; i++)
		assert_true(trace_is_held(task->threads[i]));
	assert_int_equal(*count, before);
}

/* A remote call goes where the site was found: into the program that is there now. */
static void check_call(const struct tree *tree)
{
	struct inject_site site;
	struct tracee *t = tree->tasks[0].threads[0];
	int64_t ret = 0;
	int rc = inject_site_find(t, &site);
	/* Right after an execve there is no libc yet, and not always a stack to write to. */
	if (rc == R_UNSUPPORTED)
		return;
	assert_int_equal(rc, R_OK);
	assert_int_equal(inject_begin(t, &site), R_OK);
	assert_int_equal(inject_syscall(t, &site, &ret, 39 /* getpid */, 0, 0, 0, 0, 0, 0), R_OK);
	assert_int_equal(ret, t->pid);
	assert_int_equal(inject_end(t, &site), R_OK);
	assert_int_equal(inject_site_close(&site), R_OK);
}

static void execve_in_any_thread(void **state)
{
	(void)state;
	_Atomic uint32_t *count;
	uint64_t seed = 4711, longest_ns = 0;
	pid_t pid = start(&count);
	uint32_t first = *count;
	for (int i = 0; i < FREEZES; i++) {
		struct tree tree;
		assert_int_equal(tree_freeze(pid, &tree), R_OK);
		check_still(&tree, pid, count);
		if (i % 4 == 0)
			check_call(&tree);
		assert_int_equal(tree_release(&tree), R_OK);
		if (tree.frozen_ns > longest_ns)
			longest_ns = tree.frozen_ns;
		pause_us((unsigned)(prng(&seed) % 2000));
	}
	uint32_t now = *count;
	print_message("%d freezes between %u executions, the longest %u us\n", FREEZES, now - first,
		      (unsigned)(longest_ns / 1000));
	assert_true(now - first > 20);
	for (int i = 0; *count == now; i++) {
		assert_true(i < 5000);
		pause_us(1000);
	}
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(execve_in_any_thread, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
