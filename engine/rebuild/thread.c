#include "engine/rebuild/rebuild.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/warn.h"

#define THREAD_FLAGS \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM)

int threads_make(struct rebuild_task *t)
{
	for (size_t i = 1; i < t->n_threads; i++) {
		int rc = spawn_clone(&t->threads[0], THREAD_FLAGS, 0, &t->threads[i]);

		if (rc)
			return rc;
	}
	return R_OK;
}

static int set_alternate_stack(struct rebuild_thread *th)
{
	const ThreadSasEntry *sas = th->core->thread_core->sas;
	stack_t *stack = (stack_t *)th->task->r->data;

	if (!sas || (sas->ss_flags & SS_DISABLE && !sas->ss_size))
		return R_OK;
	memset(stack, 0, sizeof(*stack));
	stack->ss_sp = (void *)(uintptr_t)sas->ss_sp;
	stack->ss_size = sas->ss_size;
	/* Whether it stands on it now follows from its stack pointer. */
	stack->ss_flags = (int)(sas->ss_flags & ~(uint32_t)SS_ONSTACK);
	return remote_must(th, "sigaltstack", SYS_sigaltstack, remote_address(stack), 0, 0, 0, 0,
			   0);
}

int thread_register(struct rebuild_thread *th)
{
	const ThreadCoreEntry *tc = th->core->thread_core;
	uint64_t clear = th->core->thread_info->clear_tid_addr;
	int rc;

	if (tc->futex_rla) {
		rc = remote_must(th, "set_robust_list", SYS_set_robust_list, tc->futex_rla,
				 tc->futex_rla_len, 0, 0, 0, 0);
		if (rc)
			return rc;
	}
	if (clear) {
		rc = remote_must(th, "set_tid_address", SYS_set_tid_address, clear, 0, 0, 0, 0, 0);
		if (rc)
			return rc;
	}
	if (tc->rseq_entry && tc->rseq_entry->rseq_abi_pointer) {
		rc = remote_must(th, "rseq", SYS_rseq, tc->rseq_entry->rseq_abi_pointer,
				 tc->rseq_entry->rseq_abi_size, 0, tc->rseq_entry->signature, 0, 0);
		if (rc)
			return rc;
	}
	return set_alternate_stack(th);
}
