/*
 * A whole dump of CRIU's, from hostile hands: imported, and if that takes it, looked into in every
 * way.  The input is its files one after another: a byte for the length of the name, the name, four
 * bytes for the length of the contents, the contents.
 */
#include "fuzz.h"
#include "fuzz_store_room.h"

#include "base/endian.h"
#include "base/result.h"
#include "engine/exchange/import_internal.h"
#include "engine/look/changes.h"
#include "engine/look/pairs.h"
#include "engine/look/look.h"
#include "engine/look/queues.h"
#include "engine/look/search.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FILES_MAX 64
#define CORE_MAX_BYTES ((uint64_t)1 << 24) /* of mappings, for which a core is written */

/* The files of the input; the bytes stay where they are. */
static size_t split(const uint8_t *data, size_t len, struct tar_member members[FILES_MAX])
{
	size_t n = 0, at = 0;

	while (n < FILES_MAX && at < len) {
		size_t name = data[at++], bytes;

		if (len - at < name + 4)
			break;
		members[n].name = strndup((const char *)data + at, name);
		if (!members[n].name)
			abort();
		at += name;
		bytes = get_le32(data + at);
		at += 4;
		if (bytes > len - at)
			bytes = len - at;
		members[n].offset = at;
		members[n].size = bytes;
		at += bytes;
		n++;
	}
	return n;
}

static int see_match(const struct look_match *match, void *arg)
{
	(void)match;
	(void)arg;
	return R_OK;
}

static int see_change(const struct look_change *change, void *arg)
{
	(void)change;
	(void)arg;
	return R_OK;
}

static void look_at_task(const struct look *look, const struct look_task *task)
{
	const struct look_changes_to to = { .fn = see_change };
	enum look_page kinds[2];
	uint8_t *pages = malloc(2 * PAGE_BYTES);
	uint64_t bytes = 0;
	int fd = -1;

	for (size_t i = 0; task->mm && i < task->mm->n_vmas; i++) {
		const VmaEntry *vma = task->mm->vmas[i];

		bytes += vma->end - vma->start;
		look_vma_name(look, vma);
		if (pages && bytes <= CORE_MAX_BYTES)
			look_pages(look, task, vma->start, 2, pages, kinds);
	}
	if (bytes <= CORE_MAX_BYTES)
		fd = memfd_create("core", MFD_CLOEXEC);
	if (fd >= 0) {
		look_core(look, task, true, fd);
		if (ftruncate(fd, 0) == 0)
			look_core(look, task, false, fd);
		close(fd);
	}
	if (task->has_pages)
		look_changes(look->view, NULL, &task->pages, &to);
	free(pages);
}

static void look_at_files(const struct look *look)
{
	struct look_queues *queues;
	struct look_queue queue;
	uint32_t fd;

	if (look_queues_load(look, &queues) != R_OK)
		return;
	for (size_t i = 0; i < look->n_files; i++) {
		look_queue(queues, look->files[i], &queue);
		look_unix_peer(look, look->files[i], &fd);
		look_memfd(look, look->files[i]);
	}
	look_queues_free(queues);
}

static void search(struct store_view *view, uint64_t number)
{
	struct look_search_options what = { .generations = &number,
					    .n_generations = 1,
					    .limit = 10 };
	struct look_search_result found;

	if (matcher_new(MATCH_REGEX, "[a-z]{3}", false, &what.matcher) != R_OK)
		abort();
	look_search(view, &what, see_match, NULL, &found);
	matcher_free(what.matcher);
}

static void look_at_pairs(const struct look *look)
{
	struct look_pairs *pairs;

	if (look_pairs_find(look, look, &pairs) == R_OK)
		look_pairs_other(pairs, false, "pages-shmem-1");
	look_pairs_free(pairs);
}

