#include "engine/look/look_internal.h"

#include <stdio.h>
#include <string.h>

#include "base/result.h"
#include "base/warn.h"

#define VMA_OF_KERNEL (VMA_STATUS_VDSO | VMA_STATUS_VVAR | VMA_STATUS_VSYSCALL)

bool look_vma_is_file(const VmaEntry *vma)
{
	return vma->status & (VMA_STATUS_FILE_PRIVATE | VMA_STATUS_FILE_SHARED) &&
	       !(vma->status & VMA_STATUS_MEMFD);
}

const char *look_vma_name(const struct look *look, const VmaEntry *vma)
{
	const FileEntry *file;
	const MemfdInodeEntry *memfd;

	if (vma->status & VMA_STATUS_VDSO)
		return "[vdso]";
	if (vma->status & VMA_STATUS_VVAR)
		return "[vvar]";
	if (vma->status & VMA_STATUS_VSYSCALL)
		return "[vsyscall]";
	if (vma->status & VMA_STATUS_HEAP)
		return "[heap]";
	if (vma->status & VMA_STATUS_STACK)
		return "[stack]";
	if (vma->status & VMA_STATUS_SOCKET)
		return "[socket]";
	if (vma->status & VMA_STATUS_ANON_SHARED)
		return "[shared]";
	file = vma->status & (VMA_STATUS_FILE_PRIVATE | VMA_STATUS_FILE_SHARED)
		   ? look_file(look, (uint32_t)vma->shmid)
		   : NULL;
	memfd = file ? look_memfd(look, file) : NULL;
	if (memfd)
		return memfd->name;
	return file && file->reg ? file->reg->name : "";
}

void look_memory_name(uint64_t shmid, char *name)
{
	snprintf(name, LOOK_NAME_MAX, "pages-shmem-%llu", (unsigned long long)shmid);
}

bool look_vma_memory(const struct look *look, const VmaEntry *vma, char *name)
{
	const MemfdInodeEntry *memfd = NULL;
	const FileEntry *file;

	if (vma->status & VMA_STATUS_MEMFD) {
		file = look_file(look, (uint32_t)vma->shmid);
		memfd = file ? look_memfd(look, file) : NULL;
		if (memfd)
			look_memory_name(memfd->shmid, name);
		return memfd;
	}
	if (vma->status & VMA_STATUS_ANON_SHARED)
		look_memory_name(vma->shmid, name);
	return vma->status & VMA_STATUS_ANON_SHARED;
}

/* The object whose pages show wherever the task has none of its own.  False: there is none. */
static bool backing(const struct look *look, const VmaEntry *vma, struct object *object, int *rc)
{
	char name[LOOK_NAME_MAX];

	*rc = R_OK;
	if (!look_vma_memory(look, vma, name))
		return false;
	*rc = store_object(look->view, look->gen.number, name, object);
	if (*rc == R_OK)
		return true;
	if (*rc == R_NOT_FOUND)
		*rc = R_OK;
	return false;
}

struct walk {
	const VmaEntry *vma;
	const struct look *look;
	uint64_t at;   /* told of up to here */
	uint64_t base; /* address of index 0 of the object walked; may wrap */
	enum look_page absent;
	struct object behind;
	bool has_behind;
	bool behind_is_file; /* its pages are told as those of the file */
	int (*fn)(const struct look_run *run, void *arg);
	void *arg;
};

static int tell(const struct walk *w, uint64_t start, uint64_t end, enum look_page kind)
{
	struct look_run run = { .start = start, .n = (end - start) / PAGE_BYTES, .kind = kind };

	return start < end ? w->fn(&run, w->arg) : 0;
}

