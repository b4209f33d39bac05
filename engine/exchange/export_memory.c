/* Page trees as a pagemap and a file of pages (../../docs/images.md tells their form). */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "engine/exchange/export_internal.h"
#include "engine/image/image.h"

#define PE_PRESENT 4u

struct memory {
	struct export_dir *ex;
	const char *name;
	struct image_writer map;
	int fd;
	uint64_t bytes;	   /* in the file of pages */
	uint64_t first, n; /* the entry that is being gathered */
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

static int add_run(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	struct memory *m = arg;
	int rc = export_read(m->ex, m->name, numbers, n, m->ex->buf);

	if (rc != R_OK)
		return rc;
	if (index != m->first + m->n || m->n + n > UINT32_MAX) {
		add_entry(m);
		m->first = index;
	}
	m->n += n;
	if (io_pwrite_all(m->fd, m->ex->buf, n * PAGE_BYTES, (off_t)m->bytes) != R_OK) {
		warn_errno("%s: pages of %s", m->ex->path, m->name);
		return R_FAILED;
	}
	m->bytes += n * PAGE_BYTES;
	return R_OK;
}

int export_memory(struct export_dir *ex, const char *name, const struct object *object)
{
	bool shared = strncmp(name, "pages-shmem-", strlen("pages-shmem-")) == 0;
	const char *which = name + strlen("pages-");
	struct memory m = { .ex = ex, .name = name };
	PagemapHead head = PAGEMAP_HEAD__INIT;
	char pages[32], pagemap[NAME_MAX + 32];
	int rc;

	head.pages_id = ++ex->pages_id;
	snprintf(pages, sizeof(pages), "pages-%u.img", head.pages_id);
	snprintf(pagemap, sizeof(pagemap), "pagemap-%s.img", which);
	rc = export_file(ex, pages, &m.fd);
	if (rc != R_OK)
		return rc;
	image_writer_init(&m.map, shared ? IMAGE_PAGEMAP_SHMEM : IMAGE_PAGEMAP);
	image_add_head(&m.map, &head.base);
	rc = store_object_walk(ex->view, object, 0, UINT64_MAX / PAGE_BYTES, add_run, &m);
	add_entry(&m);
	rc = export_close(ex, pages, m.fd, rc);
	if (rc == R_OK)
		rc = image_finish(&m.map);
	if (rc == R_OK)
		rc = export_bytes(ex, pagemap, m.map.data, m.map.len);
	image_writer_free(&m.map);
	return rc;
}
