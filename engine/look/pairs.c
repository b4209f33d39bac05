#include "engine/look/pairs.h"

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
	if (pairs->n == pairs->room) {
		size_t room = pairs->room ? 2 * pairs->room : 16;
		struct pair *list = realloc(pairs->list, room * sizeof(*list));

		if (!list) {
			warn("out of memory");
			return R_FAILED;
		}
		pairs->list = list;
		pairs->room = room;
	}
	pair = &pairs->list[pairs->n++];
	strcpy(pair->names[0], before);
	strcpy(pair->names[1], after);
	return R_OK;
}

static const VmaEntry *mapping_at(const struct look_task *task, uint64_t start)
{
	for (size_t i = 0; task->mm && i < task->mm->n_vmas; i++)
		if (task->mm->vmas[i]->start == start &&
		    !(task->mm->vmas[i]->status & VMA_STATUS_GUARD))
			return task->mm->vmas[i];
	return NULL;
}

static int by_mappings(struct look_pairs *pairs, const struct look *looks[2],
		       const struct look_task *before, const struct look_task *after)
{
	char names[2][LOOK_NAME_MAX];
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && before->mm && i < before->mm->n_vmas; i++) {
		const VmaEntry *vma = before->mm->vmas[i], *other;

		if (!look_vma_memory(looks[0], vma, names[0]))
			continue;
		other = mapping_at(after, vma->start);
		if (other && other->pgoff == vma->pgoff &&
		    look_vma_memory(looks[1], other, names[1]))
			rc = add(pairs, names[0], names[1]);
	}
	return rc;
}

static bool descriptor_memory(const struct look *look, const FdinfoEntry *fd, char *name)
{
	const FileEntry *file = look_file(look, fd->id);
	const MemfdInodeEntry *memfd = file ? look_memfd(look, file) : NULL;

	if (memfd)
		look_memory_name(memfd->shmid, name);
	return memfd;
}

static int by_descriptors(struct look_pairs *pairs, const struct look *looks[2],
			  const struct look_task *before, const struct look_task *after)
{
	char names[2][LOOK_NAME_MAX];
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i < before->n_fds; i++) {
		if (!descriptor_memory(looks[0], before->fds[i], names[0]))
			continue;
		for (size_t k = 0; rc == R_OK && k < after->n_fds; k++)
			if (after->fds[k]->fd == before->fds[i]->fd &&
			    descriptor_memory(looks[1], after->fds[k], names[1]))
				rc = add(pairs, names[0], names[1]);
	}
	return rc;
}

int look_pairs_find(const struct look *before, const struct look *after, struct look_pairs **out)
{
	const struct look *looks[2] = { before, after };
	struct look_pairs *pairs = calloc(1, sizeof(*pairs));
	int rc = R_OK;

	if (!pairs) {
		warn("out of memory");
		return R_FAILED;
	}
	for (size_t i = 0; rc == R_OK && i < before->n_tasks; i++) {
		const struct look_task *one = &before->tasks[i],
				       *other = look_task(after, one->pid);

		if (!other)
			continue;
		rc = by_mappings(pairs, looks, one, other);
		if (rc == R_OK)
			rc = by_descriptors(pairs, looks, one, other);
	}
	if (rc != R_OK) {
		look_pairs_free(pairs);
		pairs = NULL;
	}
	*out = pairs;
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
