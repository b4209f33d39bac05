/* What came from a peer is stored; with the images beside it, it becomes a generation. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/exchange/live_internal.h"
#include "engine/image/image.h"

#define INVENTORY EXCHANGE_PREFIX "inventory.img"

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int session_begin(struct live_session *s, struct store *store, const struct live_options *options,
		  const struct live_images *images)
{
	*s = (struct live_session){
		.store = store, .options = options, .images = images, .parent = -1
	};
	return ingest_begin(store, options->lineage, &s->ingest);
}

void session_end(struct live_session *s)
{
	if (s->ingest)
		ingest_abort(s->ingest);
	free(s->names);
	s->ingest = NULL;
	s->names = NULL;
}

int session_with_peer(struct store *store, const struct live_options *options,
		      const struct live_images *images, struct listener *listener,
		      int (*take_in)(int fd, const struct live_options *options,
				     struct live_session *session, struct live_result *result),
		      struct live_result *result)
{
	struct live_session session;
	int fd, rc = listener_accept(listener, options->timeout_s, options->progress, &fd);

	listener_close(listener);
	if (rc != R_OK)
		return rc;
	rc = session_begin(&session, store, options, images);
	if (rc != R_OK) {
		close(fd);
		return rc;
	}
	rc = take_in(fd, options, &session, result);
	session_end(&session);
	return rc;
}

static bool tells_when(const char *data, size_t len)
{
	ProtobufCMessage *message;
	bool tells;

	if (image_read_one(IMAGE_INVENTORY, "parent/inventory.img", data, len, &message) != R_OK)
		return false;
	tells = ((const InventoryEntry *)message)->has_dump_uptime;
	image_free_message(message);
	return tells;
}

/* An inventory has the time it was made at, in microseconds: equal ones are of one dump. */
static bool parent_is_newest(struct live_session *s)
{
	struct store_view *view = ingest_view(s->ingest);
	uint8_t uuid[16];
	uint64_t newest = ingest_newest(s->ingest, uuid);
	size_t len, old_len;
	struct object old;
	void *old_data;
	bool same = false;
	char *data = live_images_read(s->images, "parent/inventory.img", &len);

	if (!data)
		return false;
	if (newest && tells_when(data, len) &&
	    store_object(view, newest, INVENTORY, &old) == R_OK &&
	    store_read_object(view, &old, &old_data, &old_len) == R_OK) {
		same = len == old_len && memcmp(data, old_data, len) == 0;
		free(old_data);
	}
	if (!same)
		note("%s/parent is not the newest dump of %s: every page is asked for",
		     s->images->path, s->options->lineage);
	free(data);
	return same;
}

bool session_has_parent(struct live_session *s, const char *name)
{
	struct object object;
	uint8_t uuid[16];

	if (s->parent < 0)
		s->parent = parent_is_newest(s);
	return s->parent && store_object(ingest_view(s->ingest), ingest_newest(s->ingest, uuid),
					 name, &object) == R_OK;
}

static int end_object(struct live_session *s)
{
	struct object_writer *writer = s->writer;

	s->writer = NULL;
	return writer ? object_end(writer, s->end * PAGE_BYTES) : R_OK;
}

static bool came(const struct live_session *s, const char *name)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->names[i], name) == 0)
			return true;
	return false;
}

int session_object(struct live_session *s, const char *name)
{
	if (end_object(s) != R_OK)
		return R_FAILED;
	if (s->n == SESSION_OBJECTS_MAX || came(s, name)) {
		warn("the peer sends %s %s", name,
		     came(s, name) ? "twice" : "and more than any dump has");
		return R_DAMAGED;
	}
	if (s->n == s->room) {
		size_t room = s->room ? 2 * s->room : 64;
		void *more = reallocarray(s->names, room, sizeof(*s->names));

		if (!more) {
			warn("out of memory");
			return R_FAILED;
		}
		s->names = more;
		s->room = room;
	}
	snprintf(s->names[s->n++], sizeof(*s->names), "%s", name);
	s->end = 0;
	return object_begin(s->ingest, name, &s->writer);
}

static int check_order(const struct live_session *s, uint64_t index)
{
	if (index >= s->end)
		return R_OK;
	warn("the peer sends %s: pages at 0x%llx, which are not behind those before",
	     s->names[s->n - 1], (unsigned long long)index * PAGE_BYTES);
	return R_DAMAGED;
}

int session_pages(struct live_session *s, uint64_t index, const void *pages, size_t n)
{
	int rc = check_order(s, index);

	if (rc != R_OK)
		return rc;
	s->end = index + n;
	s->pages += n;
	if (!progress_tell(s->options->progress, "receiving memory", s->pages, 0, PROGRESS_PAGES))
		return R_FAILED;
	return object_pages(s->writer, index, pages, n);
}

