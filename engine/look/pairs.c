#include "engine/look/pairs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/look/look_internal.h"

struct pair {
	char names[2][LOOK_NAME_MAX]; /* before, after */
};

struct look_pairs {
	struct pair *list;
	size_t n, room;
};

/* The open files of a generation that are deleted: the contents of `file` are the object of
 * `ghost`. */
struct ghosts {
	struct ghost {
		uint32_t file, ghost;
	} * list;
	size_t n, room;
};

/* Has room for one more of `size` bytes each in `*list`. */
static int grow(void *list, size_t n, size_t *room, size_t size)
{
	size_t wanted = n ? 2 * n : 16;
	void *longer;

	if (n < *room)
		return R_OK;
	longer = realloc(*(void **)list, wanted * size);
	if (!longer) {
		warn("out of memory");
		return R_FAILED;
	}
	*(void **)list = longer;
	*room = wanted;
	return R_OK;
}

static const struct pair *pair_of(const struct look_pairs *pairs, bool later, const char *name)
{
	for (size_t i = 0; i < pairs->n; i++)
		if (!strcmp(pairs->list[i].names[later], name))
			return &pairs->list[i];
	return NULL;
}

/* The first that tells of an object is believed. */
static int add(struct look_pairs *pairs, const char *before, const char *after)
{
	struct pair *pair;

	if (pair_of(pairs, false, before) || pair_of(pairs, true, after))
		return R_OK;
	if (grow(&pairs->list, pairs->n, &pairs->room, sizeof(*pairs->list)) != R_OK)
		return R_FAILED;
	pair = &pairs->list[pairs->n++];
	strcpy(pair->names[0], before);
	strcpy(pair->names[1], after);
	return R_OK;
}

static int add_ghost(ProtobufCMessage *message, void *arg)
{
	const RemapFilePathEntry *entry = (const RemapFilePathEntry *)message;
	bool linked = entry->has_remap_type && entry->remap_type != REMAP_TYPE__GHOST;
	struct ghosts *ghosts = arg;
	int rc = R_OK;

	if (!linked)
		rc = grow(&ghosts->list, ghosts->n, &ghosts->room, sizeof(*ghosts->list));
	if (rc == R_OK && !linked)
		ghosts->list[ghosts->n++] = (struct ghost){ entry->orig_id, entry->remap_id };
	image_free_message(message);
	return rc;
}

/* One of the two generations, while pairs are looked for. */
struct side {
	const struct look *look;
	struct ghosts ghosts;
};

/* The object that holds what an open file shows; false if there is none whose name may change. */
static bool file_object(const struct side *side, uint32_t id, char *name)
{
	const FileEntry *file = look_file(side->look, id);
	const MemfdInodeEntry *memfd = file ? look_memfd(side->look, file) : NULL;

	if (memfd) {
		look_memory_name(memfd->shmid, name);
		return true;
	}
	for (size_t i = 0; i < side->ghosts.n; i++)
		if (side->ghosts.list[i].file == id) {
			snprintf(name, LOOK_NAME_MAX, "ghost-%u", side->ghosts.list[i].ghost);
			return true;
		}
	return false;
}

static bool mapped_object(const struct side *side, const VmaEntry *vma, char *name)
{
	if (look_vma_memory(side->look, vma, name))
		return true;
	return vma->status & (VMA_STATUS_FILE_PRIVATE | VMA_STATUS_FILE_SHARED) &&
	       file_object(side, (uint32_t)vma->shmid, name);
}

static const VmaEntry *mapping_at(const struct look_task *task, uint64_t start)
{
	for (size_t i = 0; task->mm && i < task->mm->n_vmas; i++)
		if (task->mm->vmas[i]->start == start &&
		    !(task->mm->vmas[i]->status & VMA_STATUS_GUARD))
			return task->mm->vmas[i];
	return NULL;
}

static int by_mappings(struct look_pairs *pairs, const struct side *sides,
		       const struct look_task *before, const struct look_task *after)
{
	char names[2][LOOK_NAME_MAX];
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && before->mm && i < before->mm->n_vmas; i++) {
		const VmaEntry *vma = before->mm->vmas[i], *other;

		if (!mapped_object(&sides[0], vma, names[0]))
			continue;
		other = mapping_at(after, vma->start);
		if (other && other->pgoff == vma->pgoff &&
		    mapped_object(&sides[1], other, names[1]))
			rc = add(pairs, names[0], names[1]);
	}
	return rc;
}

static int by_descriptors(struct look_pairs *pairs, const struct side *sides,
			  const struct look_task *before, const struct look_task *after)
{
	char names[2][LOOK_NAME_MAX];
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i < before->n_fds; i++) {
		if (!file_object(&sides[0], before->fds[i]->id, names[0]))
			continue;
		for (size_t k = 0; rc == R_OK && k < after->n_fds; k++)
			if (after->fds[k]->fd == before->fds[i]->fd &&
			    file_object(&sides[1], after->fds[k]->id, names[1]))
				rc = add(pairs, names[0], names[1]);
	}
	return rc;
}

static int find(struct look_pairs *pairs, const struct side *sides)
{
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i < sides[0].look->n_tasks; i++) {
		const struct look_task *before = &sides[0].look->tasks[i];
		const struct look_task *after = look_task(sides[1].look, before->pid);

		if (!after)
			continue;
		rc = by_mappings(pairs, sides, before, after);
		if (rc == R_OK)
			rc = by_descriptors(pairs, sides, before, after);
	}
	return rc;
}

int look_pairs_find(const struct look *before, const struct look *after, struct look_pairs **out)
{
	struct side sides[2] = { { .look = before }, { .look = after } };
	struct look_pairs *pairs = calloc(1, sizeof(*pairs));
	int rc = R_OK;

	*out = NULL;
	if (!pairs) {
		warn("out of memory");
		return R_FAILED;
	}
	for (int i = 0; rc == R_OK && i < 2; i++)
		rc = look_each_entry(sides[i].look, IMAGE_REMAP_FPATH, "remap-fpath", add_ghost,
				     &sides[i].ghosts);
	if (rc == R_OK)
		rc = find(pairs, sides);
	for (int i = 0; i < 2; i++)
		free(sides[i].ghosts.list);
	if (rc == R_OK)
		*out = pairs;
	else
		look_pairs_free(pairs);
	return rc;
}

void look_pairs_free(struct look_pairs *pairs)
{
	if (pairs)
		free(pairs->list);
	free(pairs);
}

const char *look_pairs_other(const struct look_pairs *pairs, bool later, const char *name)
{
	const struct pair *pair = pair_of(pairs, later, name);

	if (pair)
		return pair->names[!later];
	/* The one of that name is another. */
	return pair_of(pairs, !later, name) ? NULL : name;
}
