/* Memory of huge pages (hugetlb).  It need not be touched, so that none has to be set aside. */
// names: 0x[0-9a-f]*-0x[0-9a-f]* .*huge pages
#include "target.h"

#include <sys/mman.h>

#define BYTES (2UL << 20)

int main(void)
{
	char *p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE, -1, 0);

	NEED(p != MAP_FAILED);

	target_ready();

	CHECK(!munmap(p, BYTES));
	target_pass();
}
