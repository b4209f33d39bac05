/* Memory that only the task can read, opened by path only. */
// names: secret
#include "target.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
	int fd = (int)syscall(SYS_memfd_secret, 0);
	unsigned char *p;
	char path[64];

	NEED(fd >= 0 && !ftruncate(fd, 4096));
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	NEED(p != MAP_FAILED);
	pattern_fill(p, 4096, 1);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	NEED(open(path, O_PATH) >= 0);
	target_ready();
	CHECK(pattern_differs(p, 4096, 1) == 4096);
	target_pass();
}
