#include "engine/proc/fds/pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"

struct pipes {
	struct pipe_state *first;
};

/* A descriptor that can read the pipe, whichever end `f` is.  A reading end serves itself: one more
 * that comes and goes could be noticed (SIGIO) in a pipe whose other end is closed. */
static int open_reader(const struct taken_file *f)
{
	char path[64];

	if ((f->flags & O_ACCMODE) != O_WRONLY)
		return fcntl(f->local, F_DUPFD_CLOEXEC, 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", f->local);
	return open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
}

/* Reads the copy; a read of a pipe in packet mode gives one packet. */
static int read_copy(struct fds_take *take, int fd, char *data, size_t bytes,
		     SnapPipeEntry *packets)
{
	size_t done = 0;

	packets->packet_bytes = fds_take_alloc(take, (bytes + 1) * sizeof(uint32_t));
	if (!packets->packet_bytes)
		return R_FAILED;
	while (done < bytes) {
		ssize_t n = read(fd, data + done, bytes - done);

		if (n <= 0)
			return R_FAILED;
		packets->packet_bytes[packets->n_packet_bytes++] = (uint32_t)n;
		done += (size_t)n;
	}
	return R_OK;
}

/* A pipe of our own with the same buffers in it; its reading end in `copy[0]`. */
static int copy_buffers(int reader, int size, int bytes, int copy[2])
{
	if (pipe2(copy, O_CLOEXEC | O_NONBLOCK) != 0)
		return R_FAILED;
	/* As many slots as it has; if we may not, what fits is compared with what there is. */
	if (size > fcntl(copy[0], F_GETPIPE_SZ))
		fcntl(copy[0], F_SETPIPE_SZ, size);
	if (tee(reader, copy[1], INT_MAX, SPLICE_F_NONBLOCK) == bytes)
		return R_OK;
	close(copy[0]);
	close(copy[1]);
	return R_FAILED;
}

static int copy_contents(struct fds_take *take, int reader, int size, int bytes, char *data,
			 SnapPipeEntry *packets)
{
	int copy[2], result;

	if (copy_buffers(reader, size, bytes, copy) != R_OK)
		return R_FAILED;
	result = read_copy(take, copy[0], data, (size_t)bytes, packets);
	close(copy[0]);
	close(copy[1]);
	return result;
}

/* Is the first thing in it a packet?  Only the flags of the writing end tell the mode, and that end
 * may be anywhere; but of a packet, reading one byte takes away the rest. */
static bool begins_with_packet(int reader, int size, int bytes, uint32_t first)
{
	int copy[2], left = bytes;
	char byte;
	bool packet = false;

	if (first == 1 || copy_buffers(reader, size, bytes, copy) != R_OK)
		return false;
	if (read(copy[0], &byte, 1) == 1 && ioctl(copy[0], FIONREAD, &left) == 0)
		packet = left == bytes - (int)first;
	close(copy[0]);
	close(copy[1]);
	return packet;
}

int pipe_contents_take(struct fds_take *take, const struct taken_file *f, enum image_kind_id image,
		       uint32_t pipe_id)
{
	PipeDataEntry entry = PIPE_DATA_ENTRY__INIT;
	SnapPipeEntry packets = SNAP_PIPE_ENTRY__INIT;
	int reader = open_reader(f), size, bytes;
	char *data = NULL;

	if (reader < 0 || (size = fcntl(reader, F_GETPIPE_SZ)) < 0 ||
	    ioctl(reader, FIONREAD, &bytes) != 0) {
		warn_errno("%s: cannot look into the pipe", taken_file_name(f));
		goto err0;
	}
	data = fds_take_alloc(take, (size_t)bytes + 1);
	if (!data)
		goto err0;
	if (bytes && copy_contents(take, reader, size, bytes, data, &packets) != R_OK) {
		warn_errno("%s: cannot copy the %d bytes in the pipe", taken_file_name(f), bytes);
		goto err0;
	}
	if (packets.n_packet_bytes == 1 && !(f->flags & O_DIRECT) &&
	    !begins_with_packet(reader, size, bytes, packets.packet_bytes[0]))
		packets.n_packet_bytes = 0;
	close(reader);
	entry.pipe_id = pipe_id;
	entry.bytes = (uint32_t)bytes;
	entry.has_size = 1;
	entry.size = (uint32_t)size;
	fds_take_put(take, image, &entry.base, data, (size_t)bytes);
	if (packets.n_packet_bytes) {
		packets.pipe_id = pipe_id;
		packets.has_fifo = 1;
		packets.fifo = image == IMAGE_FIFO_DATA;
		fds_take_put(take, IMAGE_SNAP_PIPES, &packets.base, NULL, 0);
	}
	return R_OK;

err0:
	if (reader >= 0)
		close(reader);
	return R_FAILED;
}

struct pipe_state *pipes_find(struct fds_restore *restore, bool fifo, uint32_t id)
{
	struct pipes *pipes = fds_restore_kinds(restore)->pipes;
	struct pipe_state *pipe;

	for (pipe = pipes->first; pipe; pipe = pipe->next) {
		if (pipe->fifo == fifo && pipe->id == id)
			return pipe;
	}
	pipe = calloc(1, sizeof(*pipe));
	if (!pipe) {
		warn("no memory to restore a pipe; free some and try again");
		return NULL;
	}
	pipe->id = id;
	pipe->fifo = fifo;
	pipe->ends[0] = pipe->ends[1] = pipe->reopen = -1;
	pipe->next = pipes->first;
	pipes->first = pipe;
	return pipe;
}

static size_t data_bytes(const ProtobufCMessage *message)
{
	return ((const PipeDataEntry *)message)->bytes;
}

static int load_data(struct fds_restore *restore, bool fifo, const PipeDataEntry *entry,
		     const void *payload, size_t bytes)
{
	struct pipe_state *pipe = pipes_find(restore, fifo, entry->pipe_id);
	void *copy = malloc(bytes + 1);

	if (!pipe || !copy || pipe->data) {
		warn("the contents of pipe %u cannot be read", entry->pipe_id);
		free(copy);
		return R_FAILED;
	}
	if (bytes)
		memcpy(copy, payload, bytes);
	pipe->data = copy;
	pipe->bytes = bytes;
	pipe->size = entry->has_size ? entry->size : 0;
	return R_OK;
}

static int load_pipe(struct fds_restore *restore, const ProtobufCMessage *message,
		     const void *payload, size_t bytes)
{
	return load_data(restore, false, (const PipeDataEntry *)message, payload, bytes);
}

static int load_fifo(struct fds_restore *restore, const ProtobufCMessage *message,
		     const void *payload, size_t bytes)
{
	return load_data(restore, true, (const PipeDataEntry *)message, payload, bytes);
}

static int load_packets(struct fds_restore *restore, const ProtobufCMessage *message,
			const void *payload, size_t bytes)
{
	const SnapPipeEntry *entry = (const SnapPipeEntry *)message;
	struct pipe_state *pipe =
	    pipes_find(restore, entry->has_fifo && entry->fifo, entry->pipe_id);
	uint64_t sum = 0;

	(void)payload;
	(void)bytes;
	if (!pipe)
		return R_FAILED;
	for (size_t i = 0; i < entry->n_packet_bytes; i++)
		sum += entry->packet_bytes[i];
	if (sum != pipe->bytes) {
		warn("image snap-pipes: packets of %llu bytes in pipe %u of %zu; run 'snap verify'",
		     (unsigned long long)sum, entry->pipe_id, pipe->bytes);
		return R_DAMAGED;
	}
	pipe->packets = entry;
	return R_OK;
}

int pipes_load(struct fds_restore *restore)
{
	struct fds_restore_kinds *kinds = fds_restore_kinds(restore);
	int result;

	if (kinds->pipes)
		return R_OK;
	kinds->pipes = calloc(1, sizeof(*kinds->pipes));
	if (!kinds->pipes) {
		warn("no memory to restore pipes; free some and try again");
		return R_FAILED;
	}
	result = fds_restore_each(restore, IMAGE_PIPES_DATA, data_bytes, load_pipe);
	if (result == R_OK)
		result = fds_restore_each(restore, IMAGE_FIFO_DATA, data_bytes, load_fifo);
	if (result == R_OK)
		result = fds_restore_each(restore, IMAGE_SNAP_PIPES, NULL, load_packets);
	return result;
}

/* One write for a stream, one for each packet otherwise. */
static int write_contents(const struct pipe_state *pipe, int fd)
{
	const char *data = pipe->data;
	size_t n = pipe->packets ? pipe->packets->n_packet_bytes : 1;

	for (size_t i = 0; i < n; i++) {
		size_t bytes = pipe->packets ? pipe->packets->packet_bytes[i] : pipe->bytes;

		if (write(fd, data, bytes) != (ssize_t)bytes)
			return R_FAILED;
		data += bytes;
	}
	return R_OK;
}

int pipes_fill(const struct pipe_state *pipe, int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (pipe->size && fcntl(fd, F_GETPIPE_SZ) != (int)pipe->size &&
	    fcntl(fd, F_SETPIPE_SZ, (int)pipe->size) < 0) {
		warn_errno("cannot make a pipe of %zu bytes; raise /proc/sys/fs/pipe-max-size",
			   pipe->size);
		return R_FAILED;
	}
	if (pipe->bytes == 0)
		return R_OK;
	/* It all fitted once, so it does again; never wait for that. */
	if (flags < 0 ||
	    fcntl(fd, F_SETFL, flags | O_NONBLOCK | (pipe->packets ? O_DIRECT : 0)) != 0 ||
	    write_contents(pipe, fd) != R_OK || fcntl(fd, F_SETFL, flags) != 0) {
		warn_errno("cannot put %zu bytes back into a pipe", pipe->bytes);
		return R_FAILED;
	}
	return R_OK;
}

void pipes_done(struct fds_restore *restore)
{
	struct fds_restore_kinds *kinds = fds_restore_kinds(restore);
	struct pipe_state *pipe = kinds->pipes ? kinds->pipes->first : NULL;

	while (pipe) {
		struct pipe_state *next = pipe->next;

		for (int i = 0; i < 2; i++) {
			if (pipe->ends[i] >= 0)
				close(pipe->ends[i]);
		}
		free((void *)pipe->data);
		free(pipe);
		pipe = next;
	}
	free(kinds->pipes);
	kinds->pipes = NULL;
}
