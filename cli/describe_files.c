/* Open files of a process in JSON; its sockets are in describe_sockets.c. */
#include "cli/describe.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static const char *kind_word(FdTypes type)
{
	static const char *const words[] = {
		[FD_TYPES__REG] = "file",
		[FD_TYPES__PIPE] = "pipe",
		[FD_TYPES__FIFO] = "fifo",
		[FD_TYPES__INETSK] = "inet socket",
		[FD_TYPES__UNIXSK] = "unix socket",
		[FD_TYPES__EVENTFD] = "eventfd",
		[FD_TYPES__EVENTPOLL] = "epoll",
		[FD_TYPES__INOTIFY] = "inotify",
		[FD_TYPES__SIGNALFD] = "signalfd",
		[FD_TYPES__PACKETSK] = "packet socket",
		[FD_TYPES__TTY] = "terminal",
		[FD_TYPES__FANOTIFY] = "fanotify",
		[FD_TYPES__NETLINKSK] = "netlink socket",
		[FD_TYPES__NS] = "namespace",
		[FD_TYPES__TUNF] = "tun",
		[FD_TYPES__EXT] = "external",
		[FD_TYPES__TIMERFD] = "timerfd",
		[FD_TYPES__MEMFD] = "memfd",
		[FD_TYPES__BPFMAP] = "bpf map",
		[FD_TYPES__PIDFD] = "pidfd",
	};

	if ((size_t)type >= sizeof(words) / sizeof(words[0]) || !words[type])
		return "unknown";
	return words[type];
}

static void add_access(json_t *json, uint32_t flags)
{
	char text[64];

	snprintf(text, sizeof(text), "%s%s%s",
		 (flags & O_ACCMODE) == O_RDONLY   ? "read"
		 : (flags & O_ACCMODE) == O_WRONLY ? "write"
						   : "read-write",
		 flags & O_APPEND ? " append" : "", flags & O_NONBLOCK ? " nonblock" : "");
	json_object_set_new(json, "access", json_string(text));
}

static void add_reg(const struct look *look, json_t *json, const RegFileEntry *reg)
{
	json_object_set_new(json, "path", describe_text(reg->name, strlen(reg->name)));
	if (look_is_deleted(look, reg->id))
		json_object_set_new(json, "deleted", json_true());
	json_object_set_new(json, "offset", json_integer((json_int_t)reg->pos));
	add_access(json, reg->flags);
	if (reg->has_size)
		json_object_set_new(json, "size", json_integer((json_int_t)reg->size));
}

static void add_memfd(const struct look *look, json_t *json, const FileEntry *file)
{
	const MemfdInodeEntry *inode = look_memfd(look, file);

	if (!inode)
		return;
	json_object_set_new(json, "name", describe_text(inode->name, strlen(inode->name)));
	json_object_set_new(json, "size", json_integer((json_int_t)inode->size));
}

static void add_waiting(const struct look_queues *queues, json_t *json, const FileEntry *file)
{
	struct look_queue queue;

	if (queues && look_queue(queues, file, &queue))
		json_object_set_new(json, "bytes_waiting",
				    json_integer((json_int_t)queue.bytes_received));
}

static void add_pipe(const struct look_queues *queues, json_t *json, const FileEntry *file)
{
	json_object_set_new(json, "inode",
			    json_integer(file->pipe ? file->pipe->pipe_id : file->fifo->pipe_id));
	if (file->pipe)
		add_access(json, file->pipe->flags);
	add_waiting(queues, json, file);
}

static void add_details(const struct look *look, const struct look_queues *queues, json_t *json,
			const FileEntry *file)
{
	if (file->reg)
		add_reg(look, json, file->reg);
	describe_socket(look, queues, file, json);
	if (file->pipe || file->fifo)
		add_pipe(queues, json, file);
	if (file->efd)
		json_object_set_new(json, "counter", json_integer((json_int_t)file->efd->counter));
	if (file->epfd)
		json_object_set_new(json, "watches", json_integer((json_int_t)file->epfd->n_tfd));
	if (file->ify)
		json_object_set_new(json, "watches", json_integer((json_int_t)file->ify->n_wd));
	if (file->memfd)
		add_memfd(look, json, file);
}

static bool is_socket(FdTypes type)
{
	return type == FD_TYPES__INETSK || type == FD_TYPES__UNIXSK || type == FD_TYPES__PACKETSK ||
	       type == FD_TYPES__NETLINKSK;
}

json_t *describe_files(const struct look *look, const struct look_task *task,
		       const struct look_queues *queues, bool sockets_only)
{
	json_t *list = json_array();

	for (size_t i = 0; i < task->n_fds; i++) {
		const FdinfoEntry *fd = task->fds[i];
		const FileEntry *file = look_file(look, fd->id);
		json_t *json;

		if (sockets_only && !is_socket(fd->type))
			continue;
		json =
		    json_pack("{s:I, s:s}", "fd", (json_int_t)fd->fd, "kind", kind_word(fd->type));
		if (fd->flags & FD_CLOEXEC)
			json_object_set_new(json, "cloexec", json_true());
		if (file)
			add_details(look, queues, json, file);
		json_array_append_new(list, json);
	}
	return list;
}
