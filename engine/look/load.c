#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/look/look_internal.h"

int look_load_bytes(const struct look *look, const char *name, void **data, size_t *len)
{
	struct object object;
	int rc = store_object(look->view, look->gen.number, name, &object);

	if (rc != R_OK)
		return rc;
	rc = store_read_object(look->view, &object, data, len);
	if (rc == R_DAMAGED)
		warn("generation %llu: image %s is damaged", (unsigned long long)look->gen.number,
		     name);
	return rc;
}

static int missing(const struct look *look, const char *name)
{
	warn("generation %llu: image %s is missing", (unsigned long long)look->gen.number, name);
	return R_DAMAGED;
}

/* An image of one message; `*message` stays NULL where there is none and it is not `needed`. */
static int load_one(const struct look *look, enum image_kind_id id, uint32_t number, bool needed,
		    ProtobufCMessage **message)
{
	char name[LOOK_NAME_MAX];
	void *data;
	size_t len;
	int rc;

	snprintf(name, sizeof(name), "%s-%u", image_kind(id)->name, number);
	rc = look_load_bytes(look, name, &data, &len);
	if (rc == R_NOT_FOUND)
		return needed ? missing(look, name) : R_OK;
	if (rc != R_OK)
		return rc;
	rc = image_read_one(id, name, data, len, message);
	free(data);
	return rc;
}

/* Calls `fn` for each entry of an image, which then owns the message. */
static int each_entry(const struct look *look, enum image_kind_id id, const char *name, bool needed,
		      int (*fn)(ProtobufCMessage *message, void *arg), void *arg)
{
	struct image_reader reader;
	ProtobufCMessage *message;
	void *data;
	size_t len;
	int rc = look_load_bytes(look, name, &data, &len);

	if (rc == R_NOT_FOUND)
		return needed ? missing(look, name) : R_OK;
	if (rc != R_OK)
		return rc;
	rc = image_open(&reader, id, name, data, len);
	while (rc == R_OK) {
		rc = image_next(&reader, &message);
		if (rc == R_OK)
			rc = fn(message, arg);
	}
	free(data);
	return rc == R_NOT_FOUND ? R_OK : rc;
}

int look_each_entry(const struct look *look, enum image_kind_id id, const char *name,
		    int (*fn)(ProtobufCMessage *message, void *arg), void *arg)
{
	return each_entry(look, id, name, false, fn, arg);
}

static void *grown(void *array, size_t n, size_t size)
{
	void *more;

	/* At each power of two the array has run full. */
	if (n & (n - 1))
		return array;
	more = reallocarray(array, n ? 2 * n : 1, size);
	if (!more)
		warn("out of memory");
	return more;
}

static int add_file(ProtobufCMessage *message, void *arg)
{
	struct look *look = arg;
	FileEntry **more = grown(look->files, look->n_files, sizeof(*more));

	if (!more) {
		image_free_message(message);
		return R_FAILED;
	}
	look->files = more;
	look->files[look->n_files++] = (FileEntry *)message;
	return R_OK;
}

static int add_memfd(ProtobufCMessage *message, void *arg)
{
	struct look *look = arg;
	MemfdInodeEntry **more = grown(look->memfds, look->n_memfds, sizeof(*more));

	if (!more) {
		image_free_message(message);
		return R_FAILED;
	}
	look->memfds = more;
	look->memfds[look->n_memfds++] = (MemfdInodeEntry *)message;
	return R_OK;
}

static int add_remap(ProtobufCMessage *message, void *arg)
{
	const RemapFilePathEntry *remap = (RemapFilePathEntry *)message;
	bool deleted = !remap->has_remap_type || remap->remap_type != REMAP_TYPE__PROCFS;
	uint32_t *more, id = remap->orig_id;
	struct look *look = arg;

	image_free_message(message);
	if (!deleted)
		return R_OK;
	more = grown(look->deleted, look->n_deleted, sizeof(*more));
	if (!more)
		return R_FAILED;
	look->deleted = more;
	look->deleted[look->n_deleted++] = id;
	return R_OK;
}

static int add_file_note(ProtobufCMessage *message, void *arg)
{
	struct look *look = arg;
	SnapFileEntry **more = grown(look->notes, look->n_notes, sizeof(*more));

	if (!more) {
		image_free_message(message);
		return R_FAILED;
	}
	look->notes = more;
	look->notes[look->n_notes++] = (SnapFileEntry *)message;
	return R_OK;
}