/* Holes of a stored file up to its end; what is mapped behind that no task can read. */
static int tell_holes(const struct walk *w, uint64_t start, uint64_t end)
{
	static const page_no zeroes[64] = { [0 ... 63] = PAGE_ZERO };
	uint64_t file_end =
	    w->base + (w->behind.length_bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
	int rc = 0;

	while (rc == 0 && start < end && start < file_end) {
		struct look_run run = { .start = start, .kind = LOOK_FILE, .numbers = zeroes };
		uint64_t to = end < file_end ? end : file_end;

		run.n = (to - start) / PAGE_BYTES < 64 ? (to - start) / PAGE_BYTES : 64;
		rc = w->fn(&run, w->arg);
		start += run.n * PAGE_BYTES;
	}
	return rc ? rc : tell(w, start, end, LOOK_FILE);
}

static int tell_absent(const struct walk *w, uint64_t start, uint64_t end)
{
	return w->behind_is_file ? tell_holes(w, start, end) : tell(w, start, end, w->absent);
}

/* Stored and zero pages in runs of one kind. */
static int tell_numbers(const struct walk *w, uint64_t start, const page_no *numbers, size_t n,
			bool shared)
{
	int rc = 0;

	for (size_t i = 0, next; rc == 0 && i < n; i = next) {
		struct look_run run = { .start = start + i * PAGE_BYTES,
					.shared = shared,
					.numbers = numbers + i };

		run.kind = numbers[i] == PAGE_ZERO ? LOOK_ZERO : LOOK_STORED;
		for (next = i + 1; next < n; next++)
			if ((numbers[next] == PAGE_ZERO) != (run.kind == LOOK_ZERO))
				break;
		run.n = next - i;
		rc = w->fn(&run, w->arg);
	}
	return rc;
}

static int behind_run(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	struct walk *w = arg;
	uint64_t start = w->base + index * PAGE_BYTES;
	struct look_run file = { .start = start, .n = n, .kind = LOOK_FILE, .numbers = numbers };
	int rc = tell_absent(w, w->at, start);

	if (rc == 0)
		rc = w->behind_is_file ? w->fn(&file, w->arg)
				       : tell_numbers(w, start, numbers, n, true);
	w->at = start + n * PAGE_BYTES;
	return rc;
}

/* What shows where the task has no pages of its own. */
static int gap(const struct walk *outer, uint64_t start, uint64_t end)
{
	struct walk w = *outer;
	int rc = 0;

	w.at = start;
	w.base = w.vma->start - w.vma->pgoff;
	if (w.has_behind && start < end)
		rc = store_object_walk(w.look->view, &w.behind, (start - w.base) / PAGE_BYTES,
				       (end - w.base) / PAGE_BYTES, behind_run, &w);
	return rc ? rc : tell_absent(&w, w.at, end);
}

static int own_run(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	struct walk *w = arg;
	uint64_t start = index * PAGE_BYTES;
	int rc = gap(w, w->at, start);

	if (rc == 0)
		rc = tell_numbers(w, start, numbers, n, false);
	w->at = start + n * PAGE_BYTES;
	return rc;
}

bool look_vma_is_secret(const struct look *look, const VmaEntry *vma)
{
	const SnapFileEntry *note =
	    vma->status & VMA_STATUS_MEMFD ? look_note(look, (uint32_t)vma->shmid) : NULL;

	return note && note->secret;
}

int look_vma_walk(const struct look *look, const struct look_task *task, const VmaEntry *vma,
		  uint64_t start, uint64_t end, int (*fn)(const struct look_run *run, void *arg),
		  void *arg)
{
	struct walk w = { .vma = vma, .look = look, .at = start, .fn = fn, .arg = arg };
	int rc;

	if (vma->status & (VMA_OF_KERNEL | VMA_STATUS_GUARD))
		return tell(&w, start, end, LOOK_NONE);
	if (look_vma_is_secret(look, vma))
		return look_secret_walk(look, vma, start, end, fn, arg);
	w.absent = look_vma_is_file(vma) ? LOOK_FILE : LOOK_ZERO;
	w.has_behind = backing(look, vma, &w.behind, &rc);
	if (rc == R_OK && !w.has_behind) {
		rc = look_stored(look, vma, &w.behind);
		w.has_behind = w.behind_is_file = rc == R_OK;
		if (rc == R_NOT_FOUND)
			rc = R_OK;
	}
	if (rc == R_OK && task->has_pages &&
	    vma->status & (VMA_STATUS_ANON_PRIVATE | VMA_STATUS_FILE_PRIVATE))
		rc = store_object_walk(look->view, &task->pages, start / PAGE_BYTES,
				       end / PAGE_BYTES, own_run, &w);
	return rc ? rc : gap(&w, w.at, end);
}

int look_read(const struct look *look, const struct look_task *task, uint64_t address,
	      const page_no *numbers, size_t n, void *buf)
{
	page_no bad = PAGE_ABSENT;
	size_t i = 0;
	int rc = store_read_pages(look->view, numbers, n, buf, &bad);

	if (rc != R_DAMAGED)
		return rc;
	while (i < n && numbers[i] != bad)
		i++;
	warn("generation %llu: memory of task %u is damaged at 0x%llx",
	     (unsigned long long)look->gen.number, task->pid,
	     (unsigned long long)(address + (i < n ? i : 0) * PAGE_BYTES));
	return R_DAMAGED;
}

bool look_run_has_bytes(const struct look_run *run)
{
	return run->kind == LOOK_STORED || (run->kind == LOOK_FILE && run->numbers) || run->sealed;
}

int look_run_read(const struct look *look, const struct look_task *task, const struct look_run *run,
		  uint64_t from, size_t n, void *buf)
{
	if (run->sealed)
		return sealed_read(run->sealed, run->sealed_index + from, n, buf);
	return look_read(look, task, run->start + from * PAGE_BYTES, run->numbers + from, n, buf);
}

struct reading {
	const struct look *look;
	const struct look_task *task;
	uint64_t address;
	uint8_t *buf;
	enum look_page *kinds;
};

static int read_run(const struct look_run *run, void *arg)
{
	const struct reading *r = arg;
	size_t first = (run->start - r->address) / PAGE_BYTES;
	bool has_bytes = look_run_has_bytes(run);

	for (size_t i = 0; i < run->n; i++)
		r->kinds[first + i] = has_bytes ? LOOK_STORED : run->kind;
	if (!has_bytes)
		return R_OK;
	return look_run_read(r->look, r->task, run, 0, run->n, r->buf + first * PAGE_BYTES);
}

int look_pages(const struct look *look, const struct look_task *task, uint64_t address, size_t n,
	       void *buf, enum look_page *kinds)
{
	struct reading r = { look, task, address, buf, kinds };
	uint64_t end = address + n * PAGE_BYTES;
	int rc = R_OK;

	memset(buf, 0, n * PAGE_BYTES);
	for (size_t i = 0; i < n; i++)
		kinds[i] = LOOK_NONE;
	for (size_t i = 0; rc == R_OK && task->mm && i < task->mm->n_vmas; i++) {
		const VmaEntry *vma = task->mm->vmas[i];
		uint64_t from = vma->start > address ? vma->start : address;
		uint64_t to = vma->end < end ? vma->end : end;

		if (from < to)
			rc = look_vma_walk(look, task, vma, from, to, read_run, &r);
	}
	return rc;
}
