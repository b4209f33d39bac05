/* Images of snap's in the form CRIU reads.  Most are in it already. */
#include <cpuid.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/exchange/export_internal.h"
#include "engine/image/image.h"
#include "engine/proc/fds/tcp_repair.h"

#define LEAF_XSTATE 0xd
#define CRIU_AUXV_WORDS 44

/* CRIU compares these with its own, and leaves alone what is the same: everything, as snap knows no
 * namespaces but those it runs in. */
static const struct {
	uint32_t flag, id;
	size_t has, field; /* where they are in an entry */
} spaces[] = {
#define SPACE(flag, field, number) \
	{ \
		flag, number, offsetof(TaskKobjIdsEntry, has_##field), \
		    offsetof(TaskKobjIdsEntry, field) \
	}
	SPACE(CLONE_NEWPID, pid_ns_id, 1),   SPACE(CLONE_NEWNET, net_ns_id, 2),
	SPACE(CLONE_NEWIPC, ipc_ns_id, 3),   SPACE(CLONE_NEWUTS, uts_ns_id, 4),
	SPACE(CLONE_NEWTIME, time_ns_id, 5), SPACE(CLONE_NEWNS, mnt_ns_id, 6),
	SPACE(CLONE_NEWUSER, user_ns_id, 7), SPACE(CLONE_NEWCGROUP, cgroup_ns_id, 8),
#undef SPACE
};
#define SPACES (sizeof(spaces) / sizeof(spaces[0]))

static void name_spaces(TaskKobjIdsEntry *ids)
{
	char *at = (char *)ids;

	for (size_t i = 0; i < SPACES; i++) {
		protobuf_c_boolean *has = (void *)(at + spaces[i].has);

		if (*has)
			continue;
		*has = true;
		*(uint32_t *)(void *)(at + spaces[i].field) = spaces[i].id;
	}
}

uint32_t export_namespace_id(uint32_t flag)
{
	for (size_t i = 0; i < SPACES; i++)
		if (spaces[i].flag == flag)
			return spaces[i].id;
	return 0;
}

/* What CRIU has to do about connections: nothing, or to let their packets in again. */
static int network_lock(const struct export_dir *ex, InventoryEntry *entry)
{
	char id[32];

	entry->has_network_lock_method = true;
	entry->network_lock_method = ex->has_tcp ? CRIU_LOCK_NFTABLES : CRIU_LOCK_NONE;
	if (!ex->has_tcp)
		return R_OK;
	snprintf(id, sizeof(id), TCP_LOCK_ID "%d", (int)ex->gen->root_pid);
	entry->dump_criu_run_id = strdup(id);
	if (entry->dump_criu_run_id)
		return R_OK;
	warn("out of memory");
	return R_FAILED;
}

/* They are CRIU's own, which no task may share anything but namespaces with. */
static int inventory(const struct export_dir *ex, InventoryEntry *entry)
{
	TaskKobjIdsEntry *ids = entry->root_ids;

	if (ids) {
		name_spaces(ids);
		ids->vm_id = ids->files_id = ids->fs_id = ids->sighand_id = UINT32_MAX;
	}
	entry->root_cg_set = export_cgroup_root_set(ex);
	entry->has_root_cg_set = entry->root_cg_set != 0;
	return network_lock(ex, entry);
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

#define POLICY_RESET_ON_FORK 0x40000000u
#define FLAG_RESET_ON_FORK 1u

static void group(const struct export_dir *ex, const char *name, ThreadCoreEntry *thread)
{
	thread->cg_set = export_cgroup_set(ex, (uint32_t)strtoul(name, NULL, 10));
	thread->has_cg_set = thread->cg_set != 0;
}

#define SIGINFO_SIGNAL_BYTES 4

static bool is_stop(const SiginfoEntry *entry)
{
	int32_t signal = 0;

	if (entry->siginfo.len >= SIGINFO_SIGNAL_BYTES)
		memcpy(&signal, entry->siginfo.data, SIGINFO_SIGNAL_BYTES);
	return signal == SIGSTOP;
}

/* CRIU would take a stop that is still to come for one that happens within its restore.  For a task
 * that is stopped it means nothing: the next SIGCONT takes it away. */
static void drop_stops(SignalQueueEntry *queue)
{
	size_t n = 0;

	for (size_t i = 0; queue && i < queue->n_signals; i++) {
		if (is_stop(queue->signals[i]))
			siginfo_entry__free_unpacked(queue->signals[i], NULL);
		else
			queue->signals[n++] = queue->signals[i];
	}
	if (queue)
		queue->n_signals = n;
}

static int core(struct export_dir *ex, const char *name, CoreEntry *entry)
{
	UserX86FpregsEntry *fpregs = entry->thread_info ? entry->thread_info->fpregs : NULL;
	const char *tid = name + strlen("core-");
	const SnapThreadEntry *more;
	ProtobufCMessage *message;
	char extra[64];
	int rc;

	if (entry->ids)
		name_spaces(entry->ids);
	if (entry->thread_info && entry->thread_info->gpregs)
		repeat_call(entry->thread_info->gpregs);
	if (entry->thread_core)
		group(ex, tid, entry->thread_core);
	export_seccomp_thread(ex, entry);
	if (entry->tc && entry->tc->task_state == TASK_STATE_STOPPED) {
		drop_stops(entry->tc->signals_s);
		drop_stops(entry->thread_core ? entry->thread_core->signals_p : NULL);
	}
	snprintf(extra, sizeof(extra), "snap-thread-%s", tid);
	rc = export_read_one(ex, IMAGE_SNAP_THREAD, extra, &message);
	if (rc != R_OK)
		return rc == R_NOT_FOUND ? R_OK : rc;
	more = (const SnapThreadEntry *)message;
	if (fpregs && fpregs->xsave)
		extend(fpregs->xsave, more);
	if (entry->thread_core && entry->thread_core->has_sched_policy &&
	    more->sched_flags & FLAG_RESET_ON_FORK)
		entry->thread_core->sched_policy |= POLICY_RESET_ON_FORK;
	image_free_message(message);
	return R_OK;
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
		return inventory(ex, (InventoryEntry *)message);
	case IMAGE_IDS:
		name_spaces((TaskKobjIdsEntry *)message);
		return R_OK;
	case IMAGE_CORE:
		return core(ex, name, (CoreEntry *)message);
	case IMAGE_MM:
		mm((MmEntry *)message);
		return R_OK;
	case IMAGE_SECCOMP:
		export_seccomp_filters(ex, (SeccompEntry *)message);
		return R_OK;
	default:
		return R_OK;
	}
}

int export_image(struct export_dir *ex, const char *file, struct image_writer *writer)
{
	int rc = image_finish(writer);

	if (rc == R_OK)
		rc = export_bytes(ex, file, writer->data, writer->len);
	image_writer_free(writer);
	return rc;
}

static int converted(struct export_dir *ex, const char *name, const char *file,
		     const struct image_kind *kind)
{
	enum image_kind_id id = (enum image_kind_id)(kind - image_kind(0));
	struct image_writer writer;
	ProtobufCMessage *message;
	int rc = export_read_one(ex, id, name, &message);

	if (rc != R_OK)
		return rc;
	rc = convert(ex, name, id, message);
	if (rc == R_OK) {
		image_writer_init(&writer, id);
		image_add(&writer, message);
		rc = export_image(ex, file, &writer);
	}
	image_free_message(message);
	return rc;
}

int export_own(struct export_dir *ex, const char *name, const struct object *object)
{
	const struct image_kind *kind = image_kind_by_name(name);
	char file[NAME_MAX + 16];

	/* All that snap knows of control groups, which is more than CRIU's image takes. */
	snprintf(file, sizeof(file), "%s%s.img", strcmp(name, "cgroup") ? "" : "snap-", name);
	if (kind == image_kind(IMAGE_GHOST_FILE))
		return export_ghost(ex, name, file);
	if (kind == image_kind(IMAGE_FILES))
		return export_files(ex);
	if (kind == image_kind(IMAGE_TTY_INFO))
		return export_tty_info(ex);
	if (kind == image_kind(IMAGE_REMAP_FPATH))
		return export_remaps(ex);
	/* Their numbers are in the entries themselves now. */
	if (kind == image_kind(IMAGE_SNAP_EPOLL))
		return R_OK;
	if (kind == image_kind(IMAGE_INVENTORY) || kind == image_kind(IMAGE_IDS) ||
	    kind == image_kind(IMAGE_CORE) || kind == image_kind(IMAGE_MM) ||
	    kind == image_kind(IMAGE_SECCOMP))
		return converted(ex, name, file, kind);
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
	return export_image(ex, "stats-dump", &writer);
}