int session_keep(struct live_session *s, uint64_t index, size_t n)
{
	int rc = check_order(s, index);

	if (rc != R_OK)
		return rc;
	if (!session_has_parent(s, s->names[s->n - 1])) {
		warn("the peer leaves pages of %s at 0x%llx to a parent, and was told that there "
		     "is none",
		     s->names[s->n - 1], (unsigned long long)index * PAGE_BYTES);
		return R_DAMAGED;
	}
	s->end = index + n;
	s->kept = true;
	return object_keep(s->writer, index, n);
}

/* So that a peer can be told that all of it is safe, before there are images.  What is built on it
 * next holds a view before anybody else can make a generation of this lineage and gc forget it. */
int session_commit(struct live_session *s)
{
	struct generation gen = { .predump = true, .time_ns = now_ns() };
	int rc = end_object(s);

	if (rc == R_OK)
		rc = ingest_commit(s->ingest, &gen);
	if (rc != R_OK)
		return rc;
	s->record = gen.number;
	s->ingest = NULL;
	return ingest_begin(s->store, s->options->lineage, &s->ingest);
}

static int adopt_all(struct live_session *s, struct ingest *ingest)
{
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i < s->n; i++)
		rc = object_adopt(ingest, s->record, s->names[i]);
	return rc;
}

struct building {
	struct live_session *s;
	const struct import_live *live;
};

static int memory(struct import *im, const char *pagemap, void *arg)
{
	const struct building *b = arg;

	if (b->live->memory)
		return b->live->memory(im, pagemap, b->live->arg);
	warn("%s/%s.img: memory is both there and was sent by the peer", im->source->path, pagemap);
	return R_DAMAGED;
}

/* Every task that has a memory map needs its pages. */
static int check_memory(const struct import *im, const struct live_session *s)
{
	for (size_t i = 0; i < im->n; i++) {
		char name[SESSION_NAME_ROOM];
		unsigned int pid;
		int end = 0;

		if (sscanf(im->names[i], "mm-%u.img%n", &pid, &end) != 1 || !end ||
		    im->names[i][end])
			continue;
		snprintf(name, sizeof(name), "pages-%u", pid);
		if (came(s, name))
			continue;
		warn("%s: the memory of task %u did not come; does the directory belong to "
		     "another dump?",
		     im->source->path, pid);
		return R_DAMAGED;
	}
	return R_OK;
}

static bool has_came(const char *name, void *arg)
{
	return came(arg, name);
}

static int more(struct import *im, void *arg)
{
	const struct building *b = arg;
	int rc = adopt_all(b->s, im->ingest);

	if (rc == R_OK)
		rc = import_memfds(im, b->live->memory ? NULL : has_came, b->s);
	if (rc != R_OK || b->live->memory)
		return rc;
	rc = check_memory(im, b->s);
	/* Memory is in trees only, as after an import with parents, which has noted it by now. */
	if (rc == R_OK && im->result->levels == 1)
		rc = object_put(im->ingest, EXCHANGE_PARENTS, "", 0);
	return rc;
}

int session_generation(struct live_session *s, const struct dump_source *source,
		       const struct import_live *live, struct live_result *result)
{
	const struct import_options options = { s->options->lineage, s->options->progress };
	struct building b = { s, live };
	const struct import_live hooks = {
		.ingest = s->ingest, .memory = memory, .more = more, .arg = &b
	};
	struct import_result imported = { .gen.time_ns = now_ns() };
	int rc;

	s->ingest = NULL;
	rc = import_live(s->store, source, &options, &imported, &hooks);
	result->gen = imported.gen;
	result->files = imported.files;
	result->parent = s->kept;
	return rc;
}

int session_predump(struct live_session *s, struct live_result *result)
{
	size_t len;
	char *data = live_images_read(s->images, "inventory.img", &len);
	int rc;

	*result = (struct live_result){ .gen = { .predump = true, .time_ns = now_ns() },
					.files = 1,
					.parent = s->kept };
	if (!data) {
		warn("%s/inventory.img cannot be read", s->images->path);
		return R_DAMAGED;
	}
	rc = adopt_all(s, s->ingest);
	if (rc == R_OK)
		rc = object_put(s->ingest, INVENTORY, data, len);
	free(data);
	if (rc == R_OK)
		rc = ingest_commit(s->ingest, &result->gen);
	if (rc == R_OK)
		s->ingest = NULL;
	return rc;
}
