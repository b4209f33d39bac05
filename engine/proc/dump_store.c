/* The images of a collected tree, in the order in which a reader needs them. */
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#include "base/result.h"
#include "base/warn.h"
#include "dedup/dedup.h"
#include "engine/proc/capture/capture.h"
#include "engine/proc/dump.h"
#include "engine/proc/phases.h"
#include "engine/proc/dump_secret.h"

#define IMAGE_VERSION 2 /* 1.1, with two magic words */
#define META_VERSION 1
/* Where ptrace puts XCR0 into the extended registers: in the bytes FXSAVE leaves to software. */
#define XCR0_OFFSET 464

static int finish(struct dump_ctx *ctx, const char *name, struct image_writer *writer)
{
	int rc = image_finish(writer);

	if (rc == R_OK)
		rc = object_put(ctx->ingest, name, writer->data, writer->len);
	image_writer_free(writer);
	return rc;
}

/* An image of one entry; its name ends in `number` unless that is 0. */
static int put(struct dump_ctx *ctx, enum image_kind_id kind, uint32_t number,
	       const ProtobufCMessage *message)
{
	struct image_writer writer;
	char name[64];

	image_writer_init(&writer, kind);
	image_add(&writer, message);
	if (number)
		snprintf(name, sizeof(name), "%s-%u", image_kind(kind)->name, number);
	else
		snprintf(name, sizeof(name), "%s", image_kind(kind)->name);
	return finish(ctx, name, &writer);
}

static int store_task(struct dump_ctx *ctx, const struct dump_task *t)
{
	uint32_t pid = (uint32_t)t->task->pid;
	int rc = R_OK;

	if (t->task->zombie)
		return put(ctx, IMAGE_CORE, pid, &t->cores[0]->base);
	for (size_t i = 0; rc == R_OK && i < t->task->thread_count; i++) {
		uint32_t tid = (uint32_t)t->task->threads[i]->tid;

		rc = put(ctx, IMAGE_CORE, tid, &t->cores[i]->base);
		if (rc == R_OK)
			rc = put(ctx, IMAGE_SNAP_THREAD, tid, &t->extras[i]->base);
	}
	if (rc == R_OK)
		rc = put(ctx, IMAGE_IDS, pid, &t->ids.base);
	if (rc == R_OK)
		rc = put(ctx, IMAGE_MM, pid, &t->mm.base);
	if (rc == R_OK)
		rc = put(ctx, IMAGE_FS, pid, &t->fs.base);
	if (rc == R_OK)
		rc = put(ctx, IMAGE_SNAP_TASK, pid, &t->extra.base);
	return rc;
}

static int add_to_tree(struct dump_ctx *ctx, struct image_writer *writer,
		       const struct tree_task *task)
{
	PstreeEntry entry = PSTREE_ENTRY__INIT;

	entry.pid = (uint32_t)task->pid;
	/* Above the root nothing is known. */
	entry.ppid = task == ctx->tree->tasks ? 0 : (uint32_t)task->ppid;
	entry.pgid = (uint32_t)task->pgid;
	entry.sid = (uint32_t)task->sid;
	entry.n_threads = task->zombie ? 1 : task->thread_count;
	entry.threads = dump_alloc(ctx, entry.n_threads * sizeof(*entry.threads));
	if (!entry.threads)
		return R_FAILED;
	entry.threads[0] = entry.pid;
	for (size_t i = 1; i < entry.n_threads; i++)
		entry.threads[i] = (uint32_t)task->threads[i]->tid;
	image_add(writer, &entry.base);
	return R_OK;
}

static int store_tree(struct dump_ctx *ctx)
{
	struct image_writer writer;
	int rc = R_OK;

	image_writer_init(&writer, IMAGE_PSTREE);
	for (size_t i = 0; rc == R_OK && i < ctx->tree->task_count; i++)
		rc = add_to_tree(ctx, &writer, &ctx->tree->tasks[i]);
	if (rc == R_OK)
		return finish(ctx, "pstree", &writer);
	image_writer_free(&writer);
	return rc;
}

static int store_inventory(struct dump_ctx *ctx)
{
	InventoryEntry entry = INVENTORY_ENTRY__INIT;
	struct timespec up;

	clock_gettime(CLOCK_BOOTTIME, &up);
	entry.img_version = IMAGE_VERSION;
	entry.has_fdinfo_per_id = true;
	entry.fdinfo_per_id = true;
	if (!ctx->tree->tasks[0].zombie)
		entry.root_ids = &ctx->tasks[0].ids;
	entry.has_ns_per_id = true;
	entry.ns_per_id = true;
	entry.has_lsmtype = true;
	entry.lsmtype = LSMTYPE__NO_LSM;
	entry.has_dump_uptime = true;
	entry.dump_uptime = (uint64_t)up.tv_sec * 100 + (uint64_t)up.tv_nsec / 10000000;
	return put(ctx, IMAGE_INVENTORY, 0, &entry.base);
}

static int store_meta(struct dump_ctx *ctx)
{
	SnapMetaEntry entry = SNAP_META_ENTRY__INIT;
	const struct tree_task *root = &ctx->tree->tasks[0];
	struct utsname uts;

	uname(&uts);
	entry.version = META_VERSION;
	entry.root_pid = (uint32_t)root->pid;
	entry.kernel = uts.release;
	if (root->thread_count > 0 && root->threads[0]->xstate.bytes > XCR0_OFFSET + 8) {
		entry.has_xstate_bytes = true;
		entry.xstate_bytes = root->threads[0]->xstate.bytes;
		entry.has_xfeatures = true;
		memcpy(&entry.xfeatures, root->threads[0]->xstate.data + XCR0_OFFSET,
		       sizeof(entry.xfeatures));
	}
	return put(ctx, IMAGE_SNAP_META, 0, &entry.base);
}

static int store_memory(struct dump_ctx *ctx, struct dump_task *t)
{
	const struct capture_source source = { .pid = t->task->pid };

	return capture_is_cloned(ctx->capture, t) ? R_OK
						  : dump_memory(ctx, t, t->task->pid, &source);
}

int dump_store(struct dump_ctx *ctx)
{
	int rc;

	phase_enter(PHASE_IMAGES);
	rc = store_inventory(ctx);
	if (rc == R_OK)
		rc = store_meta(ctx);
	if (rc == R_OK)
		rc = store_tree(ctx);
	if (rc == R_OK && ctx->seccomp.n_seccomp_filters)
		rc = put(ctx, IMAGE_SECCOMP, 0, &ctx->seccomp.base);
	if (rc == R_OK && ctx->cgroups.n_controllers)
		rc = put(ctx, IMAGE_CGROUP, 0, &ctx->cgroups.base);
	for (size_t i = 0; rc == R_OK && i < ctx->tree->task_count; i++)
		rc = store_task(ctx, &ctx->tasks[i]);
	phase_enter(PHASE_MEMORY);
	for (size_t i = 0; rc == R_OK && i < ctx->tree->task_count; i++)
		if (!ctx->tasks[i].task->zombie)
			rc = store_memory(ctx, &ctx->tasks[i]);
	if (rc == R_OK)
		rc = dump_shmems(ctx);
	return rc == R_OK ? dump_secrets(ctx) : rc;
}
