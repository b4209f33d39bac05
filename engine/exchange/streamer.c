/* CRIU's image streamer: each image of a dump comes by a pipe of its own, all at once. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "engine/exchange/live_internal.h"
#include "engine/exchange/streamer_internal.h"

#define SOCKET_NAME "streamer-capture.sock"
#define BUFFER_BYTES ((size_t)1 << 20)
#define FIRST_ROOM ((size_t)16 << 10)

/* One image. */
struct stream {
	int fd; /* -1: it is through */
	bool pages;
	bool begun; /* of pages: it is the one that goes into the store */
	char name[STREAM_NAME_ROOM];
	uint8_t *data; /* of other images: all that came */
	size_t len, room;
};

struct streamer {
	const struct live_options *options;
	struct live_session *session;
	struct stream_control control;
	struct stream *streams;
	size_t n, room;
	size_t open;	 /* that are not through */
	uint8_t *buf;	 /* of pages: BUFFER_BYTES */
	size_t buffered; /* less than a page once what came is stored */
	uint64_t bytes;	 /* of all images but pages */
	int spool;	 /* a memfd that holds these, one behind the other */
	uint64_t spooled;
	struct tar_member *members; /* and where in it */
	size_t n_members, members_room;
};

static int out_of_memory(void)
{
	warn("out of memory");
	return R_FAILED;
}

static bool is_pages(const char *name)
{
	unsigned int id;
	int end = 0;

	return sscanf(name, "pages-%u.img%n", &id, &end) == 1 && end && !name[end];
}

/* A file of the dump that is whole: into the spool. */
static int add_member(struct streamer *st, const char *name, const void *data, size_t len)
{
	struct tar_member *m;

	if (st->n_members == st->members_room) {
		size_t room = st->members_room ? 2 * st->members_room : 64;
		struct tar_member *more = reallocarray(st->members, room, sizeof(*more));

		if (!more)
			return out_of_memory();
		st->members = more;
		st->members_room = room;
	}
	m = &st->members[st->n_members];
	*m = (struct tar_member){ strdup(name), st->spooled, len };
	if (!m->name)
		return out_of_memory();
	st->n_members++;
	if (io_pwrite_all(st->spool, data, len, (off_t)st->spooled) != R_OK) {
		warn_errno("cannot keep image %s", name);
		return R_FAILED;
	}
	st->spooled += len;
	return R_OK;
}

static int begin_stream(struct streamer *st, const char *name, int fd)
{
	for (size_t i = 0; i < st->n; i++)
		if (strcmp(st->streams[i].name, name) == 0) {
			warn("the peer sends %s twice", name);
			close(fd);
			return R_DAMAGED;
		}
	if (st->n == st->room) {
		size_t room = st->room ? 2 * st->room : 64;
		struct stream *more = st->n < STREAM_FILES_MAX
					  ? reallocarray(st->streams, room, sizeof(*more))
					  : NULL;

		if (!more) {
			warn("the peer sends more than %zu images", st->n);
			close(fd);
			return R_FAILED;
		}
		st->streams = more;
		st->room = room;
	}
	st->streams[st->n] = (struct stream){ .fd = fd, .pages = is_pages(name) };
	snprintf(st->streams[st->n].name, STREAM_NAME_ROOM, "%s", name);
	/* Fewer and longer reads; it works without. */
	if (st->streams[st->n].pages)
		fcntl(fd, F_SETPIPE_SZ, (int)BUFFER_BYTES);
	st->n++;
	st->open++;
	return R_OK;
}

static int end_stream(struct streamer *st, struct stream *s)
{
	int rc = R_OK;

	close(s->fd);
	s->fd = -1;
	st->open--;
	if (s->pages && st->buffered) {
		warn("%s ends within a page", s->name);
		return R_DAMAGED;
	}
	if (!s->pages)
		rc = add_member(st, s->name, s->data, s->len);
	free(s->data);
	s->data = NULL;
	return rc;
}

