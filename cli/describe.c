#include "cli/describe.h"

#include "base/result.h"
#include "base/warn.h"
#include "cli/show_tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARGUMENTS_MAX_BYTES (1u << 20)

json_t *describe_text(const char *bytes, size_t len)
{
	json_t *text = json_stringn(bytes, len);
	char *escaped;

	if (text)
		return text;
	escaped = malloc(4 * len + 1);
	if (!escaped)
		return NULL;
	for (size_t i = 0, at = 0; i <= len; i++) {
		unsigned char c = i < len ? (unsigned char)bytes[i] : 0;

		if (i == len)
			escaped[at] = '\0';
		else if (c >= 0x20 && c < 0x7f)
			escaped[at++] = (char)c;
		else
			at += (size_t)sprintf(escaped + at, "\\x%02x", c);
	}
	text = json_string(escaped);
	free(escaped);
	return text;
}

/* Texts that follow each other in the task's memory: arguments, environment. */
static int texts_at(const struct look *look, const struct look_task *task, uint64_t start,
		    uint64_t end, json_t *texts)
{
	uint64_t page = start & ~(uint64_t)(PAGE_BYTES - 1);
	size_t len = end > start ? (size_t)(end - start) : 0, n;
	enum look_page *kinds;
	char *buf;
	int rc;

	if (!len || end - start > ARGUMENTS_MAX_BYTES)
		return R_OK;
	n = (size_t)((end - page + PAGE_BYTES - 1) / PAGE_BYTES);
	buf = malloc(n * PAGE_BYTES);
	kinds = calloc(n, sizeof(*kinds));
	if (!buf || !kinds) {
		warn("out of memory");
		rc = R_FAILED;
		goto out;
	}
	rc = look_pages(look, task, page, n, buf, kinds);
	for (size_t at = 0; rc == R_OK && at < len;) {
		const char *text = buf + (start - page) + at;
		size_t bytes = strnlen(text, len - at);

		/* Programs that write a title there leave zeroes behind it. */
		if (bytes)
			json_array_append_new(texts, describe_text(text, bytes));
		at += bytes + 1;
	}
out:
	free(buf);
	free(kinds);
	return rc;
}

/* The path of a file by its id in the images. */
static void set_path(const struct look *look, json_t *json, const char *key, uint32_t id)
{
	const FileEntry *file = look_file(look, id);

	if (file && file->reg)
		json_object_set_new(json, key,
				    describe_text(file->reg->name, strlen(file->reg->name)));
}

static void add_state(const struct look *look, const struct look_task *task, json_t *json)
{
	const TaskCoreEntry *tc = task->threads[0].core->tc;

	json_object_set_new(json, "pid", json_integer(task->pid));
	json_object_set_new(json, "ppid", json_integer(task->ppid));
	json_object_set_new(json, "pgid", json_integer(task->pgid));
	json_object_set_new(json, "sid", json_integer(task->sid));
	json_object_set_new(json, "name", describe_text(tc->comm, strlen(tc->comm)));
	json_object_set_new(json, "state", json_string(tree_state_word(tc->task_state)));
	if (tc->task_state == TASK_STATE_ZOMBIE)
		json_object_set_new(json, "exit_code", json_integer(tc->exit_code));
	if (task->mm)
		set_path(look, json, "exe", task->mm->exe_file_id);
	if (task->fs) {
		set_path(look, json, "cwd", task->fs->cwd_id);
		set_path(look, json, "root", task->fs->root_id);
	}
	if (task->extra && task->extra->cgroup)
		json_object_set_new(
		    json, "cgroup",
		    describe_text(task->extra->cgroup, strlen(task->extra->cgroup)));
}

