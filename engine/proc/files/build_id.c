#include "engine/proc/files/build_id.h"

#include <elf.h>
#include <endian.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/result.h"

#define HEADERS_MAX 256u		/* program headers; real files have some 15 */
#define NOTES_MAX_BYTES (64u << 10)	/* looked at, of all note segments together */
#define HEADER_BYTES sizeof(Elf64_Phdr) /* the larger of the two kinds */

static const unsigned char own_order = BYTE_ORDER == LITTLE_ENDIAN ? ELFDATA2LSB : ELFDATA2MSB;

/* Where program headers are, as both kinds of files tell. */
struct table {
	bool wide; /* 64 bits */
	uint64_t offset;
	unsigned int n, entry_bytes;
};

struct note {
	uint64_t offset, bytes, align;
};

static int read_table(int fd, struct table *table)
{
	union {
		unsigned char ident[EI_NIDENT];
		Elf32_Ehdr narrow;
		Elf64_Ehdr wide;
	} h = { 0 };
	int rc = io_pread_all(fd, &h, sizeof(h.narrow), 0);

	if (rc != R_OK)
		return rc;
	if (memcmp(h.ident, ELFMAG, SELFMAG) != 0 || h.ident[EI_DATA] != own_order)
		return R_NOT_FOUND;
	if (h.ident[EI_CLASS] == ELFCLASS32) {
		*table = (struct table){ false, h.narrow.e_phoff, h.narrow.e_phnum,
					 h.narrow.e_phentsize };
		return table->entry_bytes == sizeof(Elf32_Phdr) ? R_OK : R_NOT_FOUND;
	}
	if (h.ident[EI_CLASS] != ELFCLASS64)
		return R_NOT_FOUND;
	rc = io_pread_all(fd, &h, sizeof(h.wide), 0);
	if (rc != R_OK)
		return rc;
	*table = (struct table){ true, h.wide.e_phoff, h.wide.e_phnum, h.wide.e_phentsize };
	return table->entry_bytes == sizeof(Elf64_Phdr) ? R_OK : R_NOT_FOUND;
}

/* True if header `i` of those at `data` is of notes. */
static bool note_of(const struct table *table, const uint8_t *data, unsigned int i,
		    struct note *note)
{
	if (table->wide) {
		Elf64_Phdr h;

		memcpy(&h, data + (size_t)i * sizeof(h), sizeof(h));
		*note = (struct note){ h.p_offset, h.p_filesz, h.p_align };
		return h.p_type == PT_NOTE;
	}
	Elf32_Phdr h;

	memcpy(&h, data + (size_t)i * sizeof(h), sizeof(h));
	*note = (struct note){ h.p_offset, h.p_filesz, h.p_align };
	return h.p_type == PT_NOTE;
}

/* Rounds up within `len`, so that nothing overflows. */
static size_t round_up(size_t at, size_t align, size_t len)
{
	size_t rest = at % align;

	if (rest == 0)
		return at;
	return len - at < align - rest ? len : at + (align - rest);
}

static int search(const uint8_t *data, size_t len, size_t align, uint8_t id[BUILD_ID_MAX_BYTES],
		  size_t *id_len)
{
	size_t at = 0;

	while (len - at >= sizeof(Elf32_Nhdr)) {
		Elf32_Nhdr h;
		size_t name, desc;

		memcpy(&h, data + at, sizeof(h));
		name = at + sizeof(h);
		if (h.n_namesz > len - name)
			return R_NOT_FOUND;
		desc = round_up(name + h.n_namesz, align, len);
		if (h.n_descsz > len - desc)
			return R_NOT_FOUND;
		if (h.n_type == NT_GNU_BUILD_ID && h.n_namesz == sizeof(ELF_NOTE_GNU) &&
		    memcmp(data + name, ELF_NOTE_GNU, sizeof(ELF_NOTE_GNU)) == 0 &&
		    h.n_descsz > 0 && h.n_descsz <= BUILD_ID_MAX_BYTES) {
			memcpy(id, data + desc, h.n_descsz);
			*id_len = h.n_descsz;
			return R_OK;
		}
		at = round_up(desc + h.n_descsz, align, len);
	}
	return R_NOT_FOUND;
}

static int read_notes(int fd, uint64_t file_bytes, const struct table *table,
		      const uint8_t *headers, uint8_t id[BUILD_ID_MAX_BYTES], size_t *len)
{
	uint8_t *notes = malloc(NOTES_MAX_BYTES);
	size_t budget = NOTES_MAX_BYTES;
	int rc = R_NOT_FOUND;

	if (!notes)
		return R_FAILED;
	for (unsigned int i = 0; rc == R_NOT_FOUND && i < table->n; i++) {
		struct note note;

		if (!note_of(table, headers, i, &note) || note.bytes > budget ||
		    note.offset > file_bytes || note.bytes > file_bytes - note.offset)
			continue;
		budget -= note.bytes;
		rc = io_pread_all(fd, notes, note.bytes, (off_t)note.offset);
		if (rc == R_OK)
			rc = search(notes, note.bytes, note.align == 8 ? 8 : 4, id, len);
	}
	free(notes);
	return rc;
}

int build_id_read(int fd, uint64_t file_bytes, uint8_t id[BUILD_ID_MAX_BYTES], size_t *len)
{
	uint8_t headers[HEADERS_MAX * HEADER_BYTES];
	struct table table;
	size_t bytes;
	int rc = read_table(fd, &table);

	if (rc != R_OK)
		return rc;
	bytes = (size_t)table.n * table.entry_bytes;
	if (table.n == 0 || table.n > HEADERS_MAX || table.offset > file_bytes ||
	    bytes > file_bytes - table.offset)
		return R_NOT_FOUND;
	rc = io_pread_all(fd, headers, bytes, (off_t)table.offset);
	return rc == R_OK ? read_notes(fd, file_bytes, &table, headers, id, len) : rc;
}
