/* snap check: what a take would find of tracking. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/result.h"
#include "engine/proc/capture/track.h"
#include "engine/proc/capture/track_internal.h"
#include "engine/proc/capture/track_record.h"
#include "engine/proc/stat.h"

#ifndef UFFD_USER_MODE_ONLY /* of newer headers */
#define UFFD_USER_MODE_ONLY 1
#endif

/* As it is done in a target, by one of our own. */
static bool kernel_notes_writes(struct track_check *check)
{
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	bool notes = false;

	if (uffd < 0)
		snprintf(check->reason, sizeof(check->reason), "userfaultfd failed: %m");
	else if (track_open_api(uffd) != R_OK)
		snprintf(check->reason, sizeof(check->reason), "%s", TRACK_NO_ASYNC);
	else
		notes = true;
	if (uffd >= 0)
		close(uffd);
	return notes;
}

void engine_check_tracking(pid_t pid, struct track_check *check)
{
	struct track_record record;
	struct proc_stat stat;
	char path[TRACK_PATH_BYTES];
	const char *reason = "there is no such process";

	memset(check, 0, sizeof(*check));
	check->works = kernel_notes_writes(check);
	if (!check->works || !pid)
		return;
	if (proc_stat_read(pid, 0, &stat) != R_OK ||
	    !track_record_path(pid, stat.start_time, path, &reason)) {
		check->works = false;
		snprintf(check->reason, sizeof(check->reason), "%s", reason);
	} else if (track_record_look(path, &record)) {
		check->generation = store_number_shown(record.point.generation);
		check->predump = store_number_is_apart(record.point.generation);
		memcpy(check->lineage, record.point.lineage, sizeof(check->lineage));
	}
}
