/* A fanotify group. */
// names: fd [0-9]* .*fanotify
#include "target.h"

#include <fcntl.h>
#include <sys/fanotify.h>
#include <unistd.h>

int main(void)
{
	int fd = fanotify_init(FAN_CLASS_NOTIF | FAN_NONBLOCK, O_RDONLY);
	struct fanotify_event_metadata event[4];

	NEED(fd >= 0 &&
	     !fanotify_mark(fd, FAN_MARK_ADD, FAN_OPEN | FAN_EVENT_ON_CHILD, AT_FDCWD, "."));

	target_ready();

	CHECK(!access("judge", F_OK) && open("judge", O_RDONLY) >= 0);
	CHECK(read(fd, event, sizeof(event)) >= (ssize_t)sizeof(event[0]));
	target_pass();
}
