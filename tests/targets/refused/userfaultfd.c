/* A userfaultfd. */
// names: userfaultfd
#include "target.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

	NEED(fd >= 0 && !ioctl(fd, UFFDIO_API, &api));
	target_ready();
	CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
	target_pass();
}
