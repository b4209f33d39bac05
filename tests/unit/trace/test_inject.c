/* Freezes a busy program again and again, makes it do calls, and looks whether it noticed. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/freeze.h"
#include "engine/proc/trace.h"
#include "holder.h"

#define ROUNDS 200
#define CALLS 100

static uint64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

static int64_t call(struct tracee *t, struct inject_site *site, long nr, uint64_t a0, uint64_t a1)
{
	int64_t ret = 0;
	assert_int_equal(inject_syscall(t, site, &ret, nr, a0, a1, 0, 0, 0, 0), R_OK);
	return ret;
}

/* The same in chains: more than go into one, some with another fourth argument. */
static void ask_in_chains(struct tracee *t, struct inject_site *site, const char *cwd)
{
	enum { ASKED = 200 };
	struct inject_question q[ASKED + 3];
	struct proc_status status;
	struct {
		uint64_t handler, flags, restorer, mask;
	} action = { .flags = 77 };
	char there[256] = "";
	for (int i = 0; i < ASKED; i++)
		q[i] = (struct inject_question){ .nr = i % 2 ? SYS_gettid : SYS_getppid,
						 .more_arg = INJECT_NO_ARG };
	q[ASKED] = (struct inject_question){ .nr = SYS_rt_sigaction,
					     .args = { SIGTTIN, 0, 0, ARCH_SIGSET_BYTES },
					     .out = &action,
					     .out_bytes = sizeof action,
					     .out_arg = 2,
					     .more_arg = INJECT_NO_ARG };
	q[ASKED + 1] = (struct inject_question){ .nr = SYS_getcwd,
						 .args = { 0, sizeof there },
						 .out = there,
						 .out_bytes = sizeof there,
						 .more_arg = INJECT_NO_ARG };
	q[ASKED + 2] = (struct inject_question){ .nr = SYS_close,
						 .args = { 12345 },
						 .more_arg = INJECT_NO_ARG };
	assert_int_equal(proc_status_read(t->pid, t->tid, &status), R_OK);
	int signal = inject_idle_signal(&status, t->sigmask);
	/* Otherwise this would test nothing. */
	assert_int_not_equal(signal, 0);
	for (int g = 0; g < ARCH_GADGET_COUNT; g++)
		assert_int_not_equal(site->gadgets[g], 0);
	assert_int_equal(inject_ask_begin(t, site, signal, q, ASKED + 3), R_OK);
	assert_int_equal(inject_ask_finish(t, site, signal, q, ASKED + 3), R_OK);
	for (int i = 0; i < ASKED; i++)
		assert_int_equal(q[i].ret, i % 2 ? t->tid : getpid());
	assert_int_equal(q[ASKED].ret, 0);
	assert_int_equal(action.flags, 0);
	assert_int_equal(q[ASKED + 1].ret, strlen(cwd) + 1);
	assert_string_equal(there, cwd);
	assert_int_equal(q[ASKED + 2].ret, -EBADF);
}

static void idle_signals_are_nothing_to_the_thread(void **state)
{
	(void)state;
	struct proc_status status = { 0 };
	int signal = inject_idle_signal(&status, 0);
	assert_true(signal == SIGURG || signal == SIGWINCH);
	status.sig_caught = 1ull << (SIGURG - 1);
	assert_int_equal(inject_idle_signal(&status, 0), SIGWINCH);
	/* Blocked, or on its way: it may mean something. */
	assert_int_equal(inject_idle_signal(&status, 1ull << (SIGWINCH - 1)), 0);
	status.shared_pending = 1ull << (SIGWINCH - 1);
	assert_int_equal(inject_idle_signal(&status, 0), 0);
	status.sig_ignored = 1ull << (SIGPIPE - 1) | 1ull << (SIGCHLD - 1) | 1ull << (SIGCONT - 1);
	assert_int_equal(inject_idle_signal(&status, 0), SIGPIPE);
	status.sig_pending = 1ull << (SIGPIPE - 1);
	assert_int_equal(inject_idle_signal(&status, 0), 0);
}

/* Calls whose results are known, `calls` in all spread over the threads of the root. */
static void make_calls(struct tree *tree, int calls)
{
	struct tree_task *task = &tree->tasks[0];
	struct inject_site site;
	char cwd[256] = "", there[256] = "";
	assert_non_null(getcwd(cwd, sizeof cwd));
	assert_int_equal(inject_site_find(task->threads[0], &site), R_OK);
	assert_true(site.data_bytes >= 4096);
	for (size_t i = 0; i < task->thread_count; i++) {
		struct tracee *t = task->threads[i];
		ask_in_chains(t, &site, cwd);
		for (int n = (int)i; n < calls; n += (int)task->thread_count) {
			assert_int_equal(call(t, &site, SYS_gettid, 0, 0), t->tid);
			assert_int_equal(call(t, &site, SYS_getppid, 0, 0), getpid());
		}
		assert_int_equal(call(t, &site, SYS_getcwd, site.data, 256), strlen(cwd) + 1);
		assert_int_equal(trace_read(t->pid, site.data, there, sizeof there), R_OK);
		assert_string_equal(there, cwd);
		assert_int_equal(call(t, &site, SYS_close, 12345, 0), -EBADF);
		if (i % 2)
			assert_int_equal(inject_leave(t, &site), R_OK);
		assert_int_equal(inject_end(t, &site), R_OK);
		/* Back from where a chain ends, without another stop. */
		ask_in_chains(t, &site, cwd);
		assert_int_equal(inject_leave(t, &site), R_OK);
		assert_int_equal(inject_end(t, &site), R_OK);
	}
	assert_int_equal(inject_site_close(&site), R_OK);
}

