/* snap mem: a table of a process's mappings, or the bytes of a range, as a dump or raw. */
#include "cli/commands.h"
#include "cli/describe.h"
#include "cli/looking.h"
#include "cli/tree_text.h"

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "cli/exit_codes.h"
#include "cli/output.h"
#include "cli/secrets.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ROW_BYTES 16
#define BATCH_PAGES 64

struct sizes {
	uint64_t stored, zero, file, sealed; /* pages */
};

static int count_run(const struct look_run *run, void *arg)
{
	struct sizes *sizes = arg;

	if (run->kind == LOOK_STORED || run->sealed)
		sizes->stored += run->n;
	else if (run->kind == LOOK_SEALED)
		sizes->sealed += run->n;
	else if (run->kind == LOOK_FILE)
		sizes->file += run->n;
	else
		sizes->zero += run->n;
	return R_OK;
}

static const char *rights(const VmaEntry *vma, char text[5])
{
	text[0] = vma->prot & PROT_READ ? 'r' : '-';
	text[1] = vma->prot & PROT_WRITE ? 'w' : '-';
	text[2] = vma->prot & PROT_EXEC ? 'x' : '-';
	text[3] = vma->flags & MAP_SHARED ? 's' : 'p';
	text[4] = '\0';
	return text;
}

static int one_mapping(const struct look *look, const VmaEntry *vma, const struct sizes *sizes,
		       json_t *rows)
{
	const char *name = look_vma_name(look, vma);
	char text[5], a[WORDS_MAX], b[WORDS_MAX];
	json_t *row;

	if (!rows) {
		printf("%012llx-%012llx %s %12s %12s  ", (unsigned long long)vma->start,
		       (unsigned long long)vma->end, rights(vma, text),
		       words_bytes(a, vma->end - vma->start),
		       words_bytes(b, sizes->stored * PAGE_BYTES));
		tree_text_string(name);
		if (sizes->sealed)
			printf(" (secret: sealed, %s)", words_bytes(a, sizes->sealed * PAGE_BYTES));
		putchar('\n');
		return R_OK;
	}
	row = json_pack("{s:I, s:I, s:s, s:I, s:I, s:I, s:I, s:I}", "start", (json_int_t)vma->start,
			"end", (json_int_t)vma->end, "rights", rights(vma, text), "bytes_stored",
			(json_int_t)(sizes->stored * PAGE_BYTES), "bytes_zero",
			(json_int_t)(sizes->zero * PAGE_BYTES), "bytes_file",
			(json_int_t)(sizes->file * PAGE_BYTES), "bytes_sealed",
			(json_int_t)(sizes->sealed * PAGE_BYTES), "offset", (json_int_t)vma->pgoff);
	/* A path may be any bytes. */
	if (row)
		json_object_set_new(row, "name", describe_text(name, strlen(name)));
	if (row && json_array_append_new(rows, row) == 0)
		return R_OK;
	warn("out of memory");
	return R_FAILED;
}

static int table(const struct options *options, const struct look *look,
		 const struct look_task *task, int *code)
{
	json_t *rows = options->json ? json_array() : NULL;
	int rc = R_OK;

	if (!rows)
		printf("%-25s %s %12s %12s  %s\n", "ADDRESS", "    ", "SIZE", "STORED", "MAPPING");
	for (size_t i = 0; rc == R_OK && i < task->mm->n_vmas; i++) {
		const VmaEntry *vma = task->mm->vmas[i];
		struct sizes sizes = { 0 };

		if (vma->status & VMA_STATUS_GUARD)
			continue;
		rc = look_vma_walk(look, task, vma, vma->start, vma->end, count_run, &sizes);
		if (rc == R_OK)
			rc = one_mapping(look, vma, &sizes, rows);
	}
	if (rows && rc == R_OK)
		*code = output_json(json_pack("{s:I, s:I, s:O}", "generation",
					      (json_int_t)look->gen.number, "pid",
					      (json_int_t)task->pid, "mappings", rows));
	json_decref(rows);
	return rc;
}

