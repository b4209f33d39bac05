#include "engine/exchange/exchange.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "dedup/dedup.h"
#include "engine/exchange/pagemap.h"
#include "engine/image/image.h"

#define BLOCK_BYTES ((size_t)1 << 20)
#define IMAGE_MAX_BYTES ((size_t)1 << 30)
/* What CRIU 4.2 writes into its inventory. */
#define INVENTORY_VERSION_MAX 2

struct import {
	const struct import_options *options;
	struct import_result *result;
	int dirfd;
	const char *path;
	char **names; /* of its files, sorted */
	size_t n, room;
	struct dump_chain *chain;
	struct ingest *ingest;
	uint8_t *buf;

	struct object_writer *writer; /* of memory being taken in */
	uint64_t end;		      /* page index behind the last one */
};

static int out_of_memory(void)
{
	warn("out of memory");
	return R_FAILED;
}

static int add_name(struct import *im, const char *name)
{
	if (im->n == im->room) {
		size_t room = im->room ? 2 * im->room : 64;
		char **more = reallocarray(im->names, room, sizeof(*more));

		if (!more)
			return out_of_memory();
		im->names = more;
		im->room = room;
	}
	im->names[im->n] = strdup(name);
	return im->names[im->n] ? (im->n++, R_OK) : out_of_memory();
}

