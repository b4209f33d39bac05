#include "engine/image/json_internal.h"

#include <string.h>

static const struct json_word prot_bits[] = {
	{ "PROT_READ", 1 }, { "PROT_WRITE", 2 }, { "PROT_EXEC", 4 }, { 0 }
};

static const struct json_word map_bits[] = {
	{ "MAP_SHARED", 1 },  { "MAP_PRIVATE", 2 },	  { "MAP_DROPPABLE", 8 },
	{ "MAP_ANON", 0x20 }, { "MAP_GROWSDOWN", 0x100 }, { 0 },
};

/* crit has no word for guards, and would not understand one. */
static const struct json_word vma_bits[] = {
	{ "VMA_AREA_REGULAR", VMA_STATUS_REGULAR },
	{ "VMA_AREA_STACK", VMA_STATUS_STACK },
	{ "VMA_AREA_VSYSCALL", VMA_STATUS_VSYSCALL },
	{ "VMA_AREA_VDSO", VMA_STATUS_VDSO },
	{ "VMA_AREA_HEAP", VMA_STATUS_HEAP },
	{ "VMA_FILE_PRIVATE", VMA_STATUS_FILE_PRIVATE },
	{ "VMA_FILE_SHARED", VMA_STATUS_FILE_SHARED },
	{ "VMA_ANON_SHARED", VMA_STATUS_ANON_SHARED },
	{ "VMA_ANON_PRIVATE", VMA_STATUS_ANON_PRIVATE },
	{ "VMA_AREA_SYSVIPC", VMA_STATUS_SYSVIPC },
	{ "VMA_AREA_SOCKET", VMA_STATUS_SOCKET },
	{ "VMA_AREA_VVAR", VMA_STATUS_VVAR },
	{ "VMA_AREA_AIORING", VMA_STATUS_AIORING },
	{ "VMA_AREA_MEMFD", VMA_STATUS_MEMFD },
	{ "VMA_AREA_SHSTK", 1u << 15 },
	{ "VMA_AREA_UPROBES", 1u << 17 },
	{ "VMA_UNSUPP", 1u << 31 },
	{ 0 },
};

/* As open(2) has them on x86, whatever the machine the image is from. */
static const struct json_word open_bits[] = {
	{ "O_WRONLY", 01 },
	{ "O_RDWR", 02 },
	{ "O_CREAT", 0100 },
	{ "O_EXCL", 0200 },
	{ "O_NOCTTY", 0400 },
	{ "O_TRUNC", 01000 },
	{ "O_APPEND", 02000 },
	{ "O_NONBLOCK", 04000 },
	{ "O_DSYNC", 010000 },
	{ "FASYNC", 020000 },
	{ "O_DIRECT", 040000 },
	{ "O_LARGEFILE", 0100000 },
	{ "O_DIRECTORY", 0200000 },
	{ "O_NOFOLLOW", 0400000 },
	{ "O_NOATIME", 01000000 },
	{ "O_CLOEXEC", 02000000 },
	{ 0 },
};

static const struct json_word seal_bits[] = {
	{ "F_SEAL_SEAL", 1 },  { "F_SEAL_SHRINK", 2 },	      { "F_SEAL_GROW", 4 },
	{ "F_SEAL_WRITE", 8 }, { "F_SEAL_FUTURE_WRITE", 16 }, { 0 },
};

static const struct json_word page_bits[] = {
	{ "PE_PARENT", 1 }, { "PE_LAZY", 2 }, { "PE_PRESENT", 4 }, { 0 }
};

static const struct json_word task_states[] = {
	/* crit's words, whatever CRIU means by the numbers. */
	{ "Alive", 1 },
	{ "Zombie", 3 },
	{ "Stopped", 6 },
	{ 0 },
};

static const struct json_word families[] = { { "UNIX", 1 },	{ "INET", 2 },	  { "INET6", 10 },
					     { "NETLINK", 16 }, { "PACKET", 17 }, { 0 } };

static const struct json_word socket_types[] = { { "STREAM", 1 },    { "DGRAM", 2 },   { "RAW", 3 },
						 { "SEQPACKET", 5 }, { "PACKET", 10 }, { 0 } };