/* Some of what has come.  R_OK, with 0 at the end; R_NOT_FOUND (nothing now), R_FAILED (reported).
 */
static int read_some(const struct stream *s, void *buf, size_t room, size_t *n)
{
	ssize_t got = read(s->fd, buf, room);

	*n = got > 0 ? (size_t)got : 0;
	if (got >= 0)
		return R_OK;
	if (errno == EAGAIN || errno == EINTR)
		return R_NOT_FOUND;
	warn_errno("%s", s->name);
	return R_FAILED;
}

/* Pages as they come, by their places in the file. */
static int read_pages(struct streamer *st, struct stream *s)
{
	char name[SESSION_NAME_ROOM];
	size_t got, n;
	int rc;

	if (!s->begun) {
		snprintf(name, sizeof(name), "%s%.30s", EXCHANGE_PREFIX, s->name);
		rc = session_object(st->session, name);
		if (rc != R_OK)
			return rc;
		s->begun = true;
	}
	rc = read_some(s, st->buf + st->buffered, BUFFER_BYTES - st->buffered, &got);
	if (rc != R_OK)
		return rc == R_NOT_FOUND ? R_OK : rc;
	if (!got)
		return end_stream(st, s);
	st->buffered += got;
	n = st->buffered / PAGE_BYTES;
	rc = n ? session_pages(st->session, st->session->end, st->buf, n) : R_OK;
	st->buffered -= n * PAGE_BYTES;
	memmove(st->buf, st->buf + n * PAGE_BYTES, st->buffered);
	return rc;
}

static int read_image(struct streamer *st, struct stream *s)
{
	size_t got;
	int rc;

	if (s->len == s->room) {
		size_t room = s->room ? 2 * s->room : FIRST_ROOM;
		uint8_t *more = realloc(s->data, room);

		if (!more)
			return out_of_memory();
		s->data = more;
		s->room = room;
	}
	rc = read_some(s, s->data + s->len, s->room - s->len, &got);
	if (rc != R_OK)
		return rc == R_NOT_FOUND ? R_OK : rc;
	if (!got)
		return end_stream(st, s);
	s->len += got;
	st->bytes += got;
	if (st->bytes <= STREAM_IMAGES_MAX_BYTES)
		return R_OK;
	warn("%s: more than %" PRIu64 " bytes of images that are not memory", s->name,
	     STREAM_IMAGES_MAX_BYTES);
	return R_UNSUPPORTED;
}

static int read_control(struct streamer *st)
{
	char name[STREAM_NAME_ROOM];
	int fd, rc = stream_control_read(&st->control, name, &fd);

	return rc == R_OK && fd >= 0 ? begin_stream(st, name, fd) : rc;
}

/* A file of pages waits until the one before it is through: they go into the store one at a time.
 */
static struct stream *pages_in_turn(struct streamer *st)
{
	for (size_t i = 0; i < st->n; i++)
		if (st->streams[i].fd >= 0 && st->streams[i].pages)
			return &st->streams[i];
	return NULL;
}

static int turn(struct streamer *st)
{
	struct pollfd fds[1 + STREAM_OPEN_MAX];
	size_t which[1 + STREAM_OPEN_MAX], n = 0;
	uint64_t timeout_s = st->options->timeout_s ? st->options->timeout_s : LIVE_SILENCE_S;
	const struct stream *pages = pages_in_turn(st);
	int rc;

	if (!st->control.over && st->open < STREAM_OPEN_MAX) {
		which[n] = SIZE_MAX;
		fds[n++] = (struct pollfd){ .fd = st->control.fd, .events = POLLIN };
	}
	for (size_t i = 0; i < st->n; i++) {
		const struct stream *s = &st->streams[i];

		if (s->fd < 0 || (s->pages && s != pages))
			continue;
		which[n] = i;
		fds[n++] = (struct pollfd){ .fd = s->fd, .events = POLLIN };
	}
	rc = live_poll(fds, n, timeout_s, st->options->progress);
	if (rc == R_NOT_FOUND)
		warn("the peer sent nothing for %" PRIu64 " s: given up", timeout_s);
	if (rc != R_OK)
		return R_FAILED;
	for (size_t i = 0; rc == R_OK && i < n; i++) {
		if (!fds[i].revents)
			continue;
		if (which[i] == SIZE_MAX)
			rc = read_control(st);
		else if (st->streams[which[i]].pages)
			rc = read_pages(st, &st->streams[which[i]]);
		else
			rc = read_image(st, &st->streams[which[i]]);
	}
	return rc;
}

