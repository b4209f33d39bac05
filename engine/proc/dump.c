#include "engine/proc/dump.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/crew.h"
#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/ahead.h"
#include "engine/proc/capture/track.h"
#include "engine/proc/dump_secret.h"
#include "engine/proc/fds/fds.h"
#include "engine/proc/phases.h"
#include "engine/proc/stat.h"
#include "store/store.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* What describing a tree takes, about: measured 130 KiB for each task of a few dozen ranges, and
 * some 60 KiB for what other threads have read of it. */
#define HEAP_READY_BYTES ((size_t)3 << 20)
#define HEAP_TASK_BYTES ((size_t)192 << 10)
#define HEAP_MAX_BYTES (32 << 20) /* the most glibc takes for a threshold */
/* And descriptors: files that are mapped, and those of each task. */
#define TABLE_READY_FILES 1000
#define TABLE_TASK_FILES 16
#define TABLE_TASKS_MAX 4096
#define STACK_READY_BYTES ((size_t)256 << 10)

void *dump_alloc(struct dump_ctx *ctx, size_t bytes)
{
	void *memory;

	if (ctx->n_memory == ctx->room_memory) {
		size_t more = ctx->room_memory ? ctx->room_memory * 2 : 1024;
		void **list = reallocarray(ctx->memory, more, sizeof(*list));

		if (!list)
			goto err0;
		ctx->memory = list;
		ctx->room_memory = more;
	}
	memory = calloc(1, bytes ? bytes : 1);
	if (!memory)
		goto err0;
	ctx->memory[ctx->n_memory++] = memory;
	return memory;

err0:
	warn("no memory to describe the target; free some and try again");
	return NULL;
}

char *dump_strdup(struct dump_ctx *ctx, const char *text)
{
	size_t len = strlen(text) + 1;
	char *copy = dump_alloc(ctx, len);

	if (copy)
		memcpy(copy, text, len);
	return copy;
}

void dump_refuse(struct dump_ctx *ctx, pid_t pid, const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	warn("pid %d: %s, which is not supported", pid, text);
	ctx->refused++;
}

int dump_check_root(pid_t root)
{
	struct proc_stat stat;
	pid_t pid = getpid();
	int rc = proc_stat_read(root, 0, &stat);

	if (rc == R_NOT_FOUND)
		warn("there is no process %d", root);
	while (rc == R_OK && pid > 0 && pid != root) {
		rc = proc_stat_read(pid, 0, &stat);
		pid = rc == R_OK ? stat.ppid : 0;
	}
	if (rc != R_OK || pid != root)
		return rc == R_OK ? R_OK : rc;
	warn("pid %d: snap itself runs below this process; start it from elsewhere", root);
	return R_UNSUPPORTED;
}

static uint8_t *spare_buffer;
static struct crew *spare_readers;

/* For threads to be started. */
static void nothing(size_t piece, unsigned int worker, void *arg)
{
	(void)piece;
	(void)worker;
	(void)arg;
}

/*
 * One descriptor is held for each open file of the tree.  When a table of descriptors grows that
 * threads share, the kernel waits until none of them can still be looking at the old one, which
 * takes it milliseconds: it grows now.
 */
static void ready_descriptors(size_t tasks)
{
	rlim_t want = TABLE_READY_FILES + tasks * TABLE_TASK_FILES;
	int fd = open("/", O_PATH | O_CLOEXEC), high;
	struct rlimit limit;

	if (fd < 0)
		return;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < want) {
		limit.rlim_cur = limit.rlim_max < want ? limit.rlim_max : want;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < want)
		want = limit.rlim_cur;
	high = fcntl(fd, F_DUPFD_CLOEXEC, (int)want - 1);
	if (high >= 0)
		close(high);
	close(fd);
}

