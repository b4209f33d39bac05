#include "engine/rebuild/rebuild.h"

#include <linux/prctl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/warn.h"
#include "engine/proc/fds/fds.h"

#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67
#endif

/* A kernel's auxiliary vector; AT_VECTOR_SIZE of today is 50 words. */
#define AUXV_MAX_WORDS 128

int mmprops_set(struct rebuild_task *t)
{
	struct rebuild_thread *th = &t->threads[0];
	const MmEntry *mm = t->mm;
	struct prctl_mm_map *map = (struct prctl_mm_map *)t->r->data;
	uint64_t *auxv = (uint64_t *)(map + 1);
	int exe = fds_restore_fd(t->r->fds, mm->exe_file_id), rc;

	if (exe < 0 || mm->n_mm_saved_auxv > AUXV_MAX_WORDS) {
		warn("task %d: its executable is not among the files of the generation", t->pid);
		return R_DAMAGED;
	}
	memcpy(auxv, mm->mm_saved_auxv, mm->n_mm_saved_auxv * sizeof(*auxv));
	*map = (struct prctl_mm_map){
		.start_code = mm->mm_start_code,
		.end_code = mm->mm_end_code,
		.start_data = mm->mm_start_data,
		.end_data = mm->mm_end_data,
		.start_brk = mm->mm_start_brk,
		.brk = mm->mm_brk,
		.start_stack = mm->mm_start_stack,
		.arg_start = mm->mm_arg_start,
		.arg_end = mm->mm_arg_end,
		.env_start = mm->mm_env_start,
		.env_end = mm->mm_env_end,
		.auxv = (__u64 *)auxv,
		.auxv_size = (__u32)(mm->n_mm_saved_auxv * sizeof(*auxv)),
		.exe_fd = (__u32)exe,
	};
	rc = remote_must(th, "prctl(PR_SET_MM_MAP)", SYS_prctl, PR_SET_MM, PR_SET_MM_MAP,
			 remote_address(map), sizeof(*map), 0, 0);
	if (rc == R_OK && t->extra && t->extra->memory_merge)
		rc = remote_must(th, "prctl(PR_SET_MEMORY_MERGE)", SYS_prctl, PR_SET_MEMORY_MERGE,
				 1, 0, 0, 0, 0);
	if (rc || !mm->thp_disabled)
		return rc;
	return remote_must(th, "prctl(PR_SET_THP_DISABLE)", SYS_prctl, PR_SET_THP_DISABLE, 1, 0, 0,
			   0, 0);
}
