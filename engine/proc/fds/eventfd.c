/* eventfd(2): a counter. */
#include "engine/proc/fds/fds.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"

static bool eventfd_probe(const struct taken_file *f)
{
	return strcmp(f->link, "anon_inode:[eventfd]") == 0;
}

static int eventfd_dump(struct fds_take *take, struct taken_file *f)
{
	EventfdFileEntry *efd = fds_take_alloc(take, sizeof(*efd));
	const char *count = fdinfo_value(f->info, "eventfd-count");
	const char *semaphore = fdinfo_value(f->info, "eventfd-semaphore");

	if (!efd)
		return R_FAILED;
	if (!count) {
		warn("%s: this kernel does not tell its counter", taken_file_name(f));
		return R_UNSUPPORTED;
	}
	eventfd_file_entry__init(efd);
	efd->id = f->id;
	efd->flags = f->flags;
	/* EFD_SEMAPHORE is no file flag; CRIU leaves it out, we add its bit, which is O_WRONLY. */
	if (semaphore && atoi(semaphore) == 1)
		efd->flags |= EFD_SEMAPHORE;
	efd->fown = &f->fown;
	efd->counter = strtoull(count, NULL, 16);
	f->entry.efd = efd;
	return R_OK;
}

static int eventfd_check(struct fds_restore *restore, struct restored_file *f)
{
	(void)restore;
	return f->entry->efd ? R_OK : R_DAMAGED;
}

static int eventfd_open(struct fds_restore *restore, struct restored_file *f)
{
	const EventfdFileEntry *efd = f->entry->efd;
	int fd = eventfd(0, EFD_CLOEXEC | (int)(efd->flags & EFD_SEMAPHORE));

	/* A write adds, so the whole counter can be set but for the one value it cannot have. */
	if (fd < 0 || (efd->counter &&
		       write(fd, &efd->counter, sizeof(efd->counter)) != sizeof(efd->counter))) {
		warn_errno("open file %u: cannot make an eventfd with %" PRIu64, f->id,
			   efd->counter);
		if (fd >= 0)
			close(fd);
		return R_FAILED;
	}
	return fds_restore_adopt_as(restore, f, fd, efd->flags, 0);
}

static void eventfd_describe(const FileEntry *entry, char *buf, size_t len)
{
	snprintf(buf, len, "counter %" PRIu64, entry->efd->counter);
}

const struct fd_kind fd_kind_eventfd = {
	.name = "eventfd",
	.type = FD_TYPES__EVENTFD,
	.probe = eventfd_probe,
	.dump = eventfd_dump,
	.check = eventfd_check,
	.open = eventfd_open,
	.describe = eventfd_describe,
};
