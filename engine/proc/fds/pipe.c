/* pipe(2). */
#include "engine/proc/fds/pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"

static bool pipe_probe(const struct taken_file *f)
{
	return S_ISFIFO(f->st.st_mode) && strncmp(f->link, "pipe:", 5) == 0 && !(f->flags & O_PATH);
}

static int pipe_dump(struct fds_take *take, struct taken_file *f)
{
	PipeEntry *pipe = fds_take_alloc(take, sizeof(*pipe));
	bool fresh;

	if (!pipe)
		return R_FAILED;
	pipe_entry__init(pipe);
	pipe->id = f->id;
	pipe->pipe_id = fds_take_inode_id(take, "pipe", f->st.st_dev, f->st.st_ino, &fresh);
	pipe->flags = f->flags;
	pipe->fown = &f->fown;
	f->entry.pipe = pipe;
	return fresh ? pipe_contents_take(take, f, IMAGE_PIPES_DATA, pipe->pipe_id) : R_OK;
}

static int pipe_check(struct fds_restore *restore, struct restored_file *f)
{
	(void)restore;
	return f->entry->pipe ? R_OK : R_DAMAGED;
}

static int make_pipe(struct fds_restore *restore, struct pipe_state *state)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) != 0) {
		warn_errno("cannot make a pipe");
		return R_FAILED;
	}
	state->made = true;
	state->ends[0] = fds_restore_high(restore, ends[0]);
	state->ends[1] = fds_restore_high(restore, ends[1]);
	if (state->ends[0] < 0 || state->ends[1] < 0) {
		warn_errno("no descriptors for a pipe");
		return R_FAILED;
	}
	state->reopen = state->ends[0];
	return pipes_fill(state, state->ends[1]);
}

/* The ends pipe(2) gave go to the first file of either kind; further ones are opened anew. */
static int open_end(const struct fds_restore *restore, struct pipe_state *state, uint32_t flags)
{
	int mode = (int)(flags & O_ACCMODE), fd;
	char path[64];

	(void)restore;
	if (mode != O_RDWR && state->ends[mode] >= 0) {
		fd = state->ends[mode];
		state->ends[mode] = -1;
		return fd;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", state->reopen);
	return open(path, mode | O_NONBLOCK | O_CLOEXEC);
}

static int pipe_open(struct fds_restore *restore, struct restored_file *f)
{
	const PipeEntry *pipe = f->entry->pipe;
	struct pipe_state *state = pipes_find(restore, false, pipe->pipe_id);
	int fd, local;
	bool first;

	if (!state || (!state->made && make_pipe(restore, state) != R_OK))
		return R_FAILED;
	fd = open_end(restore, state, pipe->flags);
	first = fd == state->reopen;
	if (fd < 0 || fds_restore_adopt(restore, f, fd) != R_OK) {
		warn_errno("open file %u: cannot open the end of a pipe", f->id);
		return R_FAILED;
	}
	local = f->local;
	if (first)
		state->reopen = local;
	if (fcntl(local, F_SETFL, (int)(pipe->flags & (O_NONBLOCK | O_DIRECT))) == 0)
		return R_OK;
	warn_errno("open file %u: cannot set the flags %o of a pipe", f->id, pipe->flags);
	return R_FAILED;
}

static void pipe_describe(const FileEntry *entry, char *buf, size_t len)
{
	static const char *const modes[] = { "read", "write", "both" };

	snprintf(buf, len, "pipe %u, %s", entry->pipe->pipe_id,
		 modes[(entry->pipe->flags & O_ACCMODE) % 3]);
}

const struct fd_kind fd_kind_pipe = {
	.name = "pipe",
	.type = FD_TYPES__PIPE,
	.probe = pipe_probe,
	.dump = pipe_dump,
	.load = pipes_load,
	.check = pipe_check,
	.open = pipe_open,
	.done = pipes_done,
	.describe = pipe_describe,
};
