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

#include <stddef.h>
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

/* When the target runs again, before the clone is read: what the remote calls themselves wrote is
 * taken out, and signals meant for the target's group reach it no more.  R_OK or R_FAILED. */
int clone_settle(struct clone *clone);

/* Whose memory to read, by process_vm_readv(), /proc/PID/mem and /proc/PID/pagemap. */
pid_t clone_pid(const struct clone *clone);

/* Ends it, waits until it is gone and frees it.  NULL is nothing. */
void clone_end(struct clone *clone);

#endif
