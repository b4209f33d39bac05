/* An ELF core file, as the kernel would have written it, with holes for what was never touched. */
#include "engine/look/look_internal.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"

#define BATCH_PAGES 256

/* One PT_LOAD. */
struct piece {
	const VmaEntry *vma;
	uint64_t start, end;
	bool in_file; /* of the core; otherwise debuggers take it from the mapped file */
};

struct core {
	const struct look *look;
	const struct look_task *task;
	bool file_contents;
	int fd;
	struct piece *pieces;
	size_t n, room;
	const VmaEntry *vma; /* being looked at */
	uint64_t at;	     /* place in the file, of the piece being written */
	uint8_t *buf;
};

static int add_piece(struct core *c, uint64_t start, uint64_t end, bool in_file)
{
	struct piece *last = c->n ? &c->pieces[c->n - 1] : NULL;

	if (last && last->vma == c->vma && last->end == start && last->in_file == in_file) {
		last->end = end;
		return R_OK;
	}
	if (c->n == c->room) {
		size_t room = c->room ? 2 * c->room : 64;
		struct piece *more = reallocarray(c->pieces, room, sizeof(*more));

		if (!more) {
			warn("out of memory");
			return R_FAILED;
		}
		c->pieces = more;
		c->room = room;
	}
	c->pieces[c->n++] = (struct piece){ c->vma, start, end, in_file };
	return R_OK;
}

/* The first page of a mapped program or library, by which debuggers tell which one it is. */
static int is_elf_head(const struct core *c, const struct look_run *run, bool *is)
{
	int rc;

	*is = false;
	if (run->start != c->vma->start || c->vma->pgoff != 0)
		return R_OK;
	rc = look_run_read(c->look, c->task, run, 0, 1, c->buf);
	*is = rc == R_OK && memcmp(c->buf, ELFMAG, SELFMAG) == 0;
	return rc;
}

/* What is only in a file is left to the file, but for its head, as the kernel does by default. */
static int piece_of_file(struct core *c, const struct look_run *run)
{
	uint64_t end = run->start + run->n * PAGE_BYTES, from = run->start;
	bool head;
	int rc;

	if (c->file_contents)
		return add_piece(c, from, end, true);
	rc = is_elf_head(c, run, &head);
	if (rc == R_OK && head) {
		from += PAGE_BYTES;
		rc = add_piece(c, run->start, from, true);
	}
	return rc == R_OK && from < end ? add_piece(c, from, end, false) : rc;
}

static int piece_of_run(const struct look_run *run, void *arg)
{
	if (run->kind == LOOK_FILE && look_run_has_bytes(run))
		return piece_of_file(arg, run);
	return add_piece(arg, run->start, run->start + run->n * PAGE_BYTES,
			 look_run_has_bytes(run) || run->kind == LOOK_ZERO);
}

static int find_pieces(struct core *c)
{
	const MmEntry *mm = c->task->mm;
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i < mm->n_vmas; i++) {
		c->vma = mm->vmas[i];
		/* Guarded pages are an entry of their own within another one's range. */
		if (c->vma->status & (VMA_STATUS_GUARD | VMA_STATUS_VSYSCALL))
			continue;
		rc = look_vma_walk(c->look, c->task, c->vma, c->vma->start, c->vma->end,
				   piece_of_run, c);
	}
	return rc;
}

static uint32_t flags_of(const VmaEntry *vma)
{
	return (vma->prot & PROT_READ ? PF_R : 0) | (vma->prot & PROT_WRITE ? PF_W : 0) |
	       (vma->prot & PROT_EXEC ? PF_X : 0);
}

static uint64_t to_page(uint64_t bytes)
{
	return (bytes + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1);
}

