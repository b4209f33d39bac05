/* Modes of a task that prctl(2) sets: what memory errors do to it, that it serves input and output,
 * that its memory may be merged with equal pages. */
#include "target.h"

#include <errno.h>
#include <sys/prctl.h>

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#define PR_GET_IO_FLUSHER 58
#endif
#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67
#define PR_GET_MEMORY_MERGE 68
#endif

int main(void)
{
	/* each may be missing or forbidden here, but not all of them */
	int mce = !prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
	int flusher = !prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
	int merge = !prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0);

	NEED(mce || flusher || merge);

	target_ready();

	CHECK(!mce || prctl(PR_MCE_KILL_GET, 0, 0, 0, 0) == PR_MCE_KILL_EARLY);
	CHECK(!flusher || prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0) == 1);
	CHECK(!merge || prctl(PR_GET_MEMORY_MERGE, 0, 0, 0, 0) == 1);
	target_pass();
}
