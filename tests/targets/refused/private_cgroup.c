/* A control group of a named hierarchy that is mounted nowhere any more. */
// names: control group /snap-test of hierarchy name=snap-test
#include "target.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static int put(const char *path)
{
	int fd = open(path, O_WRONLY), rc = fd >= 0 && write(fd, "0", 1) == 1 ? 0 : -1;

	close(fd);
	return rc;
}

static void show(int on)
{
	if (on)
		NEED(!mount("none", "hierarchy", "cgroup", 0, "none,name=snap-test"));
	else
		CHECK(!umount2("hierarchy", MNT_DETACH));
}

static int there(void)
{
	char text[8192] = "";
	int fd = open("/proc/self/cgroup", O_RDONLY);

	CHECK(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && !close(fd));
	return strstr(text, "name=snap-test:") != NULL;
}

int main(void)
{
	target_init();
	mkdir("hierarchy", 0700);
	show(1);
	NEED(!mkdir("hierarchy/snap-test", 0700) || errno == EEXIST);
	NEED(!put("hierarchy/snap-test/tasks"));
	show(0);

	target_ready();

	show(1);
	CHECK(!put("hierarchy/tasks") && !rmdir("hierarchy/snap-test"));
	show(0);
	/* the hierarchy goes when it is unmounted after its last group has quite gone */
	for (int i = 0; i < 50 && there(); i++) {
		usleep(20000);
		show(1);
		show(0);
	}
	target_pass();
}