void dump_ready(size_t tasks)
{
	static bool heap_is_ready;
	size_t bytes = HEAP_READY_BYTES + tasks * HEAP_TASK_BYTES;
	uint8_t stack[STACK_READY_BYTES];
	void *buffer, *heap;

	ready_descriptors(tasks < TABLE_TASKS_MAX ? tasks : TABLE_TASKS_MAX);
	/* Threads with heaps of their own would have these grow by a page at a time. */
	mallopt(M_ARENA_MAX, 1);
	if (!spare_buffer) {
		buffer = mmap(NULL, DUMP_BUFFER_BYTES, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		spare_buffer = buffer == MAP_FAILED ? NULL : buffer;
	}
	if (!spare_readers) {
		spare_readers = crew_new(CREW_MAX);
		if (spare_readers)
			crew_run(spare_readers, crew_size(spare_readers), nothing, NULL);
	}
	if (heap_is_ready)
		return;
	heap_is_ready = true;
	for (size_t i = 0; i < sizeof(stack); i += PAGE_BYTES)
		((volatile uint8_t *)stack)[i] = 0;
	/* Free memory is kept, and all of it in one place. */
	if (!mallopt(M_MMAP_THRESHOLD, HEAP_MAX_BYTES) ||
	    !mallopt(M_TRIM_THRESHOLD, HEAP_MAX_BYTES))
		return;
	if (bytes > HEAP_MAX_BYTES / 2)
		bytes = HEAP_MAX_BYTES / 2;
	heap = malloc(bytes);
	if (heap)
		madvise((void *)(((uintptr_t)heap + PAGE_BYTES - 1) & -(uintptr_t)PAGE_BYTES),
			bytes - PAGE_BYTES, MADV_POPULATE_WRITE);
	free(heap);
}

int dump_begin(struct dump_ctx *ctx, const struct tree *tree, struct ingest *ingest,
	       uint64_t ghost_max_bytes)
{
	memset(ctx, 0, sizeof(*ctx));
	ctx->tree = tree;
	ctx->ingest = ingest;
	seccomp_entry__init(&ctx->seccomp);
	cgroup_entry__init(&ctx->cgroups);
	ctx->n_tasks = tree->task_count;
	ctx->tasks = calloc(ctx->n_tasks, sizeof(*ctx->tasks));
	if (ingest) {
		dump_ready(ctx->n_tasks);
		ctx->buffer = spare_buffer;
		ctx->readers = spare_readers;
		spare_buffer = NULL;
		spare_readers = NULL;
	}
	if (!ctx->tasks || (ingest && !ctx->buffer)) {
		warn("no memory to describe the target; free some and try again");
		return R_FAILED;
	}
	for (size_t i = 0; i < tree->task_count; i++) {
		struct dump_task *t = &ctx->tasks[i];

		t->task = &tree->tasks[i];
		task_kobj_ids_entry__init(&t->ids);
		mm_entry__init(&t->mm);
		fs_entry__init(&t->fs);
		snap_task_entry__init(&t->extra);
	}
	return fds_take_begin(ingest, ghost_max_bytes, &ctx->fds);
}

void dump_end(struct dump_ctx *ctx)
{
	ahead_end();
	if (ctx->fds)
		fds_take_end(ctx->fds);
	for (size_t i = 0; ctx->tasks && i < ctx->n_tasks; i++) {
		maps_free(&ctx->tasks[i].maps);
		survey_free(&ctx->tasks[i].survey);
	}
	free(ctx->tasks);
	free(ctx->shmems);
	free(ctx->mapped);
	if (ctx->buffer)
		munmap(ctx->buffer, DUMP_BUFFER_BYTES);
	crew_free(ctx->readers);
	for (size_t i = 0; i < ctx->n_memory; i++)
		free(ctx->memory[i]);
	free(ctx->memory);
	memset(ctx, 0, sizeof(*ctx));
}

/* R_UNSUPPORTED of another module has named its finding already. */
int dump_count_refusal(struct dump_ctx *ctx, int rc)
{
	if (rc != R_UNSUPPORTED)
		return rc;
	ctx->refused++;
	return R_OK;
}

static int collect_files(struct dump_ctx *ctx, struct dump_task *t)
{
	pid_t pid = t->task->pid;
	int rc;

	rc = dump_count_refusal(ctx, fds_take_task(ctx->fds, pid, &t->ids.files_id));
	if (rc == R_OK)
		rc = dump_count_refusal(ctx, fds_register_path_file(ctx->fds, pid, "exe", O_RDONLY,
								    &t->mm.exe_file_id));
	if (rc == R_OK)
		rc = dump_count_refusal(
		    ctx, fds_register_path_file(ctx->fds, pid, "cwd", O_RDONLY, &t->fs.cwd_id));
	if (rc == R_OK)
		rc = dump_count_refusal(
		    ctx, fds_register_path_file(ctx->fds, pid, "root", O_RDONLY, &t->fs.root_id));
	return rc;
}

static int collect_task_core(struct dump_ctx *ctx, struct dump_task *t)
{
	TaskCoreEntry *core = dump_alloc(ctx, sizeof(*core));
	const struct tracee *leader = t->task->threads[0];
	const struct proc_stat *stat = &t->task->stat;
	int rc;

	if (!core)
		return R_FAILED;
	task_core_entry__init(core);
	t->cores[0]->tc = core;
	core->task_state = t->task->stopped ? TASK_STATE_STOPPED : TASK_STATE_ALIVE;
	core->has_stop_signo = t->task->stopped;
	core->stop_signo = (uint32_t)leader->stop_signal;
	core->flags = (uint32_t)stat->flags;
	core->blk_sigset = leader->sigmask;
	core->comm = t->cores[0]->thread_core->comm;
	t->extra.pid = (uint32_t)t->task->pid;
	t->extra.has_start_ticks = true;
	t->extra.start_ticks = t->task->start_time;
	t->extra.has_exit_signal = true;
	t->extra.exit_signal = (uint32_t)stat->exit_signal;
	rc = dump_limits(ctx, t, core);
	if (rc == R_OK)
		rc = dump_misc(ctx, t, core);
	return rc == R_OK ? dump_pending(ctx, leader, true, t->sig_pending, &core->signals_s) : rc;
}

static int collect_task(struct dump_ctx *ctx, struct dump_task *t)
{
	int rc;

	t->cores = dump_alloc(ctx, t->task->thread_count * sizeof(*t->cores));
	t->extras = dump_alloc(ctx, t->task->thread_count * sizeof(*t->extras));
	t->idle_signals = dump_alloc(ctx, t->task->thread_count * sizeof(*t->idle_signals));
	if (!t->cores || !t->extras || !t->idle_signals)
		return R_FAILED;
	phase_enter(PHASE_PROC);
	rc = dump_namespaces(ctx, t);
	phase_enter(PHASE_FILES);
	if (rc == R_OK)
		rc = collect_files(ctx, t);
	phase_enter(PHASE_RANGES);
	if (rc == R_OK)
		rc = dump_mm(ctx, t);
	phase_enter(PHASE_PROC);
	for (size_t i = 0; rc == R_OK && i < t->task->thread_count; i++)
		rc = dump_thread(ctx, t, i);
	return rc == R_OK ? collect_task_core(ctx, t) : rc;
}

/* Its parent is told whose it was (si_uid). */
static int zombie_creds(struct dump_ctx *ctx, const struct dump_task *t, ThreadCoreEntry **out)
{
	ThreadCoreEntry *part = dump_alloc(ctx, sizeof(*part));
	struct proc_status status;

	if (!part)
		return R_FAILED;
	if (proc_status_read(t->task->pid, 0, &status) != R_OK) {
		warn("pid %d: cannot read whose it was", t->task->pid);
		return R_FAILED;
	}
	thread_core_entry__init(part);
	*out = part;
	return dump_creds(ctx, &status, &part->creds);
}

/* A dead task has nothing but its last words. */
static int collect_zombie(struct dump_ctx *ctx, struct dump_task *t)
{
	TaskCoreEntry *core = dump_alloc(ctx, sizeof(*core));

	t->cores = dump_alloc(ctx, sizeof(*t->cores));
	if (!core || !t->cores)
		return R_FAILED;
	t->cores[0] = dump_alloc(ctx, sizeof(**t->cores));
	if (!t->cores[0])
		return R_FAILED;
	core_entry__init(t->cores[0]);
	task_core_entry__init(core);
	t->cores[0]->mtype = CORE_ENTRY__MARCH__X86_64;
	t->cores[0]->tc = core;
	core->task_state = TASK_STATE_ZOMBIE;
	core->exit_code = (uint32_t)t->task->exit_code;
	core->comm = dump_strdup(ctx, t->task->comm);
	return core->comm ? zombie_creds(ctx, t, &t->cores[0]->thread_core) : R_FAILED;
}

bool dump_has_own_space(const struct dump_ctx *ctx, const struct dump_task *t)
{
	if (t->task->zombie)
		return false;
	for (const struct dump_task *other = ctx->tasks; other < t; other++)
		if (!other->task->zombie && other->ids.vm_id == t->ids.vm_id)
			return false;
	return true;
}

static bool leader_is_alive(struct dump_ctx *ctx, const struct dump_task *t)
{
	if (t->task->thread_count > 0 && t->task->threads[0]->tid == t->task->pid)
		return true;
	dump_refuse(ctx, t->task->pid, "its first thread has ended, but not the others");
	return false;
}

static int describe_tasks(struct dump_ctx *ctx)
{
	int rc, ranges;

	phase_enter(PHASE_RANGES);
	rc = dump_ranges_begin(ctx);
	if (rc != R_OK)
		return rc;
	phase_enter(PHASE_PROC);
	rc = dump_kobj_ids(ctx);
	for (size_t i = 0; rc == R_OK && i < ctx->n_tasks; i++) {
		struct dump_task *t = &ctx->tasks[i];

		rc = t->task->zombie ? collect_zombie(ctx, t) : collect_task(ctx, t);
	}
	phase_enter(PHASE_SCAN);
	ranges = dump_ranges_finish(ctx);
	return rc == R_OK ? ranges : rc;
}

int dump_collect(struct dump_ctx *ctx)
{
	size_t n = ctx->tree->task_count;
	int rc = R_OK;

	for (size_t i = 0; i < n; i++)
		if (!ctx->tasks[i].task->zombie && !leader_is_alive(ctx, &ctx->tasks[i]))
			return R_UNSUPPORTED;
	rc = describe_tasks(ctx);
	phase_enter(PHASE_FILES);
	if (rc == R_OK)
		rc = dump_count_refusal(ctx, fds_take_finish(ctx->fds));
	if (rc == R_OK)
		dump_secrets_look(ctx);
	/* What is refused anyway is not touched; a mere look goes on to find the rest. */
	if (rc == R_OK && ctx->ingest && ctx->refused)
		return R_UNSUPPORTED;
	if (rc == R_OK)
		rc = dump_ask_tasks(ctx);
	ahead_end();
	if (rc == R_OK && ctx->refused)
		return R_UNSUPPORTED;
	return rc;
}
