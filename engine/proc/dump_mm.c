/* Address spaces: which ranges there are and what they show. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/capture/track.h"
#include "engine/proc/dump.h"
#include "engine/proc/fds/fds.h"
#include "engine/proc/pagemap.h"
#include "engine/proc/phases.h"
#include "engine/proc/procfs.h"

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 8
#endif
#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

/* A file met as a mapping; one program maps a library several times, many tasks map it too. */
struct dump_mapped {
	uint32_t dev_major, dev_minor;
	uint64_t ino;
	const char *name;
	bool deleted;
	int flags;
	uint32_t id;
	bool secret; /* of memfd_secret() */
};

static bool starts(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

/* Ranges no restore can make again, by their marks. */
static const struct {
	uint32_t mark;
	const char *what;
} refused_marks[] = {
	{ VMA_MARK_UFFD | VMA_MARK_UFFD_WP, "is watched by a userfaultfd" },
	{ VMA_MARK_HUGETLB, "is made of huge pages (hugetlb)" },
	{ VMA_MARK_SHADOW_STACK, "is a shadow stack" },
	{ VMA_MARK_SEALED, "is sealed (mseal)" },
	{ VMA_MARK_SYNC, "is mapped with MAP_SYNC" },
	{ VMA_MARK_IO | VMA_MARK_PFNMAP | VMA_MARK_MIXEDMAP, "maps the memory of a device" },
};

/* And by their names.  A file of the same name elsewhere begins with another directory. */
static const struct {
	const char *name, *what;
} refused_names[] = {
	{ "[uprobes]", "belongs to a uprobe that is in use" },
	{ "/SYSV", "is System V shared memory" },
	{ "/[aio]", "is the ring of an asynchronous I/O context (io_setup)" },
	{ "/anon_hugepage", "is made of huge pages (hugetlb)" },
	{ "anon_inode:[io_uring]", "is a ring of io_uring" },
	{ "anon_inode:", "maps a kernel object" },
	{ "socket:", "is the ring of a packet socket" },
};

static bool is_refused(struct dump_ctx *ctx, pid_t pid, const struct vma *vma)
{
	const char *what = NULL;

	/* Names first: they say more. */
	for (size_t i = 0; !what && i < sizeof(refused_names) / sizeof(refused_names[0]); i++)
		if (starts(vma->name, refused_names[i].name) &&
		    (vma->name[0] != '/' || vma->deleted))
			what = refused_names[i].what;
	for (size_t i = 0; !what && i < sizeof(refused_marks) / sizeof(refused_marks[0]); i++)
		if (vma->marks & refused_marks[i].mark)
			what = refused_marks[i].what;
	/* Memory that can only be executed gets its key from the kernel. */
	if (!what && vma->marks & VMA_MARK_KEY && vma->prot != PROT_EXEC)
		what = "has a protection key (pkey_mprotect)";
	if (vma->marks & VMA_MARK_UNKNOWN) {
		dump_refuse(ctx, pid, "0x%lx-0x%lx has the unknown mark '%s'",
			    (unsigned long)vma->start, (unsigned long)vma->end, vma->unknown);
		return true;
	}
	if (what)
		dump_refuse(ctx, pid, "0x%lx-0x%lx%s%s %s", (unsigned long)vma->start,
			    (unsigned long)vma->end, *vma->name ? " " : "", vma->name, what);
	return what != NULL;
}

/* Pages the kernel gives every task. */
uint32_t dump_kernel_status(const struct vma *vma)
{
	if (strcmp(vma->name, "[vdso]") == 0)
		return VMA_STATUS_REGULAR | VMA_STATUS_ANON_PRIVATE | VMA_STATUS_VDSO;
	if (starts(vma->name, "[vvar"))
		return VMA_STATUS_REGULAR | VMA_STATUS_ANON_PRIVATE | VMA_STATUS_VVAR;
	if (strcmp(vma->name, "[vsyscall]") == 0)
		return VMA_STATUS_VSYSCALL | VMA_STATUS_ANON_PRIVATE;
	return 0;
}

static uint64_t advice(const struct vma *vma)
{
	static const struct {
		uint32_t mark;
		int advice;
	} table[] = {
		{ VMA_MARK_RANDOM, MADV_RANDOM },	{ VMA_MARK_SEQUENTIAL, MADV_SEQUENTIAL },
		{ VMA_MARK_DONTFORK, MADV_DONTFORK },	{ VMA_MARK_DONTDUMP, MADV_DONTDUMP },
		{ VMA_MARK_HUGEPAGE, MADV_HUGEPAGE },	{ VMA_MARK_NOHUGEPAGE, MADV_NOHUGEPAGE },
		{ VMA_MARK_MERGEABLE, MADV_MERGEABLE }, { VMA_MARK_WIPEONFORK, MADV_WIPEONFORK },
	};
	uint64_t bits = 0;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (vma->marks & table[i].mark)
			bits |= 1ull << table[i].advice;
	return bits;
}

static int mapped_file(struct dump_ctx *ctx, pid_t pid, const struct vma *vma, int flags,
		       uint32_t *id, bool *secret)
{
	struct dump_mapped *more, *m;
	char link[64];
	int rc;

	for (size_t i = 0; i < ctx->n_mapped; i++) {
		m = &ctx->mapped[i];
		if (m->ino == vma->ino && m->dev_major == vma->dev_major &&
		    m->dev_minor == vma->dev_minor && m->flags == flags &&
		    m->deleted == vma->deleted && strcmp(m->name, vma->name) == 0) {
			*id = m->id;
			*secret = m->secret;
			return R_OK;
		}
	}
	snprintf(link, sizeof(link), "map_files/%lx-%lx", (unsigned long)vma->start,
		 (unsigned long)vma->end);
	rc = fds_register_path_file(ctx->fds, pid, link, flags, id);
	if (rc == R_UNSUPPORTED) {
		ctx->refused++;
		return R_OK;
	}
	if (rc != R_OK)
		return rc;
	more = reallocarray(ctx->mapped, ctx->n_mapped + 1, sizeof(*more));
	if (!more) {
		warn("pid %d: no memory for its mappings", pid);
		return R_FAILED;
	}
	ctx->mapped = more;
	*secret = fds_take_is_secret(ctx->fds, *id);
	more[ctx->n_mapped++] = (struct dump_mapped){
		vma->dev_major, vma->dev_minor, vma->ino, vma->name,
		vma->deleted,	flags,		*id,	  *secret,
	};
	return R_OK;
}

/* A range that shows a file. */
static int file_range(struct dump_ctx *ctx, pid_t pid, const struct vma *vma, VmaEntry *entry)
{
	int flags = vma->shared && vma->marks & VMA_MARK_MAYWRITE ? O_RDWR : O_RDONLY;
	uint32_t id = 0;
	bool secret = false;
	int rc;

	entry->status = VMA_STATUS_REGULAR;
	entry->status |= vma->shared ? VMA_STATUS_FILE_SHARED : VMA_STATUS_FILE_PRIVATE;
	if (vma->deleted && starts(vma->name, "/memfd:"))
		entry->status |= VMA_STATUS_MEMFD;
	rc = mapped_file(ctx, pid, vma, flags, &id, &secret);
	if (secret)
		entry->status |= VMA_STATUS_MEMFD;
	entry->shmid = id;
	entry->has_fdflags = true;
	entry->fdflags = (uint32_t)flags;
	return rc;
}

/* Memory shared without a file, or a private view of it (by way of /proc/PID/map_files). */
static int shared_memory(struct dump_ctx *ctx, pid_t pid, const struct vma *vma, VmaEntry *entry)
{
	entry->status = VMA_STATUS_REGULAR | VMA_STATUS_ANON_SHARED;
	if (vma->shared)
		entry->flags |= MAP_ANONYMOUS;
	else
		entry->status |= VMA_STATUS_FILE_PRIVATE;
	return dump_shmem_id(ctx, pid, vma, &entry->shmid);
}

/* "[anon:NAME]", "[anon_shmem:NAME]": given by prctl(PR_SET_VMA_ANON_NAME). */
static int given_name(struct dump_ctx *ctx, struct dump_task *t, const struct vma *vma)
{
	const char *name = strchr(vma->name, ':');
	SnapVmaName *entry = dump_alloc(ctx, sizeof(*entry)), **list = t->extra.vma_names;
	size_t n = t->extra.n_vma_names;

	if (!entry)
		return R_FAILED;
	snap_vma_name__init(entry);
	entry->start = vma->start;
	entry->end = vma->end;
	entry->name = dump_strdup(ctx, name + 1);
	if (!entry->name)
		return R_FAILED;
	entry->name[strcspn(entry->name, "]")] = '\0';
	/* Room doubles at powers of two. */
	if ((n & (n - 1)) == 0) {
		list = dump_alloc(ctx, (n ? 2 * n : 1) * sizeof(*list));
		if (!list)
			return R_FAILED;
		if (n)
			memcpy(list, t->extra.vma_names, n * sizeof(*list));
		t->extra.vma_names = list;
	}
	list[t->extra.n_vma_names++] = entry;
	return R_OK;
}

static void private_memory(struct dump_ctx *ctx, pid_t pid, const struct vma *vma, VmaEntry *entry)
{
	entry->flags |= MAP_ANONYMOUS;
	entry->status = VMA_STATUS_REGULAR;
	entry->status |= VMA_STATUS_ANON_PRIVATE;
	if (strcmp(vma->name, "[heap]") == 0)
		entry->status |= VMA_STATUS_HEAP;
	else if (strcmp(vma->name, "[stack]") == 0)
		entry->status |= VMA_STATUS_STACK;
	else if (*vma->name && !starts(vma->name, "[anon:"))
		dump_refuse(ctx, pid, "0x%lx-0x%lx %s is of an unknown kind",
			    (unsigned long)vma->start, (unsigned long)vma->end, vma->name);
}

static int range(struct dump_ctx *ctx, pid_t pid, const struct vma *vma, VmaEntry *entry)
{
	bool shmem = (vma->deleted && strcmp(vma->name, "/dev/zero") == 0) ||
		     starts(vma->name, "[anon_shmem:");

	vma_entry__init(entry);
	entry->start = vma->start;
	entry->end = vma->end;
	entry->pgoff = vma->offset;
	entry->prot = vma->prot;
	entry->flags = vma->shared ? MAP_SHARED : MAP_PRIVATE;
	if (vma->marks & VMA_MARK_DROPPABLE)
		entry->flags = MAP_DROPPABLE;
	entry->fd = -1;
	entry->status = dump_kernel_status(vma);
	if (entry->status)
		return R_OK;
	if (is_refused(ctx, pid, vma))
		return R_OK;
	entry->has_madv = true;
	entry->madv = advice(vma);
	if (vma->marks & VMA_MARK_GROWSDOWN)
		entry->flags |= MAP_GROWSDOWN;
	if (vma->marks & VMA_MARK_NORESERVE)
		entry->flags |= MAP_NORESERVE;
	if (vma->marks & (VMA_MARK_LOCKED | VMA_MARK_LOCKONFAULT))
		entry->flags |= MAP_LOCKED;
	if (vma->marks & VMA_MARK_LOCKONFAULT)
		entry->flags |= VMA_FLAG_LOCK_ONFAULT;
	if (shmem)
		return shared_memory(ctx, pid, vma, entry);
	if (vma->name[0] != '[' && (vma->ino || *vma->name))
		return file_range(ctx, pid, vma, entry);
	if (vma->shared)
		dump_refuse(ctx, pid, "0x%lx-0x%lx %s is shared, but with what cannot be told",
			    (unsigned long)vma->start, (unsigned long)vma->end, vma->name);
	private_memory(ctx, pid, vma, entry);
	return R_OK;
}

static int auxv(struct dump_ctx *ctx, struct dump_task *t)
{
	char *text;
	size_t len;
	int rc = procfs_read(t->task->pid, 0, "auxv", &text, &len);

	if (rc != R_OK)
		return rc;
	t->mm.n_mm_saved_auxv = len / sizeof(uint64_t);
	t->mm.mm_saved_auxv = dump_alloc(ctx, len);
	if (t->mm.mm_saved_auxv)
		memcpy(t->mm.mm_saved_auxv, text, t->mm.n_mm_saved_auxv * sizeof(uint64_t));
	free(text);
	return t->mm.mm_saved_auxv ? R_OK : R_FAILED;
}

static void marks(struct dump_task *t)
{
	const struct proc_stat *stat = &t->task->stat;

	t->mm.mm_start_code = stat->start_code;
	t->mm.mm_end_code = stat->end_code;
	t->mm.mm_start_data = stat->start_data;
	t->mm.mm_end_data = stat->end_data;
	t->mm.mm_start_stack = stat->start_stack;
	t->mm.mm_start_brk = stat->start_brk;
	t->mm.mm_arg_start = stat->arg_start;
	t->mm.mm_arg_end = stat->arg_end;
	t->mm.mm_env_start = stat->env_start;
	t->mm.mm_env_end = stat->env_end;
}

static bool has_many_nodes(void)
{
	static int nodes; /* 0: not known yet */
	char *text = NULL;
	size_t len;

	if (nodes == 0) {
		bool many = io_read_file(AT_FDCWD, "/sys/devices/system/node/online", 4096, &text,
					 &len) == R_OK &&
			    strpbrk(text, ",-");

		nodes = many ? 2 : 1;
		free(text);
	}
	return nodes > 1;
}

/*
 * Ranges with a policy of their own (mbind) stand out among those that follow the task's.  With one
 * node no policy means anything.
 */
static int policies(struct dump_ctx *ctx, const struct dump_task *t)
{
	char *text, common[256] = "", *save = NULL;
	int rc;

	if (!has_many_nodes())
		return R_OK;
	rc = procfs_read(t->task->pid, 0, "numa_maps", &text, NULL);
	if (rc != R_OK)
		return rc == R_NOT_FOUND ? R_OK : rc;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		unsigned long start;
		char policy[256];

		if (sscanf(line, "%lx %255s", &start, policy) != 2)
			continue;
		if (!common[0])
			memcpy(common, policy, sizeof(common));
		if (strcmp(common, policy) != 0)
			dump_refuse(ctx, t->task->pid,
				    "its memory at 0x%lx has a NUMA policy of its own (mbind: %s, "
				    "others: %s)",
				    start, policy, common);
	}
	free(text);
	return R_OK;
}

int dump_mm(struct dump_ctx *ctx, struct dump_task *t)
{
	int rc;

	for (size_t i = 0; i < t->maps.n; i++) {
		VmaEntry *entry;

		if (!t->maps.vmas[i].has_flags) {
			warn("pid %d: this kernel does not tell the marks of memory ranges "
			     "(CONFIG_PROC_PAGE_MONITOR)",
			     t->task->pid);
			return R_FAILED;
		}
		rc = dump_vma_add(ctx, t, &entry);
		if (rc == R_OK)
			rc = range(ctx, t->task->pid, &t->maps.vmas[i], entry);
		if (rc == R_OK && starts(t->maps.vmas[i].name, "[anon"))
			rc = given_name(ctx, t, &t->maps.vmas[i]);
		if (rc != R_OK)
			return rc;
	}
	rc = policies(ctx, t);
	if (rc == R_OK)
		rc = auxv(ctx, t);
	marks(t);
	return rc;
}
