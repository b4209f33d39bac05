/* Many remote calls without a stop at each. */
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/stat.h"
#include "engine/proc/trace_internal.h"

/* A chain is a matter of microseconds, as soon as its thread gets a processor. */
#define CHAIN_PATIENCE_NS 10000000000ULL

#define BIT(signal) (1ull << ((signal)-1))

int inject_idle_signal(const struct proc_status *status, uint64_t sigmask)
{
	/* The kernel ignores these by default.  SIGCHLD and SIGCONT, which it ignores too, do more
	 * than to arrive. */
	const uint64_t by_default = BIT(SIGURG) | BIT(SIGWINCH);
	const uint64_t not_these = BIT(SIGKILL) | BIT(SIGSTOP) | BIT(SIGCHLD) | BIT(SIGCONT);
	uint64_t idle = status->sig_ignored | (by_default & ~status->sig_caught);

	/* Without us its filter judges each call that is left of a chain, and may end the target
	 * for one. */
	if (status->seccomp)
		return 0;
	idle &= ~(sigmask | status->sig_pending | status->shared_pending | not_these);
	/* Beyond are the ones that queue. */
	for (int signal = 1; signal < 32; signal++)
		if (idle & BIT(signal))
			return signal;
	return 0;
}

/* Some of the questions: what they write and their results lie at the beginning of the site's data,
 * the chain right below the frame. */
struct batch {
	struct inject_question *questions;
	size_t n;
	size_t out_bytes, chain_bytes;
};

#define CALLS_MAX 64 /* of a batch */
static_assert(CALLS_MAX * ARCH_CHAIN_CALL_BYTES <= TRACE_CHAIN_MAX_BYTES, "a chain is bounded");

static size_t rounded(size_t bytes)
{
	return (bytes + 7) & ~(size_t)7;
}

static size_t out_bytes_of(const struct inject_question *q)
{
	return sizeof(int64_t) + rounded(q->out ? q->out_bytes : 0);
}

/* As many of the questions as there is room for and a chain can ask together. */
static struct batch next_batch(const struct inject_site *site, struct inject_question *questions,
			       size_t n)
{
	struct batch b = { .questions = questions, .chain_bytes = ARCH_CHAIN_END_BYTES };

	while (b.n < n && b.n < CALLS_MAX - 1) {
		size_t more = out_bytes_of(&questions[b.n]);

		if (b.chain_bytes + ARCH_CHAIN_CALL_BYTES + b.out_bytes + more > site->data_bytes ||
		    questions[b.n].args[3] != questions[0].args[3])
			break;
		b.chain_bytes += ARCH_CHAIN_CALL_BYTES;
		b.out_bytes += more;
		b.n++;
	}
	return b;
}

static void place_outputs(const struct inject_question *q, uint64_t at, uint64_t args[6])
{
	memcpy(args, q->args, sizeof(q->args));
	if (!q->out)
		return;
	args[q->out_arg] = at;
	if (q->more_arg != INJECT_NO_ARG)
		args[q->more_arg] = at + q->more_offset;
}

static int write_site(const struct tracee *t, uint64_t address, const void *buf, size_t bytes)
{
	if (trace_write(t->pid, address, buf, bytes) == R_OK)
		return R_OK;
	if (errno == ESRCH)
		return R_NOT_FOUND;
	warn_errno("cannot write to the stack of process %d", t->pid);
	return R_FAILED;
}

#define CHAIN_WORDS (CALLS_MAX * ARCH_CHAIN_CALL_BYTES / sizeof(uint64_t))

/* Let go on it with these registers, the thread makes its calls and goes home. */
static void build_chain(const struct tracee *t, const struct inject_site *site,
			const struct batch *b, int idle_signal, uint64_t words[CHAIN_WORDS],
			struct arch_regs *regs)
{
	struct arch_chain_call calls[CALLS_MAX];
	uint64_t out = site->data;

	for (size_t i = 0; i < b->n; i++) {
		uint64_t args[6];

		place_outputs(&b->questions[i], out + sizeof(int64_t), args);
		calls[i].nr = b->questions[i].nr;
		memcpy(calls[i].args, args, sizeof(calls[i].args));
		calls[i].result = out;
		out += out_bytes_of(&b->questions[i]);
	}
	calls[b->n] = (struct arch_chain_call){
		SYS_tgkill, { (uint64_t)t->pid, (uint64_t)t->tid, (uint64_t)idle_signal }, 0
	};
	arch_chain_build(words, calls, b->n + 1, site->gadgets);
	arch_chain_enter(regs, &t->regs, site->frame - b->chain_bytes, &calls[0],
			 b->questions[0].args[3], site->gadgets);
}

/* The registers first: from there on the thread, let go, comes home over the frame, which also
 * restores the mask. */
static int enter_chain(struct tracee *t, const struct arch_regs *regs, int idle_signal)
{
	int rc;

	if (arch_regs_set(t->tid, regs) != R_OK)
		return trace_failed(t, "set the registers of");
	rc = trace_mask_set(t, TRACE_ALL_SIGNALS & ~BIT(idle_signal));
	return rc == R_OK ? trace_resume(t, PTRACE_CONT, 0) : rc;
}

/* At its end, the next thing the thread would do is to go home. */
static bool is_through(const struct tracee *t, const struct inject_site *site)
{
	struct arch_regs regs;

	return arch_regs_get(t->tid, &regs) == R_OK && arch_sp(&regs) == site->frame;
}

