/* Images of snap's in the form CRIU reads.  Most are in it already. */
#include <cpuid.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/exchange/export_internal.h"
#include "engine/image/image.h"

#define LEAF_XSTATE 0xd
#define CRIU_AUXV_WORDS 44

/* CRIU compares these with its own, and leaves alone what is the same: everything, as snap knows no
 * namespaces but those it runs in. */
static void name_spaces(TaskKobjIdsEntry *ids)
{
#define SPACE(field, number) \
	do { \
		if (!ids->has_##field) { \
			ids->has_##field = true; \
			ids->field = (number); \
		} \
	} while (0)
	SPACE(pid_ns_id, 1);
	SPACE(net_ns_id, 2);
	SPACE(ipc_ns_id, 3);
	SPACE(uts_ns_id, 4);
	SPACE(time_ns_id, 5);
	SPACE(mnt_ns_id, 6);
	SPACE(user_ns_id, 7);
	SPACE(cgroup_ns_id, 8);
#undef SPACE
}

/* They are CRIU's own, which no task may share anything but namespaces with. */
static void inventory(InventoryEntry *entry)
{
	TaskKobjIdsEntry *ids = entry->root_ids;

	if (!ids)
		return;
	name_spaces(ids);
	ids->vm_id = ids->files_id = ids->fs_id = ids->sighand_id = UINT32_MAX;
}

/* Copies a feature's registers out of an XSAVE area, where it is in use and the image has room. */
static void *registers(const SnapThreadEntry *extra, unsigned int feature, size_t bytes)
{
	unsigned int size, offset, c, d;
	uint64_t in_use;
	void *copy;

	if (extra->xstate.len < 576)
		return NULL;
	memcpy(&in_use, extra->xstate.data + 512, sizeof(in_use));
	if (!(in_use >> feature & 1) ||
	    !__get_cpuid_count(LEAF_XSTATE, feature, &size, &offset, &c, &d) || size < bytes ||
	    offset > extra->xstate.len || bytes > extra->xstate.len - offset)
		return NULL;
	copy = malloc(bytes);
	if (copy)
		memcpy(copy, extra->xstate.data + offset, bytes);
	return copy;
}

/* Those registers that the core image of a take leaves out. */
static void extend(UserX86XsaveEntry *xsave, const SnapThreadEntry *extra)
{
	if (!xsave->n_opmask_reg && (xsave->opmask_reg = registers(extra, 5, 64)))
		xsave->n_opmask_reg = 8;
	if (!xsave->n_zmm_upper && (xsave->zmm_upper = registers(extra, 6, 512)))
		xsave->n_zmm_upper = 64;
	if (!xsave->n_hi16_zmm && (xsave->hi16_zmm = registers(extra, 7, 1024)))
		xsave->n_hi16_zmm = 128;
	if (!xsave->n_pkru && (xsave->pkru = registers(extra, 9, 8)))
		xsave->n_pkru = 2;
}

/* Results of interrupted calls that only the kernel sees. */
#define ERESTARTSYS 512
#define ERESTARTNOINTR 513
#define ERESTARTNOHAND 514
#define ERESTART_RESTARTBLOCK 516
#define SYSCALL_BYTES 2

/* CRIU goes back to user space in a way that repeats no call, so the registers have to. */
static void repeat_call(UserX86RegsEntry *regs)
{
	int64_t result = -(int64_t)regs->ax;

	if ((int64_t)regs->orig_ax < 0)
		return;
	if (result != ERESTARTSYS && result != ERESTARTNOINTR && result != ERESTARTNOHAND &&
	    result != ERESTART_RESTARTBLOCK)
		return;
	regs->ax = regs->orig_ax;
	regs->ip -= SYSCALL_BYTES;
}

static int core(struct export_dir *ex, const char *name, CoreEntry *entry)
{
	UserX86FpregsEntry *fpregs = entry->thread_info ? entry->thread_info->fpregs : NULL;
	ProtobufCMessage *message;
	char extra[64];
	int rc;

	if (entry->ids)
		name_spaces(entry->ids);
	if (entry->thread_info && entry->thread_info->gpregs)
		repeat_call(entry->thread_info->gpregs);
	if (!fpregs || !fpregs->xsave)
		return R_OK;
	snprintf(extra, sizeof(extra), "snap-thread-%s", name + strlen("core-"));
	rc = export_read_one(ex, IMAGE_SNAP_THREAD, extra, &message);
	if (rc == R_OK) {
		extend(fpregs->xsave, (const SnapThreadEntry *)message);
		image_free_message(message);
	}
	return rc == R_NOT_FOUND ? R_OK : rc;
}

#define OF_KERNEL (VMA_STATUS_VDSO | VMA_STATUS_VVAR | VMA_STATUS_VSYSCALL)

/* What the kernel maps is anonymous to CRIU, and the pages of its variables are one range. */
static void mm(MmEntry *entry)
{
	size_t n = 0;

	for (size_t i = 0; i < entry->n_vmas; i++) {
		VmaEntry *vma = entry->vmas[i], *last = n ? entry->vmas[n - 1] : NULL;

		vma->flags &= ~VMA_FLAG_LOCK_ONFAULT;
		if (vma->status & OF_KERNEL)
			vma->flags |= MAP_ANONYMOUS;
		if (last && (vma->status & last->status & VMA_STATUS_VVAR) &&
		    last->end == vma->start) {
			last->end = vma->end;
			vma_entry__free_unpacked(vma, NULL);
			continue;
		}
		entry->vmas[n++] = vma;
	}
	entry->n_vmas = n;
	/* CRIU takes so many words, and the kernel ends the list by itself. */
	if (entry->n_mm_saved_auxv > CRIU_AUXV_WORDS)
		entry->n_mm_saved_auxv = CRIU_AUXV_WORDS;
}

