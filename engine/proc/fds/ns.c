/* /proc/PID/ns/NAME held open: of the namespaces the target lives in, which are those of snap. */
#include "engine/proc/fds/fds.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"

static const struct {
	const char *name;
	uint32_t flag;
} names[] = {
	{ "net", CLONE_NEWNET },   { "mnt", CLONE_NEWNS },	  { "pid", CLONE_NEWPID },
	{ "uts", CLONE_NEWUTS },   { "ipc", CLONE_NEWIPC },	  { "user", CLONE_NEWUSER },
	{ "time", CLONE_NEWTIME }, { "cgroup", CLONE_NEWCGROUP },
};
#define NAMES (sizeof(names) / sizeof(names[0]))

static bool ns_probe(const struct taken_file *f)
{
	return !(f->flags & O_PATH) && taken_file_fs(f) == NSFS_MAGIC;
}

static int ns_dump(struct fds_take *take, struct taken_file *f)
{
	NsFileEntry *ns = fds_take_alloc(take, sizeof(*ns));
	char path[64];
	struct stat st;

	if (!ns)
		return R_FAILED;
	ns_file_entry__init(ns);
	for (size_t i = 0; i < NAMES; i++) {
		snprintf(path, sizeof(path), "/proc/self/ns/%s", names[i].name);
		if (stat(path, &st) != 0 || st.st_ino != f->st.st_ino || st.st_dev != f->st.st_dev)
			continue;
		ns->id = f->id;
		ns->ns_id = (uint32_t)f->st.st_ino;
		ns->ns_cflag = names[i].flag;
		ns->flags = f->flags;
		f->entry.nsf = ns;
		return R_OK;
	}
	warn("%s: is a namespace other than snap's own, which cannot be snapshotted",
	     taken_file_name(f));
	return R_UNSUPPORTED;
}

static const char *name_of(uint32_t flag)
{
	for (size_t i = 0; i < NAMES; i++) {
		if (names[i].flag == flag)
			return names[i].name;
	}
	return NULL;
}

static int ns_check(struct fds_restore *restore, struct restored_file *f)
{
	(void)restore;
	if (f->entry->nsf && name_of(f->entry->nsf->ns_cflag))
		return R_OK;
	warn("open file %u: is a namespace of a kind unknown", f->id);
	return R_UNSUPPORTED;
}

static int ns_open(struct fds_restore *restore, struct restored_file *f)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/ns/%s", name_of(f->entry->nsf->ns_cflag));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		return fds_restore_adopt(restore, f, fd);
	warn_errno("%s: cannot open it again", path);
	return R_FAILED;
}

static void ns_describe(const FileEntry *entry, char *buf, size_t len)
{
	const char *name = name_of(entry->nsf->ns_cflag);

	snprintf(buf, len, "namespace %s", name ? name : "?");
}

const struct fd_kind fd_kind_ns = {
	.name = "namespace",
	.type = FD_TYPES__NS,
	.probe = ns_probe,
	.dump = ns_dump,
	.check = ns_check,
	.open = ns_open,
	.describe = ns_describe,
};