/*
 * The signal at the end of the chain stops the thread, and is then dropped.  Others are blocked,
 * but for SIGSTOP and SIGKILL; one like it that comes by itself would be dropped, too.  As in
 * PTRACE_EVENT_STOP the kernel is looking for signals then, and when it finds no more it does with
 * an interrupted call what the registers say by that time.
 */
static int run_chain(struct tracee *t, const struct inject_site *site, int idle_signal)
{
	bool runs = true;
	int signal = 0;

	for (;; runs = false) {
		enum trace_stop stop;
		int rc = runs ? R_OK : trace_resume(t, PTRACE_CONT, signal);

		if (rc != R_OK)
			return rc;
		rc = trace_wait(t, CHAIN_PATIENCE_NS, &stop, &signal);
		if (rc == R_BUSY) {
			trace_warn_late(t);
			return R_FAILED;
		}
		if (rc != R_OK)
			return rc;
		if (stop == STOP_SIGNAL && signal == idle_signal) {
			signal = 0;
			if (is_through(t, site)) {
				t->in_signal = true;
				return R_OK;
			}
		}
		if (stop != STOP_SIGNAL)
			signal = 0;
	}
}

static int read_results(const struct tracee *t, const struct inject_site *site,
			const struct batch *b)
{
	uint8_t *buf = malloc(b->out_bytes), *at = buf;

	if (!buf) {
		warn("no memory for remote calls; free some and try again");
		return R_FAILED;
	}
	if (trace_read(t->pid, site->data, buf, b->out_bytes) != R_OK) {
		int rc = errno == ESRCH ? R_NOT_FOUND : R_FAILED;

		if (rc == R_FAILED)
			warn_errno("pid %d: reading the results of remote calls", t->tid);
		free(buf);
		return rc;
	}
	for (size_t i = 0; i < b->n; i++) {
		struct inject_question *q = &b->questions[i];

		memcpy(&q->ret, at, sizeof(q->ret));
		if (q->out)
			memcpy(q->out, at + sizeof(q->ret), q->out_bytes);
		at += out_bytes_of(q);
	}
	free(buf);
	return R_OK;
}

/* The first brings the frame along. */
static int begin_first_chain(struct tracee *t, struct inject_site *site, int idle_signal,
			     const struct batch *b)
{
	uint64_t words[CHAIN_WORDS];
	struct arch_regs regs;
	int rc;

	build_chain(t, site, b, idle_signal, words, &regs);
	rc = inject_prepare(t, site, words, b->chain_bytes);
	if (rc != R_OK)
		return rc;
	rc = enter_chain(t, &regs, idle_signal);
	if (rc != R_OK)
		inject_end(t, site);
	return rc;
}

static int begin_next_chain(struct tracee *t, const struct inject_site *site, int idle_signal,
			    const struct batch *b)
{
	uint64_t words[CHAIN_WORDS];
	struct arch_regs regs;
	int rc;

	build_chain(t, site, b, idle_signal, words, &regs);
	rc = write_site(t, site->frame - b->chain_bytes, words, b->chain_bytes);
	return rc == R_OK ? enter_chain(t, &regs, idle_signal) : rc;
}

static int end_chain(struct tracee *t, const struct inject_site *site, int idle_signal,
		     const struct batch *b)
{
	int rc = run_chain(t, site, idle_signal);

	return rc == R_OK ? read_results(t, site, b) : rc;
}

static bool can_chain(const struct inject_site *site, int idle_signal)
{
	for (int g = 0; g < ARCH_GADGET_COUNT; g++)
		if (!site->gadgets[g])
			return false;
	return idle_signal && !site->disposable;
}

static int ask_by_itself(struct tracee *t, struct inject_site *site, struct inject_question *q)
{
	uint64_t args[6];
	int rc;

	place_outputs(q, site->data, args);
	rc = inject_syscall(t, site, &q->ret, q->nr, args[0], args[1], args[2], args[3], args[4],
			    args[5]);
	if (rc != R_OK || !q->out)
		return rc;
	if (trace_read(t->pid, site->data, q->out, q->out_bytes) == R_OK)
		return R_OK;
	warn_errno("pid %d: reading the result of call %ld", t->tid, q->nr);
	return R_FAILED;
}

int inject_ask_begin(struct tracee *t, struct inject_site *site, int idle_signal,
		     struct inject_question *questions, size_t n)
{
	struct batch b;

	if (n == 0 || !can_chain(site, idle_signal))
		return inject_begin(t, site);
	b = next_batch(site, questions, n);
	return begin_first_chain(t, site, idle_signal, &b);
}

int inject_ask_finish(struct tracee *t, struct inject_site *site, int idle_signal,
		      struct inject_question *questions, size_t n)
{
	bool chained = can_chain(site, idle_signal), begun = true;
	int rc = R_OK;

	while (rc == R_OK && chained && n > 0) {
		struct batch b = next_batch(site, questions, n);

		if (!begun)
			rc = begin_next_chain(t, site, idle_signal, &b);
		if (rc == R_OK)
			rc = end_chain(t, site, idle_signal, &b);
		begun = false;
		questions += b.n;
		n -= b.n;
	}
	for (size_t i = 0; rc == R_OK && i < n; i++)
		rc = ask_by_itself(t, site, &questions[i]);
	return rc;
}
