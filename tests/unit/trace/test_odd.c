/* Remote calls in programs that make them hard, and in one that is under construction. */
#include <asm/prctl.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/freeze.h"
#include "engine/proc/stat.h"
#include "engine/proc/trace.h"

/* One attempt of 150 ms, and what a busy machine adds. */
#define FROZEN_IN_VAIN_MAX_NS 300000000ULL

struct odd {
	pid_t pid;
	int input;
};

static void start(struct odd *p, const char *kind)
{
	int in[2], out[2];
	char byte;
	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	p->pid = fork();
	if (p->pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		for (int fd = 3; fd < 64; fd++)
			close(fd);
		execl(ODD_PROGRAM, "odd", kind, (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	p->input = in[1];
	/* A vfork leaves the end open in the parent, which sleeps. */
	if (strcmp(kind, "vfork") == 0)
		usleep(200000);
	else
		assert_int_equal(read(out[0], &byte, 1), 0);
	close(out[0]);
}

static void finish(struct odd *p)
{
	int status;
	close(p->input);
	assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static int64_t call(struct tracee *t, struct inject_site *site, long nr, uint64_t a0, uint64_t a1,
		    uint64_t a2)
{
	int64_t ret = 0;
	assert_int_equal(inject_syscall(t, site, &ret, nr, a0, a1, a2, 0, 0, 0), R_OK);
	return ret;
}

static void calls_a_filter_forbids(void **state)
{
	(void)state;
	struct odd p;
	start(&p, "seccomp");
	for (int i = 0; i < 20; i++) {
		struct tree tree;
		struct inject_site site;
		assert_int_equal(tree_freeze(p.pid, &tree), R_OK);
		struct tracee *t = tree.tasks[0].threads[0];
		assert_int_equal(inject_site_find(t, &site), R_OK);
		assert_int_equal(inject_begin(t, &site), R_OK);
		assert_int_equal(call(t, &site, SYS_getppid, 0, 0, 0), getpid());
		assert_int_equal(inject_end(t, &site), R_OK);
		assert_int_equal(inject_site_close(&site), R_OK);
		assert_int_equal(tree_release(&tree), R_OK);
	}
	finish(&p);
}

/* Looks for a site, which must be below the thread's own stack pointer, since the far end of the
 * first stack is in use. */
static void find_below(const struct tracee *t, struct inject_site *site)
{
	uint64_t sp = arch_sp(&t->regs);
	assert_int_equal(inject_site_find(t, site), R_OK);
	assert_true(site->area + site->area_bytes <= sp - 65536);
	assert_true(sp - site->area <= 2 * 65536);
}

static void a_stack_of_its_own(void **state)
{
	(void)state;
	static uint8_t garbage[65536], there[65536];
	struct odd p;
	start(&p, "stack");
	for (int i = 1; i <= 20; i++) {
		struct tree tree;
		struct inject_site site;
		assert_int_equal(tree_freeze(p.pid, &tree), R_OK);
		struct tracee *t = tree.tasks[0].threads[0];
		/* As a signal handler may have left it. */
		uint64_t below = arch_sp(&t->regs) - 2 * sizeof garbage;
		memset(garbage, i, sizeof garbage);
		assert_int_equal(trace_write(p.pid, below, garbage, sizeof garbage), R_OK);
		find_below(t, &site);
		assert_int_equal(inject_begin(t, &site), R_OK);
		assert_true(call(t, &site, SYS_getcwd, site.data, 4096, 0) > 0);
		assert_int_equal(trace_read(p.pid, below, there, sizeof there), R_OK);
		assert_memory_not_equal(there, garbage, sizeof there);
		assert_int_equal(inject_end(t, &site), R_OK);
		assert_int_equal(inject_site_close(&site), R_OK);
		assert_int_equal(trace_read(p.pid, below, there, sizeof there), R_OK);
		assert_memory_equal(there, garbage, sizeof there);
		assert_int_equal(tree_release(&tree), R_OK);
	}
	finish(&p);
}

static void remember(const char *line, void *arg)
{
	snprintf(arg, 256, "%s", line);
}

/* What a program does that takes `pid`: 0 if it says what it shall. */
static int refuses_to_wait_for(pid_t pid)
{
	char said[256] = "", name[64];
	pid_t *children;
	size_t count;
	struct tree tree;
	if (proc_children(pid, pid, &children, &count) != R_OK || count != 1)
		return 1;
	snprintf(name, sizeof name, "thread %d of process %d is waiting in vfork for child %d,",
		 pid, pid, children[0]);
	free(children);
	warn_set_hook(remember, said);
	int rc = tree_freeze(pid, &tree);
	warn_set_hook(NULL, NULL);
	print_message("frozen in vain for %u us: %s\n", (unsigned)(tree.frozen_ns / 1000), said);
	if (rc != R_UNSUPPORTED)
		return 2;
	if (!strstr(said, name))
		return 3;
	return tree.frozen_ns > FROZEN_IN_VAIN_MAX_NS ? 4 : 0;
}

/* A thread in vfork sleeps where nothing can stop it. */
static void a_long_vfork_is_refused(void **state)
{
	(void)state;
	struct odd p;
	struct proc_status status;
	start(&p, "vfork");
	pid_t taker = fork();
	if (taker == 0)
		_exit(refuses_to_wait_for(p.pid));
	int code;
	assert_int_equal(waitpid(taker, &code, 0), taker);
	assert_int_equal(code, 0);
	assert_int_equal(proc_status_read(p.pid, 0, &status), R_OK);
	assert_int_equal(status.tracer_pid, 0);
	finish(&p);
}

static void short_vforks_are_waited_for(void **state)
{
	(void)state;
	struct odd p;
	uint64_t longest_ns = 0;
	start(&p, "vforks");
	for (int i = 0; i < 20; i++) {
		struct tree tree;
		assert_int_equal(tree_freeze(p.pid, &tree), R_OK);
		for (size_t j = 0; j < tree.tasks[0].thread_count; j++)
			assert_true(trace_is_held(tree.tasks[0].threads[j]));
		assert_int_equal(tree_release(&tree), R_OK);
		if (tree.frozen_ns > longest_ns)
			longest_ns = tree.frozen_ns;
		usleep(3000);
	}
	print_message("frozen for up to %u us\n", (unsigned)(longest_ns / 1000));
	finish(&p);
}

/* As restore drives a task: code in a page of its own, nothing to come back to. */
static void a_task_under_construction(void **state)
{
	(void)state;
	struct odd p;
	struct tracee t;
	struct inject_site living, site = { .disposable = true };
	int64_t page = 0;
	start(&p, "plain");
	assert_int_equal(trace_seize(p.pid, p.pid, NULL, &t), R_OK);
	assert_int_equal(trace_set_options(&t, PTRACE_O_EXITKILL), R_OK);
	assert_int_equal(inject_site_find(&t, &living), R_OK);
	assert_int_equal(inject_begin(&t, &living), R_OK);
	assert_int_equal(inject_syscall(&t, &living, &page, SYS_mmap, 0, 4096,
					PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
					(uint64_t)-1, 0),
			 R_OK);
	assert_true(page > 0);
	assert_int_equal(trace_write(p.pid, (uint64_t)page, "\x0f\x05\xc3", 3), R_OK);
	assert_int_equal(
	    call(&t, &living, SYS_mprotect, (uint64_t)page, 4096, PROT_READ | PROT_EXEC), 0);
	assert_int_equal(inject_end(&t, &living), R_OK);
	assert_int_equal(inject_site_close(&living), R_OK);

	site.pid = p.pid;
	site.syscall_ret = (uint64_t)page;
	assert_int_equal(inject_begin(&t, &site), R_OK);
	assert_int_equal(call(&t, &site, SYS_getpid, 0, 0, 0), p.pid);
	/* What a call changes stays changed. */
	assert_int_equal(call(&t, &site, SYS_arch_prctl, ARCH_SET_FS, 0x12345000, 0), 0);
	for (int i = 0; i < 10; i++)
		assert_int_equal(call(&t, &site, SYS_close, 1000, 0, 0), -EBADF);
	struct arch_regs regs;
	assert_int_equal(arch_regs_get(p.pid, &regs), R_OK);
	assert_int_equal(regs.user.fs_base, 0x12345000);
	/* A child comes up traced by us, and can be driven from the same page. */
	assert_int_equal(trace_set_options(&t, PTRACE_O_EXITKILL | PTRACE_O_TRACEFORK), R_OK);
	int64_t child = call(&t, &site, SYS_clone, SIGCHLD, 0, 0);
	assert_true(child > 0);
	struct tracee u;
	struct inject_site there = site;
	there.pid = (pid_t)child;
	there.user = 0;
	assert_int_equal(trace_adopt((pid_t)child, (pid_t)child, &u), R_OK);
	assert_int_equal(inject_begin(&u, &there), R_OK);
	assert_int_equal(call(&u, &there, SYS_getppid, 0, 0, 0), p.pid);
	assert_int_equal(call(&u, &there, SYS_getpid, 0, 0, 0), child);
	/* The last call takes the page away; the result is seen before the thread runs on. */
	assert_int_equal(call(&u, &there, SYS_munmap, (uint64_t)page, 4096, 0), 0);
	assert_int_equal(inject_end(&u, &there), R_OK);
	kill((pid_t)child, SIGKILL);
	assert_int_equal(waitpid((pid_t)child, NULL, __WALL), child);
	assert_int_equal(inject_end(&t, &site), R_OK);
	kill(p.pid, SIGKILL);
	assert_int_equal(waitpid(p.pid, NULL, __WALL), p.pid);
	close(p.input);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_a_filter_forbids),
		cmocka_unit_test(a_stack_of_its_own),
		cmocka_unit_test(a_long_vfork_is_refused),
		cmocka_unit_test(short_vforks_are_waited_for),
		cmocka_unit_test(a_task_under_construction),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
