/* Page trees as a pagemap and a file of pages (../../docs/images.md tells their form). */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "engine/exchange/export_internal.h"
#include "engine/image/image.h"
#include "engine/look/secret.h"

#define PE_PRESENT 4u

struct memory {
	struct export_dir *ex;
	const char *name;
	struct image_writer map;
	int fd;
	uint64_t bytes;		   /* in the file of pages */
	uint64_t first, n;	   /* the entry that is being gathered */
	uint64_t vdso, vdso_pages; /* still to be added */
};

/* CRIU up to 4.1 counts in the one field, later ones in the other. */
static void add_entry(struct memory *m)
{
	PagemapEntry entry = PAGEMAP_ENTRY__INIT;

	if (!m->n)
		return;
	entry.vaddr = m->first * PAGE_BYTES;
	entry.compat_nr_pages = (uint32_t)m->n;
	entry.has_flags = true;
	entry.flags = PE_PRESENT;
	entry.has_nr_pages = true;
	entry.nr_pages = m->n;
	image_add(&m->map, &entry.base);
	m->n = 0;
}

static int add_pages(struct memory *m, uint64_t index, const void *pages, size_t n)
{
	if (index != m->first + m->n || m->n + n > UINT32_MAX) {
		add_entry(m);
		m->first = index;
	}
	m->n += n;
	if (io_pwrite_all(m->fd, pages, n * PAGE_BYTES, (off_t)m->bytes) != R_OK) {
		warn_errno("%s: pages of %s", m->ex->path, m->name);
		return R_FAILED;
	}
	m->bytes += n * PAGE_BYTES;
	m->ex->pages += n;
	return R_OK;
}

static int add_vdso(struct memory *m)
{
	uint64_t n = m->vdso_pages;

	m->vdso_pages = 0;
	return add_pages(m, m->vdso, (const void *)getauxval(AT_SYSINFO_EHDR), n);
}

static int add_run(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	struct memory *m = arg;
	int rc = R_OK;

	if (m->vdso_pages && index > m->vdso)
		rc = add_vdso(m);
	if (rc == R_OK)
		rc = export_read(m->ex, m->name, numbers, n, m->ex->buf);
	return rc == R_OK ? add_pages(m, index, m->ex->buf, n) : rc;
}

/* How long the vdso of this process is: the kernel maps the same into all. */
static uint64_t own_vdso_bytes(void)
{
	unsigned long at = getauxval(AT_SYSINFO_EHDR);
	const uint8_t *header = (const uint8_t *)at;
	unsigned long long start, end;
	uint64_t bytes = 0;
	char *text, *rest;
	size_t len;

	if (!header || io_read_file(AT_FDCWD, "/proc/self/maps", 16u << 20, &text, &len) != R_OK)
		return 0;
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		if (sscanf(line, "%llx-%llx", &start, &end) == 2 && start == at)
			bytes = end - start;
	free(text);
	return bytes;
}

/*
 * The code the kernel maps into every task.  Takes leave it out, CRIU wants to see it, to know
 * where its functions were.  It is that of the running kernel, which is what the generation could
 * be restored under by snap, too.
 */
static int plan_vdso(struct memory *m, const char *pid)
{
	ProtobufCMessage *message;
	const MmEntry *mm;
	char name[64];
	int rc;

	snprintf(name, sizeof(name), "mm-%s", pid);
	rc = export_read_one(m->ex, IMAGE_MM, name, &message);
	if (rc != R_OK)
		return rc == R_NOT_FOUND ? R_OK : rc;
	mm = (const MmEntry *)message;
	for (size_t i = 0; i < mm->n_vmas; i++)
		if (mm->vmas[i]->status & VMA_STATUS_VDSO) {
			m->vdso = mm->vmas[i]->start / PAGE_BYTES;
			m->vdso_pages = (mm->vmas[i]->end - mm->vmas[i]->start) / PAGE_BYTES;
		}
	image_free_message(message);
	if (!m->vdso_pages || m->vdso_pages * PAGE_BYTES == own_vdso_bytes())
		return R_OK;
	warn("task %s: was taken under a kernel whose vdso takes %llu bytes, this one's takes "
	     "%llu; export under the kernel it was taken under",
	     pid, (unsigned long long)m->vdso_pages * PAGE_BYTES,
	     (unsigned long long)own_vdso_bytes());
	return R_UNSUPPORTED;
}

/* Files for memory by the name `which`, filled by `fill`. */
static int write_memory(struct memory *m, const char *which, bool shared, const void *from,
			int (*fill)(struct memory *m, const void *from))
{
	struct export_dir *ex = m->ex;
	PagemapHead head = PAGEMAP_HEAD__INIT;
	char pages[32], pagemap[NAME_MAX + 32];
	int rc;

	head.pages_id = ++ex->pages_id;
	snprintf(pages, sizeof(pages), "pages-%u.img", head.pages_id);
	snprintf(pagemap, sizeof(pagemap), "pagemap-%s.img", which);
	rc = export_file(ex, pages, &m->fd);
	if (rc != R_OK)
		return rc;
	image_writer_init(&m->map, shared ? IMAGE_PAGEMAP_SHMEM : IMAGE_PAGEMAP);
	image_add_head(&m->map, &head.base);
	rc = fill(m, from);
	add_entry(m);
	rc = export_close(ex, pages, m->fd, rc);
	if (rc == R_OK)
		rc = image_finish(&m->map);
	if (rc == R_OK)
		rc = export_bytes(ex, pagemap, m->map.data, m->map.len);
	image_writer_free(&m->map);
	return rc;
}

static int fill_from_tree(struct memory *m, const void *from)
{
	const struct object *object = from;
	int rc = store_object_walk(m->ex->view, object, 0, UINT64_MAX / PAGE_BYTES, add_run, m);

	return rc == R_OK && m->vdso_pages ? add_vdso(m) : rc;
}

int export_memory(struct export_dir *ex, const char *name, const struct object *object)
{
	bool shared = strncmp(name, "pages-shmem-", strlen("pages-shmem-")) == 0;
	const char *which = name + strlen("pages-");
	struct memory m = { .ex = ex, .name = name };
	int rc;

	if (!shared && !ex->imported && (rc = plan_vdso(&m, which)) != R_OK)
		return rc;
	return write_memory(&m, which, shared, object, fill_from_tree);
}

static int fill_from_secret(struct memory *m, const void *from)
{
	const struct export_options *options = m->ex->options;
	uint8_t *page = sealed_buffer(PAGE_BYTES);
	struct sealed *sealed = NULL;
	int rc =
	    page ? look_secret_open(m->ex->view, m->ex->gen->number, from, options->keys, &sealed)
		 : R_FAILED;

	for (uint64_t i = 0; rc == R_OK && sealed_next(sealed, &i); i++) {
		rc = sealed_read(sealed, i, 1, page);
		if (rc == R_OK)
			rc = add_pages(m, i, page, 1);
	}
	sealed_close(sealed);
	sealed_buffer_free(page);
	return rc == R_NOT_FOUND ? R_DAMAGED : rc;
}

int export_secret(struct export_dir *ex, const char *name, const struct object *object)
{
	struct memory m = { .ex = ex, .name = name };

	if (strncmp(name, SEALED_PREFIX, strlen(SEALED_PREFIX)) != 0)
		return R_OK;
	if (ex->options->reveal)
		return write_memory(&m, name + strlen(SEALED_PREFIX), true, name, fill_from_secret);
	ex->result->bytes_sealed += object->length_bytes;
	return R_OK;
}
