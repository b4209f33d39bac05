#include <fcntl.h>
#include <stdio.h>
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

/* Only what our own userfaultfd watches: the marks of another are none of our business. */
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
		for (size_t i = 0; rc == R_OK && i < maps.n; i++) {
			const struct vma *vma = &maps.vmas[i];

			if (track_may_note(vma) && vma->marks & VMA_MARK_UFFD_WP &&
			    track_enroll(t->uffd, vma) == R_OK)
				rc = protect_range_ahead(&map, vma, &t->written);
		}
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
