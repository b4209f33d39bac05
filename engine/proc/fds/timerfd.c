/* timerfd_create(2): a clock, the time left, and expirations not yet read. */
#include "engine/proc/fds/fds.h"

#include <inttypes.h>
#include <linux/ioctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"

/* Of the kernel's interface linux/timerfd.h, which the system's headers leave out. */
#define TIMERFD_SET_TICKS _IOW('T', 0, uint64_t)

static bool timerfd_probe(const struct taken_file *f)
{
	return strcmp(f->link, "anon_inode:[timerfd]") == 0;
}

static int timerfd_dump(struct fds_take *take, struct taken_file *f)
{
	TimerfdEntry *tfd = fds_take_alloc(take, sizeof(*tfd));
	const char *clock = fdinfo_value(f->info, "clockid");
	const char *ticks = fdinfo_value(f->info, "ticks");
	const char *flags = fdinfo_value(f->info, "settime flags");
	const char *value = fdinfo_value(f->info, "it_value");
	const char *interval = fdinfo_value(f->info, "it_interval");

	if (!tfd)
		return R_FAILED;
	timerfd_entry__init(tfd);
	if (!clock || !ticks || !flags || !value || !interval ||
	    sscanf(value, "(%" SCNu64 ", %" SCNu64 ")", &tfd->vsec, &tfd->vnsec) != 2 ||
	    sscanf(interval, "(%" SCNu64 ", %" SCNu64 ")", &tfd->isec, &tfd->insec) != 2) {
		warn("%s: this kernel does not tell its settings", taken_file_name(f));
		return R_UNSUPPORTED;
	}
	tfd->id = f->id;
	tfd->flags = f->flags;
	tfd->fown = &f->fown;
	tfd->clockid = (uint32_t)atoi(clock);
	tfd->ticks = strtoull(ticks, NULL, 10);
	tfd->settime_flags = (uint32_t)strtoul(flags, NULL, 8);
	f->entry.tfd = tfd;
	return R_OK;
}

static int timerfd_check(struct fds_restore *restore, struct restored_file *f)
{
	(void)restore;
	return f->entry->tfd ? R_OK : R_DAMAGED;
}

/*
 * fdinfo tells the time left whatever the timer was set to.  An absolute timer is set to the same
 * moment of its clock as it was: clock now plus time left would be wrong for a wall clock, but what
 * was left at the take is all that is known, as it is for every other timer of the target.
 */
static int timerfd_arm(struct restored_file *f)
{
	const TimerfdEntry *tfd = f->entry->tfd;
	struct itimerspec spec = {
		.it_value = { (time_t)tfd->vsec, (long)tfd->vnsec },
		.it_interval = { (time_t)tfd->isec, (long)tfd->insec },
	};
	int flags = 0;

	if (tfd->settime_flags & TFD_TIMER_ABSTIME) {
		struct timespec now;

		if (clock_gettime((clockid_t)tfd->clockid, &now) != 0)
			return -1;
		/* A disarmed timer stays disarmed. */
		if (spec.it_value.tv_sec || spec.it_value.tv_nsec) {
			spec.it_value.tv_sec += now.tv_sec;
			spec.it_value.tv_nsec += now.tv_nsec;
			if (spec.it_value.tv_nsec >= 1000000000) {
				spec.it_value.tv_nsec -= 1000000000;
				spec.it_value.tv_sec++;
			}
		}
		flags = (int)(tfd->settime_flags & (TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET));
	}
	return timerfd_settime(f->local, flags, &spec, NULL);
}

static int timerfd_open(struct fds_restore *restore, struct restored_file *f)
{
	const TimerfdEntry *tfd = f->entry->tfd;
	int fd = timerfd_create((clockid_t)tfd->clockid, TFD_CLOEXEC);

	if (fd < 0) {
		warn_errno("open file %u: cannot make a timerfd of clock %u", f->id, tfd->clockid);
		return R_FAILED;
	}
	return fds_restore_adopt_as(restore, f, fd, tfd->flags, 0);
}

/* Armed when the tasks are about to run, so that a long restore does not eat the time left. */
static int timerfd_finish(struct fds_restore *restore, struct restored_file *f,
			  const struct fds_task *task, int fd)
{
	const TimerfdEntry *tfd = f->entry->tfd;
	uint64_t ticks = tfd->ticks;

	(void)restore;
	(void)task;
	(void)fd;
	if (timerfd_arm(f) != 0) {
		warn_errno("open file %u: cannot set the timer", f->id);
		return R_FAILED;
	}
	if (ticks && ioctl(f->local, TIMERFD_SET_TICKS, &ticks) != 0) {
		warn_errno("open file %u: cannot set %" PRIu64 " expirations", f->id, ticks);
		return R_FAILED;
	}
	return R_OK;
}

static void timerfd_describe(const FileEntry *entry, char *buf, size_t len)
{
	snprintf(buf, len, "clock %u, %" PRIu64 ".%09" PRIu64 " s left", entry->tfd->clockid,
		 entry->tfd->vsec, entry->tfd->vnsec);
}

const struct fd_kind fd_kind_timerfd = {
	.name = "timerfd",
	.type = FD_TYPES__TIMERFD,
	.probe = timerfd_probe,
	.dump = timerfd_dump,
	.check = timerfd_check,
	.open = timerfd_open,
	.finish = timerfd_finish,
	.describe = timerfd_describe,
};