/* With more program headers than 16 bits count, their number stands in a section header. */
static void add_heads(const struct core *c, const struct look_bytes *notes, struct look_bytes *head)
{
	size_t n = c->n + 1, sections = n >= PN_XNUM ? 1 : 0;
	uint64_t notes_at =
	    sizeof(Elf64_Ehdr) + n * sizeof(Elf64_Phdr) + sections * sizeof(Elf64_Shdr);
	uint64_t at = to_page(notes_at + notes->len);
	Elf64_Ehdr elf = { .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
					EV_CURRENT, ELFOSABI_NONE },
			   .e_type = ET_CORE,
			   .e_machine = EM_X86_64,
			   .e_version = EV_CURRENT,
			   .e_phoff = sizeof(Elf64_Ehdr),
			   .e_shoff = sections ? sizeof(Elf64_Ehdr) + n * sizeof(Elf64_Phdr) : 0,
			   .e_ehsize = sizeof(Elf64_Ehdr),
			   .e_phentsize = sizeof(Elf64_Phdr),
			   .e_phnum = (Elf64_Half)(sections ? PN_XNUM : n),
			   .e_shentsize = sections ? sizeof(Elf64_Shdr) : 0,
			   .e_shnum = (Elf64_Half)sections };
	Elf64_Phdr note = { .p_type = PT_NOTE, .p_offset = notes_at, .p_filesz = notes->len };
	Elf64_Shdr first = { .sh_size = sections, .sh_info = (Elf64_Word)n };

	look_bytes_add(head, &elf, sizeof(elf));
	look_bytes_add(head, &note, sizeof(note));
	for (size_t i = 0; i < c->n; i++) {
		const struct piece *piece = &c->pieces[i];
		uint64_t bytes = piece->end - piece->start;
		Elf64_Phdr load = { .p_type = PT_LOAD,
				    .p_flags = flags_of(piece->vma),
				    .p_offset = at,
				    .p_vaddr = piece->start,
				    .p_filesz = piece->in_file ? bytes : 0,
				    .p_memsz = bytes,
				    .p_align = PAGE_BYTES };

		look_bytes_add(head, &load, sizeof(load));
		at += load.p_filesz;
	}
	if (sections)
		look_bytes_add(head, &first, sizeof(first));
	look_bytes_add(head, notes->data, notes->len);
	look_bytes_align(head, PAGE_BYTES);
	if (notes->failed)
		head->failed = true;
}

static int cannot_write(void)
{
	warn_errno("cannot write the core file");
	return R_FAILED;
}

/* Zeroes stay holes. */
static int write_run(const struct look_run *run, void *arg)
{
	struct core *c = arg;
	bool has_bytes = look_run_has_bytes(run);
	int rc = R_OK;

	for (uint64_t i = 0, n; rc == R_OK && has_bytes && i < run->n; i += n) {
		n = run->n - i < BATCH_PAGES ? run->n - i : BATCH_PAGES;
		rc = look_run_read(c->look, c->task, run, i, n, c->buf);
		if (rc == R_OK && io_pwrite_all(c->fd, c->buf, n * PAGE_BYTES,
						(off_t)(c->at + i * PAGE_BYTES)) != R_OK)
			rc = cannot_write();
	}
	c->at += run->n * PAGE_BYTES;
	return rc;
}

static int write_memory(struct core *c, const struct look_bytes *head)
{
	int rc = R_OK;

	if (io_pwrite_all(c->fd, head->data, head->len, 0) != R_OK)
		return cannot_write();
	c->at = head->len;
	for (size_t i = 0; rc == R_OK && i < c->n; i++)
		if (c->pieces[i].in_file)
			rc = look_vma_walk(c->look, c->task, c->pieces[i].vma, c->pieces[i].start,
					   c->pieces[i].end, write_run, c);
	/* The last pages may be a hole. */
	if (rc == R_OK && ftruncate(c->fd, (off_t)c->at) != 0)
		return cannot_write();
	return rc;
}

static int refuse(const struct look *look, const struct look_task *task, const char *why)
{
	warn("generation %llu: task %u %s", (unsigned long long)look->gen.number, task->pid, why);
	return R_UNSUPPORTED;
}

int look_core(const struct look *look, const struct look_task *task, bool file_contents, int fd)
{
	struct core c = { .look = look, .task = task, .file_contents = file_contents, .fd = fd };
	struct look_bytes notes = { 0 }, head = { 0 };
	int rc;

	if (!task->mm)
		return refuse(look, task, "is dead and has no memory: there is no core of it");
	for (size_t i = 0; i < task->n_threads; i++)
		if (task->threads[i].core->mtype != CORE_ENTRY__MARCH__X86_64 ||
		    !task->threads[i].core->thread_info)
			return refuse(look, task,
				      "was taken on another kind of processor, of which no core "
				      "can be written");
	c.buf = malloc(BATCH_PAGES * PAGE_BYTES);
	if (!c.buf) {
		warn("out of memory");
		return R_FAILED;
	}
	rc = look_core_notes(look, task, &notes);
	if (rc == R_OK)
		rc = find_pieces(&c);
	if (rc == R_OK) {
		add_heads(&c, &notes, &head);
		rc = head.failed ? R_FAILED : write_memory(&c, &head);
	}
	free(c.buf);
	free(c.pieces);
	free(head.data);
	free(notes.data);
	return rc;
}
