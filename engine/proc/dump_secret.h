/*
 * The contents of memfd_secret(2) of a frozen tree.
 *
 * Nobody reads them but who has them mapped.  Where a task has a descriptor we have one too, and
 * map it ourselves: the target is not touched.  What is mapped and not open any more is written
 * into a pipe of ours by a process of the target's address space, as docs/architecture.md says
 * under "Secret memory".  What comes in is encrypted at once.
 */
#ifndef SNAP_ENGINE_PROC_DUMP_SECRET_H
#define SNAP_ENGINE_PROC_DUMP_SECRET_H

struct dump_ctx;
struct store_keys;

/* Refuses what cannot be got at, when all tasks and mappings are known. */
void dump_secrets_look(struct dump_ctx *ctx);

/* Stores all of it, under `ctx->keys`.  R_OK, R_NOT_FOUND (a thread died meanwhile), R_FAILED. */
int dump_secrets(struct dump_ctx *ctx);

#endif