static void look_into(struct store *store, const struct generation *gen)
{
	struct store_view *view;
	struct look *look;

	if (store_view_open(store, &view) != R_OK)
		abort();
	if (look_open(view, gen, &look) == R_OK) {
		for (size_t i = 0; i < look->n_tasks; i++)
			look_at_task(look, &look->tasks[i]);
		look_at_files(look);
		look_at_pairs(look);
		look_close(look);
	}
	search(view, gen->number);
	store_view_close(view);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct tar_member members[FILES_MAX];
	struct dump_source source = {
		.path = "fuzz", .dirfd = -1, .members = members, .prefix = ""
	};
	struct import_options options = { .lineage = "fuzz" };
	struct import_result result = { .gen = { .time_ns = 1 } };
	struct store *store = fuzz_store();

	source.tar = memfd_create("dump", MFD_CLOEXEC);
	if (source.tar < 0 || (len && pwrite(source.tar, data, len, 0) != (ssize_t)len))
		abort();
	source.n_members = split(data, len, members);
	if (import_source(store, &source, &options, &result, NULL, NULL) == R_OK) {
		fuzz_store_grown();
		look_into(store, &result.gen);
	}
	for (size_t i = 0; i < source.n_members; i++)
		free(members[i].name);
	close(source.tar);
	return 0;
}

/* ---- the seeds: a process with two threads and a zombie ---- */

struct seed {
	uint8_t *data;
	size_t len, room;
};

static void add_file(struct seed *seed, const char *name, const void *bytes, size_t len)
{
	size_t need = 1 + strlen(name) + 4 + len;

	if (seed->room - seed->len < need)
		abort();
	seed->data[seed->len++] = (uint8_t)strlen(name);
	memcpy(seed->data + seed->len, name, strlen(name));
	seed->len += strlen(name);
	put_le32(seed->data + seed->len, (uint32_t)len);
	seed->len += 4;
	memcpy(seed->data + seed->len, bytes, len);
	seed->len += len;
}

/* An image with up to two entries, and `payload` bytes behind each. */
static void add_image(struct seed *seed, enum image_kind_id id, const char *name,
		      const ProtobufCMessage *one, const ProtobufCMessage *two, size_t payload)
{
	static const uint8_t bytes[64] = "abcdefgh";
	struct image_writer w;

	image_writer_init(&w, id);
	if (id == IMAGE_PAGEMAP)
		image_add_head(&w, one);
	else
		image_add(&w, one);
	if (payload)
		image_add_payload(&w, bytes, payload);
	if (two)
		image_add(&w, two);
	if (two && payload)
		image_add_payload(&w, bytes, payload);
	if (image_finish(&w) != R_OK)
		abort();
	add_file(seed, name, w.data, w.len);
	image_writer_free(&w);
}

static void add_tree(struct seed *seed)
{
	InventoryEntry inventory = INVENTORY_ENTRY__INIT;
	PstreeEntry first = PSTREE_ENTRY__INIT, second = PSTREE_ENTRY__INIT;
	TaskKobjIdsEntry ids = TASK_KOBJ_IDS_ENTRY__INIT;
	FsEntry fs = FS_ENTRY__INIT;
	uint32_t threads[] = { 1, 2 };

	inventory.img_version = 2;
	add_image(seed, IMAGE_INVENTORY, "inventory.img", &inventory.base, NULL, 0);
	first.pid = first.pgid = first.sid = 1;
	first.threads = threads;
	first.n_threads = 2;
	second.pid = 3;
	second.ppid = second.pgid = second.sid = 1;
	add_image(seed, IMAGE_PSTREE, "pstree.img", &first.base, &second.base, 0);
	ids.files_id = 1;
	add_image(seed, IMAGE_IDS, "ids-1.img", &ids.base, NULL, 0);
	add_image(seed, IMAGE_FS, "fs-1.img", &fs.base, NULL, 0);
}

static void add_cores(struct seed *seed)
{
	UserX86RegsEntry registers = USER_X86_REGS_ENTRY__INIT;
	UserX86FpregsEntry floats = USER_X86_FPREGS_ENTRY__INIT;
	ThreadInfoX86 info = THREAD_INFO_X86__INIT;
	TaskCoreEntry task = TASK_CORE_ENTRY__INIT;
	CoreEntry core = CORE_ENTRY__INIT, thread = CORE_ENTRY__INIT, zombie = CORE_ENTRY__INIT;

	info.gpregs = &registers;
	info.fpregs = &floats;
	registers.sp = 0x10000;
	core.mtype = thread.mtype = CORE_ENTRY__MARCH__X86_64;
	core.thread_info = thread.thread_info = &info;
	task.task_state = TASK_STATE_ALIVE;
	task.comm = (char *)"fuzzed";
	core.tc = &task;
	add_image(seed, IMAGE_CORE, "core-1.img", &core.base, NULL, 0);
	add_image(seed, IMAGE_CORE, "core-2.img", &thread.base, NULL, 0);
	task.task_state = TASK_STATE_ZOMBIE;
	zombie.mtype = CORE_ENTRY__MARCH__X86_64;
	zombie.tc = &task;
	add_image(seed, IMAGE_CORE, "core-3.img", &zombie.base, NULL, 0);
}