static bool have_inventory(const struct streamer *st)
{
	for (size_t i = 0; i < st->n_members; i++)
		if (strcmp(st->members[i].name, "inventory.img") == 0)
			return true;
	return false;
}

static int receive_all(struct streamer *st)
{
	int rc = R_OK;

	while (rc == R_OK && !(st->control.over && !st->open))
		rc = turn(st);
	if (rc != R_OK || have_inventory(st))
		return rc;
	warn("the peer left before it was through: no generation; its dump has failed, or was "
	     "killed");
	return R_FAILED;
}

/* CRIU keeps it in its folder whatever it does with the others. */
static int add_statistics(struct streamer *st)
{
	char *data;
	size_t len;
	int rc;

	if (io_read_file(st->session->images->workfd, LIVE_LAST_FILE, FIRST_ROOM, &data, &len) !=
	    R_OK) {
		warn_errno("%s/%s", st->session->images->work, LIVE_LAST_FILE);
		return R_FAILED;
	}
	rc = add_member(st, LIVE_LAST_FILE, data, len);
	free(data);
	return rc;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct tar_member *)a)->name, ((const struct tar_member *)b)->name);
}

static int build(struct streamer *st, struct live_result *result)
{
	struct dump_source source = { .path = st->session->images->path,
				      .dirfd = -1,
				      .prefix = "" };
	const struct import_live live = { .memory = stream_memory, .arg = st->session };
	int rc = session_commit(st->session);

	if (rc == R_OK)
		rc = live_images_wait(st->session->images, st->options->progress);
	if (rc == R_OK)
		rc = add_statistics(st);
	if (st->n_members)
		qsort(st->members, st->n_members, sizeof(*st->members), by_name);
	source.tar = st->spool;
	source.members = st->members;
	source.n_members = st->n_members;
	return rc == R_OK ? session_generation(st->session, &source, &live, result) : rc;
}

static void free_streamer(struct streamer *st)
{
	for (size_t i = 0; i < st->n; i++) {
		if (st->streams[i].fd >= 0)
			close(st->streams[i].fd);
		free(st->streams[i].data);
	}
	for (size_t i = 0; i < st->n_members; i++)
		free(st->members[i].name);
	free(st->streams);
	free(st->members);
	free(st->buf);
	if (st->spool >= 0)
		close(st->spool);
}

static int take_in(int fd, const struct live_options *options, struct live_session *session,
		   struct live_result *result)
{
	struct streamer st = { .options = options, .session = session, .control.fd = fd };
	int rc;

	st.buf = malloc(BUFFER_BYTES);
	st.spool = memfd_create("snap-images", MFD_CLOEXEC);
	rc = st.buf && st.spool >= 0 ? receive_all(&st) : out_of_memory();
	if (rc == R_OK)
		rc = build(&st, result);
	free_streamer(&st);
	close(fd);
	return rc;
}

int live_stream(struct store *store, const struct live_options *options, struct live_result *result)
{
	struct live_images images;
	struct listener listener;
	int rc = live_images_open(options, &images);

	if (rc != R_OK)
		return rc;
	rc = listener_open_at(images.dirfd, images.path, SOCKET_NAME, &listener);
	if (rc == R_OK)
		rc = session_with_peer(store, options, &images, &listener, take_in, result);
	live_images_close(&images);
	return rc;
}
