/* The notes of a core file: layouts are those of <sys/procfs.h> and of the kernel's
 * fs/binfmt_elf.c (NT_FILE). */
#include "engine/look/look_internal.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>

#include "base/result.h"
#include "base/warn.h"

#define FXSAVE_BYTES 512
#define NOTE_ALIGN 4

void look_bytes_add(struct look_bytes *bytes, const void *from, size_t len)
{
	if (bytes->failed)
		return;
	if (bytes->room - bytes->len < len) {
		size_t room = bytes->room ? bytes->room : 4096;
		uint8_t *more;

		while (room - bytes->len < len)
			room *= 2;
		more = realloc(bytes->data, room);
		if (!more) {
			warn("out of memory");
			bytes->failed = true;
			return;
		}
		bytes->data = more;
		bytes->room = room;
	}
	if (from)
		memcpy(bytes->data + bytes->len, from, len);
	else
		memset(bytes->data + bytes->len, 0, len);
	bytes->len += len;
}

void look_bytes_align(struct look_bytes *bytes, size_t align)
{
	if (bytes->len % align)
		look_bytes_add(bytes, NULL, align - bytes->len % align);
}

static void add_note(struct look_bytes *notes, const char *owner, uint32_t type, const void *desc,
		     size_t len)
{
	Elf64_Nhdr head = { .n_namesz = (Elf64_Word)strlen(owner) + 1,
			    .n_descsz = (Elf64_Word)len,
			    .n_type = type };

	look_bytes_add(notes, &head, sizeof(head));
	look_bytes_add(notes, owner, head.n_namesz);
	look_bytes_align(notes, NOTE_ALIGN);
	look_bytes_add(notes, desc, len);
	look_bytes_align(notes, NOTE_ALIGN);
}

static void general(const UserX86RegsEntry *from, struct user_regs_struct *to)
{
	to->r15 = from->r15;
	to->r14 = from->r14;
	to->r13 = from->r13;
	to->r12 = from->r12;
	to->rbp = from->bp;
	to->rbx = from->bx;
	to->r11 = from->r11;
	to->r10 = from->r10;
	to->r9 = from->r9;
	to->r8 = from->r8;
	to->rax = from->ax;
	to->rcx = from->cx;
	to->rdx = from->dx;
	to->rsi = from->si;
	to->rdi = from->di;
	to->orig_rax = from->orig_ax;
	to->rip = from->ip;
	to->cs = from->cs;
	to->eflags = from->flags;
	to->rsp = from->sp;
	to->ss = from->ss;
	to->fs_base = from->fs_base;
	to->gs_base = from->gs_base;
	to->ds = from->ds;
	to->es = from->es;
	to->fs = from->fs;
	to->gs = from->gs;
}

/* Of an import, which has no raw registers: what the message tells, in the layout of FXSAVE. */
static void legacy_area(const UserX86FpregsEntry *from, uint8_t area[FXSAVE_BYTES])
{
	uint16_t words[4] = { (uint16_t)from->cwd, (uint16_t)from->swd, (uint16_t)from->twd,
			      (uint16_t)from->fop };

	memset(area, 0, FXSAVE_BYTES);
	memcpy(area, words, sizeof(words));
	memcpy(area + 8, &from->rip, 8);
	memcpy(area + 16, &from->rdp, 8);
	memcpy(area + 24, &from->mxcsr, 4);
	memcpy(area + 28, &from->mxcsr_mask, 4);
	/* Either may be absent, and shorter than it should be. */
	if (from->n_st_space)
		memcpy(area + 32, from->st_space,
		       4 * (from->n_st_space < 32 ? from->n_st_space : 32));
	if (from->n_xmm_space)
		memcpy(area + 160, from->xmm_space,
		       4 * (from->n_xmm_space < 64 ? from->n_xmm_space : 64));
}

static void thread_notes(const struct look_task *task, const struct look_thread *th,
			 struct look_bytes *notes)
{
	const ThreadInfoX86 *info = th->core->thread_info;
	struct elf_prstatus status = { 0 };
	struct user_regs_struct regs = { 0 };

	general(info->gpregs, &regs);
	status.pr_pid = (pid_t)th->tid;
	status.pr_ppid = (pid_t)task->ppid;
	status.pr_pgrp = (pid_t)task->pgid;
	status.pr_sid = (pid_t)task->sid;
	status.pr_fpvalid = 1;
	if (th->core->thread_core)
		status.pr_sighold = th->core->thread_core->blk_sigset;
	memcpy(status.pr_reg, &regs, sizeof(regs));
	add_note(notes, "CORE", NT_PRSTATUS, &status, sizeof(status));
}

