/* Mappings and the pages they have. */
#include "cli/image_explore.h"

#include "base/result.h"
#include "base/warn.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAP_GROWS_DOWN 0x100

/* Numbers for shared memory, from 1 in the order they are met, as crit gives them. */
struct numbers {
	uint64_t *seen;
	size_t n;
};

static size_t number_of(struct numbers *numbers, uint64_t shmid)
{
	uint64_t *more;

	for (size_t i = 0; i < numbers->n; i++)
		if (numbers->seen[i] == shmid)
			return i + 1;
	more = reallocarray(numbers->seen, numbers->n + 1, sizeof(*more));
	if (!more)
		return 0;
	numbers->seen = more;
	numbers->seen[numbers->n++] = shmid;
	return numbers->n;
}

static int read_mm(const struct exploring *e, uint32_t pid, ProtobufCMessage ***entries, size_t *n)
{
	char name[32];

	snprintf(name, sizeof(name), "mm-%u", pid);
	/* Processes that have ended have none. */
	return read_entries(e->source, IMAGE_MM, name, true, entries, n);
}

/* What crit writes behind the rights of a mapping; `file` is its path, or NULL. */
static void mapping_words(const VmaEntry *vma, const char *file, struct numbers *numbers,
			  char *text, size_t room)
{
	uint32_t st = vma->status;

	*text = '\0';
	if (st & VMA_STATUS_SYSVIPC)
		snprintf(text, room, "ips[%zx]", number_of(numbers, vma->shmid));
	else if (st & VMA_STATUS_ANON_SHARED)
		snprintf(text, room, "shmem[%zx]", number_of(numbers, vma->shmid));
	else if (st & VMA_STATUS_SOCKET)
		snprintf(text, room, "packet[%zx]", number_of(numbers, vma->shmid));
	else if (file && vma->pgoff)
		snprintf(text, room, "%s + %#" PRIx64 "%s", file, vma->pgoff,
			 st & VMA_STATUS_FILE_SHARED ? " (s)" : "");
	else if (file)
		snprintf(text, room, "%s%s", file, st & VMA_STATUS_FILE_SHARED ? " (s)" : "");
	else if (st & VMA_STATUS_STACK)
		snprintf(text, room, "[stack]");
	else if (st & VMA_STATUS_VSYSCALL)
		snprintf(text, room, "[vsyscall]");
	else if (st & VMA_STATUS_VDSO)
		snprintf(text, room, "[vdso]");
	else if (vma->flags & MAP_GROWS_DOWN)
		snprintf(text, room, "[stack?]");
	if (!(st & VMA_STATUS_REGULAR))
		snprintf(text + strlen(text), room - strlen(text), "%s*", *text ? " " : "");
}

static json_t *file_of(const struct exploring *e, const VmaEntry *vma)
{
	if (!(vma->status & (VMA_STATUS_FILE_PRIVATE | VMA_STATUS_FILE_SHARED)))
		return NULL;
	return explore_file_words(e, FD_TYPES__REG, (uint32_t)vma->shmid);
}

static json_t *mapping(const struct exploring *e, const VmaEntry *vma, struct numbers *numbers)
{
	char start[20], end[20], prot[4] = "---", text[4500];
	json_t *file = file_of(e, vma), *words;

	snprintf(start, sizeof(start), "%08" PRIx64, vma->start);
	snprintf(end, sizeof(end), "%08" PRIx64, vma->end);
	for (int i = 0; i < 3; i++)
		if (vma->prot & (1u << i))
			prot[i] = "rwx"[i];
	mapping_words(vma, json_string_value(file), numbers, text, sizeof(text));
	json_decref(file);
	words = json_string(text);
	return json_pack("{s:s, s:s, s:s, s:o}", "start", start, "end", end, "prot", prot, "what",
			 words ? words : json_string("?"));
}

int explore_mems(const struct exploring *e, json_t **list)
{
	struct numbers numbers = { 0 };
	int result = R_OK;

	*list = json_array();
	for (size_t i = 0; i < e->n_processes && result == R_OK; i++) {
		uint32_t pid = ((const PstreeEntry *)e->processes[i])->pid;
		ProtobufCMessage **mms;
		size_t n;

		result = read_mm(e, pid, &mms, &n);
		if (result == R_OK && n > 0) {
			const MmEntry *mm = (const MmEntry *)mms[0];
			json_t *mappings = json_array();

			for (size_t k = 0; k < mm->n_vmas; k++)
				json_array_append_new(mappings, mapping(e, mm->vmas[k], &numbers));
			json_array_append_new(
			    *list, json_pack("{s:I, s:o, s:o}", "pid", (json_int_t)pid, "exe",
					     explore_file_words(e, FD_TYPES__REG, mm->exe_file_id),
					     "mappings", mappings));
		}
		free_entries(mms, n);
	}
	free(numbers.seen);
	return result;
}

