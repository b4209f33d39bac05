#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/dump.h"

#define BATCH 64

/* Adds copies of `n` infos to the queue. */
static int add(struct dump_ctx *ctx, SignalQueueEntry *queue, const siginfo_t *infos, size_t n)
{
	SiginfoEntry **list = dump_alloc(ctx, (queue->n_signals + n) * sizeof(*list));

	if (!list)
		return R_FAILED;
	if (queue->n_signals)
		memcpy(list, queue->signals, queue->n_signals * sizeof(*list));
	for (size_t i = 0; i < n; i++) {
		SiginfoEntry *entry = dump_alloc(ctx, sizeof(*entry) + sizeof(siginfo_t));

		if (!entry)
			return R_FAILED;
		siginfo_entry__init(entry);
		entry->siginfo.data = (uint8_t *)(entry + 1);
		entry->siginfo.len = sizeof(siginfo_t);
		memcpy(entry->siginfo.data, &infos[i], sizeof(siginfo_t));
		list[queue->n_signals + i] = entry;
	}
	queue->signals = list;
	queue->n_signals += n;
	return R_OK;
}

int dump_pending(struct dump_ctx *ctx, const struct tracee *th, bool shared, uint64_t pending,
		 SignalQueueEntry **queue)
{
	struct __ptrace_peeksiginfo_args args = {
		.flags = shared ? PTRACE_PEEKSIGINFO_SHARED : 0,
		.nr = BATCH,
	};
	siginfo_t infos[BATCH] = { 0 };
	long got;

	*queue = dump_alloc(ctx, sizeof(**queue));
	if (!*queue)
		return R_FAILED;
	signal_queue_entry__init(*queue);
	if (!pending)
		return R_OK;
	do {
		args.off = (*queue)->n_signals;
		got = ptrace(PTRACE_PEEKSIGINFO, th->tid, &args, infos);
		if (got < 0) {
			warn_errno("pid %d: reading its pending signals", th->tid);
			return errno == ESRCH ? R_NOT_FOUND : R_FAILED;
		}
		if (add(ctx, *queue, infos, (size_t)got) != R_OK)
			return R_FAILED;
	} while (got > 0);
	return R_OK;
}