static void add_memory(struct seed *seed)
{
	VmaEntry vmas[3] = { VMA_ENTRY__INIT, VMA_ENTRY__INIT, VMA_ENTRY__INIT };
	VmaEntry *list[3] = { &vmas[0], &vmas[1], &vmas[2] };
	PagemapHead head = PAGEMAP_HEAD__INIT;
	PagemapEntry entry = PAGEMAP_ENTRY__INIT;
	MmEntry mm = MM_ENTRY__INIT;
	uint8_t *pages = calloc(2, PAGE_BYTES);

	for (size_t i = 0; i < 3; i++) {
		vmas[i].start = 0x10000 * (i + 1);
		vmas[i].end = vmas[i].start + 2 * PAGE_BYTES;
		vmas[i].prot = 3;
		vmas[i].fd = -1;
	}
	vmas[0].status = VMA_STATUS_ANON_PRIVATE;
	vmas[1].status = VMA_STATUS_FILE_PRIVATE;
	vmas[1].shmid = 7;
	vmas[2].status = VMA_STATUS_ANON_SHARED;
	vmas[2].shmid = 9;
	mm.vmas = list;
	mm.n_vmas = 3;
	mm.mm_arg_start = 0x10010;
	mm.mm_arg_end = 0x10020;
	add_image(seed, IMAGE_MM, "mm-1.img", &mm.base, NULL, 0);
	head.pages_id = 1;
	entry.vaddr = 0x10000;
	entry.has_nr_pages = entry.has_flags = true;
	entry.nr_pages = 2;
	entry.flags = 4;
	add_image(seed, IMAGE_PAGEMAP, "pagemap-1.img", &head.base, &entry.base, 0);
	if (!pages)
		abort();
	memcpy(pages + PAGE_BYTES - 3, "across", 6);
	add_file(seed, "pages-1.img", pages, 2 * PAGE_BYTES);
	free(pages);
}

static void add_open_files(struct seed *seed)
{
	FdinfoEntry fds[2] = { FDINFO_ENTRY__INIT, FDINFO_ENTRY__INIT };
	FileEntry files[2] = { FILE_ENTRY__INIT, FILE_ENTRY__INIT };
	SkPacketEntry packet = SK_PACKET_ENTRY__INIT;
	PipeDataEntry data = PIPE_DATA_ENTRY__INIT;
	PipeEntry pipe = PIPE_ENTRY__INIT;
	RegFileEntry reg = REG_FILE_ENTRY__INIT;
	FownEntry fown = FOWN_ENTRY__INIT;

	fds[0].id = 7;
	fds[0].fd = 3;
	fds[0].type = FD_TYPES__REG;
	fds[1].id = 8;
	fds[1].type = FD_TYPES__PIPE;
	add_image(seed, IMAGE_FDINFO, "fdinfo-1.img", &fds[0].base, &fds[1].base, 0);
	reg.id = files[0].id = 7;
	reg.name = (char *)"/bin/program";
	reg.fown = &fown;
	files[0].type = FD_TYPES__REG;
	files[0].reg = &reg;
	pipe.id = files[1].id = 8;
	pipe.pipe_id = data.pipe_id = 5;
	pipe.fown = &fown;
	files[1].type = FD_TYPES__PIPE;
	files[1].pipe = &pipe;
	add_image(seed, IMAGE_FILES, "files.img", &files[0].base, &files[1].base, 0);
	data.bytes = 8;
	add_image(seed, IMAGE_PIPES_DATA, "pipes-data.img", &data.base, NULL, 8);
	packet.id_for = 8;
	packet.length = 8;
	add_image(seed, IMAGE_SK_QUEUES, "sk-queues.img", &packet.base, &packet.base, 8);
}

size_t fuzz_seed(unsigned int i, uint8_t *data, size_t room)
{
	struct seed seed = { .data = data, .room = room };

	/* The second is without what may be left out. */
	if (i > 1)
		return 0;
	add_tree(&seed);
	add_cores(&seed);
	add_memory(&seed);
	if (i == 0)
		add_open_files(&seed);
	return seed.len;
}
