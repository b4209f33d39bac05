#include "engine/exchange/exchange.h"

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
#include "engine/exchange/archive_internal.h"
#include "engine/exchange/export_internal.h"
#include "engine/exchange/tar_out.h"
#include "engine/image/image.h"

static int out_of_memory(void)
{
	warn("out of memory");
	return R_FAILED;
}

int export_file(struct export_dir *ex, const char *file, int *fd)
{
	if (ex->tar) {
		ex->result->files++;
		return dump_archive_temporary(fd);
	}
	*fd = openat(ex->dirfd, file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (*fd < 0) {
		warn_errno("%s/%s", ex->path, file);
		return R_FAILED;
	}
	ex->result->files++;
	return R_OK;
}

/* A member's head, with its length, comes before the file is known, so the file comes first. */
static int close_member(struct export_dir *ex, const char *file, int fd)
{
	char name[sizeof(EXPORT_FOLDER) + NAME_MAX];

	snprintf(name, sizeof(name), "%s%s", ex->prefix, file);
	return tar_out_file(ex->tar, name, fd);
}

int export_close(struct export_dir *ex, const char *file, int fd, int rc)
{
	if (rc == R_OK && ex->tar)
		rc = close_member(ex, file, fd);
	else if (rc == R_OK && fsync(fd) != 0) {
		warn_errno("%s/%s", ex->path, file);
		rc = R_FAILED;
	}
	close(fd);
	return rc;
}

int export_bytes(struct export_dir *ex, const char *file, const void *data, size_t len)
{
	int fd, rc = export_file(ex, file, &fd);

	if (rc != R_OK)
		return rc;
	if (io_write_all(fd, data, len) != R_OK) {
		warn_errno("%s/%s", ex->path, file);
		rc = R_FAILED;
	}
	return export_close(ex, file, fd, rc);
}

int export_read(struct export_dir *ex, const char *name, const page_no *numbers, size_t n,
		void *buf)
{
	page_no bad;
	int rc = store_read_pages(ex->view, numbers, n, buf, &bad);

	if (rc == R_DAMAGED)
		warn("generation %llu: object %s is damaged", (unsigned long long)ex->gen->number,
		     name);
	return rc;
}

int export_read_one(struct export_dir *ex, enum image_kind_id id, const char *name,
		    ProtobufCMessage **message)
{
	struct object object;
	void *data;
	size_t len;
	int rc = store_object(ex->view, ex->gen->number, name, &object);

	if (rc != R_OK)
		return rc;
	rc = store_read_object(ex->view, &object, &data, &len);
	if (rc == R_DAMAGED)
		warn("generation %llu: image %s is damaged", (unsigned long long)ex->gen->number,
		     name);
	if (rc != R_OK)
		return rc;
	rc = image_read_one(id, name, data, len, message);
	free(data);
	return rc;
}

struct copying {
	struct export_dir *ex;
	const char *name;
	int fd;
	uint64_t length;
};

static int copy_run(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	const struct copying *c = arg;
	uint64_t at = index * PAGE_BYTES, bytes = n * PAGE_BYTES;
	int rc = at < c->length ? export_read(c->ex, c->name, numbers, n, c->ex->buf) : R_DAMAGED;

	if (rc != R_OK)
		return rc;
	if (bytes > c->length - at)
		bytes = c->length - at;
	if (io_pwrite_all(c->fd, c->ex->buf, bytes, (off_t)at) == R_OK)
		return R_OK;
	warn_errno("%s: object %s", c->ex->path, c->name);
	return R_FAILED;
}

int export_object(struct export_dir *ex, const char *name, const struct object *object,
		  const char *file)
{
	struct copying c = { .ex = ex, .name = name, .length = object->length_bytes };
	int rc = export_file(ex, file, &c.fd);

	if (rc != R_OK)
		return rc;
	rc = store_object_walk(ex->view, object, 0, (c.length + PAGE_BYTES - 1) / PAGE_BYTES,
			       copy_run, &c);
	if (rc == R_OK && ftruncate(c.fd, (off_t)c.length) != 0) {
		warn_errno("%s/%s", ex->path, file);
		rc = R_FAILED;
	}
	return export_close(ex, file, c.fd, rc);
}

/* A file of an imported dump, as it was, but for memory that was an increment to a parent's. */
static int verbatim(struct export_dir *ex, const char *name, const struct object *object)
{
	const char *file = name + strlen(EXCHANGE_PREFIX);

	if (!*file || strchr(file, '/') || strcmp(file, ".") == 0 || strcmp(file, "..") == 0) {
		warn("generation %llu: object %s is no file of a dump",
		     (unsigned long long)ex->gen->number, name);
		return R_DAMAGED;
	}
	if (strncmp(file, "pages-", strlen("pages-")) == 0 && ex->has_parents)
		return R_OK;
	if (strncmp(file, "pagemap-", strlen("pagemap-")) == 0 && ex->has_parents)
		return R_OK;
	return export_object(ex, name, object, file);
}

static bool is_memory(const char *name)
{
	return strncmp(name, "pages-", strlen("pages-")) == 0;
}

static int own_object(struct export_dir *ex, const char *name, const struct object *object)
{
	if (is_memory(name))
		return export_memory(ex, name, object);
	if (sealed_is(name))
		return export_secret(ex, name, object);
	if (!image_kind_by_name(name) && !image_raw_by_name(name))
		return R_OK;
	return export_own(ex, name, object);
}

static int one_object(const char *name, const struct object *object, void *arg)
{
	struct export_dir *ex = arg;
	bool kept = strncmp(name, EXCHANGE_PREFIX, strlen(EXCHANGE_PREFIX)) == 0;

	if (!ex->imported)
		return own_object(ex, name, object);
	if (kept)
		return verbatim(ex, name, object);
	return is_memory(name) && ex->has_parents ? export_memory(ex, name, object) : R_OK;
}

/* What kind of generation is it? */
static int classify(const char *name, const struct object *object, void *arg)
{
	struct export_dir *ex = arg;

	(void)object;
	if (strncmp(name, EXCHANGE_PREFIX, strlen(EXCHANGE_PREFIX)) == 0)
		ex->imported = true;
	if (strcmp(name, EXCHANGE_PARENTS) == 0)
		ex->has_parents = true;
	if (strncmp(name, "tcp-stream-", strlen("tcp-stream-")) == 0)
		ex->has_tcp = true;
	return R_OK;
}

/* A generation of snap's own. */
static int own_objects(struct export_dir *ex)
{
	int rc = export_files_begin(ex);

	if (rc == R_OK)
		rc = export_cgroups_begin(ex);
	if (rc == R_OK)
		rc = export_seccomp_begin(ex);
	if (rc == R_OK)
		rc = store_object_each(ex->view, ex->gen->number, one_object, ex);
	if (rc == R_OK)
		rc = export_cgroups(ex);
	export_cgroups_end(ex);
	export_files_end(ex);
	return rc;
}

int export_all(struct export_dir *ex)
{
	int rc = store_object_each(ex->view, ex->gen->number, classify, ex);

	if (rc != R_OK)
		return rc;
	return ex->imported ? store_object_each(ex->view, ex->gen->number, one_object, ex)
			    : own_objects(ex);
}

int exchange_export_dir(struct store_view *view, const struct generation *gen, int dirfd,
			const char *path, const struct export_options *options,
			struct export_result *result)
{
	struct export_dir ex = { .view = view,
				 .gen = gen,
				 .dirfd = dirfd,
				 .path = path,
				 .options = options,
				 .result = result };
	int rc;

	*result = (struct export_result){ 0 };
	ex.buf = malloc(EXPORT_BATCH_PAGES * PAGE_BYTES);
	if (!ex.buf)
		return out_of_memory();
	rc = export_all(&ex);
	if (rc == R_OK && !ex.imported)
		rc = export_statistics(&ex);
	if (rc == R_OK && fsync(dirfd) != 0) {
		warn_errno("%s", path);
		rc = R_FAILED;
	}
	free(ex.buf);
	return rc;
}
