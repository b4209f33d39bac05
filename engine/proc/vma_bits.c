#include "engine/proc/vma_bits.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/result.h"
#include "engine/proc/btf.h"

/* Of newer headers: bpf_iter_link_info.task. */
struct task_filter {
	uint32_t tid, pid, pid_fd, pad;
};

static int program = -1;

static int bpf(int command, union bpf_attr *attr)
{
	return (int)syscall(SYS_bpf, command, attr, sizeof(*attr));
}

#define INSN(op, dst, src, offset, value) \
	((struct bpf_insn){ .code = (op), \
			    .dst_reg = (dst), \
			    .src_reg = (src), \
			    .off = (int16_t)(offset), \
			    .imm = (int32_t)(value) })
#define LOAD(dst, src, offset) INSN(BPF_LDX | BPF_MEM | BPF_DW, dst, src, offset, 0)
#define STORE(dst, offset, src) INSN(BPF_STX | BPF_MEM | BPF_DW, dst, src, offset, 0)
#define STORE_VALUE(dst, offset, value) INSN(BPF_ST | BPF_MEM | BPF_DW, dst, 0, offset, value)
#define MOVE(dst, src) INSN(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0)
#define SET(dst, value) INSN(BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, value)
#define ADD(dst, value) INSN(BPF_ALU64 | BPF_ADD | BPF_K, dst, 0, 0, value)
#define SKIP_IF(op, dst, value, count) INSN(BPF_JMP | (op) | BPF_K, dst, 0, count, value)
#define SKIP_IF_SAME(dst, src, count) INSN(BPF_JMP | BPF_JEQ | BPF_X, dst, src, count, 0)
#define CALL(function) INSN(BPF_JMP | BPF_CALL, 0, 0, 0, function)
#define EXIT INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

enum {
	FUNCTION,
	CTX_META,
	CTX_VMA,
	META_SEQ,
	VMA_START,
	VMA_END,
	VMA_FLAGS,
	VMA_ANON,
	ANON_ROOT,
	ANON_CHILDREN,
	WANTED
};

/* One struct vma_bits for each range into the iterator's text. */
static int load(const struct btf_wanted *w)
{
	const int record = -(int)sizeof(struct vma_bits);
	const struct bpf_insn code[] = {
		LOAD(BPF_REG_7, BPF_REG_1, w[CTX_VMA].found),
		LOAD(BPF_REG_8, BPF_REG_1, w[CTX_META].found),
		SKIP_IF(BPF_JNE, BPF_REG_7, 0, 2), /* no range: the end */
		SET(BPF_REG_0, 0),
		EXIT,
		LOAD(BPF_REG_1, BPF_REG_7, w[VMA_START].found),
		STORE(BPF_REG_10, record, BPF_REG_1),
		LOAD(BPF_REG_1, BPF_REG_7, w[VMA_END].found),
		STORE(BPF_REG_10, record + 8, BPF_REG_1),
		LOAD(BPF_REG_1, BPF_REG_7, w[VMA_FLAGS].found),
		STORE(BPF_REG_10, record + 16, BPF_REG_1),
		/* Made by a fork, or with a child: what it holds has another root, or more than
		 * itself below it. */
		STORE_VALUE(BPF_REG_10, record + 24, 0),
		LOAD(BPF_REG_1, BPF_REG_7, w[VMA_ANON].found),
		SKIP_IF(BPF_JEQ, BPF_REG_1, 0, 5),
		LOAD(BPF_REG_2, BPF_REG_1, w[ANON_ROOT].found),
		LOAD(BPF_REG_3, BPF_REG_1, w[ANON_CHILDREN].found),
		SKIP_IF_SAME(BPF_REG_1, BPF_REG_2, 1),
		SET(BPF_REG_3, 2),
		STORE(BPF_REG_10, record + 24, BPF_REG_3),
		LOAD(BPF_REG_1, BPF_REG_8, w[META_SEQ].found),
		MOVE(BPF_REG_2, BPF_REG_10),
		ADD(BPF_REG_2, record),
		SET(BPF_REG_3, sizeof(struct vma_bits)),
		CALL(BPF_FUNC_seq_write),
		SET(BPF_REG_0, 0),
		EXIT,
	};
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_TRACING,
		.expected_attach_type = BPF_TRACE_ITER,
		.attach_btf_id = w[FUNCTION].found,
		.insns = (uintptr_t)code,
		.insn_cnt = sizeof(code) / sizeof(code[0]),
		/* Of these instructions: the kernel lets no others look into it. */
		.license = (uintptr_t) "Dual BSD/GPL",
		.prog_name = "snap_ranges",
	};

	return bpf(BPF_PROG_LOAD, &attr);
}

