/*
 * Preloaded into a command under valgrind: the C library's syscall(2), with the calls valgrind does
 * not know made in another way (see outside.c).
 */
#include "forward.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <valgrind/memcheck.h>

long syscall(long number, ...);

static long plain(long number, const long *a)
{
	register long r10 __asm__("r10") = a[3];
	register long r8 __asm__("r8") = a[4];
	register long r9 __asm__("r9") = a[5];
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

static long forward(long number, const long *a, int fd_argument)
{
	struct forwarded call = { .number = number,
				  .args = { a[0], a[1], a[2], a[3] },
				  .fd_argument = fd_argument };
	int fd;

	if (forward_send(FORWARD_FD, &call, sizeof(call),
			 fd_argument < 0 ? -1 : (int)a[fd_argument]) != sizeof(call) ||
	    forward_receive(FORWARD_FD, &call, sizeof(call), &fd) != sizeof(call))
		return -EIO;
	return call.result ? call.result : fd;
}

long syscall(long number, ...)
{
	long a[6], result;
	va_list args;

	va_start(args, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	if (number == SYS_pidfd_open)
		result = forward(number, a, -1);
	else if (number == SYS_pidfd_getfd)
		result = forward(number, a, 0);
	else
		result = plain(number, a);
	if (result >= 0 || result < -4095)
		return result;
	errno = (int)-result;
	return -1;
}

/* Not in the headers of Debian 12. */
struct region {
	uint64_t start, end, categories;
};
struct scan {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages, masks[4];
};
#define SCAN_IOCTL _IOWR('f', 16, struct scan)

/* The C library's ioctl(2); what PAGEMAP_SCAN fills in, valgrind takes for uninitialised. */
int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	long arg, result;

	va_start(args, request);
	arg = va_arg(args, long);
	va_end(args);
	result = plain(SYS_ioctl, (const long[]){ fd, (long)request, arg, 0, 0, 0 });
	if (result < 0) {
		errno = (int)-result;
		return -1;
	}
	if (request == SCAN_IOCTL)
		(void)VALGRIND_MAKE_MEM_DEFINED(((const struct scan *)arg)->vec,
						(size_t)result * sizeof(struct region));
	return (int)result;
}
