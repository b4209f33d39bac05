/* CRIU's page-server protocol: pages of a dump, by a socket. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/endian.h"
#include "base/result.h"
#include "base/warn.h"
#include "engine/exchange/live_internal.h"

/* Commands, in the low 16 bits of a header's first word; above are the flags of a pagemap entry. */
enum {
	CMD_ADD = 1,
	CMD_HOLE = 2,
	CMD_OPEN = 3,
	CMD_OPEN_ANSWERED = 4,
	CMD_PARENT = 5,
	CMD_ADD_FLAGS = 6,
	CMD_GET = 7,
	CMD_CLOSE = 0x1023,
	CMD_FORCE_CLOSE = 0x1024,
};
#define CMD_BITS 16
#define PE_PARENT 1u
#define PE_LAZY 2u
#define PE_PRESENT 4u

/* Of the low 8 bits of what a header calls its target. */
#define TARGET_BITS 8
#define TARGET_TASK 1u
#define TARGET_SHMEM 2u

/*
 * A header is a command, a count of pages, an address and a target.  Up to CRIU 4.1 the count has
 * 32 bits, from 4.2 on 64 behind a gap.
 */
#define HEAD_OLD_BYTES 24
#define HEAD_NEW_BYTES 32

/* No address has more bits than with five levels of tables. */
#define PAGES_MAX ((uint64_t)1 << (57 - 12))

#define FLOW_BYTES ((size_t)1 << 20)
/* What a TLS handshake begins with. */
#define TLS_HANDSHAKE 0x16

struct header {
	uint32_t cmd, flags;
	uint64_t pages, vaddr, target;
};

struct server {
	int fd;
	const struct live_options *options;
	struct live_session *session;
	size_t head_bytes; /* 0: not known yet */
	uint64_t target;   /* of the object being written; 0: none */
	uint8_t *buf;	   /* FLOW_BYTES */
	size_t at, end;	   /* what was received and not used yet */
};

static int gone(void)
{
	warn("the peer left before it was through: no generation; its dump has failed, or was "
	     "killed");
	return R_FAILED;
}

/* Receives until `need` bytes are there, and what else came.  R_OK or R_FAILED. */
static int receive(struct server *sv, size_t need)
{
	struct pollfd wait = { .fd = sv->fd, .events = POLLIN };
	uint64_t timeout_s = sv->options->timeout_s ? sv->options->timeout_s : LIVE_SILENCE_S;
	int rc;

	if (sv->at + need > FLOW_BYTES) {
		memmove(sv->buf, sv->buf + sv->at, sv->end - sv->at);
		sv->end -= sv->at;
		sv->at = 0;
	}
	while (sv->end - sv->at < need) {
		ssize_t got = recv(sv->fd, sv->buf + sv->end, FLOW_BYTES - sv->end, 0);

		if (got > 0) {
			sv->end += (size_t)got;
			continue;
		}
		if (got == 0)
			return gone();
		if (errno != EAGAIN && errno != EINTR) {
			warn_errno("cannot receive from the peer");
			return R_FAILED;
		}
		rc = live_poll(&wait, 1, timeout_s, sv->options->progress);
		if (rc == R_NOT_FOUND)
			warn("the peer sent nothing for %" PRIu64 " s: given up", timeout_s);
		if (rc != R_OK)
			return R_FAILED;
	}
	return R_OK;
}

static int answer(const struct server *sv, const void *data, size_t len)
{
	if (send(sv->fd, data, len, MSG_NOSIGNAL) == (ssize_t)len)
		return R_OK;
	warn_errno("cannot answer the peer");
	return R_FAILED;
}

static bool known_command(uint32_t cmd)
{
	return (cmd >= CMD_ADD && cmd <= CMD_GET) || cmd == CMD_CLOSE || cmd == CMD_FORCE_CLOSE;
}

/*
 * Which form has the first header?  Its command opens something or asks for a parent, so that it
 * has a target, and neither pages nor an address: the third word of 8 bytes is the target in the
 * old form and the address in the new one.
 */
