#include "engine/proc/dump_secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "dedup/dedup.h"
#include "engine/proc/capture/clone.h"
#include "engine/proc/dump.h"
#include "engine/proc/fds/fds.h"
#include "engine/proc/fds/secret.h"
#include "store/seal.h"

/* What is mapped counts as locked memory, of which there may be little: least and most at once. */
#define WINDOW_MIN_PAGES 8
#define WINDOW_MAX_PAGES 1024
/* What a pipe holds. */
#define PIPE_PAGES 16
/* Asked about at once; a byte for each comes back. */
#define ASK_PAGES 4096
/* In the room for arguments: two descriptors, then those bytes. */
#define ANSWER_OFFSET 64

struct sealing {
	struct dump_ctx *ctx;
	const struct taken_secret *secret;
	struct sealer *sealer;
	struct object_writer *writer;
};

static uint64_t pages_of(const struct taken_secret *s)
{
	return (s->size + PAGE_BYTES - 1) / PAGE_BYTES;
}

static int seal(struct sealing *s, uint64_t index, const uint8_t *plain)
{
	uint8_t cipher[PAGE_BYTES];

	if (sealer_page(s->sealer, index, plain, cipher) != R_OK)
		return R_FAILED;
	s->ctx->pages_found++;
	return object_pages(s->writer, index, cipher, 1);
}

/* ---- what is open ---- */

/* Pages nobody has touched are left alone: to read them would make them. */
static int seal_window(struct sealing *s, const uint8_t *map, uint64_t first, uint64_t n)
{
	unsigned char there[WINDOW_MAX_PAGES];
	int rc = R_OK;

	if (mincore((void *)map, n * PAGE_BYTES, there) != 0) {
		warn_errno("secret memory: cannot ask which pages there are");
		return R_FAILED;
	}
	for (uint64_t i = 0; rc == R_OK && i < n; i++)
		if (there[i] & 1)
			rc = seal(s, first + i, map + i * PAGE_BYTES);
	return rc;
}

static int seal_open(struct sealing *s)
{
	uint64_t at = 0, end = pages_of(s->secret), window = WINDOW_MAX_PAGES;
	int rc = R_OK;

	secret_may_lock(0);
	while (rc == R_OK && at < end) {
		uint64_t n = end - at < window ? end - at : window;
		void *map = mmap(NULL, n * PAGE_BYTES, PROT_READ, MAP_SHARED, s->secret->local,
				 (off_t)(at * PAGE_BYTES));

		if (map == MAP_FAILED && window > WINDOW_MIN_PAGES) {
			window /= 2;
			continue;
		}
		if (map == MAP_FAILED) {
			warn_errno("secret memory: cannot map it; it counts as locked memory "
				   "(ulimit -l)");
			return R_FAILED;
		}
		rc = seal_window(s, map, at, n);
		munmap(map, n * PAGE_BYTES);
		at += n;
	}
	return rc;
}

/* ---- what is only mapped ---- */

/* By way of whom it is read, and from where. */
struct route {
	struct dump_task *t;
	const struct vma *vma;
	uint64_t first; /* page of it at vma->start */
	bool in_clone;	/* a mapping of our own making, in a copy of the address space */
};

static bool shows(const struct vma *vma, const struct taken_secret *s)
{
	return vma->ino == s->ino && vma->dev_major == major(s->dev) &&
	       vma->dev_minor == minor(s->dev);
}

/* A mapping that is good for being read by; `which` chooses. */
static bool find_mapping(const struct dump_ctx *ctx, const struct taken_secret *s,
			 bool (*which)(const struct vma *vma, uint64_t least, uint64_t end),
			 uint64_t least, struct route *route)
{
	for (size_t i = 0; i < ctx->n_tasks; i++) {
		struct dump_task *t = &ctx->tasks[i];

		for (size_t k = 0; !t->task->zombie && k < t->maps.n; k++) {
			const struct vma *vma = &t->maps.vmas[k];

			if (!shows(vma, s) || !which(vma, least, pages_of(s) * PAGE_BYTES))
				continue;
			*route = (struct route){ t, vma, vma->offset / PAGE_BYTES, false };
			return true;
		}
	}
	return false;
}

static bool shows_all(const struct vma *vma, uint64_t least, uint64_t end)
{
	return vma->prot & PROT_READ && vma->offset <= least &&
	       vma->offset + (vma->end - vma->start) >= end;
}

/* One a child inherits, and from which on mremap(2) can make one of all the rest. */
static bool begins_it(const struct vma *vma, uint64_t least, uint64_t end)
{
	(void)end;
	return vma->offset == least && !(vma->marks & VMA_MARK_DONTFORK);
}