static int add_fd(ProtobufCMessage *message, void *arg)
{
	struct look_task *task = arg;
	FdinfoEntry **more = grown(task->fds, task->n_fds, sizeof(*more));

	if (!more) {
		image_free_message(message);
		return R_FAILED;
	}
	task->fds = more;
	task->fds[task->n_fds++] = (FdinfoEntry *)message;
	return R_OK;
}

static int load_threads(const struct look *look, struct look_task *task)
{
	for (size_t i = 0; i < task->n_threads; i++) {
		struct look_thread *th = &task->threads[i];
		ProtobufCMessage *core = NULL, *extra = NULL;
		int rc = load_one(look, IMAGE_CORE, th->tid, true, &core);

		th->core = (CoreEntry *)core;
		if (rc == R_OK)
			rc = load_one(look, IMAGE_SNAP_THREAD, th->tid, false, &extra);
		th->extra = (SnapThreadEntry *)extra;
		if (rc != R_OK)
			return rc;
	}
	if (task->threads[0].core->tc)
		return R_OK;
	warn("generation %llu: image core-%u has no part about the task",
	     (unsigned long long)look->gen.number, task->pid);
	return R_DAMAGED;
}

static int load_fds(const struct look *look, struct look_task *task)
{
	const TaskKobjIdsEntry *ids = task->threads[0].core->ids;
	ProtobufCMessage *own = NULL;
	char name[LOOK_NAME_MAX];
	int rc = load_one(look, IMAGE_IDS, task->pid, false, &own);

	if (rc != R_OK)
		return rc;
	if (own)
		ids = (const TaskKobjIdsEntry *)own;
	if (ids) {
		snprintf(name, sizeof(name), "fdinfo-%u", ids->files_id);
		rc = each_entry(look, IMAGE_FDINFO, name, false, add_fd, task);
	}
	if (own)
		image_free_message(own);
	return rc;
}

/* Everything that walks mappings counts on that. */
static int check_mappings(const struct look *look, const struct look_task *task)
{
	for (size_t i = 0; i < task->mm->n_vmas; i++) {
		const VmaEntry *vma = task->mm->vmas[i];

		if (vma->start < vma->end &&
		    (vma->start | vma->end | vma->pgoff) % PAGE_BYTES == 0 &&
		    vma->pgoff <= INT64_MAX)
			continue;
		warn("generation %llu: image mm-%u has a mapping that makes no sense, at 0x%llx",
		     (unsigned long long)look->gen.number, task->pid,
		     (unsigned long long)vma->start);
		return R_DAMAGED;
	}
	return R_OK;
}

static int load_rest(const struct look *look, struct look_task *task)
{
	ProtobufCMessage *mm = NULL, *fs = NULL, *extra = NULL;
	char name[LOOK_NAME_MAX];
	int rc;

	if (task->threads[0].core->tc->task_state == TASK_STATE_ZOMBIE)
		return R_OK;
	rc = load_one(look, IMAGE_MM, task->pid, true, &mm);
	task->mm = (MmEntry *)mm;
	if (rc == R_OK)
		rc = check_mappings(look, task);
	if (rc == R_OK)
		rc = load_one(look, IMAGE_FS, task->pid, false, &fs);
	task->fs = (FsEntry *)fs;
	if (rc == R_OK)
		rc = load_one(look, IMAGE_SNAP_TASK, task->pid, false, &extra);
	task->extra = (SnapTaskEntry *)extra;
	if (rc == R_OK)
		rc = load_fds(look, task);
	if (rc != R_OK)
		return rc;
	snprintf(name, sizeof(name), "pages-%u", task->pid);
	rc = store_object(look->view, look->gen.number, name, &task->pages);
	task->has_pages = rc == R_OK;
	return rc == R_NOT_FOUND ? R_OK : rc;
}