/* Behind the notes that tell of the process, as debuggers expect the first thread's. */
static void extended_notes(const struct look_thread *th, struct look_bytes *notes)
{
	const ThreadInfoX86 *info = th->core->thread_info;
	uint8_t area[FXSAVE_BYTES];

	if (th->extra && th->extra->xstate.len >= FXSAVE_BYTES) {
		add_note(notes, "CORE", NT_FPREGSET, th->extra->xstate.data, FXSAVE_BYTES);
		add_note(notes, "LINUX", NT_X86_XSTATE, th->extra->xstate.data,
			 th->extra->xstate.len);
	} else if (info->fpregs) {
		legacy_area(info->fpregs, area);
		add_note(notes, "CORE", NT_FPREGSET, area, FXSAVE_BYTES);
	}
}

/* The command line is in the task's own memory. */
static int command_line(const struct look *look, const struct look_task *task,
			char args[ELF_PRARGSZ])
{
	uint64_t start = task->mm->mm_arg_start, end = task->mm->mm_arg_end;
	uint64_t page = start & ~(uint64_t)(PAGE_BYTES - 1);
	size_t len = end > start ? end - start : 0;
	uint8_t buf[2 * PAGE_BYTES];
	enum look_page kinds[2];
	int rc;

	if (len >= ELF_PRARGSZ)
		len = ELF_PRARGSZ - 1;
	memset(args, 0, ELF_PRARGSZ);
	if (!len)
		return R_OK;
	rc = look_pages(look, task, page, 2, buf, kinds);
	if (rc != R_OK)
		return rc;
	memcpy(args, buf + (start - page), len);
	for (size_t i = 0; i + 1 < len; i++)
		if (!args[i])
			args[i] = ' ';
	return R_OK;
}

static int process_note(const struct look *look, const struct look_task *task,
			struct look_bytes *notes)
{
	const TaskCoreEntry *tc = task->threads[0].core->tc;
	const ThreadCoreEntry *thread = task->threads[0].core->thread_core;
	struct elf_prpsinfo info = { 0 };
	int rc = command_line(look, task, info.pr_psargs);

	info.pr_sname = tc->task_state == TASK_STATE_STOPPED ? 'T' : 'S';
	info.pr_state = tc->task_state == TASK_STATE_STOPPED ? 8 : 1;
	if (thread && thread->creds) {
		info.pr_uid = thread->creds->uid;
		info.pr_gid = thread->creds->gid;
	}
	info.pr_pid = (pid_t)task->pid;
	info.pr_ppid = (pid_t)task->ppid;
	info.pr_pgrp = (pid_t)task->pgid;
	info.pr_sid = (pid_t)task->sid;
	strncpy(info.pr_fname, tc->comm, sizeof(info.pr_fname) - 1);
	add_note(notes, "CORE", NT_PRPSINFO, &info, sizeof(info));
	return rc;
}

/* Two numbers, three for each mapping, then the names one after another. */
static void files_note(const struct look *look, const struct look_task *task,
		       struct look_bytes *notes)
{
	struct look_bytes desc = { 0 }, names = { 0 };
	uint64_t head[2] = { 0, 1 };

	look_bytes_add(&desc, head, sizeof(head));
	for (size_t i = 0; i < task->mm->n_vmas; i++) {
		const VmaEntry *vma = task->mm->vmas[i];
		uint64_t row[3] = { vma->start, vma->end, vma->pgoff };
		const char *name = look_vma_name(look, vma);

		if (!(vma->status & (VMA_STATUS_FILE_PRIVATE | VMA_STATUS_FILE_SHARED)) || !*name)
			continue;
		look_bytes_add(&desc, row, sizeof(row));
		look_bytes_add(&names, name, strlen(name) + 1);
		head[0]++;
	}
	look_bytes_add(&desc, names.data, names.len);
	if (names.failed || desc.failed)
		notes->failed = true;
	else
		memcpy(desc.data, head, sizeof(head));
	if (head[0] && !notes->failed)
		add_note(notes, "CORE", NT_FILE, desc.data, desc.len);
	free(desc.data);
	free(names.data);
}

int look_core_notes(const struct look *look, const struct look_task *task, struct look_bytes *notes)
{
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i < task->n_threads; i++) {
		thread_notes(task, &task->threads[i], notes);
		if (i == 0) {
			rc = process_note(look, task, notes);
			add_note(notes, "CORE", NT_AUXV, task->mm->mm_saved_auxv,
				 task->mm->n_mm_saved_auxv * sizeof(uint64_t));
			files_note(look, task, notes);
		}
		extended_notes(&task->threads[i], notes);
	}
	return notes->failed ? R_FAILED : rc;
}
