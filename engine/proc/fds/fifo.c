/* Named pipes: a path, which may be gone, and contents. */
#include "engine/proc/fds/ghost.h"
#include "engine/proc/fds/pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"

static bool fifo_probe(const struct taken_file *f)
{
	return S_ISFIFO(f->st.st_mode) && f->link[0] == '/' && !f->path_only &&
	       !(f->flags & O_PATH);
}

static int fifo_dump(struct fds_take *take, struct taken_file *f)
{
	FifoEntry *fifo = fds_take_alloc(take, sizeof(*fifo));
	bool fresh;

	if (!fifo)
		return R_FAILED;
	fifo_entry__init(fifo);
	fifo->id = f->id;
	fifo->pipe_id = fds_take_inode_id(take, "fifo", f->st.st_dev, f->st.st_ino, &fresh);
	fifo->has_regf_id = 1;
	f->entry.fifo = fifo;
	if (fresh && pipe_contents_take(take, f, IMAGE_FIFO_DATA, fifo->pipe_id) != R_OK)
		return R_FAILED;
	return fds_take_twin(take, f, &fd_kind_reg, &fifo->regf_id);
}

/* The entry that has the path, the flags and the owner. */
static const RegFileEntry *path_entry(struct fds_restore *restore, const struct restored_file *f)
{
	const FileEntry *entry = NULL;

	if (f->entry->fifo && f->entry->fifo->has_regf_id)
		entry = fds_restore_entry(restore, f->entry->fifo->regf_id);
	if (entry && entry->reg)
		return entry->reg;
	warn("open file %u: a FIFO without a path; run 'snap verify'", f->id);
	return NULL;
}

static int fifo_check(struct fds_restore *restore, struct restored_file *f)
{
	return path_entry(restore, f) ? R_OK : R_DAMAGED;
}

static int open_named(struct fds_restore *restore, const RegFileEntry *reg, int flags)
{
	int fd;

	if (remap_known(restore, reg->id))
		return remap_open(restore, reg->id, reg->name, flags);
	fd = open(reg->name, flags | O_CLOEXEC);
	if (fd < 0)
		warn_errno("%s: cannot open it again", reg->name);
	return fd;
}

static int fifo_open(struct fds_restore *restore, struct restored_file *f)
{
	struct pipe_state *state = pipes_find(restore, true, f->entry->fifo->pipe_id);
	const RegFileEntry *reg = path_entry(restore, f);
	int fd;

	if (!state || !reg)
		return R_FAILED;
	if (!state->made) {
		/* Both ends at once, so that no open waits for a partner; holds the contents. */
		fd = open_named(restore, reg, O_RDWR | O_NONBLOCK);
		state->ends[1] = fd < 0 ? -1 : fds_restore_high(restore, fd);
		if (state->ends[1] < 0 || pipes_fill(state, state->ends[1]) != R_OK)
			return R_FAILED;
		state->made = true;
	}
	fd = open_named(restore, reg, (int)(reg->flags & O_ACCMODE) | O_NONBLOCK);
	if (fd < 0 || fds_restore_adopt(restore, f, fd) != R_OK)
		return R_FAILED;
	if (fcntl(f->local, F_SETFL, (int)(reg->flags & (O_NONBLOCK | O_DIRECT | O_APPEND))) == 0)
		return R_OK;
	warn_errno("%s: cannot set its flags %o", reg->name, reg->flags);
	return R_FAILED;
}

static void fifo_describe(const FileEntry *entry, char *buf, size_t len)
{
	snprintf(buf, len, "fifo %u", entry->fifo->pipe_id);
}

const struct fd_kind fd_kind_fifo = {
	.name = "fifo",
	.type = FD_TYPES__FIFO,
	.probe = fifo_probe,
	.dump = fifo_dump,
	.load = pipes_load,
	.check = fifo_check,
	.open = fifo_open,
	.done = pipes_done,
	.describe = fifo_describe,
};
