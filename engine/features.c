#include "engine/features.h"

#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif

static bool is_forbidden(const char *name)
{
	const char *list = getenv("SNAP_WITHOUT");

	return list && strstr(list, name);
}

static bool has_memfd_secret(void)
{
	int fd = is_forbidden("memfd_secret") ? -1 : (int)syscall(SYS_memfd_secret, 0);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

const struct kernel_features *kernel_features(void)
{
	static struct kernel_features features;
	static bool known;

	if (!known)
		features.memfd_secret = has_memfd_secret();
	known = true;
	return &features;
}
