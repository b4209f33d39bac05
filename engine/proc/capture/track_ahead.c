#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/result.h"
#include "engine/proc/capture/track_internal.h"
#include "engine/proc/maps.h"

/* Since then what mremap() moves takes no marks along, so that marks within a registered range are
 * those that were made there. */
static bool moving_takes_marks_off(void)
{
	struct utsname name;
	unsigned major, minor;

	return uname(&name) == 0 && sscanf(name.release, "%u.%u", &major, &minor) == 2 &&
	       (major > 6 || (major == 6 && minor >= 13));
}

static int protect_range_ahead(struct pagemap *map, const struct vma *vma, struct survey *written)
{
	struct page_range found[512];
	uint64_t at = vma->start;
	int rc = R_OK;
	size_t n;

	while (rc == R_OK && at < vma->end) {
		/* A call that fails half-way does not tell what it has protected. */
		if (pagemap_next(map, PAGES_PROTECT, &at, vma->end, found,
				 sizeof(found) / sizeof(found[0]), &n) != R_OK)
			return survey_add_own(written, at, vma->end);
		for (size_t i = 0; rc == R_OK && i < n; i++)
			rc = survey_add_own(written, found[i].start, found[i].end);
	}
	return rc;
}

/* What the kernel may refuse to have watched, and then looks no further. */
#define BARRIER_MARKS \
	(VMA_MARK_DROPPABLE | VMA_MARK_IO | VMA_MARK_PFNMAP | VMA_MARK_MIXEDMAP | VMA_MARK_HUGETLB)

static bool is_barrier(const struct vma *vma)
{
	return !(vma->marks & VMA_MARK_MAYWRITE) || vma->marks & BARRIER_MARKS;
}

/* One that it refuses for certain, and that stays where it is as long as the address space does.
 * What lies above it, at most the stack and the loader, is not protected ahead. */
static const struct vma *last_barrier(const struct maps *maps)
{
	const struct vma *last = NULL;

	for (size_t i = 0; i < maps->n; i++)
		if (strncmp(maps->vmas[i].name, "[vvar", 5) == 0 && is_barrier(&maps->vmas[i]))
			last = &maps->vmas[i];
	return last;
}

/*
 * Does no other userfaultfd watch anything from `start` to the next barrier?  The kernel looks at
 * all of a range before it refuses the barrier in it, and so changes nothing.  To register what has
 * been read of a task that runs would be no question: it may have mapped something else there, of
 * which a part would become a range of its own, and then mremap() of all of it fails.
 */
static bool is_free_of_others(const struct tracked *t, uint64_t start, const struct vma *barrier)
{
	const struct vma asked = { .start = start, .end = barrier->start + PAGE_BYTES };

	return track_enroll(t->uffd, &asked) != R_OK && (errno == EPERM || errno == EINVAL);
}

/* Only what our own userfaultfd watches: the marks of another are none of our business. */
static int protect_ranges_ahead(struct tracked *t, struct pagemap *map, const struct maps *maps)
{
	const struct vma *last = last_barrier(maps);
	bool asked = false;
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && last && &maps->vmas[i] < last; i++) {
		const struct vma *vma = &maps->vmas[i];

		if (is_barrier(vma)) {
			asked = false;
			continue;
		}
		if (!asked && !is_free_of_others(t, vma->start, last))
			return R_OK;
		asked = true;
		if (track_may_note(vma) && vma->marks & VMA_MARK_UFFD_WP)
			rc = protect_range_ahead(map, vma, &t->written);
	}
	return rc;
}

static int protect_task_ahead(struct tracked *t)
{
	struct pagemap map = { .pid = t->pid };
	struct maps maps;
	char path[64];
	int rc = R_OK;

	if (maps_read(t->pid, &maps) != R_OK)
		return R_OK;
	snprintf(path, sizeof(path), "/proc/%d/pagemap", t->pid);
	map.fd = open(path, O_RDONLY | O_CLOEXEC);
	if (map.fd >= 0) { /* it runs, and may have ended */
		rc = protect_ranges_ahead(t, &map, &maps);
		pagemap_close(&map);
	}
	maps_free(&maps);
	return rc;
}

int track_protect_ahead(struct track *track)
{
	int rc = R_OK;

	if (!track || !track->proven || track->soft_dirty || !moving_takes_marks_off())
		return R_OK;
	maps_ready();
	for (size_t i = 0; rc == R_OK && i < track->n; i++)
		if (track_find(track, track->tasks[i].pid) == &track->tasks[i])
			rc = protect_task_ahead(&track->tasks[i]);
	return rc;
}

void track_take_written(struct track *track, pid_t pid, struct survey *written)
{
	struct tracked *t = track_find(track, pid);

	*written = t ? t->written : (struct survey){ 0 };
	if (t)
		t->written = (struct survey){ 0 };
}
