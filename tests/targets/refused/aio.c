/* An asynchronous I/O context (io_setup), whose ring is mapped. */
// names: 0x[0-9a-f]*-0x[0-9a-f]* .*asynchronous I/O
#include "target.h"

#include <linux/aio_abi.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int main(void)
{
	struct io_event events[1];
	aio_context_t context = 0;
	struct timespec none = { 0 };

	NEED(!syscall(SYS_io_setup, 4, &context));

	target_ready();

	CHECK(syscall(SYS_io_getevents, context, 0L, 1L, events, &none) == 0);
	CHECK(!syscall(SYS_io_destroy, context));
	target_pass();
}