static int add_task(ProtobufCMessage *message, void *arg)
{
	struct look *look = arg;
	const PstreeEntry *entry = (const PstreeEntry *)message;
	struct look_task *task, *more = grown(look->tasks, look->n_tasks, sizeof(*more));
	size_t n = entry->n_threads ? entry->n_threads : 1, next = 1;
	int rc = R_FAILED;

	if (!more)
		goto out;
	look->tasks = more;
	task = &more[look->n_tasks++];
	*task = (struct look_task){
		.pid = entry->pid, .ppid = entry->ppid, .pgid = entry->pgid, .sid = entry->sid
	};
	task->threads = calloc(n, sizeof(*task->threads));
	if (!task->threads) {
		warn("out of memory");
		goto out;
	}
	task->threads[0].tid = entry->pid;
	for (size_t i = 0; i < entry->n_threads; i++)
		if (entry->threads[i] != entry->pid && next < n)
			task->threads[next++].tid = entry->threads[i];
	task->n_threads = next;
	rc = load_threads(look, task);
	if (rc == R_OK)
		rc = load_rest(look, task);
out:
	image_free_message(message);
	return rc;
}

static int by_id(const void *a, const void *b)
{
	uint32_t left = (*(FileEntry *const *)a)->id, right = (*(FileEntry *const *)b)->id;

	return left < right ? -1 : left > right;
}

int look_open(struct store_view *view, const struct generation *gen, struct look **out)
{
	struct look *look = calloc(1, sizeof(*look));
	int rc;

	*out = NULL;
	if (!look) {
		warn("out of memory");
		return R_FAILED;
	}
	look->view = view;
	look->gen = *gen;
	rc = each_entry(look, IMAGE_FILES, "files", false, add_file, look);
	if (rc == R_OK)
		rc = each_entry(look, IMAGE_MEMFD, "memfd", false, add_memfd, look);
	if (rc == R_OK)
		rc = each_entry(look, IMAGE_REMAP_FPATH, "remap-fpath", false, add_remap, look);
	if (rc == R_OK)
		rc = each_entry(look, IMAGE_SNAP_FILES, "snap-files", false, add_file_note, look);
	if (rc == R_OK)
		look_sort_notes(look);
	if (rc == R_OK && look->n_files)
		qsort(look->files, look->n_files, sizeof(*look->files), by_id);
	if (rc == R_OK)
		rc = each_entry(look, IMAGE_PSTREE, "pstree", true, add_task, look);
	if (rc == R_OK && !look->n_tasks) {
		warn("generation %llu: its tree of tasks is empty",
		     (unsigned long long)gen->number);
		rc = R_DAMAGED;
	}
	if (rc != R_OK) {
		look_close(look);
		return rc;
	}
	*out = look;
	return R_OK;
}

static void free_one(void *message)
{
	if (message)
		image_free_message(message);
}

static void free_task(struct look_task *task)
{
	for (size_t i = 0; task->threads && i < task->n_threads; i++) {
		free_one(task->threads[i].core);
		free_one(task->threads[i].extra);
	}
	for (size_t i = 0; i < task->n_fds; i++)
		free_one(task->fds[i]);
	free_one(task->mm);
	free_one(task->fs);
	free_one(task->extra);
	free(task->fds);
	free(task->threads);
}

void look_close(struct look *look)
{
	if (!look)
		return;
	for (size_t i = 0; i < look->n_tasks; i++)
		free_task(&look->tasks[i]);
	for (size_t i = 0; i < look->n_files; i++)
		free_one(look->files[i]);
	for (size_t i = 0; i < look->n_memfds; i++)
		free_one(look->memfds[i]);
	for (size_t i = 0; i < look->n_notes; i++)
		free_one(look->notes[i]);
	free(look->deleted);
	free(look->notes);
	free(look->memfds);
	free(look->tasks);
	free(look->files);
	free(look);
}

const struct look_task *look_task(const struct look *look, uint32_t pid)
{
	for (size_t i = 0; i < look->n_tasks; i++)
		if (look->tasks[i].pid == pid)
			return &look->tasks[i];
	return NULL;
}

const FileEntry *look_file(const struct look *look, uint32_t id)
{
	FileEntry key, *p = &key, **found;

	if (!look->n_files)
		return NULL;
	key.id = id;
	found = bsearch(&p, look->files, look->n_files, sizeof(*look->files), by_id);
	return found ? *found : NULL;
}

bool look_is_deleted(const struct look *look, uint32_t id)
{
	for (size_t i = 0; i < look->n_deleted; i++)
		if (look->deleted[i] == id)
			return true;
	return false;
}

const MemfdInodeEntry *look_memfd(const struct look *look, const FileEntry *file)
{
	for (size_t i = 0; file->memfd && i < look->n_memfds; i++)
		if (look->memfds[i]->inode_id == file->memfd->inode_id)
			return look->memfds[i];
	return NULL;
}