static void no_thread_inside_a_sequence(const struct tree *tree, const struct held *held)
{
	for (size_t i = 0; i < tree->tasks[0].thread_count; i++) {
		uint64_t ip = arch_ip(&tree->tasks[0].threads[i]->regs);
		assert_false(ip - held->rseq_start < held->rseq_bytes);
	}
}

static void freezing_and_calling_is_not_noticed(void **state)
{
	(void)state;
	struct held_program p;
	uint64_t seed = 20261123, frozen_ns = 0;
	held_start(&p, true);
	for (int i = 0; i < ROUNDS; i++) {
		struct tree tree;
		assert_int_equal(tree_freeze(p.pid, &tree), R_OK);
		assert_int_equal(tree.task_count, 1);
		/* A thread that found something wrong has ended: what it found says more. */
		held_check(&p);
		assert_int_equal(tree_threads(&tree), 11);
		no_thread_inside_a_sequence(&tree, p.held);
		make_calls(&tree, CALLS);
		assert_int_equal(tree_release(&tree), R_OK);
		frozen_ns += tree.frozen_ns;
		held_check(&p);
		pause_us((unsigned)(prng(&seed) % 8000));
	}
	print_message("%d rounds of 11 threads and %d calls: frozen %llu us each\n", ROUNDS,
		      2 * CALLS + 22, (unsigned long long)(frozen_ns / ROUNDS / 1000));
	assert_int_equal(p.held->interrupted, 0);
	held_finish(&p);
}

/* Freezes in a row find the same waits, the later ones under the number of the restart. */
static void the_number_of_a_restarted_call_is_found(void **state)
{
	(void)state;
	struct held_program p;
	held_start(&p, true);
	int seen[512] = { 0 };
	for (int i = 0; i < ROUNDS; i++) {
		struct tree tree;
		assert_int_equal(tree_freeze(p.pid, &tree), R_OK);
		for (size_t j = 0; j < tree.tasks[0].thread_count; j++) {
			const struct arch_regs *regs = &tree.tasks[0].threads[j]->regs;
			long nr = arch_call_in_progress(regs);
			if (!arch_call_restarts(regs))
				continue;
			assert_int_not_equal(nr, SYS_restart_syscall);
			seen[nr & 511]++;
		}
		assert_int_equal(tree_release(&tree), R_OK);
		pause_us(3000);
	}
	assert_true(seen[SYS_nanosleep] > 10);
	assert_true(seen[SYS_poll] > 10);
	assert_true(seen[SYS_futex] > 10);
	held_finish(&p);
}

/* Figures for docs/; checks only that they are not absurd. */
static void cost(void **state)
{
	(void)state;
	struct held_program p;
	uint64_t freeze_ns = 0;
	held_start(&p, true);
	for (int i = 0; i < 20; i++) {
		struct tree tree;
		assert_int_equal(tree_freeze(p.pid, &tree), R_OK);
		assert_int_equal(tree_release(&tree), R_OK);
		freeze_ns += tree.frozen_ns / 20;
		pause_us(2000);
	}
	struct tree tree;
	struct inject_site site;
	assert_int_equal(tree_freeze(p.pid, &tree), R_OK);
	struct tracee *t = tree.tasks[0].threads[0];
	uint64_t start = now_ns();
	assert_int_equal(inject_site_find(t, &site), R_OK);
	uint64_t found = now_ns();
	assert_int_equal(inject_begin(t, &site), R_OK);
	uint64_t begun = now_ns();
	for (int i = 0; i < 1000; i++)
		call(t, &site, SYS_getppid, 0, 0);
	uint64_t called = now_ns();
	assert_int_equal(inject_end(t, &site), R_OK);
	uint64_t ended = now_ns();
	assert_int_equal(inject_site_close(&site), R_OK);
	assert_int_equal(tree_release(&tree), R_OK);
	print_message(
	    "freeze and release of 11 threads %llu us; site %llu us, begin %llu us, call %llu "
	    "ns, end %llu us\n",
	    (unsigned long long)(freeze_ns / 1000), (unsigned long long)(found - start) / 1000,
	    (unsigned long long)(begun - found) / 1000, (unsigned long long)(called - begun) / 1000,
	    (unsigned long long)(ended - called) / 1000);
	assert_true(called - begun < 60ULL * 1000 * 1000000);
	held_finish(&p);
}