static int find_form(struct server *sv)
{
	const uint8_t *p;
	uint32_t cmd;

	if (receive(sv, HEAD_OLD_BYTES) != R_OK)
		return R_FAILED;
	p = sv->buf + sv->at;
	cmd = get_le32(p) & ((1u << CMD_BITS) - 1);
	if (*p == TLS_HANDSHAKE && p[1] == 3) {
		warn("the peer speaks TLS, which is not known here: run criu without --tls-*, "
		     "and ssh between machines");
		return R_UNSUPPORTED;
	}
	if (cmd == CMD_CLOSE || cmd == CMD_FORCE_CLOSE || cmd == CMD_OPEN ||
	    cmd == CMD_OPEN_ANSWERED || cmd == CMD_PARENT) {
		sv->head_bytes =
		    get_le64(p + 16) || cmd >= CMD_CLOSE ? HEAD_OLD_BYTES : HEAD_NEW_BYTES;
		return R_OK;
	}
	warn("the peer does not speak CRIU's page-server protocol (it begins with %08" PRIx32 ")",
	     get_le32(p));
	return R_UNSUPPORTED;
}

static int read_header(struct server *sv, struct header *head)
{
	const uint8_t *p;
	int rc = sv->head_bytes ? R_OK : find_form(sv);

	if (rc != R_OK || (rc = receive(sv, sv->head_bytes)) != R_OK)
		return rc;
	p = sv->buf + sv->at;
	sv->at += sv->head_bytes;
	head->cmd = get_le32(p) & ((1u << CMD_BITS) - 1);
	head->flags = get_le32(p) >> CMD_BITS;
	head->pages = sv->head_bytes == HEAD_OLD_BYTES ? get_le32(p + 4) : get_le64(p + 8);
	head->vaddr = get_le64(p + sv->head_bytes - 16);
	head->target = get_le64(p + sv->head_bytes - 8);
	if (known_command(head->cmd))
		return R_OK;
	warn("the peer sends a command 0x%" PRIx32 ", which CRIU up to 4.2 does not have",
	     head->cmd);
	return R_UNSUPPORTED;
}

static int name_of(const struct header *head, char name[SESSION_NAME_ROOM])
{
	unsigned int kind = head->target & ((1u << TARGET_BITS) - 1);
	uint64_t id = head->target >> TARGET_BITS;

	if ((kind == TARGET_TASK || kind == TARGET_SHMEM) && id) {
		snprintf(name, SESSION_NAME_ROOM, "pages-%s%" PRIu64,
			 kind == TARGET_SHMEM ? "shmem-" : "", id);
		return R_OK;
	}
	warn("the peer sends pages of 0x%" PRIx64 ", which is neither a task nor shared memory",
	     head->target);
	return R_DAMAGED;
}

static int open_target(struct server *sv, const struct header *head)
{
	char name[SESSION_NAME_ROOM];
	uint8_t has_parent;
	int rc = name_of(head, name);

	if (rc == R_OK)
		rc = session_object(sv->session, name);
	if (rc != R_OK)
		return rc;
	sv->target = head->target;
	if (head->cmd != CMD_OPEN_ANSWERED)
		return R_OK;
	has_parent = session_has_parent(sv->session, name);
	return answer(sv, &has_parent, sizeof(has_parent));
}

static int tell_parent(struct server *sv, const struct header *head)
{
	char name[SESSION_NAME_ROOM];
	int32_t has_parent;
	int rc = name_of(head, name);

	if (rc != R_OK)
		return rc;
	has_parent = session_has_parent(sv->session, name);
	return answer(sv, &has_parent, sizeof(has_parent));
}

static int take_pages(struct server *sv, uint64_t index, uint64_t pages)
{
	int rc = R_OK;

	while (rc == R_OK && pages) {
		size_t n;

		rc = receive(sv, PAGE_BYTES);
		if (rc != R_OK)
			return rc;
		n = (sv->end - sv->at) / PAGE_BYTES;
		n = n < pages ? n : (size_t)pages;
		rc = session_pages(sv->session, index, sv->buf + sv->at, n);
		sv->at += n * PAGE_BYTES;
		index += n;
		pages -= n;
	}
	return rc;
}

