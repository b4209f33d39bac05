/* A performance counter. */
// names: perf
#include "target.h"

#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
	struct perf_event_attr a = { .type = PERF_TYPE_SOFTWARE,
				     .size = sizeof(a),
				     .config = PERF_COUNT_SW_TASK_CLOCK };
	int fd = (int)syscall(SYS_perf_event_open, &a, 0, -1, -1, 0);
	uint64_t count;

	NEED(fd >= 0);
	target_ready();
	CHECK(read(fd, &count, 8) == 8 && count > 0);
	target_pass();
}
