#include "cli/change_map.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/look/dirty.h"

static int out_of_memory(void)
{
	warn("out of memory");
	return R_FAILED;
}

/* The row of a mapping that has grown, or moved only in part, is the same. */
static struct map_row *find_row(struct change_map *map, const struct look_task *task,
				const VmaEntry *vma, const char *name)
{
	for (size_t i = 0; i < map->n_rows; i++) {
		struct map_row *row = &map->rows[i];

		if (row->pid == task->pid && row->start < vma->end && vma->start < row->end &&
		    strcmp(row->name, name) == 0)
			return row;
	}
	return NULL;
}

static struct map_row *add_row(struct change_map *map, const struct look_task *task,
			       const char *name)
{
	struct map_row *row;

	if (map->n_rows == map->row_room) {
		size_t room = map->row_room ? 2 * map->row_room : 64;
		struct map_row *more = reallocarray(map->rows, room, sizeof(*more));

		if (!more)
			return NULL;
		map->rows = more;
		map->row_room = room;
	}
	row = &map->rows[map->n_rows];
	*row = (struct map_row){ .pid = task->pid };
	row->task = strdup(task->threads[0].core->tc->comm);
	row->name = strdup(name);
	row->cells = calloc(map->n_generations, sizeof(*row->cells));
	map->n_rows++;
	return row->task && row->name && row->cells ? row : NULL;
}

static int add_vma(struct change_map *map, size_t column, const struct look *before,
		   const struct look *look, const struct look_task *task, const VmaEntry *vma)
{
	const char *name = look_vma_name(look, vma);
	struct map_row *row = find_row(map, task, vma, name);
	uint64_t dirty = 0;
	int rc = R_OK;

	if (!row)
		row = add_row(map, task, name);
	if (!row)
		return out_of_memory();
	if (before)
		rc = look_dirty(before, look_task(before, task->pid), look, task, vma, &dirty);
	row->start = vma->start;
	row->end = vma->end;
	strcpy(row->rights, "---p");
	row->rights[0] = vma->prot & PROT_READ ? 'r' : '-';
	row->rights[1] = vma->prot & PROT_WRITE ? 'w' : '-';
	row->rights[2] = vma->prot & PROT_EXEC ? 'x' : '-';
	row->rights[3] = vma->flags & MAP_SHARED ? 's' : 'p';
	row->cells[column].pages += (vma->end - vma->start) / PAGE_BYTES;
	row->cells[column].dirty += dirty;
	row->dirty += dirty;
	return rc;
}

static int add_column(struct change_map *map, size_t column, const struct look *before,
		      const struct look *look)
{
	int rc = R_OK;

	for (size_t t = 0; t < look->n_tasks; t++) {
		const struct look_task *task = &look->tasks[t];

		for (size_t i = 0; rc == R_OK && task->mm && i < task->mm->n_vmas; i++)
			if (!(task->mm->vmas[i]->status & (VMA_STATUS_GUARD | VMA_STATUS_VSYSCALL)))
				rc = add_vma(map, column, before, look, task, task->mm->vmas[i]);
	}
	return rc;
}

int change_map_fill(struct store_view *view, struct change_map *map)
{
	struct look *before = NULL, *look;
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i < map->n_generations; i++) {
		rc = look_open(view, &map->generations[i], &look);
		if (rc != R_OK)
			break;
		rc = add_column(map, i, before, look);
		look_close(before);
		before = look;
	}
	look_close(before);
	return rc;
}

void change_map_free(struct change_map *map)
{
	for (size_t i = 0; i < map->n_rows; i++) {
		free(map->rows[i].task);
		free(map->rows[i].name);
		free(map->rows[i].cells);
	}
	free(map->rows);
	free(map->generations);
	memset(map, 0, sizeof(*map));
}
