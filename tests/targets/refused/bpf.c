/* A bpf map. */
// names: bpf
#include "target.h"

#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
	union bpf_attr a = {
		.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 8, .max_entries = 1
	};
	int fd = (int)syscall(SYS_bpf, BPF_MAP_CREATE, &a, sizeof(a)), key = 0;
	uint64_t value = 5;
	union bpf_attr update = { .map_fd = (uint32_t)fd,
				  .key = (uint64_t)&key,
				  .value = (uint64_t)&value };

	NEED(fd >= 0);
	target_ready();
	CHECK(!syscall(SYS_bpf, BPF_MAP_UPDATE_ELEM, &update, sizeof(update)));
	target_pass();
}
