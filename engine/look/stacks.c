#include "engine/look/stacks.h"

#include <elfutils/libdwfl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/look/look_internal.h"
#include "engine/proc/files/cookie.h"

/* Larger files are not copied for their symbols. */
#define MODULE_MAX_BYTES (1ull << 30)

struct stacks {
	const struct look *look;
	const struct look_task *task;
	const struct look_stack_calls *calls;
	Dwfl *dwfl;
	uint32_t tid;	     /* being unwound */
	unsigned int frames; /* told of it */
	int result;	     /* what a callback of ours came to */
	bool no_memory_there;
	uint64_t page; /* address of what is in `bytes`, plus 1; 0: nothing */
	uint8_t bytes[PAGE_BYTES];
};

/* One word of the task's memory.  A stack is read in order, so the last page is kept. */
static bool read_word(Dwfl *dwfl, Dwarf_Addr address, Dwarf_Word *word, void *arg)
{
	struct stacks *s = arg;
	size_t done = 0;

	(void)dwfl;
	while (done < sizeof(*word)) {
		uint64_t page = (address + done) & ~(uint64_t)(PAGE_BYTES - 1);
		size_t within = (size_t)(address + done - page), n = sizeof(*word) - done;
		enum look_page kind;

		if (s->page != page + 1) {
			int rc = look_pages(s->look, s->task, page, 1, s->bytes, &kind);

			s->page = 0;
			if (rc != R_OK && s->result == R_OK)
				s->result = rc;
			s->no_memory_there = kind == LOOK_NONE || kind == LOOK_FILE;
			if (rc != R_OK || s->no_memory_there)
				return false;
			s->page = page + 1;
		}
		if (n > PAGE_BYTES - within)
			n = PAGE_BYTES - within;
		memcpy((uint8_t *)word + done, s->bytes + within, n);
		done += n;
	}
	return true;
}

/* libdw keeps the last thread between two calls. */
static pid_t next_thread(Dwfl *dwfl, void *arg, void **last)
{
	const struct stacks *s = arg;
	struct look_thread *next = *last ? (struct look_thread *)*last + 1 : s->task->threads;

	(void)dwfl;
	if (next == s->task->threads + s->task->n_threads)
		return 0;
	*last = next;
	return (pid_t)next->tid;
}

/* In DWARF's order, which is its own; 16 is the return address. */
static bool set_registers(Dwfl_Thread *thread, void *arg)
{
	const struct look_thread *th = arg;
	const UserX86RegsEntry *r = th->core->thread_info->gpregs;
	const Dwarf_Word words[] = { r->ax,  r->dx,  r->cx,  r->bx,  r->si,  r->di,
				     r->bp,  r->sp,  r->r8,  r->r9,  r->r10, r->r11,
				     r->r12, r->r13, r->r14, r->r15, r->ip };

	return dwfl_thread_state_registers(thread, 0, sizeof(words) / sizeof(words[0]), words);
}

static const Dwfl_Thread_Callbacks thread_calls = {
	.next_thread = next_thread,
	.memory_read = read_word,
	.set_initial_registers = set_registers,
};

/* Has the file the build-id that was noted?  Without one nothing proves it is the same. */
static bool same_build(const struct look *look, const FileEntry *file, int fd)
{
	struct cookie then = { 0 };
	uint8_t id[BUILD_ID_MAX_BYTES];
	struct stat st;
	size_t len;

	cookie_from_images(file->reg, look_note(look, file->id), &then);
	return then.build_id_bytes && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	       build_id_read(fd, (uint64_t)st.st_size, id, &len) == R_OK &&
	       len == then.build_id_bytes && memcmp(id, then.build_id, len) == 0;
}

