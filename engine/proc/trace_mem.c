#include "engine/proc/trace.h"

#include <errno.h>
#include <sys/uio.h>

#include "base/result.h"

typedef ssize_t vm_copy(pid_t, const struct iovec *, unsigned long, const struct iovec *,
			unsigned long, unsigned long);

static int copy_all(vm_copy *copy, pid_t pid, uint64_t address, uint8_t *buf, size_t len)
{
	while (len > 0) {
		struct iovec here = { buf, len };
		struct iovec there = { (void *)(uintptr_t)address, len };
		ssize_t n = copy(pid, &here, 1, &there, 1, 0);
		if (n < 0)
			return R_FAILED;
		if (n == 0) {
			errno = EFAULT;
			return R_FAILED;
		}
		buf += n;
		address += (uint64_t)n;
		len -= (size_t)n;
	}
	return R_OK;
}

int trace_read(pid_t pid, uint64_t address, void *buf, size_t len)
{
	return copy_all(process_vm_readv, pid, address, buf, len);
}

int trace_write(pid_t pid, uint64_t address, const void *buf, size_t len)
{
	return copy_all(process_vm_writev, pid, address, (uint8_t *)buf, len);
}
