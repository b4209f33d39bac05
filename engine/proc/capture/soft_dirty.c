#include "engine/proc/capture/soft_dirty.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/io.h"
#include "base/result.h"
#include "engine/proc/pagemap.h"

bool soft_dirty_works(void)
{
	volatile char *page =
	    mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct page_range found;
	struct pagemap map;
	uint64_t at = (uintptr_t)page;
	size_t n = 0;

	if (page == MAP_FAILED)
		return false;
	/* Clearing "works" on every kernel; a page just written has the bit where there is one. */
	page[0] = 1;
	if (pagemap_open(getpid(), &map) == R_OK) {
		if (pagemap_next(&map, PAGES_SOFT_DIRTY, &at, at + 4096, &found, 1, &n) != R_OK)
			n = 0;
		pagemap_close(&map);
	}
	munmap((void *)page, 4096);
	return n == 1 && found.marks & PAGE_MARK_WRITTEN;
}

int soft_dirty_clear(pid_t pid)
{
	char path[64];
	int fd, rc;

	snprintf(path, sizeof(path), "/proc/%d/clear_refs", pid);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return R_FAILED;
	rc = io_write_all(fd, "4", 1);
	close(fd);
	return rc;
}