static void signals_wait_for_the_end_of_the_calls(void **state)
{
	(void)state;
	struct held_program p;
	held_start(&p, true);
	uint64_t sum = 0;
	for (int i = 1; i <= 50; i++) {
		struct tree tree;
		struct inject_site site;
		assert_int_equal(tree_freeze(p.pid, &tree), R_OK);
		struct tracee *t = tree.tasks[0].threads[0];
		assert_int_equal(inject_site_find(t, &site), R_OK);
		assert_int_equal(inject_begin(t, &site), R_OK);
		assert_int_equal(call(t, &site, SYS_gettid, 0, 0), t->tid);
		uint64_t before = p.held->queued_count;
		assert_int_equal(sigqueue(p.pid, SIGUSR1, (union sigval){ .sival_int = i }), 0);
		sum += (uint64_t)i;
		assert_int_equal(call(t, &site, SYS_gettid, 0, 0), t->tid);
		assert_int_equal(p.held->queued_count, before);
		assert_int_equal(inject_end(t, &site), R_OK);
		assert_int_equal(inject_site_close(&site), R_OK);
		assert_int_equal(tree_release(&tree), R_OK);
		for (int wait = 0; p.held->queued_count == before; wait++) {
			assert_true(wait < 2000);
			pause_us(1000);
		}
		assert_int_equal(p.held->queued_count, before + 1);
	}
	assert_int_equal(p.held->queued_sum, sum);
	held_finish(&p);
}

static char state_of(pid_t pid)
{
	struct proc_stat stat;
	assert_int_equal(proc_stat_read(pid, 0, &stat), R_OK);
	return stat.state;
}

static void await_state(pid_t pid, char wanted)
{
	for (int i = 0; state_of(pid) != wanted; i++) {
		assert_true(i < 2000);
		pause_us(1000);
	}
}

static void a_stopped_program_stays_stopped(void **state)
{
	(void)state;
	struct held_program p;
	held_start(&p, false);
	for (int i = 0; i < 20; i++) {
		struct tree tree;
		kill(p.pid, SIGSTOP);
		await_state(p.pid, 'T');
		assert_int_equal(tree_freeze(p.pid, &tree), R_OK);
		assert_true(tree.tasks[0].stopped);
		assert_int_equal(tree.tasks[0].threads[0]->stop_signal, SIGSTOP);
		make_calls(&tree, 20);
		assert_int_equal(tree_release(&tree), R_OK);
		await_state(p.pid, 'T');
		pause_us(3000);
		assert_int_equal(state_of(p.pid), 'T');
		kill(p.pid, SIGCONT);
		pause_us(10000);
	}
	held_finish(&p);
}

static void a_stop_during_calls_stops_afterwards(void **state)
{
	(void)state;
	struct held_program p;
	held_start(&p, false);
	for (int i = 0; i < 20; i++) {
		struct tree tree;
		assert_int_equal(tree_freeze(p.pid, &tree), R_OK);
		assert_false(tree.tasks[0].stopped);
		make_calls(&tree, 11);
		kill(p.pid, SIGSTOP);
		make_calls(&tree, 11);
		assert_int_equal(tree_release(&tree), R_OK);
		await_state(p.pid, 'T');
		kill(p.pid, SIGCONT);
		pause_us(10000);
	}
	held_finish(&p);
}

static void quiet(const char *line, void *arg)
{
	snprintf(arg, 256, "%s", line);
}

static void a_traced_program_is_refused(void **state)
{
	(void)state;
	struct held_program p;
	char said[256] = "";
	int go[2];
	held_start(&p, false);
	assert_int_equal(pipe(go), 0);
	pid_t debugger = fork();
	if (debugger == 0) {
		long rc = ptrace(PTRACE_SEIZE, p.pid, NULL, NULL);
		char c = rc == 0;
		if (write(go[1], &c, 1) == 1)
			for (;;)
				pause();
		_exit(1);
	}
	char c = 0;
	assert_int_equal(read(go[0], &c, 1), 1);
	assert_int_equal(c, 1);
	struct tree tree;
	warn_set_hook(quiet, said);
	int rc = tree_freeze(p.pid, &tree);
	warn_set_hook(NULL, NULL);
	assert_int_equal(rc, R_UNSUPPORTED);
	assert_non_null(strstr(said, "traced"));
	kill(debugger, SIGKILL);
	waitpid(debugger, NULL, 0);
	close(go[0]);
	close(go[1]);
	held_finish(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(idle_signals_are_nothing_to_the_thread),
		cmocka_unit_test(freezing_and_calling_is_not_noticed),
		cmocka_unit_test(signals_wait_for_the_end_of_the_calls),
		cmocka_unit_test(a_stopped_program_stays_stopped),
		cmocka_unit_test(a_stop_during_calls_stops_afterwards),
		cmocka_unit_test(a_traced_program_is_refused),
		cmocka_unit_test(the_number_of_a_restarted_call_is_found),
		cmocka_unit_test(cost),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