/*
 * What lies before the first page that is mapped anywhere can be reached by nobody any more, what
 * lies behind can.  R_NOT_FOUND: there is nothing to be had; R_UNSUPPORTED (not reported).
 */
static int find_route(const struct dump_ctx *ctx, const struct taken_secret *s, struct route *route)
{
	uint64_t least = UINT64_MAX;

	for (size_t i = 0; i < ctx->n_tasks; i++)
		for (size_t k = 0; k < ctx->tasks[i].maps.n; k++) {
			const struct vma *vma = &ctx->tasks[i].maps.vmas[k];

			if (shows(vma, s) && vma->offset < least)
				least = vma->offset;
		}
	if (least >= pages_of(s) * PAGE_BYTES)
		return R_NOT_FOUND;
	if (find_mapping(ctx, s, shows_all, least, route))
		return R_OK;
	if (!find_mapping(ctx, s, begins_it, least, route))
		return R_UNSUPPORTED;
	route->in_clone = true;
	return R_OK;
}

/* A pipe of a puppet, and our end of it. */
struct channel {
	const struct puppet *puppet;
	struct sealing *sealing;
	int write_fd;	/* there */
	int read_fd;	/* here */
	uint8_t *plain; /* PIPE_PAGES, locked */
};

static int call(const struct puppet *p, const char *what, int64_t *ret, long nr, uint64_t a0,
		uint64_t a1, uint64_t a2, uint64_t a3)
{
	int rc = inject_syscall(p->tracee, p->site, ret, nr, a0, a1, a2, a3, 0, 0);

	if (rc == R_OK && *ret < 0) {
		errno = (int)-*ret;
		warn_errno("secret memory: %s by a process of the target's address space", what);
		return R_FAILED;
	}
	return rc;
}

static int make_channel(struct channel *c)
{
	const struct puppet *p = c->puppet;
	int fds[2];
	int64_t ret;
	int rc = call(p, "pipe2", &ret, SYS_pipe2, p->data, O_CLOEXEC | O_NONBLOCK, 0, 0);

	if (rc != R_OK)
		return rc;
	if (trace_read(p->tracee->pid, p->data, fds, sizeof(fds)) == R_OK) {
		c->write_fd = fds[1];
		c->read_fd = fds_open_target(p->tracee->pid, fds[0]);
	}
	if (c->read_fd >= 0)
		return R_OK;
	warn_errno("secret memory: cannot get the end of a pipe");
	return R_FAILED;
}

/* Up to what the pipe holds. */
static int pull(struct channel *c, uint64_t address, uint64_t index, size_t n)
{
	int64_t put;
	int rc = call(c->puppet, "write", &put, SYS_write, (uint64_t)c->write_fd, address,
		      n * PAGE_BYTES, 0);
	size_t got = 0;

	while (rc == R_OK && got < (size_t)put) {
		ssize_t more = read(c->read_fd, c->plain + got, (size_t)put - got);

		if (more <= 0)
			break;
		got += (size_t)more;
	}
	if (rc == R_OK && got != n * PAGE_BYTES) {
		warn("secret memory: %zu bytes came through a pipe where %zu were sent", got,
		     n * (size_t)PAGE_BYTES);
		rc = R_FAILED;
	}
	for (size_t i = 0; rc == R_OK && i < n; i++)
		rc = seal(c->sealing, index + i, c->plain + i * PAGE_BYTES);
	return rc;
}

static int pull_all(struct channel *c, uint64_t address, uint64_t first, uint64_t pages)
{
	const struct puppet *p = c->puppet;
	unsigned char there[ASK_PAGES];
	int rc = R_OK;

	for (uint64_t at = 0; rc == R_OK && at < pages; at += ASK_PAGES) {
		uint64_t n = pages - at < ASK_PAGES ? pages - at : ASK_PAGES;
		int64_t ret;

		rc = call(p, "mincore", &ret, SYS_mincore, address + at * PAGE_BYTES,
			  n * PAGE_BYTES, p->data + ANSWER_OFFSET, 0);
		if (rc == R_OK &&
		    trace_read(p->tracee->pid, p->data + ANSWER_OFFSET, there, n) != R_OK) {
			warn_errno("secret memory: cannot read which pages there are");
			rc = R_FAILED;
		}
		for (uint64_t i = 0; rc == R_OK && i < n;) {
			uint64_t run = 0;

			while (run < PIPE_PAGES && i + run < n && there[i + run] & 1)
				run++;
			if (run)
				rc = pull(c, address + (at + i) * PAGE_BYTES, first + at + i, run);
			i += run ? run : 1;
		}
	}
	return rc;
}

struct pulling {
	struct sealing *sealing;
	const struct route *route;
};

