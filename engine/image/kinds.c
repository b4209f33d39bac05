#include "engine/image/image.h"

#include <string.h>

#define HEAD_COMMON 0x54564319u
#define HEAD_SERVICE 0x55105940u

/* Our own images carry the common word too; their magic words spell "sn" and a number. */
#define SNAP_MAGIC(n) (0x736e0000u + (n))

#define KIND(id, name, tag, magic, message) \
	[IMAGE_##id] = { name, tag, HEAD_COMMON, magic, &message##__descriptor }

static const struct image_kind kinds[IMAGE_KINDS] = {
	[IMAGE_INVENTORY] = { "inventory", "INVENTORY", 0, 0x58313116,
			      &inventory_entry__descriptor },
	KIND(PSTREE, "pstree", "PSTREE", 0x50273030, pstree_entry),
	KIND(CORE, "core", "CORE", 0x55053847, core_entry),
	KIND(IDS, "ids", "IDS", 0x54432030, task_kobj_ids_entry),
	KIND(MM, "mm", "MM", 0x57492820, mm_entry),
	KIND(FS, "fs", "FS", 0x51403912, fs_entry),
	KIND(CREDS, "creds", "CREDS", 0x54023547, creds_entry),
	KIND(SECCOMP, "seccomp", "SECCOMP", 0x64413049, seccomp_entry),
	KIND(APPARMOR, "apparmor", "APPARMOR", 0x59423047, apparmor_entry),
	KIND(CGROUP, "cgroup", "CGROUP", 0x59383330, cgroup_entry),
	KIND(CPUINFO, "cpuinfo", "CPUINFO", 0x61404013, cpuinfo_entry),
	/* Memory that is not in page trees. */
	KIND(PAGEMAP, "pagemap", "PAGEMAP", 0x56084025, pagemap_entry),
	KIND(PAGEMAP_SHMEM, "pagemap-shmem", "PAGEMAP", 0x56084025, pagemap_entry),
	/* Files. */
	KIND(FDINFO, "fdinfo", "FDINFO", 0x56213732, fdinfo_entry),
	KIND(FILES, "files", "FILES", 0x56303138, file_entry),
	KIND(REMAP_FPATH, "remap-fpath", "REMAP_FPATH", 0x59133954, remap_file_path_entry),
	KIND(GHOST_FILE, "ghost-file", "GHOST_FILE", 0x52583605, ghost_file_entry),
	KIND(MEMFD, "memfd", "MEMFD_INODE", 0x48453499, memfd_inode_entry),
	KIND(PIPES_DATA, "pipes-data", "PIPES_DATA", 0x56453709, pipe_data_entry),
	KIND(FIFO_DATA, "fifo-data", "FIFO_DATA", 0x59333054, pipe_data_entry),
	KIND(SK_QUEUES, "sk-queues", "SK_QUEUES", 0x56264026, sk_packet_entry),
	KIND(TCP_STREAM, "tcp-stream", "TCP_STREAM", 0x51465506, tcp_stream_entry),
	KIND(TTY_INFO, "tty-info", "TTY_INFO", 0x59453036, tty_info_entry),
	KIND(TTY_DATA, "tty-data", "TTY_DATA", 0x59413026, tty_data_entry),
	KIND(FILELOCKS, "filelocks", "FILE_LOCKS", 0x54323616, file_lock_entry),
	KIND(BPFMAP_FILE, "bpfmap-file", "BPFMAP_FILE", 0x57506142, bpfmap_file_entry),
	KIND(BPFMAP_DATA, "bpfmap-data", "BPFMAP_DATA", 0x64324033, bpfmap_data_entry),
	/* Namespaces. */
	KIND(TIMENS, "timens", "TIMENS", 0x43114433, timens_entry),
	KIND(PIDNS, "pidns", "PIDNS", 0x61157326, pidns_entry),
	KIND(UTSNS, "utsns", "UTSNS", 0x54473203, utsns_entry),
	KIND(USERNS, "userns", "USERNS", 0x55474906, userns_entry),
	KIND(MOUNTPOINTS, "mountpoints", "MNTS", 0x55563928, mnt_entry),
	KIND(AUTOFS, "autofs", "AUTOFS", 0x49353943, autofs_entry),
	KIND(BINFMT_MISC, "binfmt-misc", "BINFMT_MISC", 0x67343323, binfmt_misc_entry),
	KIND(NETNS, "netns", "NETNS", 0x55933752, netns_entry),
	KIND(NETDEV, "netdev", "NETDEV", 0x57373951, net_device_entry),
	KIND(IPCNS_VAR, "ipcns-var", "IPC_VAR", 0x53115007, ipc_var_entry),
	KIND(IPCNS_SHM, "ipcns-shm", "IPCNS_SHM", 0x46283044, ipc_shm_entry),
	KIND(IPCNS_MSG, "ipcns-msg", "IPCNS_MSG", 0x55453737, ipc_msg_entry),
	KIND(IPCNS_SEM, "ipcns-sem", "IPCNS_SEM", 0x59573019, ipc_sem_entry),
	/* Not of the processes, but of the work that was done with them. */
	[IMAGE_STATS] = { "stats-dump", "STATS", HEAD_SERVICE, 0x57093306,
			  &stats_entry__descriptor },
	[IMAGE_STATS_RESTORE] = { "stats-restore", "STATS", HEAD_SERVICE, 0x57093306,
				  &stats_entry__descriptor },
	[IMAGE_IRMAP_CACHE] = { "irmap-cache", "IRMAP_CACHE", HEAD_SERVICE, 0x57004059,
				&irmap_cache_entry__descriptor },
	/* What older dumps have beside, or instead of, `files`, `mm` and `core`. */
	KIND(REG_FILES, "reg-files", "REG_FILES", 0x50363636, reg_file_entry),
	KIND(EXT_FILES, "ext-files", "EXT_FILES", 0x59255641, ext_file_entry),
	KIND(NS_FILES, "ns-files", "NS_FILES", 0x61394011, ns_file_entry),
	KIND(PIPES, "pipes", "PIPES", 0x56513555, pipe_entry),
	KIND(FIFO, "fifo", "FIFO", 0x58364939, fifo_entry),
	KIND(UNIXSK, "unixsk", "UNIXSK", 0x54373943, unix_sk_entry),
	KIND(INETSK, "inetsk", "INETSK", 0x56443851, inet_sk_entry),
	KIND(PACKETSK, "packetsk", "PACKETSK", 0x60454618, packet_sock_entry),
	KIND(NETLINKSK, "netlinksk", "NETLINK_SK", 0x58005614, netlink_sk_entry),
	KIND(EVENTFD, "eventfd", "EVENTFD_FILE", 0x44523722, eventfd_file_entry),
	KIND(EVENTPOLL, "eventpoll", "EVENTPOLL_FILE", 0x45023858, eventpoll_file_entry),
	KIND(EVENTPOLL_TFD, "eventpoll-tfd", "EVENTPOLL_TFD", 0x44433746, eventpoll_tfd_entry),
	KIND(SIGNALFD, "signalfd", "SIGNALFD", 0x57323820, signalfd_entry),
	KIND(TIMERFD, "timerfd", "TIMERFD", 0x50493712, timerfd_entry),
	KIND(INOTIFY, "inotify", "INOTIFY_FILE", 0x48424431, inotify_file_entry),
	KIND(INOTIFY_WD, "inotify-wd", "INOTIFY_WD", 0x54562009, inotify_wd_entry),
	KIND(FANOTIFY, "fanotify", "FANOTIFY_FILE", 0x55096122, fanotify_file_entry),
	KIND(FANOTIFY_MARK, "fanotify-mark", "FANOTIFY_MARK", 0x56506035, fanotify_mark_entry),
	KIND(TTY, "tty", "TTY_FILES", 0x59433025, tty_file_entry),
	KIND(TUNFILE, "tunfile", "TUNFILE", 0x57143751, tunfile_entry),
	KIND(PIDFD, "pidfd", "PIDFD", 0x54435556, pidfd_entry),
	KIND(VMAS, "vmas", "VMAS", 0x54123737, vma_entry),
	KIND(SIGACTS, "sigacts", "SIGACT", 0x55344201, sa_entry),
	KIND(ITIMERS, "itimers", "ITIMERS", 0x57464056, itimer_entry),
	KIND(POSIX_TIMERS, "posix-timers", "POSIX_TIMERS", 0x52603957, posix_timer_entry),
	KIND(RLIMIT, "rlimit", "RLIMIT", 0x57113925, rlimit_entry),
	KIND(SIGNAL, "signal-s", "SIGNAL", 0x59255647, siginfo_entry),
	KIND(SIGNAL_THREAD, "signal-p", "SIGNAL", 0x59255647, siginfo_entry),
	/* Our own. */
	KIND(SNAP_TASK, "snap-task", "SNAP_TASK", SNAP_MAGIC(1), snap_task_entry),
	KIND(SNAP_THREAD, "snap-thread", "SNAP_THREAD", SNAP_MAGIC(2), snap_thread_entry),
	KIND(SNAP_SHMEM, "snap-shmem", "SNAP_SHMEM", SNAP_MAGIC(3), snap_shmem_entry),
	KIND(SNAP_FILES, "snap-files", "SNAP_FILES", SNAP_MAGIC(4), snap_file_entry),
	KIND(SNAP_META, "snap-meta", "SNAP_META", SNAP_MAGIC(5), snap_meta_entry),
	KIND(SNAP_SOCKETS, "snap-sockets", "SNAP_SOCKETS", SNAP_MAGIC(6), snap_socket_entry),
	KIND(SNAP_SK_PACKETS, "snap-sk-packets", "SNAP_SK_PACKETS", SNAP_MAGIC(7),
	     snap_sk_packet_entry),
	KIND(SNAP_MOUNTS, "snap-mounts", "SNAP_MOUNTS", SNAP_MAGIC(8), snap_mount_entry),
	KIND(SNAP_PIPES, "snap-pipes", "SNAP_PIPES", SNAP_MAGIC(16), snap_pipe_entry),
	KIND(SNAP_EPOLL, "snap-epoll", "SNAP_EPOLL", SNAP_MAGIC(17), snap_epoll_entry),
	KIND(SNAP_GHOSTS, "snap-ghosts", "SNAP_GHOSTS", SNAP_MAGIC(32), snap_ghost_entry),
	KIND(SNAP_LINKS, "snap-links", "SNAP_LINKS", SNAP_MAGIC(33), snap_link_entry),
	KIND(SNAP_DATA, "snap-data", "SNAP_DATA", SNAP_MAGIC(24), snap_data_entry),
	KIND(SNAP_EDIT, "snap-edit", "SNAP_EDIT", SNAP_MAGIC(18), snap_edit_entry),
	KIND(SNAP_ARCHIVE, "snap-archive", "SNAP_ARCHIVE", SNAP_MAGIC(40), snap_archive_entry),
};

/* Files of a dump that are no images: memory, and what tools have written. */
static const char *const raw_names[] = {
	"pages",     "pages-shmem", "ifaddr",	"route",     "route6", "rule",	    "iptables",
	"ip6tables", "nftables",    "netns-ct", "netns-exp", "tmpfs",  "tmpfs-dev",
};

const struct image_kind *image_kind(enum image_kind_id id)
{
	return &kinds[id];
}

/* True if `name` is `kind` alone or with "-" and a number behind it. */
static bool is_name_of(const char *kind, const char *name, const char *ending)
{
	size_t len = strlen(kind), digits;
	const char *rest = name + len;

	if (strncmp(name, kind, len) != 0)
		return false;
	if (*rest != '-')
		return strcmp(rest, "") == 0;
	digits = strspn(rest + 1, "0123456789abcdef");
	return digits > 0 && strcmp(rest + 1 + digits, ending) == 0;
}

const struct image_kind *image_kind_by_name(const char *object_name)
{
	for (size_t i = 0; i < IMAGE_KINDS; i++)
		if (is_name_of(kinds[i].name, object_name, ""))
			return &kinds[i];
	return NULL;
}

const struct image_kind *image_kind_by_magic(uint32_t magic)
{
	for (size_t i = 0; i < IMAGE_KINDS; i++)
		if (kinds[i].magic == magic)
			return &kinds[i];
	return NULL;
}

const struct image_kind *image_kind_by_tag(const char *tag)
{
	for (size_t i = 0; i < IMAGE_KINDS; i++)
		if (strcmp(kinds[i].tag, tag) == 0)
			return &kinds[i];
	return NULL;
}

const char *image_raw_by_name(const char *object_name)
{
	for (size_t i = 0; i < sizeof(raw_names) / sizeof(raw_names[0]); i++) {
		const char *raw = raw_names[i];
		bool tar = strncmp(raw, "tmpfs", 5) == 0;

		if (strcmp(object_name, raw) != 0 &&
		    is_name_of(raw, object_name, tar ? ".tar.gz" : ""))
			return raw;
	}
	return NULL;
}