/* Runs of pages, in ascending order, put beside the mappings they are in. */
struct runs {
	const struct exploring *e;
	const MmEntry *mm;
	json_t *list;
	size_t at;	       /* the first mapping that does not end before the run */
	size_t told;	       /* one more than the mapping told last */
	uint64_t start, pages; /* of a generation: the run so far */
};

static void add_run(struct runs *r, uint64_t start, uint64_t pages)
{
	uint64_t end = start + pages * PAGE_BYTES;
	json_t *mappings = json_array();
	char text[24];

	while (r->at < r->mm->n_vmas && r->mm->vmas[r->at]->end <= start)
		r->at++;
	for (size_t k = r->at; k < r->mm->n_vmas && r->mm->vmas[k]->start < end; k++) {
		const VmaEntry *vma = r->mm->vmas[k];
		json_t *file = file_of(r->e, vma);

		snprintf(text, sizeof(text), "%08" PRIx64, vma->start);
		json_array_append_new(
		    mappings, json_pack("{s:s, s:I, s:o, s:b}", "start", text, "pages",
					(json_int_t)((vma->end - vma->start) / PAGE_BYTES), "file",
					file ? file : json_null(), "again", r->told == k + 1));
		r->told = k + 1;
	}
	snprintf(text, sizeof(text), "%" PRIx64, start);
	json_array_append_new(r->list, json_pack("{s:s, s:I, s:o}", "start", text, "pages",
						 (json_int_t)pages, "mappings", mappings));
}

static int extend_run(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	struct runs *r = arg;

	(void)numbers;
	if (r->pages && r->start + r->pages * PAGE_BYTES == index * PAGE_BYTES) {
		r->pages += n;
		return 0;
	}
	if (r->pages)
		add_run(r, r->start, r->pages);
	r->start = index * PAGE_BYTES;
	r->pages = n;
	return 0;
}

static int runs_of_generation(struct runs *r, uint32_t pid)
{
	const struct image_source *source = r->e->source;
	struct object object;
	char name[32];
	int result;

	snprintf(name, sizeof(name), "pages-%u", pid);
	result = store_object(source->view, source->gen.number, name, &object);
	if (result == R_NOT_FOUND)
		return R_OK;
	if (result == R_OK)
		result = store_object_walk(source->view, &object, 0, UINT64_MAX, extend_run, r);
	if (result == R_OK && r->pages)
		add_run(r, r->start, r->pages);
	return result;
}

/* Pages of the parent count, as for crit: the process had them. */
static int runs_of_folder(struct runs *r, uint32_t pid)
{
	ProtobufCMessage **entries;
	char name[32];
	size_t n;
	int result;

	snprintf(name, sizeof(name), "pagemap-%u", pid);
	result = read_entries(r->e->source, IMAGE_PAGEMAP, name, true, &entries, &n);
	for (size_t i = 0; i < n; i++) {
		const PagemapEntry *p = (const PagemapEntry *)entries[i];

		add_run(r, p->vaddr, p->has_nr_pages ? p->nr_pages : p->compat_nr_pages);
	}
	free_entries(entries, n);
	return result;
}

int explore_rss(const struct exploring *e, json_t **list)
{
	int result = R_OK;

	*list = json_array();
	for (size_t i = 0; i < e->n_processes && result == R_OK; i++) {
		uint32_t pid = ((const PstreeEntry *)e->processes[i])->pid;
		struct runs runs = { .e = e, .list = json_array() };
		ProtobufCMessage **mms;
		size_t n;

		result = read_mm(e, pid, &mms, &n);
		if (result == R_OK && n > 0) {
			runs.mm = (const MmEntry *)mms[0];
			result = e->source->dirfd < 0 ? runs_of_generation(&runs, pid)
						      : runs_of_folder(&runs, pid);
			json_array_append_new(*list, json_pack("{s:I, s:O}", "pid", (json_int_t)pid,
							       "runs", runs.list));
		}
		json_decref(runs.list);
		free_entries(mms, n);
	}
	return result;
}