static json_t *threads(const struct look_task *task, bool registers)
{
	json_t *list = json_array();

	for (size_t i = 0; i < task->n_threads; i++) {
		const struct look_thread *th = &task->threads[i];
		const ThreadCoreEntry *core = th->core->thread_core;
		const char *comm = core && core->comm ? core->comm
				   : th->core->tc     ? th->core->tc->comm
						      : NULL;
		json_t *one = json_object();

		json_object_set_new(one, "tid", json_integer(th->tid));
		if (comm)
			json_object_set_new(one, "name", describe_text(comm, strlen(comm)));
		if (registers && th->core->thread_info)
			json_object_set_new(one, "registers", describe_registers(th));
		json_array_append_new(list, one);
	}
	return list;
}

struct sizes {
	uint64_t kinds[LOOK_KINDS]; /* pages, by enum look_page */
};

static int count_run(const struct look_run *run, void *arg)
{
	((struct sizes *)arg)->kinds[run->sealed ? LOOK_STORED : run->kind] += run->n;
	return R_OK;
}

static int add_memory(const struct look *look, const struct look_task *task, json_t *json)
{
	struct sizes all = { 0 };
	uint64_t mapped = 0, shared = 0;
	json_t *memory;
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i < task->mm->n_vmas; i++) {
		const VmaEntry *vma = task->mm->vmas[i];
		uint64_t before = all.kinds[LOOK_STORED];

		if (vma->status & (VMA_STATUS_GUARD | VMA_STATUS_VSYSCALL))
			continue;
		mapped += vma->end - vma->start;
		rc = look_vma_walk(look, task, vma, vma->start, vma->end, count_run, &all);
		if (vma->status & (VMA_STATUS_ANON_SHARED | VMA_STATUS_MEMFD))
			shared += all.kinds[LOOK_STORED] - before;
	}
	memory = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "bytes_mapped", (json_int_t)mapped,
			   "bytes_stored", (json_int_t)(all.kinds[LOOK_STORED] * PAGE_BYTES),
			   "bytes_shared", (json_int_t)(shared * PAGE_BYTES), "bytes_zero",
			   (json_int_t)(all.kinds[LOOK_ZERO] * PAGE_BYTES), "bytes_file",
			   (json_int_t)(all.kinds[LOOK_FILE] * PAGE_BYTES), "bytes_sealed",
			   (json_int_t)look_sealed_bytes(look, task));
	json_object_set_new(json, "memory", memory);
	return rc;
}

static int add_texts(const struct look *look, const struct look_task *task, bool environment,
		     json_t *json)
{
	const MmEntry *mm = task->mm;
	json_t *list = json_array();
	int rc = texts_at(look, task, mm->mm_arg_start, mm->mm_arg_end, list);

	json_object_set_new(json, "command", list);
	if (rc != R_OK || !environment)
		return rc;
	list = json_array();
	rc = texts_at(look, task, mm->mm_env_start, mm->mm_env_end, list);
	json_object_set_new(json, "environment", list);
	return rc;
}

int describe_task(const struct look *look, const struct look_task *task,
		  const struct describe *what, json_t **out)
{
	json_t *json = json_object(), *part;
	int rc = R_OK;

	*out = NULL;
	add_state(look, task, json);
	if (task->mm)
		rc = add_texts(look, task, what->environment, json);
	if (rc == R_OK && what->credentials && task->mm)
		json_object_set_new(json, "credentials", describe_credentials(task));
	part = threads(task, what->threads);
	json_object_set_new(json, "threads", part);
	if (rc == R_OK && what->stacks)
		rc = describe_stacks(look, task, part);
	if (rc == R_OK && task->mm)
		rc = add_memory(look, task, json);
	if (what->files || what->sockets)
		json_object_set_new(json, what->files ? "files" : "sockets",
				    describe_files(look, task, what->queues, !what->files));
	if (rc == R_OK && what->mappings && task->mm) {
		rc = describe_mappings(look, task, what, &part);
		if (rc == R_OK)
			json_object_set_new(json, "mappings", part);
	}
	if (rc != R_OK) {
		json_decref(json);
		return rc;
	}
	*out = json;
	return R_OK;
}
