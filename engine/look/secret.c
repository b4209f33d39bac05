#include "engine/look/secret.h"

#include <string.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/look/look_internal.h"
#include "engine/proc/fds/secret.h"

/* Pages told of in one run; what is decrypted at once is what the reader asks for. */
#define RUN_PAGES 256

void look_reveal(struct look *look, const struct store_keys *keys)
{
	look->reveal = true;
	look->keys = keys;
}

int look_secret_open(struct store_view *view, uint64_t generation, const char *name,
		     const struct store_keys *keys, struct sealed **sealed)
{
	*sealed = NULL;
	if (keys)
		return sealed_open(view, generation, name, keys, sealed);
	warn(
	    "generation %llu holds secret memory, and the store has lost its file `keys`: put that "
	    "of a copy of the store in its place",
	    (unsigned long long)generation);
	return R_UNSUPPORTED;
}

uint64_t look_sealed_bytes(const struct look *look, const struct look_task *task)
{
	uint64_t bytes = 0;

	for (size_t i = 0; !look->reveal && task->mm && i < task->mm->n_vmas; i++)
		if (look_vma_is_secret(look, task->mm->vmas[i]))
			bytes += task->mm->vmas[i]->end - task->mm->vmas[i]->start;
	return bytes;
}

static int open_mapped(const struct look *look, const VmaEntry *vma, struct sealed **sealed)
{
	const FileEntry *file = look_file(look, (uint32_t)vma->shmid);
	const MemfdInodeEntry *memfd = file ? look_memfd(look, file) : NULL;
	int rc = R_NOT_FOUND;
	char name[32];

	if (memfd) {
		secret_object_name(memfd->shmid, name);
		rc = look_secret_open(look->view, look->gen.number, name, look->keys, sealed);
	}
	if (rc != R_NOT_FOUND)
		return rc;
	warn("generation %llu: the secret mapped at 0x%llx is not there; run 'snap verify'",
	     (unsigned long long)look->gen.number, (unsigned long long)vma->start);
	return R_DAMAGED;
}

/* Pages from `index` on that are there without a gap; or, if the first is not, that are not. */
static uint64_t equal_pages(const struct sealed *sealed, uint64_t index, uint64_t end, bool *there)
{
	uint64_t next = index, n = 1;

	if (!sealed_next(sealed, &next) || next > end)
		next = end;
	*there = next == index;
	if (!*there)
		return next - index;
	while (n < RUN_PAGES && index + n < end) {
		next = index + n;
		if (!sealed_next(sealed, &next) || next != index + n)
			break;
		n++;
	}
	return n;
}

int look_secret_walk(const struct look *look, const VmaEntry *vma, uint64_t start, uint64_t end,
		     int (*fn)(const struct look_run *run, void *arg), void *arg)
{
	struct look_run run = {
		.start = start, .n = (end - start) / PAGE_BYTES, .kind = LOOK_SEALED, .shared = true
	};
	uint64_t index = (vma->pgoff + (start - vma->start)) / PAGE_BYTES, last = index + run.n;
	struct sealed *sealed;
	int rc;

	if (start >= end)
		return R_OK;
	if (!look->reveal)
		return fn(&run, arg);
	rc = open_mapped(look, vma, &sealed);
	if (rc != R_OK)
		return rc;
	while (rc == R_OK && index < last) {
		bool there;

		run.n = equal_pages(sealed, index, last, &there);
		run.kind = there ? LOOK_SEALED : LOOK_ZERO;
		run.sealed = there ? sealed : NULL;
		run.sealed_index = index;
		rc = fn(&run, arg);
		index += run.n;
		run.start += run.n * PAGE_BYTES;
	}
	sealed_close(sealed);
	return rc;
}

/* ---- changes ---- */

struct comparing {
	struct sealed *sides[2]; /* either may be NULL */
	uint8_t *pages[2];
	struct look_change last; /* being gathered; no pages: none */
	int (*fn)(const struct look_change *change, void *arg);
	void *arg;
};

static int tell_last(struct comparing *c)
{
	int rc = c->last.pages ? c->fn(&c->last, c->arg) : R_OK;

	c->last.pages = 0;
	return rc;
}

static int add(struct comparing *c, uint64_t index, unsigned int kind, uint64_t bytes)
{
	uint64_t at = index * PAGE_BYTES;
	int rc = R_OK;

	if (c->last.pages &&
	    (c->last.kind != kind || c->last.start + c->last.pages * PAGE_BYTES != at))
		rc = tell_last(c);
	if (!c->last.pages)
		c->last = (struct look_change){ .start = at, .kind = kind };
	c->last.pages++;
	c->last.bytes += bytes;
	return rc;
}

static int compare_page(struct comparing *c, uint64_t index)
{
	uint64_t bytes = 0;
	int rc = sealed_read(c->sides[0], index, 1, c->pages[0]);

	if (rc == R_OK)
		rc = sealed_read(c->sides[1], index, 1, c->pages[1]);
	for (size_t i = 0; rc == R_OK && i < PAGE_BYTES; i++)
		bytes += c->pages[0][i] != c->pages[1][i];
	return rc == R_OK && bytes ? add(c, index, CHANGE_WRITTEN, bytes) : rc;
}

static uint64_t next_of(const struct sealed *sealed, uint64_t index)
{
	return sealed && sealed_next(sealed, &index) ? index : UINT64_MAX;
}

static int compare_all(struct comparing *c)
{
	int rc = R_OK;

	for (uint64_t index = 0; rc == R_OK; index++) {
		uint64_t before = next_of(c->sides[0], index), after = next_of(c->sides[1], index);

		index = before < after ? before : after;
		if (index == UINT64_MAX)
			return tell_last(c);
		if (before == after)
			rc = compare_page(c, index);
		else
			rc = add(c, index, before < after ? CHANGE_REMOVED : CHANGE_ADDED,
				 PAGE_BYTES);
	}
	return rc;
}

int look_secret_changes(struct store_view *view, uint64_t before, uint64_t after, const char *name,
			const struct store_keys *keys,
			int (*fn)(const struct look_change *change, void *arg), void *arg)
{
	const uint64_t generations[2] = { before, after };
	struct comparing c = { .fn = fn, .arg = arg };
	uint8_t *pages = sealed_buffer(2 * PAGE_BYTES);
	int rc = pages ? R_OK : R_FAILED;

	for (int i = 0; rc == R_OK && i < 2; i++) {
		c.pages[i] = pages + (size_t)i * PAGE_BYTES;
		rc = look_secret_open(view, generations[i], name, keys, &c.sides[i]);
		if (rc == R_NOT_FOUND)
			rc = R_OK;
	}
	if (rc == R_OK)
		rc = compare_all(&c);
	sealed_close(c.sides[0]);
	sealed_close(c.sides[1]);
	sealed_buffer_free(pages);
	return rc;
}