static int add(struct server *sv, const struct header *head)
{
	uint64_t index = head->vaddr / PAGE_BYTES;
	uint32_t flags = head->cmd == CMD_ADD	 ? PE_PRESENT
			 : head->cmd == CMD_HOLE ? PE_PARENT
						 : head->flags;
	int rc = R_OK;

	if (head->vaddr % PAGE_BYTES || !head->pages || index > PAGES_MAX ||
	    head->pages > PAGES_MAX - index) {
		warn("the peer sends %" PRIu64 " pages at 0x%" PRIx64 ", which no task has",
		     head->pages, head->vaddr);
		return R_DAMAGED;
	}
	if (flags & ~(PE_PARENT | PE_LAZY | PE_PRESENT)) {
		warn("the peer sends pages with flags 0x%" PRIx32 ", which CRIU up to 4.2 does not "
		     "have",
		     flags);
		return R_UNSUPPORTED;
	}
	/* Versions before 1.3 did not open what they sent. */
	if (head->target != sv->target)
		rc = open_target(sv, head);
	if (rc != R_OK)
		return rc;
	if (flags & PE_PRESENT)
		return take_pages(sv, index, head->pages);
	if (flags & PE_PARENT)
		return session_keep(sv->session, index, head->pages);
	warn("the peer keeps pages at 0x%" PRIx64 " back: dump without --lazy-pages", head->vaddr);
	return R_UNSUPPORTED;
}

/* The peer ends its dump, and the tasks with it, when it hears that all is well. */
static int finish(struct server *sv)
{
	int32_t status = -1;
	int rc = R_FAILED;

	if (sv->session->n)
		rc = session_commit(sv->session);
	else
		warn("the peer sent no memory: its dump has failed, see its log");
	if (rc == R_OK)
		status = 0;
	if (answer(sv, &status, sizeof(status)) != R_OK && rc == R_OK)
		rc = R_FAILED;
	return rc;
}

static int serve(struct server *sv)
{
	struct header head = { 0 };
	int rc = R_OK;

	while (rc == R_OK) {
		rc = read_header(sv, &head);
		if (rc != R_OK)
			return rc;
		switch (head.cmd) {
		case CMD_OPEN:
		case CMD_OPEN_ANSWERED:
			rc = open_target(sv, &head);
			break;
		case CMD_PARENT:
			rc = tell_parent(sv, &head);
			break;
		case CMD_ADD:
		case CMD_HOLE:
		case CMD_ADD_FLAGS:
			rc = add(sv, &head);
			break;
		case CMD_GET:
			warn("the peer asks for pages: this takes dumps in, and serves no restore");
			return R_UNSUPPORTED;
		default:
			return finish(sv);
		}
	}
	return rc;
}

static int receive_memory(int fd, const struct live_options *options, struct live_session *session)
{
	struct server sv = { .fd = fd, .options = options, .session = session };
	int rc = R_FAILED;

	sv.buf = malloc(FLOW_BYTES);
	if (sv.buf)
		rc = serve(&sv);
	else
		warn("out of memory");
	free(sv.buf);
	return rc;
}

static int build(struct live_session *s, const struct live_options *options,
		 struct live_result *result)
{
	const struct dump_source source = { .path = s->images->path, .dirfd = s->images->dirfd };
	static const struct import_live none;
	int rc = live_images_wait(s->images, options->progress);

	if (rc != R_OK)
		return rc;
	if (live_images_predump(s->images))
		return session_predump(s, result);
	return session_generation(s, &source, &none, result);
}

static int take_in(int fd, const struct live_options *options, struct live_session *session,
		   struct live_result *result)
{
	int rc = receive_memory(fd, options, session);

	close(fd);
	return rc == R_OK ? build(session, options, result) : rc;
}

int live_page_server(struct store *store, const struct live_address *address,
		     const struct live_options *options, struct live_result *result)
{
	struct live_images images;
	struct listener listener;
	int rc = live_images_open(options, &images);

	if (rc != R_OK)
		return rc;
	rc = listener_open(address, &listener);
	if (rc == R_OK)
		rc = session_with_peer(store, options, &images, &listener, take_in, result);
	live_images_close(&images);
	return rc;
}
