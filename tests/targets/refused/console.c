/* A terminal of the machine itself. */
// names: fd [0-9]* .*no pseudo terminal
#include "target.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

int main(void)
{
	static const struct {
		int major, minor;
	} devices[] = { { 4, 5 }, { 4, 64 }, { 4, 65 } }; /* tty5, ttyS0, ttyS1 */
	struct termios settings;
	int fd = -1;

	for (int i = 0; i < 3 && fd < 0; i++) {
		unlink("terminal");
		if (!mknod("terminal", S_IFCHR | 0600, makedev(devices[i].major, devices[i].minor)))
			fd = open("terminal", O_RDWR | O_NOCTTY | O_NONBLOCK);
	}
	NEED(fd >= 0);

	target_ready();

	CHECK(isatty(fd) == 0 || !tcgetattr(fd, &settings));
	CHECK(!close(fd));
	target_pass();
}
