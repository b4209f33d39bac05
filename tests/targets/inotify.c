/* inotify: watches of a folder and a file, with their descriptors and masks. */
#include "target.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void)
{
	char events[4096] __attribute__((aligned(8)));
	struct inotify_event *e = (void *)events;
	int fd = inotify_init1(IN_NONBLOCK), first, folder, file, f;

	CHECK(fd >= 0);
	mkdir("watched", 0700);
	f = open("file", O_RDWR | O_CREAT, 0600);
	first = inotify_add_watch(fd, ".", IN_DELETE_SELF);
	folder = inotify_add_watch(fd, "watched", IN_CREATE | IN_ONLYDIR);
	file = inotify_add_watch(fd, "file", IN_MODIFY);
	CHECK(first > 0 && folder > 0 && file > 0);
	/* so that the descriptors in use do not start at the first */
	CHECK(!inotify_rm_watch(fd, first));
	CHECK(read(fd, events, sizeof(events)) > 0);

	target_ready();

	CHECK(read(fd, events, sizeof(events)) < 0 && errno == EAGAIN);
	CHECK(write(f, "x", 1) == 1);
	CHECK(read(fd, events, sizeof(events)) > 0);
	CHECK(e->wd == file && (e->mask & IN_MODIFY));
	unlink("watched/new");
	close(open("watched/new", O_CREAT | O_RDWR, 0600));
	CHECK(read(fd, events, sizeof(events)) > 0);
	CHECK(e->wd == folder && (e->mask & IN_CREATE) && !strcmp(e->name, "new"));
	CHECK(read(fd, events, sizeof(events)) < 0 && errno == EAGAIN);
	target_pass();
}