/* In the clone, which has memory and mappings of its own: one of everything, readable. */
static int remap(const struct puppet *p, const struct route *route, uint64_t pages,
		 uint64_t *address)
{
	int64_t ret, done;
	int rc = call(p, "mremap", &ret, SYS_mremap, route->vma->start, 0, pages * PAGE_BYTES,
		      MREMAP_MAYMOVE);

	if (rc == R_OK)
		rc = call(p, "mprotect", &done, SYS_mprotect, (uint64_t)ret, pages * PAGE_BYTES,
			  PROT_READ, 0);
	*address = (uint64_t)ret;
	return rc;
}

static int pull_by(const struct puppet *puppet, void *arg)
{
	const struct pulling *pulling = arg;
	const struct route *route = pulling->route;
	struct channel c = { puppet, pulling->sealing, -1, -1, NULL };
	uint64_t pages = pages_of(c.sealing->secret) - route->first, address = route->vma->start;
	int rc = R_OK;

	c.plain = sealed_buffer(PIPE_PAGES * PAGE_BYTES);
	if (!c.plain)
		return R_FAILED;
	if (puppet->data_bytes < ANSWER_OFFSET + ASK_PAGES) {
		warn("no room for remote calls");
		rc = R_FAILED;
	}
	if (rc == R_OK && route->in_clone)
		rc = remap(puppet, route, pages, &address);
	if (rc == R_OK)
		rc = make_channel(&c);
	if (rc == R_OK)
		rc = pull_all(&c, address, route->first, pages);
	if (c.read_fd >= 0)
		close(c.read_fd);
	sealed_buffer_free(c.plain);
	return rc;
}

static int seal_mapped(struct sealing *s)
{
	char reason[CLONE_REASON_BYTES] = "";
	struct pulling pulling = { .sealing = s };
	struct inject_site *site;
	struct route route;
	struct tracee *th;
	int rc = find_route(s->ctx, s->secret, &route), end;

	if (rc != R_OK)
		return rc == R_NOT_FOUND ? R_OK : rc;
	pulling.route = &route;
	th = route.t->task->threads[0];
	site = &route.t->site;
	rc = inject_site_find(th, site);
	if (rc != R_OK)
		return rc;
	rc = inject_begin(th, site);
	if (rc == R_OK) {
		rc = clone_borrow(th, site, route.in_clone, pull_by, &pulling, reason);
		end = inject_end(th, site);
		rc = end == R_OK ? rc : end;
	}
	end = inject_site_close(site);
	if (rc == R_BUSY) {
		warn("pid %d: cannot read its secret memory: %s", th->pid, reason);
		rc = R_FAILED;
	}
	return end == R_OK ? rc : end;
}

/* ---- both ---- */

void dump_secrets_look(struct dump_ctx *ctx)
{
	size_t n;
	const struct taken_secret *list = fds_take_secrets(ctx->fds, &n);

	for (size_t i = 0; i < n; i++) {
		struct route route;

		if (list[i].local < 0 && find_route(ctx, &list[i], &route) == R_UNSUPPORTED)
			dump_refuse(ctx, ctx->tasks[0].task->pid,
				    "the tree has secret memory (inode %lu) that is not open any "
				    "more, is not readable where it is mapped, and is not for "
				    "children (MADV_DONTFORK)",
				    (unsigned long)list[i].ino);
	}
}

static int put_table(struct sealing *s)
{
	struct object_writer *writer;
	size_t pages;
	uint64_t bytes;
	const char *name;
	const void *table = sealer_table(s->sealer, &pages, &bytes, &name);
	int rc;

	if (!table || object_begin_sealed(s->ctx->ingest, name, &writer) != R_OK)
		return R_FAILED;
	rc = object_pages(writer, 0, table, pages);
	return object_end(writer, bytes) == R_OK ? rc : R_FAILED;
}

static int store_one(struct dump_ctx *ctx, const struct taken_secret *secret)
{
	struct sealing s = { .ctx = ctx, .secret = secret };
	char name[32];
	int rc;

	secret_object_name(secret->shmid, name);
	s.sealer = sealer_begin(ctx->keys, name, secret->size);
	if (!s.sealer)
		return R_FAILED;
	rc = object_begin_sealed(ctx->ingest, name, &s.writer);
	if (rc == R_OK) {
		rc = secret->local >= 0 ? seal_open(&s) : seal_mapped(&s);
		if (object_end(s.writer, secret->size) != R_OK)
			rc = R_FAILED;
	}
	if (rc == R_OK)
		rc = put_table(&s);
	sealer_free(s.sealer);
	return rc;
}

int dump_secrets(struct dump_ctx *ctx)
{
	size_t n;
	const struct taken_secret *list = fds_take_secrets(ctx->fds, &n);
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i < n; i++)
		rc = store_one(ctx, &list[i]);
	return rc;
}
