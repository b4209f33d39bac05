#include "engine/proc/fds/extents.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"

#define PAGE 4096u
#define SECTOR 512u
/* Extents asked for at once: 112 KiB. */
#define BATCH 2048u

static int add(struct extent **list, size_t *n, size_t *room, uint64_t start, uint64_t end)
{
	if (start >= end)
		return R_OK;
	if (*n > 0 && (*list)[*n - 1].end >= start) {
		if ((*list)[*n - 1].end < end)
			(*list)[*n - 1].end = end;
		return R_OK;
	}
	if (*n == *room) {
		size_t more = *room ? *room * 2 : 64;
		struct extent *grown = reallocarray(*list, more, sizeof(*grown));

		if (!grown) {
			warn("no memory for a list of %zu extents; free some and try again", more);
			return R_FAILED;
		}
		*list = grown;
		*room = more;
	}
	(*list)[(*n)++] = (struct extent){ start, end };
	return R_OK;
}

static int add_data(struct extents *e, uint64_t start, uint64_t end)
{
	return add(&e->data, &e->n_data, &e->room_data, start, end);
}

static int add_reserved(struct extents *e, uint64_t start, uint64_t end)
{
	return add(&e->reserved, &e->n_reserved, &e->room_reserved, start, end);
}

/* R_UNSUPPORTED (not reported) where the file system has no such notion. */
static int seek(int fd, uint64_t from, uint64_t to, struct extents *e)
{
	while (from < to) {
		off_t data = lseek(fd, (off_t)from, SEEK_DATA), hole;

		if (data < 0 && errno == ENXIO)
			return R_OK;
		if (data < 0)
			return R_UNSUPPORTED;
		if ((uint64_t)data >= to)
			return R_OK;
		hole = lseek(fd, data, SEEK_HOLE);
		if (hole <= data)
			hole = (off_t)to;
		if (add_data(e, (uint64_t)data, (uint64_t)hole < to ? (uint64_t)hole : to) != R_OK)
			return R_FAILED;
		from = (uint64_t)hole;
	}
	return R_OK;
}

static int add_mapped(int fd, const struct fiemap_extent *x, uint64_t size, struct extents *e)
{
	uint64_t start = x->fe_logical, end = start + x->fe_length;
	uint64_t inside = end < size ? end : size;

	if (!(x->fe_flags & FIEMAP_EXTENT_UNWRITTEN))
		return start < size ? add_data(e, start, inside) : R_OK;
	if (add_reserved(e, start, end) != R_OK)
		return R_FAILED;
	/* What was written to it may be in memory only; the file system finds that, too. */
	if (start >= size || seek(fd, start, inside, e) != R_UNSUPPORTED)
		return R_OK;
	return add_data(e, start, inside);
}

static int ask_fiemap(int fd, uint64_t size, bool flush, struct extents *e)
{
	struct fiemap *map = calloc(1, sizeof(*map) + BATCH * sizeof(*map->fm_extents));
	bool last = false;
	uint64_t from = 0;
	int result = R_OK;

	if (!map) {
		warn("no memory for a list of extents; free some and try again");
		return R_FAILED;
	}
	while (result == R_OK && !last) {
		memset(map, 0, sizeof(*map));
		map->fm_start = from;
		map->fm_length = FIEMAP_MAX_OFFSET - from;
		map->fm_flags = flush && from == 0 ? FIEMAP_FLAG_SYNC : 0;
		map->fm_extent_count = BATCH;
		if (ioctl(fd, FS_IOC_FIEMAP, map) != 0) {
			/* One that has told some before cannot do without it now. */
			result = from ? R_FAILED : R_UNSUPPORTED;
			if (from)
				warn_errno("cannot ask for the extents of a file");
			break;
		}
		last = map->fm_mapped_extents == 0;
		for (uint32_t i = 0; result == R_OK && i < map->fm_mapped_extents; i++) {
			const struct fiemap_extent *x = &map->fm_extents[i];

			result = add_mapped(fd, x, size, e);
			last = last || (x->fe_flags & FIEMAP_EXTENT_LAST);
			from = x->fe_logical + x->fe_length;
		}
	}
	free(map);
	return result;
}