/* Files only: a link could lead anywhere, and nothing else belongs into a dump. */
static int look_at(struct import *im, const char *name)
{
	struct stat st;

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, "parent") == 0)
		return R_OK;
	if (fstatat(im->dirfd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
		warn_errno("%s/%s", im->path, name);
		return R_FAILED;
	}
	if (S_ISREG(st.st_mode))
		return add_name(im, name);
	if (S_ISSOCK(st.st_mode) || S_ISDIR(st.st_mode)) {
		note("%s/%s is no file of a dump; it is left out", im->path, name);
		return R_OK;
	}
	warn("%s/%s is a link or a device, not a file; take it away if it does not belong there",
	     im->path, name);
	return R_UNSUPPORTED;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int list_files(struct import *im)
{
	int fd = openat(im->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	int rc = R_OK;

	if (!dir) {
		warn_errno("%s", im->path);
		if (fd >= 0)
			close(fd);
		return R_FAILED;
	}
	while (rc == R_OK && (entry = readdir(dir)))
		rc = look_at(im, entry->d_name);
	closedir(dir);
	if (rc == R_OK && im->n)
		qsort(im->names, im->n, sizeof(*im->names), by_name);
	return rc;
}

static int read_image(const struct import *im, const char *file, char **data, size_t *len)
{
	if (io_read_file(im->dirfd, file, IMAGE_MAX_BYTES, data, len) == R_OK)
		return R_OK;
	if (errno == ENOENT)
		return R_NOT_FOUND;
	warn_errno("%s/%s", im->path, file);
	return R_FAILED;
}

static int read_inventory(struct import *im)
{
	const InventoryEntry *entry;
	ProtobufCMessage *message;
	struct stat st;
	char *data;
	size_t len;
	int rc = read_image(im, "inventory.img", &data, &len);

	if (rc == R_NOT_FOUND)
		warn("%s: there is no inventory.img, so this is no dump", im->path);
	if (rc != R_OK)
		return rc;
	rc = image_read_one(IMAGE_INVENTORY, "inventory", data, len, &message);
	free(data);
	if (rc != R_OK)
		return rc;
	entry = (const InventoryEntry *)message;
	if (entry->img_version > INVENTORY_VERSION_MAX || message->n_unknown_fields) {
		warn("%s/inventory.img tells of a version or a setting that came after CRIU 4.2",
		     im->path);
		rc = R_UNSUPPORTED;
	}
	image_free_message(message);
	if (rc == R_OK && fstatat(im->dirfd, "inventory.img", &st, 0) == 0)
		im->result->gen.time_ns =
		    (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	return rc;
}

static int read_tree(struct import *im)
{
	struct generation *gen = &im->result->gen;
	struct image_reader reader;
	ProtobufCMessage *message;
	char *data;
	size_t len;
	int rc = read_image(im, "pstree.img", &data, &len);

	if (rc == R_NOT_FOUND) {
		warn("%s: there is no pstree.img; a pre-dump is no dump of its own, import the one "
		     "that follows it",
		     im->path);
		return R_DAMAGED;
	}
	if (rc != R_OK)
		return rc;
	rc = image_open(&reader, IMAGE_PSTREE, "pstree", data, len);
	while (rc == R_OK && (rc = image_next(&reader, &message)) == R_OK) {
		if (!gen->tasks++)
			gen->root_pid = ((const PstreeEntry *)message)->pid;
		image_free_message(message);
	}
	free(data);
	if (rc != R_NOT_FOUND)
		return rc;
	if (gen->tasks)
		return R_OK;
	warn("%s/pstree.img is empty", im->path);
	return R_DAMAGED;
}

static int take_pages(uint64_t index, const void *pages, size_t n, void *arg)
{
	struct import *im = arg;

	im->end = index + n;
	if (!progress_tell(im->options->progress, "importing memory", im->end, 0, PROGRESS_PAGES))
		return R_FAILED;
	return object_pages(im->writer, index, pages, n);
}

/* "pagemap-12" becomes the tree pages-12. */
static int import_memory(struct import *im, const char *pagemap)
{
	char name[NAME_MAX + 16];
	int rc;

	snprintf(name, sizeof(name), "pages-%s", pagemap + strlen("pagemap-"));
	im->end = 0;
	rc = object_begin(im->ingest, name, &im->writer);
	if (rc != R_OK)
		return rc;
	rc = dump_pages_each(im->chain, pagemap, take_pages, im);
	if (object_end(im->writer, im->end * PAGE_BYTES) != R_OK && rc == R_OK)
		rc = R_FAILED;
	return rc;
}

/* The bytes of a file, whose last page is filled up with zeroes. */
static int put_bytes(struct import *im, const char *file, int fd, uint64_t size,
		     struct object_writer *writer)
{
	int rc = R_OK;

	for (uint64_t at = 0; rc == R_OK && at < size;) {
		size_t len = size - at < BLOCK_BYTES ? (size_t)(size - at) : BLOCK_BYTES;
		size_t pages = (len + PAGE_BYTES - 1) / PAGE_BYTES;

		memset(im->buf + (pages - 1) * PAGE_BYTES, 0, PAGE_BYTES);
		if (io_pread_all(fd, im->buf, len, (off_t)at) != R_OK) {
			warn("%s/%s became shorter, or cannot be read", im->path, file);
			return R_FAILED;
		}
		rc = object_pages(writer, at / PAGE_BYTES, im->buf, pages);
		at += len;
	}
	return rc;
}

/* One file as it is. */
static int import_file(struct import *im, const char *file)
{
	int fd = openat(im->dirfd, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), rc;
	struct object_writer *writer;
	char name[NAME_MAX + 16];
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0) {
		warn_errno("%s/%s", im->path, file);
		rc = R_FAILED;
		goto out;
	}
	snprintf(name, sizeof(name), "%s%s", EXCHANGE_PREFIX, file);
	rc = object_begin(im->ingest, name, &writer);
	if (rc != R_OK)
		goto out;
	rc = put_bytes(im, file, fd, (uint64_t)st.st_size, writer);
	if (object_end(writer, (uint64_t)st.st_size) != R_OK && rc == R_OK)
		rc = R_FAILED;
out:
	if (fd >= 0)
		close(fd);
	return rc;
}

/* Is it an image that snap itself reads?  Memory has its own form, statistics none. */
static bool is_own_image(const char *name)
{
	const struct image_kind *kind = image_kind_by_name(name);

	return kind && strcmp(kind->name, "pagemap") != 0 &&
	       strcmp(kind->name, "pagemap-shmem") != 0;
}

static int import_image(struct import *im, const char *file, const char *name)
{
	char *data;
	size_t len;
	int rc = read_image(im, file, &data, &len);

	if (rc != R_OK)
		return rc == R_NOT_FOUND ? R_FAILED : rc;
	rc = object_put(im->ingest, name, data, len);
	free(data);
	return rc;
}

static int import_one(struct import *im, const char *file)
{
	size_t len = strlen(file), stem = len > 4 ? len - 4 : 0;
	char name[NAME_MAX + 1];
	int rc = import_file(im, file);

	im->result->files++;
	if (rc != R_OK || !stem || strcmp(file + stem, ".img") != 0)
		return rc;
	memcpy(name, file, stem);
	name[stem] = '\0';
	if (strncmp(name, "pagemap-", strlen("pagemap-")) == 0)
		return import_memory(im, name);
	return is_own_image(name) ? import_image(im, file, name) : R_OK;
}

static int run(struct import *im, struct store *store)
{
	int rc = read_inventory(im);

	if (rc == R_OK)
		rc = read_tree(im);
	if (rc == R_OK)
		rc = list_files(im);
	if (rc == R_OK)
		rc = dump_chain_open(im->dirfd, im->path, &im->chain);
	if (rc == R_OK) {
		im->result->levels = dump_chain_levels(im->chain);
		rc = ingest_begin(store, im->options->lineage, &im->ingest);
	}
	for (size_t i = 0; rc == R_OK && i < im->n; i++)
		rc = import_one(im, im->names[i]);
	if (rc == R_OK && im->result->levels > 1)
		rc = object_put(im->ingest, EXCHANGE_PARENTS, "", 0);
	if (rc == R_OK)
		rc = ingest_commit(im->ingest, &im->result->gen);
	if (rc == R_OK)
		im->ingest = NULL;
	return rc;
}

int exchange_import_dir(struct store *store, int dirfd, const char *path,
			const struct import_options *options, struct import_result *result)
{
	struct import im = { .options = options, .result = result, .dirfd = dirfd, .path = path };
	int rc;

	memset(result, 0, sizeof(*result));
	snprintf(result->gen.lineage, sizeof(result->gen.lineage), "%s", options->lineage);
	im.buf = malloc(BLOCK_BYTES);
	rc = im.buf ? run(&im, store) : out_of_memory();
	if (im.ingest)
		ingest_abort(im.ingest);
	dump_chain_close(im.chain);
	for (size_t i = 0; i < im.n; i++)
		free(im.names[i]);
	free(im.names);
	free(im.buf);
	return rc;
}
