/* signalfd(2): a signal mask. */
#include "engine/proc/fds/fds.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"

static bool signalfd_probe(const struct taken_file *f)
{
	return strcmp(f->link, "anon_inode:[signalfd]") == 0;
}

static int signalfd_dump(struct fds_take *take, struct taken_file *f)
{
	SignalfdEntry *sgfd = fds_take_alloc(take, sizeof(*sgfd));
	const char *mask = fdinfo_value(f->info, "sigmask");

	if (!sgfd)
		return R_FAILED;
	if (!mask) {
		warn("%s: this kernel does not tell its mask", taken_file_name(f));
		return R_UNSUPPORTED;
	}
	signalfd_entry__init(sgfd);
	sgfd->id = f->id;
	sgfd->flags = f->flags;
	sgfd->fown = &f->fown;
	sgfd->sigmask = strtoull(mask, NULL, 16);
	f->entry.sgfd = sgfd;
	return R_OK;
}

static int signalfd_check(struct fds_restore *restore, struct restored_file *f)
{
	(void)restore;
	return f->entry->sgfd ? R_OK : R_DAMAGED;
}

static int signalfd_open(struct fds_restore *restore, struct restored_file *f)
{
	const SignalfdEntry *sgfd = f->entry->sgfd;
	uint64_t mask = sgfd->sigmask;
	int fd = (int)syscall(SYS_signalfd4, -1, &mask, sizeof(mask), SFD_CLOEXEC);

	if (fd < 0) {
		warn_errno("open file %u: cannot make a signalfd", f->id);
		return R_FAILED;
	}
	return fds_restore_adopt_as(restore, f, fd, sgfd->flags, 0);
}

static void signalfd_describe(const FileEntry *entry, char *buf, size_t len)
{
	snprintf(buf, len, "mask %016" PRIx64, entry->sgfd->sigmask);
}

const struct fd_kind fd_kind_signalfd = {
	.name = "signalfd",
	.type = FD_TYPES__SIGNALFD,
	.probe = signalfd_probe,
	.dump = signalfd_dump,
	.check = signalfd_check,
	.open = signalfd_open,
	.describe = signalfd_describe,
};
