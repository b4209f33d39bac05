/*
 * A copy of a target's address space as it is at one moment, made by fork: it shares all pages with
 * the target until one of the two writes (only the target does).
 *
 * The copy is a process that never runs.  It has no open files, no child of its own, is not a child
 * of the target, and is killed by the kernel if we die.  docs/architecture.md, "A clone", says how
 * it comes into being without the target being able to tell.
 */
#ifndef SNAP_ENGINE_PROC_CAPTURE_CLONE_H
#define SNAP_ENGINE_PROC_CAPTURE_CLONE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct clone;
struct inject_site;
struct tracee;

#define CLONE_REASON_BYTES 160

/*
 * Makes one of the process of `t`, all threads of which are held, between inject_begin() and
 * inject_end() of `t`; and, before, a userfaultfd of its address space, which is then open in this
 * process only.  Either of `clone` and `uffd` may be NULL: not wanted; `*uffd` is -1 before.  R_OK;
 * R_BUSY if the kernel does not allow it, `reason` says why in words and the target is as before;
 * R_NOT_FOUND if the thread died; R_FAILED (reported).
 */
int clone_make(struct tracee *t, struct inject_site *site, struct clone **clone, int *uffd,
	       char reason[CLONE_REASON_BYTES]);

/* A process that does calls for us: one with the memory of a target's task, or a copy of it, and
 * with descriptors of its own, none at first. */
struct puppet {
	struct tracee *tracee;
	struct inject_site *site;
	uint64_t data; /* room for arguments */
	size_t data_bytes;
};

/*
 * Makes one, under the conditions of clone_make(), lets `work` use it, and ends it: what has the
 * memory itself (with `copied`, a copy) without the target being able to tell.  The result of
 * `work`, or as clone_make().
 */
int clone_borrow(struct tracee *t, struct inject_site *site, bool copied,
		 int (*work)(const struct puppet *puppet, void *arg), void *arg,
		 char reason[CLONE_REASON_BYTES]);

/* When the target runs again, before the clone is read: what the remote calls themselves wrote is
 * taken out, and signals meant for the target's group reach it no more.  R_OK or R_FAILED. */
int clone_settle(struct clone *clone);

/* Whose memory to read, by process_vm_readv(), /proc/PID/mem and /proc/PID/pagemap. */
pid_t clone_pid(const struct clone *clone);

/* Ends it, waits until it is gone and frees it.  NULL is nothing. */
void clone_end(struct clone *clone);

#endif