int extents_find(int fd, uint64_t size, enum extents_means first, bool flush,
		 struct extents *extents)
{
	int result = R_UNSUPPORTED;

	memset(extents, 0, sizeof(*extents));
	if (first == EXTENTS_FIEMAP)
		result = ask_fiemap(fd, size, flush, extents);
	if (result == R_UNSUPPORTED && first <= EXTENTS_SEEK) {
		extents->means = EXTENTS_SEEK;
		if (flush)
			sync_file_range(fd, 0, 0,
					SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
					    SYNC_FILE_RANGE_WAIT_AFTER);
		result = seek(fd, 0, size, extents);
	}
	if (result == R_UNSUPPORTED) {
		extents->means = EXTENTS_NOTHING;
		extents->n_data = extents->n_reserved = 0;
		result = add_data(extents, 0, size);
	}
	if (result != R_OK)
		extents_free(extents);
	return result;
}

void extents_free(struct extents *extents)
{
	free(extents->data);
	free(extents->reserved);
	memset(extents, 0, sizeof(*extents));
}

struct page_lists {
	struct extent *runs;
	size_t n_runs, room_runs;
	struct partial_page *partial;
	size_t n_partial, room_partial;
};

/* `start` and `end` lie in the same page. */
static int add_part(struct page_lists *lists, uint64_t start, uint64_t end)
{
	uint64_t index = start / PAGE;
	unsigned int first = (unsigned int)(start % PAGE / SECTOR);
	unsigned int past = (unsigned int)((end - index * PAGE + SECTOR - 1) / SECTOR);
	uint8_t sectors = (uint8_t)((1u << past) - (1u << first));

	if (lists->n_partial > 0 && lists->partial[lists->n_partial - 1].index == index) {
		lists->partial[lists->n_partial - 1].sectors |= sectors;
		return R_OK;
	}
	if (lists->n_partial == lists->room_partial) {
		size_t more = lists->room_partial ? lists->room_partial * 2 : 64;
		struct partial_page *grown = reallocarray(lists->partial, more, sizeof(*grown));

		if (!grown) {
			warn("no memory for a list of %zu pages; free some and try again", more);
			return R_FAILED;
		}
		lists->partial = grown;
		lists->room_partial = more;
	}
	lists->partial[lists->n_partial++] = (struct partial_page){ index, sectors };
	return R_OK;
}

static int add_pages(struct page_lists *lists, uint64_t start, uint64_t end, uint64_t size)
{
	uint64_t up = (start + PAGE - 1) / PAGE * PAGE, down;

	/* The file may end within a page: nothing of it is missing then. */
	if (end == size)
		end = (end + PAGE - 1) / PAGE * PAGE;
	down = end / PAGE * PAGE;
	if (add(&lists->runs, &lists->n_runs, &lists->room_runs, start / PAGE,
		(end + PAGE - 1) / PAGE) != R_OK)
		return R_FAILED;
	if (down < up)
		return add_part(lists, start, end);
	if (start < up && add_part(lists, start, up) != R_OK)
		return R_FAILED;
	return down < end ? add_part(lists, down, end) : R_OK;
}

int extents_pages(const struct extents *extents, uint64_t size, struct extent **runs,
		  size_t *n_runs, struct partial_page **partial, size_t *n_partial)
{
	struct page_lists lists = { 0 };

	for (size_t i = 0; i < extents->n_data; i++) {
		if (add_pages(&lists, extents->data[i].start, extents->data[i].end, size) == R_OK)
			continue;
		free(lists.runs);
		free(lists.partial);
		return R_FAILED;
	}
	*runs = lists.runs;
	*n_runs = lists.n_runs;
	*partial = lists.partial;
	*n_partial = lists.n_partial;
	return R_OK;
}
