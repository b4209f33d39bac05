#include "engine/exchange/exchange.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "dedup/dedup.h"
#include "engine/exchange/import_internal.h"
#include "engine/image/image.h"

/* What CRIU 4.2 writes into its inventory. */
#define INVENTORY_VERSION_MAX 2

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
	if (fstatat(im->source->dirfd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
		warn_errno("%s/%s", im->source->path, name);
		return R_FAILED;
	}
	if (S_ISREG(st.st_mode))
		return add_name(im, name);
	if (S_ISSOCK(st.st_mode) || S_ISDIR(st.st_mode)) {
		note("%s/%s is no file of a dump; it is left out", im->source->path, name);
		return R_OK;
	}
	warn("%s/%s is a link or a device, not a file; take it away if it does not belong there",
	     im->source->path, name);
	return R_UNSUPPORTED;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int list_files(struct import *im)
{
	int fd = openat(im->source->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	int rc = R_OK;

	if (!dir) {
		warn_errno("%s", im->source->path);
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

static int read_inventory(struct import *im)
{
	const InventoryEntry *entry;
	ProtobufCMessage *message;
	char *data;
	size_t len;
	int rc = source_read(im->source, "inventory.img", IMAGE_MAX_BYTES, &data, &len);

	if (rc == R_NOT_FOUND)
		warn("%s: there is no inventory.img, so this is no dump", im->source->path);
	if (rc != R_OK)
		return rc;
	rc = image_read_one(IMAGE_INVENTORY, "inventory", data, len, &message);
	free(data);
	if (rc != R_OK)
		return rc;
	entry = (const InventoryEntry *)message;
	if (entry->img_version > INVENTORY_VERSION_MAX || message->n_unknown_fields) {
		warn("%s/inventory.img tells of a version or a setting that came after CRIU 4.2",
		     im->source->path);
		rc = R_UNSUPPORTED;
	}
	image_free_message(message);
	return rc;
}

static int read_tree(struct import *im)
{
	struct generation *gen = &im->result->gen;
	struct image_reader reader;
	ProtobufCMessage *message;
	char *data;
	size_t len;
	int rc = source_read(im->source, "pstree.img", IMAGE_MAX_BYTES, &data, &len);

	if (rc == R_NOT_FOUND) {
		warn("%s: there is no pstree.img; a pre-dump is no dump of its own, import the one "
		     "that follows it",
		     im->source->path);
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
	warn("%s/pstree.img is empty", im->source->path);
	return R_DAMAGED;
}

/* A member of a tar below the dump's folder; deeper ones are kept, but are no part of the dump. */
static int list_members(struct import *im)
{
	size_t prefix = strlen(im->source->prefix);
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i < im->source->n_members; i++) {
		const char *name = im->source->members[i].name;

		if (strncmp(name, im->source->prefix, prefix) == 0 && !strchr(name + prefix, '/'))
			rc = add_name(im, name + prefix);
	}
	if (rc == R_OK && im->n)
		qsort(im->names, im->n, sizeof(*im->names), by_name);
	return rc;
}

/* The bytes of a file, whose last page is filled up with zeroes. */
int import_bytes(struct import *im, const char *file, const struct dump_file *from,
		 const char *object)
{
	struct object_writer *writer;
	int rc = object_begin(im->ingest, object, &writer);

	if (rc != R_OK)
		return rc;
	im->result->files++;
	for (uint64_t at = 0; rc == R_OK && at < from->size;) {
		size_t len =
		    from->size - at < BLOCK_BYTES ? (size_t)(from->size - at) : BLOCK_BYTES;
		size_t pages = (len + PAGE_BYTES - 1) / PAGE_BYTES;

		memset(im->buf + (pages - 1) * PAGE_BYTES, 0, PAGE_BYTES);
		if (dump_file_read(from, im->buf, len, at) != R_OK) {
			warn("%s/%s became shorter, or cannot be read", im->source->path, file);
			rc = R_FAILED;
			break;
		}
		rc = object_pages(writer, at / PAGE_BYTES, im->buf, pages);
		at += len;
		if (!progress_tell(im->options->progress, "importing files", im->done + at, 0,
				   PROGRESS_BYTES))
			rc = R_FAILED;
	}
	im->done += from->size;
	if (object_end(writer, from->size) != R_OK && rc == R_OK)
		rc = R_FAILED;
	return rc;
}

static int import_one(struct import *im, const char *file)
{
	char name[NAME_MAX + 16];
	struct dump_file from;
	int rc = source_open(im->source, file, &from);

	if (rc == R_NOT_FOUND) {
		warn("%s/%s vanished while it was read", im->source->path, file);
		return R_FAILED;
	}
	if (rc != R_OK)
		return rc;
	if (snprintf(name, sizeof(name), "%s%s", EXCHANGE_PREFIX, file) > IMPORT_NAME_MAX) {
		warn("%s/%s has too long a name", im->source->path, file);
		rc = R_UNSUPPORTED;
	} else {
		rc = import_bytes(im, file, &from, name);
	}
	dump_file_close(&from);
	return rc == R_OK ? import_own(im, file) : rc;
}

static int run(struct import *im, struct store *store)
{
	int rc = read_inventory(im);

	if (rc == R_OK)
		rc = read_tree(im);
	if (rc == R_OK)
		rc = im->source->dirfd < 0 ? list_members(im) : list_files(im);
	if (rc == R_OK)
		rc = dump_chain_open(im->source, &im->chain);
	if (rc == R_OK) {
		im->result->levels = dump_chain_levels(im->chain);
		if (!im->ingest)
			rc = ingest_begin(store, im->options->lineage, &im->ingest);
	}
	for (size_t i = 0; rc == R_OK && i < im->n; i++)
		rc = import_one(im, im->names[i]);
	if (rc == R_OK && im->result->levels > 1)
		rc = object_put(im->ingest, EXCHANGE_PARENTS, "", 0);
	if (rc == R_OK && !im->live)
		rc = import_memfds(im, NULL, NULL);
	if (rc == R_OK && im->more)
		rc = im->more(im, im->more_arg);
	if (rc == R_OK)
		rc = ingest_commit(im->ingest, &im->result->gen);
	if (rc == R_OK)
		im->ingest = NULL;
	return rc;
}

static int import(struct import *im, struct store *store)
{
	struct import_result *result = im->result;
	int64_t time_ns = result->gen.time_ns;
	int rc;

	memset(result, 0, sizeof(*result));
	result->gen.time_ns = time_ns;
	snprintf(result->gen.lineage, sizeof(result->gen.lineage), "%s", im->options->lineage);
	im->buf = malloc(BLOCK_BYTES);
	rc = im->buf ? run(im, store) : out_of_memory();
	if (im->ingest)
		ingest_abort(im->ingest);
	dump_chain_close(im->chain);
	for (size_t i = 0; i < im->n; i++)
		free(im->names[i]);
	free(im->names);
	free(im->buf);
	return rc;
}

int import_source(struct store *store, const struct dump_source *source,
		  const struct import_options *options, struct import_result *result,
		  int (*more)(struct import *im, void *arg), void *arg)
{
	struct import im = { .options = options,
			     .result = result,
			     .source = source,
			     .more = more,
			     .more_arg = arg };

	return import(&im, store);
}

int import_live(struct store *store, const struct dump_source *source,
		const struct import_options *options, struct import_result *result,
		const struct import_live *live)
{
	struct import im = { .options = options,
			     .result = result,
			     .source = source,
			     .more = live->more,
			     .more_arg = live->arg,
			     .live = live,
			     .ingest = live->ingest };

	return import(&im, store);
}

int exchange_import_dir(struct store *store, int dirfd, const char *path,
			const struct import_options *options, struct import_result *result)
{
	struct dump_source source = { .path = path, .dirfd = dirfd };
	struct stat st;

	result->gen.time_ns = 0;
	if (fstatat(dirfd, "inventory.img", &st, AT_SYMLINK_NOFOLLOW) == 0)
		result->gen.time_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	return import_source(store, &source, options, result, NULL, NULL);
}

int exchange_import_path(struct store *store, const char *path,
			 const struct import_options *options, struct import_result *result)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0) {
		rc = errno == ENOENT ? R_NOT_FOUND : R_FAILED;
		warn_errno("%s", path);
		if (fd >= 0)
			close(fd);
		return rc;
	}
	if (S_ISDIR(st.st_mode))
		rc = exchange_import_dir(store, fd, path, options, result);
	else
		rc = exchange_import_archive(store, fd, path, options, result);
	close(fd);
	return rc;
}