static const struct json_word socket_states[] = {
	{ "ESTABLISHED", 1 },
	{ "SYN_SENT", 2 },
	{ "SYN_RECV", 3 },
	{ "FIN_WAIT1", 4 },
	{ "FIN_WAIT2", 5 },
	{ "TIME_WAIT", 6 },
	{ "CLOSE", 7 },
	{ "CLOSE_WAIT", 8 },
	{ "LAST_ACK", 9 },
	{ "LISTEN", 10 },
	{ 0 },
};

static const struct json_word protocols[] = {
	{ "IP", 0 }, { "TCP", 6 }, { "UDP", 17 }, { "UDPLITE", 136 }, { 0 }
};

#define ROW(type, field, form) \
	{ \
		&type##__descriptor, field, FORM_##form, NULL \
	}
#define NAMED(type, field, form, words) \
	{ \
		&type##__descriptor, field, FORM_##form, words \
	}

static const struct json_form_row rows[] = {
	/* memory */
	ROW(vma_entry, "start", HEX),
	ROW(vma_entry, "end", HEX),
	NAMED(vma_entry, "prot", FLAGS, prot_bits),
	NAMED(vma_entry, "flags", FLAGS, map_bits),
	NAMED(vma_entry, "status", FLAGS, vma_bits),
	ROW(vma_entry, "madv", HEX),
	ROW(vma_entry, "fdflags", HEX),
	ROW(mm_entry, "mm_start_code", HEX),
	ROW(mm_entry, "mm_end_code", HEX),
	ROW(mm_entry, "mm_start_data", HEX),
	ROW(mm_entry, "mm_end_data", HEX),
	ROW(mm_entry, "mm_start_stack", HEX),
	ROW(mm_entry, "mm_start_brk", HEX),
	ROW(mm_entry, "mm_brk", HEX),
	ROW(mm_entry, "mm_arg_start", HEX),
	ROW(mm_entry, "mm_arg_end", HEX),
	ROW(mm_entry, "mm_env_start", HEX),
	ROW(mm_entry, "mm_env_end", HEX),
	ROW(pagemap_entry, "vaddr", HEX),
	NAMED(pagemap_entry, "flags", FLAGS, page_bits),
	/* tasks */
	NAMED(task_core_entry, "task_state", WORDS, task_states),
	ROW(task_core_entry, "blk_sigset", HEX),
	ROW(task_core_entry, "blk_sigset_extended", HEX),
	ROW(task_core_entry, "membarrier_registration_mask", HEX),
	ROW(sa_entry, "sigaction", HEX),
	ROW(sa_entry, "flags", HEX),
	ROW(sa_entry, "restorer", HEX),
	ROW(sa_entry, "mask", HEX),
	ROW(sa_entry, "mask_extended", HEX),
	/* registers */
	ROW(thread_info_x86, "clear_tid_addr", HEX),
	ROW(thread_info_x86, "gpregs", HEX),
	ROW(user_x86_cet_entry, "cet", HEX),
	ROW(user_x86_cet_entry, "ssp", HEX),
	ROW(thread_info_arm, "clear_tid_addr", HEX),
	ROW(thread_info_arm, "gpregs", HEX),
	ROW(thread_info_aarch64, "clear_tid_addr", HEX),
	ROW(thread_info_aarch64, "gpregs", HEX),
	ROW(thread_info_ppc64, "clear_tid_addr", HEX),
	ROW(thread_info_ppc64, "gpregs", HEX),
	ROW(thread_info_s390, "clear_tid_addr", HEX),
	ROW(thread_info_s390, "gpregs", HEX),
	ROW(thread_info_s390, "fpregs", HEX),
	ROW(thread_info_s390, "vxrs_low", HEX),
	ROW(thread_info_s390, "vxrs_high", HEX),
	ROW(thread_info_s390, "gs_cb", HEX),
	ROW(thread_info_s390, "gs_bc", HEX),
	ROW(thread_info_s390, "ri_cb", HEX),
	ROW(thread_info_mips, "clear_tid_addr", HEX),
	ROW(thread_info_mips, "gpregs", HEX),
	ROW(thread_info_mips, "fpregs", HEX),
	ROW(thread_info_loongarch64, "clear_tid_addr", HEX),
	ROW(thread_info_loongarch64, "gpregs", HEX),
	ROW(thread_info_loongarch64, "fpregs", HEX),
	ROW(thread_info_riscv64, "clear_tid_addr", HEX),
	ROW(thread_info_riscv64, "gpregs", HEX),
	/* files */
	NAMED(reg_file_entry, "flags", FLAGS, open_bits),
	NAMED(memfd_file_entry, "flags", FLAGS, open_bits),
	NAMED(memfd_inode_entry, "seals", FLAGS, seal_bits),
	NAMED(bpfmap_file_entry, "flags", FLAGS, open_bits),
	ROW(ghost_file_entry, "dev", DEV),
	ROW(ghost_file_entry, "rdev", ODEV),
	ROW(irmap_cache_entry, "dev", ODEV),
	ROW(pipe_entry, "flags", HEX),
	ROW(signalfd_entry, "flags", HEX),
	ROW(signalfd_entry, "sigmask", HEX),
	ROW(timerfd_entry, "flags", HEX),
	ROW(timerfd_entry, "settime_flags", HEX),
	ROW(tty_file_entry, "flags", HEX),
	ROW(inotify_file_entry, "flags", HEX),
	ROW(inotify_wd_entry, "mask", HEX),
	ROW(inotify_wd_entry, "ignored_mask", HEX),
	ROW(inotify_wd_entry, "s_dev", DEV),
	ROW(fanotify_file_entry, "flags", HEX),
	ROW(fanotify_file_entry, "faflags", HEX),
	ROW(fanotify_file_entry, "evflags", HEX),
	ROW(fanotify_mark_entry, "mflags", HEX),
	ROW(fanotify_mark_entry, "mask", HEX),
	ROW(fanotify_mark_entry, "ignored_mask", HEX),
	ROW(fanotify_mark_entry, "s_dev", DEV),
	/* sockets */
	NAMED(inet_sk_entry, "family", WORDS, families),
	NAMED(inet_sk_entry, "type", WORDS, socket_types),
	NAMED(inet_sk_entry, "proto", WORDS, protocols),
	NAMED(inet_sk_entry, "state", WORDS, socket_states),
	ROW(inet_sk_entry, "flags", HEX),
	ROW(inet_sk_entry, "src_addr", IP),
	ROW(inet_sk_entry, "dst_addr", IP),
	NAMED(unix_sk_entry, "type", WORDS, socket_types),
	NAMED(unix_sk_entry, "state", WORDS, socket_states),
	ROW(unix_sk_entry, "flags", HEX),
	ROW(unix_sk_entry, "uflags", HEX),
	ROW(unix_sk_entry, "name", QUOTED),
	ROW(netlink_sk_entry, "flags", HEX),
	ROW(packet_sock_entry, "flags", HEX),
	ROW(tcp_stream_entry, "opt_mask", HEX),
	/* mounts, networks */
	ROW(mnt_entry, "root_dev", DEV),
	ROW(mnt_entry, "flags", HEX),
	ROW(mnt_entry, "sb_flags", HEX),
	ROW(net_device_entry, "flags", HEX),
	ROW(tun_link_entry, "flags", HEX),
	ROW(sit_entry, "local", IP),
	ROW(sit_entry, "remote", IP),
	ROW(sit_entry, "rd_prefix", IP),
	ROW(sit_entry, "relay_prefix", IP),
	/* our own */
	ROW(snap_thread_entry, "robust_list", HEX),
	ROW(snap_thread_entry, "sched_flags", HEX),
};

const struct json_form_row *json_form(const ProtobufCMessageDescriptor *type, const char *field)
{
	static const struct json_form_row plain = { .form = FORM_PLAIN };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].type == type && strcmp(rows[i].field, field) == 0)
			return &rows[i];
	return &plain;
}