/* The contents of what a mapping shows, as a descriptor; -1 in `*fd`: they are not to be had. */
static int open_module(const struct look *look, const VmaEntry *vma, int *fd)
{
	const FileEntry *file = look_file(look, (uint32_t)vma->shmid);
	struct object object;
	int rc = look_stored(look, vma, &object);

	*fd = -1;
	if (!file || !file->reg)
		return R_OK;
	if (rc == R_OK)
		return object.length_bytes > MODULE_MAX_BYTES
			   ? R_OK
			   : look_copy(look, &object, file->reg->name, fd);
	if (rc != R_NOT_FOUND)
		return rc;
	*fd = open(file->reg->name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (*fd >= 0 && !same_build(look, file, *fd)) {
		close(*fd);
		*fd = -1;
	}
	return R_OK;
}

static bool is_executable(const struct stacks *s, size_t first)
{
	const MmEntry *mm = s->task->mm;
	const VmaEntry *head = mm->vmas[first];
	const char *name = look_vma_name(s->look, head);

	for (size_t i = first; i < mm->n_vmas; i++) {
		const VmaEntry *vma = mm->vmas[i];

		if (!look_vma_is_file(vma) || strcmp(look_vma_name(s->look, vma), name) != 0)
			continue;
		if (i != first && vma->pgoff == 0)
			return false;
		if (vma->prot & PROT_EXEC)
			return true;
	}
	return false;
}

/* A module begins where the beginning of a file is mapped that is executable further on. */
static int report_modules(struct stacks *s)
{
	const MmEntry *mm = s->task->mm;

	for (size_t i = 0; i < mm->n_vmas; i++) {
		const VmaEntry *vma = mm->vmas[i];
		const char *name = look_vma_name(s->look, vma);
		int fd, rc;

		if (!look_vma_is_file(vma) || vma->pgoff != 0 || !*name || !is_executable(s, i))
			continue;
		rc = open_module(s->look, vma, &fd);
		if (rc != R_OK)
			return rc;
		/* What is no ELF file, or lies about itself, is left out: its frames have no name.
		 */
		if (fd >= 0 && !dwfl_report_elf(s->dwfl, name, name, fd, vma->start, false))
			close(fd);
	}
	return dwfl_report_end(s->dwfl, NULL, NULL) == 0 ? R_OK : R_FAILED;
}

/* Behind a call the return address may belong to the next function or line. */
static int tell_frame(Dwfl_Frame *state, void *arg)
{
	struct stacks *s = arg;
	struct look_frame frame = { .tid = s->tid, .number = s->frames };
	Dwfl_Module *module;
	Dwarf_Addr pc, at;
	bool exact;

	if (!dwfl_frame_pc(state, &pc, &exact))
		return DWARF_CB_ABORT;
	at = exact || !pc ? pc : pc - 1;
	frame.address = pc;
	module = dwfl_addrmodule(s->dwfl, at);
	if (module) {
		GElf_Sym symbol;
		GElf_Off offset;
		Dwfl_Line *line;

		frame.function =
		    dwfl_module_addrinfo(module, at, &offset, &symbol, NULL, NULL, NULL);
		frame.offset = frame.function ? offset + (pc - at) : 0;
		frame.module = dwfl_module_info(module, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
		dwfl_module_getelf(module, &frame.bias);
		line = dwfl_module_getsrc(module, at);
		frame.source =
		    line ? dwfl_lineinfo(line, NULL, &frame.line, NULL, NULL, NULL) : NULL;
	}
	s->result = s->calls->frame(&frame, s->calls->arg);
	if (s->result != R_OK || ++s->frames == LOOK_FRAMES_MAX)
		return DWARF_CB_ABORT;
	return DWARF_CB_OK;
}

static int tell_thread(Dwfl_Thread *thread, void *arg)
{
	struct stacks *s = arg;
	struct look_stack_end end = { .tid = (uint32_t)dwfl_thread_tid(thread) };
	int rc;

	s->tid = end.tid;
	s->frames = 0;
	s->no_memory_there = false;
	rc = dwfl_thread_getframes(thread, tell_frame, s);
	if (s->result != R_OK)
		return DWARF_CB_ABORT;
	if (s->frames == LOOK_FRAMES_MAX)
		end.why = "there are more frames";
	else if (s->no_memory_there)
		end.why = "it leads to memory that the generation does not hold";
	else if (rc != 0)
		end.why = dwfl_errmsg(-1);
	s->calls->end(&end, s->calls->arg);
	return DWARF_CB_OK;
}

bool look_has_stacks(const struct look_task *task)
{
	for (size_t i = 0; i < task->n_threads; i++)
		if (task->threads[i].core->mtype != CORE_ENTRY__MARCH__X86_64 ||
		    !task->threads[i].core->thread_info)
			return false;
	return task->mm != NULL;
}

/* Where no file of the task is to be had: where its threads were, no more. */
static void without_code(struct stacks *s, const char *why)
{
	for (size_t i = 0; s->result == R_OK && i < s->task->n_threads; i++) {
		const struct look_thread *th = &s->task->threads[i];
		struct look_frame frame = { .tid = th->tid,
					    .address = th->core->thread_info->gpregs->ip };
		struct look_stack_end end = { .tid = th->tid, .why = why };

		s->result = s->calls->frame(&frame, s->calls->arg);
		s->calls->end(&end, s->calls->arg);
	}
}

static int unwind(struct stacks *s)
{
	int rc = report_modules(s);

	if (rc != R_OK)
		return rc;
	if (!dwfl_attach_state(s->dwfl, NULL, (pid_t)s->task->pid, &thread_calls, s)) {
		without_code(s, dwfl_errmsg(-1));
		return s->result;
	}
	/* What stands in the way of one thread is told at its end. */
	dwfl_getthreads(s->dwfl, tell_thread, s);
	return s->result;
}

int look_stacks(const struct look *look, const struct look_task *task,
		const struct look_stack_calls *calls)
{
	/* Debug information from this machine's folders only: nothing is fetched. */
	static char *no_path;
	static const Dwfl_Callbacks callbacks = {
		.find_elf = dwfl_build_id_find_elf,
		.find_debuginfo = dwfl_standard_find_debuginfo,
		.debuginfo_path = &no_path,
	};
	struct stacks *s;
	int rc;

	if (!look_has_stacks(task)) {
		warn("generation %llu: task %u is dead, or was taken on another kind of processor: "
		     "it has no stacks to tell",
		     (unsigned long long)look->gen.number, task->pid);
		return R_UNSUPPORTED;
	}
	unsetenv("DEBUGINFOD_URLS");
	s = calloc(1, sizeof(*s));
	if (!s) {
		warn("out of memory");
		return R_FAILED;
	}
	s->look = look;
	s->task = task;
	s->calls = calls;
	s->dwfl = dwfl_begin(&callbacks);
	if (s->dwfl) {
		rc = unwind(s);
		dwfl_end(s->dwfl);
	} else {
		warn("cannot read debug information: %s", dwfl_errmsg(-1));
		rc = R_FAILED;
	}
	free(s);
	return rc;
}