bool vma_bits_ready(void)
{
	struct btf_wanted wanted[WANTED] = {
		[FUNCTION] = { "bpf_iter_task_vma", NULL, 0 },
		[CTX_META] = { "bpf_iter__task_vma", "meta", 0 },
		[CTX_VMA] = { "bpf_iter__task_vma", "vma", 0 },
		[META_SEQ] = { "bpf_iter_meta", "seq", 0 },
		[VMA_START] = { "vm_area_struct", "vm_start", 0 },
		[VMA_END] = { "vm_area_struct", "vm_end", 0 },
		[VMA_FLAGS] = { "vm_area_struct", "vm_flags", 0 },
		[VMA_ANON] = { "vm_area_struct", "anon_vma", 0 },
		[ANON_ROOT] = { "anon_vma", "root", 0 },
		[ANON_CHILDREN] = { "anon_vma", "num_children", 0 },
	};
	static bool tried;

	if (tried)
		return program >= 0;
	tried = true;
	if (btf_find(wanted, WANTED))
		program = load(wanted);
	return program >= 0;
}

/* A descriptor to read the records of one process from. */
static int iterate(pid_t pid)
{
	struct task_filter filter = { .tid = (uint32_t)pid };
	union bpf_attr attr = { 0 };
	int link, iter;

	attr.link_create.prog_fd = (uint32_t)program;
	attr.link_create.attach_type = BPF_TRACE_ITER;
	attr.link_create.iter_info = (uintptr_t)&filter;
	attr.link_create.iter_info_len = sizeof(filter);
	link = bpf(BPF_LINK_CREATE, &attr);
	if (link < 0)
		return -1;
	attr = (union bpf_attr){ 0 };
	attr.iter_create.link_fd = (uint32_t)link;
	iter = bpf(BPF_ITER_CREATE, &attr);
	close(link);
	return iter;
}

static bool is_ordered(const struct vma_bits *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (list[i].start >= list[i].end || (i && list[i].start < list[i - 1].end))
			return false;
	return n > 0;
}

/* An address space has at most that many ranges (vm.max_map_count), and the kernel's own. */
static size_t ranges_max(void)
{
	static size_t max;
	size_t len;
	char *text;

	if (max)
		return max;
	max = 65530;
	if (io_read_file(AT_FDCWD, "/proc/sys/vm/max_map_count", 64, &text, &len) == R_OK) {
		max = strtoul(text, NULL, 10);
		free(text);
	}
	max += 16;
	return max;
}

/* Are the records from number `from` on new ones?  On large address spaces the kernel has been seen
 * to begin anew again and again. */
static bool goes_on(const struct vma_bits *list, size_t from, size_t n)
{
	for (size_t i = from ? from : 1; i < n; i++)
		if (list[i].start < list[i - 1].end)
			return false;
	return true;
}

#define READ_TRIES 16

/* All records; false as soon as they make no sense, as somebody stands still meanwhile. */
static bool read_all(int iter, struct vma_bits **list, size_t *used)
{
	size_t room = 32768, max = ranges_max() * sizeof(**list);
	int tries = 0;

	for (;;) {
		char *buf = (char *)*list;
		ssize_t got;

		if (!buf || *used == room) {
			room = buf ? 2 * room : room;
			buf = realloc(buf, room);
			if (!buf)
				return false;
			*list = (struct vma_bits *)(void *)buf;
		}
		got = read(iter, buf + *used, room - *used);
		if (got == 0)
			return true;
		if (got < 0 && ((errno != EINTR && errno != EAGAIN) || ++tries == READ_TRIES))
			return false;
		if (got < 0)
			continue;
		if (!goes_on(*list, *used / sizeof(**list), (*used + (size_t)got) / sizeof(**list)))
			return false;
		*used += (size_t)got;
		if (*used > max)
			return false;
	}
}

bool vma_bits_read(pid_t pid, struct vma_bits **list, size_t *n)
{
	size_t used = 0;
	int iter = program >= 0 ? iterate(pid) : -1;
	bool done;

	*list = NULL;
	*n = 0;
	if (iter < 0)
		return false;
	done = read_all(iter, list, &used);
	close(iter);
	*n = used / sizeof(**list);
	if (done && used % sizeof(**list) == 0 && is_ordered(*list, *n))
		return true;
	free(*list);
	*list = NULL;
	return false;
}
