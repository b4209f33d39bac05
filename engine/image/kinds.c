#include "engine/image/image.h"

#include <string.h>

#define HEAD_COMMON 0x54564319u
#define HEAD_SERVICE 0x55105940u

/* Our own images carry the common word too; their magic words spell "sn" and a number. */
#define SNAP_MAGIC(n) (0x736e0000u + (n))

static const struct image_kind kinds[IMAGE_KINDS] = {
	[IMAGE_INVENTORY] = { "inventory", 0, 0x58313116, &inventory_entry__descriptor },
	[IMAGE_PSTREE] = { "pstree", HEAD_COMMON, 0x50273030, &pstree_entry__descriptor },
	[IMAGE_CORE] = { "core", HEAD_COMMON, 0x55053847, &core_entry__descriptor },
	[IMAGE_IDS] = { "ids", HEAD_COMMON, 0x54432030, &task_kobj_ids_entry__descriptor },
	[IMAGE_MM] = { "mm", HEAD_COMMON, 0x57492820, &mm_entry__descriptor },
	[IMAGE_FS] = { "fs", HEAD_COMMON, 0x51403912, &fs_entry__descriptor },
	[IMAGE_SECCOMP] = { "seccomp", HEAD_COMMON, 0x64413049, &seccomp_entry__descriptor },
	[IMAGE_CGROUP] = { "cgroup", HEAD_COMMON, 0x59383330, &cgroup_entry__descriptor },
	[IMAGE_FDINFO] = { "fdinfo", HEAD_COMMON, 0x56213732, &fdinfo_entry__descriptor },
	[IMAGE_FILES] = { "files", HEAD_COMMON, 0x56303138, &file_entry__descriptor },
	[IMAGE_REMAP_FPATH] = { "remap-fpath", HEAD_COMMON, 0x59133954,
				&remap_file_path_entry__descriptor },
	[IMAGE_GHOST_FILE] = { "ghost-file", HEAD_COMMON, 0x52583605,
			       &ghost_file_entry__descriptor },
	[IMAGE_MEMFD] = { "memfd", HEAD_COMMON, 0x48453499, &memfd_inode_entry__descriptor },
	[IMAGE_PIPES_DATA] = { "pipes-data", HEAD_COMMON, 0x56453709,
			       &pipe_data_entry__descriptor },
	[IMAGE_FIFO_DATA] = { "fifo-data", HEAD_COMMON, 0x59333054, &pipe_data_entry__descriptor },
	[IMAGE_SK_QUEUES] = { "sk-queues", HEAD_COMMON, 0x56264026, &sk_packet_entry__descriptor },
	[IMAGE_TCP_STREAM] = { "tcp-stream", HEAD_COMMON, 0x51465506,
			       &tcp_stream_entry__descriptor },
	[IMAGE_TTY_INFO] = { "tty-info", HEAD_COMMON, 0x59453036, &tty_info_entry__descriptor },
	[IMAGE_TTY_DATA] = { "tty-data", HEAD_COMMON, 0x59413026, &tty_data_entry__descriptor },
	[IMAGE_FILELOCKS] = { "filelocks", HEAD_COMMON, 0x54323616, &file_lock_entry__descriptor },
	[IMAGE_TIMENS] = { "timens", HEAD_COMMON, 0x43114433, &timens_entry__descriptor },
	[IMAGE_STATS] = { "stats-dump", HEAD_SERVICE, 0x57093306, &stats_entry__descriptor },
	[IMAGE_SNAP_TASK] = { "snap-task", HEAD_COMMON, SNAP_MAGIC(1),
			      &snap_task_entry__descriptor },
	[IMAGE_SNAP_THREAD] = { "snap-thread", HEAD_COMMON, SNAP_MAGIC(2),
				&snap_thread_entry__descriptor },
	[IMAGE_SNAP_SHMEM] = { "snap-shmem", HEAD_COMMON, SNAP_MAGIC(3),
			       &snap_shmem_entry__descriptor },
	[IMAGE_SNAP_FILES] = { "snap-files", HEAD_COMMON, SNAP_MAGIC(4),
			       &snap_file_entry__descriptor },
	[IMAGE_SNAP_META] = { "snap-meta", HEAD_COMMON, SNAP_MAGIC(5),
			      &snap_meta_entry__descriptor },
	[IMAGE_SNAP_SOCKETS] = { "snap-sockets", HEAD_COMMON, SNAP_MAGIC(6),
				 &snap_socket_entry__descriptor },
	[IMAGE_SNAP_SK_PACKETS] = { "snap-sk-packets", HEAD_COMMON, SNAP_MAGIC(7),
				    &snap_sk_packet_entry__descriptor },
	[IMAGE_SNAP_PIPES] = { "snap-pipes", HEAD_COMMON, SNAP_MAGIC(16),
			       &snap_pipe_entry__descriptor },
	[IMAGE_SNAP_EPOLL] = { "snap-epoll", HEAD_COMMON, SNAP_MAGIC(17),
			       &snap_epoll_entry__descriptor },
};

const struct image_kind *image_kind(enum image_kind_id id)
{
	return &kinds[id];
}

const struct image_kind *image_kind_by_name(const char *object_name)
{
	for (size_t i = 0; i < IMAGE_KINDS; i++) {
		size_t len = strlen(kinds[i].name);
		const char *rest = object_name + len;

		if (strncmp(object_name, kinds[i].name, len) != 0)
			continue;
		if (*rest == '\0')
			return &kinds[i];
		if (*rest == '-' && rest[1] != '\0' &&
		    strspn(rest + 1, "0123456789abcdef") == strlen(rest + 1))
			return &kinds[i];
	}
	return NULL;
}
