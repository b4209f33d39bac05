/* The requests of a peer that streams images. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/endian.h"
#include "base/result.h"
#include "base/warn.h"
#include "engine/exchange/streamer_internal.h"
#include "streamer.pb-c.h"

#define LENGTH_BYTES sizeof(uint32_t)

static int no_request(const char *why)
{
	warn("the peer does not speak CRIU's image-streamer protocol: %s", why);
	return R_DAMAGED;
}

/* How many bytes there have to be next; the byte with the pipe comes alone. */
static size_t wanted(const struct stream_control *control)
{
	if (control->have < LENGTH_BYTES)
		return LENGTH_BYTES;
	return LENGTH_BYTES + get_le32(control->buf) +
	       (control->have >= LENGTH_BYTES + get_le32(control->buf));
}

/* The descriptor in a message, others closed; -1: none. */
static int received_fd(struct msghdr *message)
{
	int fd = -1;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			if (fd >= 0)
				close(fd);
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
		}
	}
	return fd;
}

static int read_some(struct stream_control *control, size_t want, int *fd)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(8 * sizeof(int))];
	} extra;
	struct iovec at = { control->buf + control->have, want - control->have };
	struct msghdr message = { .msg_iov = &at,
				  .msg_iovlen = 1,
				  .msg_control = &extra,
				  .msg_controllen = sizeof(extra) };
	ssize_t got = recvmsg(control->fd, &message, MSG_CMSG_CLOEXEC);

	*fd = -1;
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return R_OK;
	if (got < 0) {
		warn_errno("cannot receive from the peer");
		return R_FAILED;
	}
	*fd = received_fd(&message);
	if (got == 0) {
		control->over = true;
		return control->have ? no_request("it ends within a request") : R_OK;
	}
	control->have += (size_t)got;
	return R_OK;
}

static int name_in(const struct stream_control *control, char name[STREAM_NAME_ROOM])
{
	ImgStreamerRequestEntry *request = img_streamer_request_entry__unpack(
	    NULL, get_le32(control->buf), control->buf + LENGTH_BYTES);
	const char *file = request ? request->filename : "";
	bool good = *file && strlen(file) < STREAM_NAME_ROOM && !strchr(file, '/') &&
		    strcmp(file, ".") != 0 && strcmp(file, "..") != 0;

	if (good)
		snprintf(name, STREAM_NAME_ROOM, "%s", file);
	if (request)
		img_streamer_request_entry__free_unpacked(request, NULL);
	return good ? R_OK : no_request("a request without the name of a file");
}

/* Anything else might keep us waiting, or change under us. */
static int check_pipe(int fd)
{
	struct stat st;
	int flags = fcntl(fd, F_GETFL);

	if (fstat(fd, &st) != 0 || !S_ISFIFO(st.st_mode) || flags < 0 ||
	    (flags & O_ACCMODE) == O_WRONLY || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
		return no_request("what it sends along is no pipe to read from");
	return R_OK;
}

int stream_control_read(struct stream_control *control, char name[STREAM_NAME_ROOM], int *fd)
{
	size_t want = wanted(control), length;
	int rc;

	rc = read_some(control, want, fd);
	if (rc != R_OK || control->over)
		goto refuse;
	if (control->have < LENGTH_BYTES)
		goto more;
	length = get_le32(control->buf);
	if (length > STREAM_REQUEST_ROOM - LENGTH_BYTES - 1) {
		rc = no_request("a request that is too long");
		goto refuse;
	}
	if (control->have < LENGTH_BYTES + length + 1)
		goto more;
	control->have = 0;
	rc = *fd < 0 ? no_request("no pipe comes with a request") : check_pipe(*fd);
	if (rc == R_OK)
		rc = name_in(control, name);
	if (rc != R_OK)
		goto refuse;
	return R_OK;

more:
	if (*fd < 0)
		return R_OK;
	rc = no_request("a pipe that belongs to no request");
refuse:
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	return rc;
}