static int convert(struct export_dir *ex, const char *name, enum image_kind_id id,
		   ProtobufCMessage *message)
{
	switch (id) {
	case IMAGE_INVENTORY:
		inventory((InventoryEntry *)message);
		return R_OK;
	case IMAGE_IDS:
		name_spaces((TaskKobjIdsEntry *)message);
		return R_OK;
	case IMAGE_CORE:
		return core(ex, name, (CoreEntry *)message);
	case IMAGE_MM:
		mm((MmEntry *)message);
		return R_OK;
	default:
		return R_OK;
	}
}

static int write_image(struct export_dir *ex, const char *file, struct image_writer *writer)
{
	int rc = image_finish(writer);

	if (rc == R_OK)
		rc = export_bytes(ex, file, writer->data, writer->len);
	image_writer_free(writer);
	return rc;
}

static int converted(struct export_dir *ex, const char *name, const char *file,
		     enum image_kind_id id)
{
	struct image_writer writer;
	ProtobufCMessage *message;
	int rc = export_read_one(ex, id, name, &message);

	if (rc != R_OK)
		return rc;
	rc = convert(ex, name, id, message);
	if (rc == R_OK) {
		image_writer_init(&writer, id);
		image_add(&writer, message);
		rc = write_image(ex, file, &writer);
	}
	image_free_message(message);
	return rc;
}

/* ---- deleted files ---- */

struct ghost {
	struct export_dir *ex;
	const char *name;
	struct image_writer writer;
	uint64_t size;
};

/* What is in no chunk comes back as a hole. */
static int ghost_run(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	struct ghost *g = arg;
	uint64_t at = index * PAGE_BYTES, bytes = n * PAGE_BYTES;
	GhostChunkEntry chunk = GHOST_CHUNK_ENTRY__INIT;
	int rc;

	if (at >= g->size)
		return R_OK;
	rc = export_read(g->ex, g->name, numbers, n, g->ex->buf);
	if (rc != R_OK)
		return rc;
	chunk.off = at;
	chunk.len = bytes < g->size - at ? bytes : g->size - at;
	image_add_head(&g->writer, &chunk.base);
	image_add_payload(&g->writer, g->ex->buf, chunk.len);
	return g->writer.failed ? R_FAILED : R_OK;
}

/* "ghost-file-1f" and the object ghost-31. */
static int ghost(struct export_dir *ex, const char *name, const char *file)
{
	struct ghost g = { .ex = ex };
	ProtobufCMessage *message;
	GhostFileEntry *entry;
	struct object object;
	char contents[32];
	unsigned int id;
	int rc = export_read_one(ex, IMAGE_GHOST_FILE, name, &message);

	if (rc != R_OK)
		return rc;
	entry = (GhostFileEntry *)message;
	image_writer_init(&g.writer, IMAGE_GHOST_FILE);
	image_add(&g.writer, message);
	g.size = entry->size;
	g.name = contents;
	if (entry->has_chunks && entry->chunks && sscanf(name, "ghost-file-%x", &id) == 1) {
		snprintf(contents, sizeof(contents), "ghost-%u", id);
		rc = store_object(ex->view, ex->gen->number, contents, &object);
		if (rc == R_OK)
			rc = store_object_walk(ex->view, &object, 0, UINT64_MAX / PAGE_BYTES,
					       ghost_run, &g);
		rc = rc == R_NOT_FOUND ? R_OK : rc;
	}
	image_free_message(message);
	if (rc == R_OK)
		return write_image(ex, file, &g.writer);
	image_writer_free(&g.writer);
	return rc;
}

int export_own(struct export_dir *ex, const char *name, const struct object *object)
{
	const struct image_kind *kind = image_kind_by_name(name);
	char file[NAME_MAX + 16];

	/* CRIU would make groups of what is there, which takes more than the entries snap has: the
	 * tasks then join nothing, and a later import finds it under the other name. */
	snprintf(file, sizeof(file), "%s%s.img", strcmp(name, "cgroup") ? "" : "snap-", name);
	if (kind == image_kind(IMAGE_GHOST_FILE))
		return ghost(ex, name, file);
	if (kind == image_kind(IMAGE_INVENTORY))
		return converted(ex, name, file, IMAGE_INVENTORY);
	if (kind == image_kind(IMAGE_IDS))
		return converted(ex, name, file, IMAGE_IDS);
	if (kind == image_kind(IMAGE_CORE))
		return converted(ex, name, file, IMAGE_CORE);
	if (kind == image_kind(IMAGE_MM))
		return converted(ex, name, file, IMAGE_MM);
	return export_object(ex, name, object, file);
}

/* Times in microseconds.  How long a take needed to stop and to copy is not kept: 0. */
int export_statistics(struct export_dir *ex)
{
	DumpStatsEntry dump = DUMP_STATS_ENTRY__INIT;
	StatsEntry stats = STATS_ENTRY__INIT;
	struct image_writer writer;

	dump.frozen_time = (uint32_t)(ex->gen->frozen_ns / 1000);
	if (ex->gen->wall_ns > ex->gen->frozen_ns)
		dump.memwrite_time = (uint32_t)((ex->gen->wall_ns - ex->gen->frozen_ns) / 1000);
	dump.pages_scanned = ex->gen->pages_scanned;
	dump.pages_written = ex->pages;
	stats.dump = &dump;
	image_writer_init(&writer, IMAGE_STATS);
	image_add(&writer, &stats.base);
	return write_image(ex, "stats-dump", &writer);
}
