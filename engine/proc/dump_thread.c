#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include <asm/ldt.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/dump.h"
#include "engine/proc/stat.h"

#ifndef NT_386_IOPERM
#define NT_386_IOPERM 0x201
#endif
/* Of the kernel's PF_* bits; the last two together. */
#define FLAG_MCE_PROCESS 0x00000080u
#define FLAG_MCE_EARLY 0x08000000u
#define FLAGS_IO_FLUSHER 0x00180000u

#define GDT_TLS_FIRST 12
#define GDT_TLS_COUNT 3

static int robust_list(const struct tracee *th, ThreadCoreEntry *core)
{
	uint64_t head = 0;
	size_t len = 0;

	if (syscall(SYS_get_robust_list, th->tid, &head, &len) < 0) {
		warn_errno("pid %d: get_robust_list", th->tid);
		return R_FAILED;
	}
	core->futex_rla = head;
	core->futex_rla_len = (uint32_t)len;
	return R_OK;
}

/* Segments of a kind only 32-bit code uses. */
static void descriptors(struct dump_ctx *ctx, const struct tracee *th)
{
	for (long i = GDT_TLS_FIRST; i < GDT_TLS_FIRST + GDT_TLS_COUNT; i++) {
		struct user_desc desc = { 0 };

		if (ptrace((enum __ptrace_request)PTRACE_GET_THREAD_AREA, th->tid, i, &desc) == 0 &&
		    desc.base_addr) {
			dump_refuse(ctx, th->tid, "it has thread-local segments of 32-bit code");
			return;
		}
	}
}

static int rseq(struct dump_ctx *ctx, const struct tracee *th, ThreadCoreEntry *core)
{
	if (!th->rseq_address)
		return R_OK;
	core->rseq_entry = dump_alloc(ctx, sizeof(*core->rseq_entry));
	if (!core->rseq_entry)
		return R_FAILED;
	rseq_entry__init(core->rseq_entry);
	core->rseq_entry->rseq_abi_pointer = th->rseq_address;
	core->rseq_entry->rseq_abi_size = th->rseq_bytes;
	core->rseq_entry->signature = th->rseq_signature;
	return R_OK;
}

static int extra(struct dump_ctx *ctx, const struct tracee *th, SnapThreadEntry **out)
{
	SnapThreadEntry *entry = dump_alloc(ctx, sizeof(*entry));

	if (!entry)
		return R_FAILED;
	snap_thread_entry__init(entry);
	entry->tid = (uint32_t)th->tid;
	/* Lives as long as the tracee, that is as long as the tree is frozen. */
	entry->xstate.data = (uint8_t *)(uintptr_t)th->xstate.data;
	entry->xstate.len = th->xstate.bytes;
	entry->has_group_stopped = true;
	entry->group_stopped = th->group_stopped;
	*out = entry;
	return R_OK;
}

/* Leave to reach devices by port; the set of ports is told, if there is one. */
static void ports(struct dump_ctx *ctx, const struct tracee *th)
{
	static uint8_t map[65536 / 8];
	struct iovec io = { map, sizeof(map) };

	if (ptrace((enum __ptrace_request)PTRACE_GETREGSET, th->tid, NT_386_IOPERM, &io) == 0 &&
	    io.iov_len > 0)
		dump_refuse(ctx, th->tid, "it may use input/output ports (ioperm)");
}

/* What the kernel tells in the flags of /proc/PID/stat alone. */
static void from_flags(uint64_t flags, SnapThreadEntry *extra)
{
	if (flags & FLAG_MCE_PROCESS) {
		extra->has_mce_kill = true;
		extra->mce_kill = flags & FLAG_MCE_EARLY ? PR_MCE_KILL_EARLY : PR_MCE_KILL_LATE;
	}
	extra->has_io_flusher = true;
	extra->io_flusher = (flags & FLAGS_IO_FLUSHER) == FLAGS_IO_FLUSHER;
}

/* What is needed of its status later. */
static void note_signals(struct dump_task *t, size_t thread, const struct proc_status *status)
{
	t->idle_signals[thread] = inject_idle_signal(status, t->task->threads[thread]->sigmask);
	if (thread > 0)
		return;
	t->sig_caught = status->sig_caught;
	t->sig_ignored = status->sig_ignored;
	t->sig_pending = status->shared_pending;
	t->umask = status->umask;
}

int dump_thread(struct dump_ctx *ctx, struct dump_task *t, size_t thread)
{
	const struct tracee *th = t->task->threads[thread];
	ThreadCoreEntry *part = dump_alloc(ctx, sizeof(*part));
	CoreEntry *core = dump_alloc(ctx, sizeof(*core));
	struct proc_status status;
	struct proc_stat stat;
	int rc;

	if (!core || !part)
		return R_FAILED;
	core_entry__init(core);
	thread_core_entry__init(part);
	core->thread_core = part;
	t->cores[thread] = core;
	/* A leader's has been read with its process. */
	if (th->tid == th->pid)
		stat = t->task->stat;
	rc = th->tid == th->pid ? R_OK : proc_stat_read(th->pid, th->tid, &stat);
	if (rc == R_OK)
		rc = proc_status_read(th->pid, th->tid, &status);
	if (rc != R_OK)
		return rc;
	note_signals(t, thread, &status);
	part->comm = dump_strdup(ctx, stat.comm);
	if (!part->comm)
		return R_FAILED;
	part->has_blk_sigset = true;
	part->blk_sigset = th->sigmask;
	descriptors(ctx, th);
	ports(ctx, th);
	if ((rc = extra(ctx, th, &t->extras[thread])) != R_OK ||
	    (rc = dump_registers(ctx, th, core)) != R_OK || (rc = robust_list(th, part)) != R_OK ||
	    (rc = rseq(ctx, th, part)) != R_OK ||
	    (rc = dump_sched(ctx, th, part, t->extras[thread])) != R_OK ||
	    (rc = dump_creds(ctx, &status, &part->creds)) != R_OK ||
	    (rc = dump_seccomp(ctx, th, &status, part)) != R_OK)
		return rc;
	from_flags(stat.flags, t->extras[thread]);
	return dump_pending(ctx, th, false, status.sig_pending, &part->signals_p);
}