static void print_row(uint64_t address, const uint8_t *bytes, size_t n)
{
	printf("%012llx ", (unsigned long long)address);
	for (size_t i = 0; i < ROW_BYTES; i++) {
		if (i == ROW_BYTES / 2)
			putchar(' ');
		if (i < n)
			printf(" %02x", bytes[i]);
		else
			printf("   ");
	}
	printf("  |");
	for (size_t i = 0; i < n; i++)
		putchar(bytes[i] < 127 && isprint(bytes[i]) ? bytes[i] : '.');
	printf("|\n");
}

/* The bytes of one run go out here; equal rows are folded into a star. */
struct dump {
	bool raw, same, any;
	uint64_t expected; /* address after the bytes before */
	uint8_t last[ROW_BYTES];
};

static int put(struct dump *d, uint64_t address, const uint8_t *bytes, size_t len)
{
	if (d->raw) {
		if (fwrite(bytes, 1, len, stdout) == len)
			return R_OK;
		warn_errno("standard output");
		return R_FAILED;
	}
	if (d->any && address != d->expected)
		d->any = d->same = false;
	for (size_t i = 0; i < len; i += ROW_BYTES) {
		size_t n = len - i < ROW_BYTES ? len - i : ROW_BYTES;
		bool equal = d->any && n == ROW_BYTES && !memcmp(d->last, bytes + i, n);

		if (!equal)
			print_row(address + i, bytes + i, n);
		else if (!d->same)
			printf("*\n");
		d->same = equal;
		d->any = n == ROW_BYTES;
		memcpy(d->last, bytes + i, n);
	}
	d->expected = address + len;
	return R_OK;
}

static int range(const struct options *options, const struct look *look,
		 const struct look_task *task)
{
	uint8_t *buf = malloc(BATCH_PAGES * PAGE_BYTES);
	enum look_page kinds[BATCH_PAGES];
	struct dump dump = { .raw = options->raw };
	uint64_t at = options->range_start;
	uint64_t missing = 0, sealed = 0;
	int rc = R_OK;

	if (!buf) {
		warn("out of memory");
		return R_FAILED;
	}
	while (rc == R_OK && at < options->range_end) {
		uint64_t page = at & ~(uint64_t)(PAGE_BYTES - 1), end = page;
		size_t n = 0;

		while (n < BATCH_PAGES && end < options->range_end) {
			n++;
			end += PAGE_BYTES;
		}
		rc = look_pages(look, task, page, n, buf, kinds);
		for (size_t i = 0; rc == R_OK && i < n; i++) {
			uint64_t from = page + i * PAGE_BYTES, to = from + PAGE_BYTES;

			from = from < at ? at : from;
			to = to > options->range_end ? options->range_end : to;
			if (kinds[i] == LOOK_NONE || kinds[i] == LOOK_FILE)
				missing++;
			if (kinds[i] == LOOK_SEALED)
				sealed += to - from;
			if (options->raw || kinds[i] == LOOK_STORED || kinds[i] == LOOK_ZERO)
				rc = put(&dump, from, buf + (from - page), to - from);
		}
		at = end;
	}
	free(buf);
	if (rc == R_OK)
		secrets_note(sealed, options->raw ? "not shown: zeroes stand for it" : "not shown");
	if (rc == R_OK && missing)
		note("%llu page%s of the range %s not in the generation: nothing is mapped there, "
		     "or the file that is mapped has them%s",
		     (unsigned long long)missing, missing == 1 ? "" : "s",
		     missing == 1 ? "is" : "are", options->raw ? "; zeroes stand for them" : "");
	return rc;
}

int cmd_mem(const struct options *options)
{
	const struct look_task *task;
	struct looking looking;
	int result, code = EXIT_DONE;

	result = looking_open(options, &looking);
	if (result != R_OK)
		return exit_code_of(result);
	task = looking_task(options, looking.look);
	if (!task) {
		result = R_NOT_FOUND;
	} else if (!task->mm) {
		warn("generation %llu: process %u is dead and has no memory",
		     (unsigned long long)looking.look->gen.number, task->pid);
		result = R_NOT_FOUND;
	} else if (options->range_end) {
		result = range(options, looking.look, task);
	} else {
		result = table(options, looking.look, task, &code);
	}
	looking_close(&looking);
	return result == R_OK ? code : exit_code_of(result);
}
