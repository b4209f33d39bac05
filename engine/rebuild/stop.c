/* A restore that is interrupted: when it stops, and that no wait for a task outlasts that. */
#include "engine/rebuild/rebuild.h"

#include <errno.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/ending.h"
#include "base/warn.h"

/* With the old target gone there is only this restore, which may be slow, but not stuck. */
#define STUCK_NS 5000000000ull
/* How long killed tasks may take: one that waits inside the kernel ends when it is through. */
#define END_TRIES 2000
#define END_PAUSE_US 1000

/* Once the old target has been ended for this one, stopping would leave neither.  A second signal
 * ends snap, unless that is held off: then this work is undone first. */
static bool tell(void *arg, const char *phase, uint64_t done, uint64_t total,
		 enum progress_unit unit)
{
	struct rebuild *r = arg;

	if (progress_tell(r->callers, phase, done, total, unit))
		return true;
	if (!r->living_ended || ending_asked())
		return false;
	if (!r->told_it_goes_on)
		note("process %d, which is replaced, has been ended already: the restore goes on; "
		     "a second signal ends it, and then neither is there",
		     r->living);
	r->told_it_goes_on = true;
	return true;
}

static bool give_up(void *arg, uint64_t waited_ns)
{
	struct rebuild *r = arg;

	if (stop_asked(r))
		return true;
	return r->told_it_goes_on && waited_ns > STUCK_NS;
}

void stop_begin(struct rebuild *r, const struct progress *progress)
{
	r->callers = progress;
	r->asking = (struct progress){ .tell = tell, .arg = r };
	r->progress = &r->asking;
}

void stop_site(struct rebuild *r, struct inject_site *site)
{
	site->give_up = give_up;
	site->give_up_arg = r;
}

bool stop_asked(struct rebuild *r)
{
	return !progress_tell(r->progress, "making processes", 0, 0, PROGRESS_ITEMS);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

int stop_wait_end(struct rebuild_task *t, int *status)
{
	uint64_t begun = now_ns();

	for (;;) {
		if (waitpid(t->pid, status, __WALL) < 0) {
			if (errno == ECHILD)
				return R_OK;
			if (errno == EINTR && !give_up(t->r, now_ns() - begun))
				continue;
			if (errno != EINTR)
				warn_errno("task %d: wait for its end", t->pid);
			return R_FAILED;
		}
		if (!WIFSTOPPED(*status))
			return R_OK;
		ptrace(PTRACE_CONT, t->pid, 0,
		       *status >> 16 ? 0 : (unsigned long)WSTOPSIG(*status));
	}
}

bool stop_reap(pid_t tid)
{
	for (int tries = 0; tries < END_TRIES; tries++) {
		int status;
		pid_t got = waitpid(tid, &status, __WALL | WNOHANG);

		if (got < 0 || (got > 0 && !WIFSTOPPED(status)))
			return true;
		if (got == 0)
			usleep(END_PAUSE_US);
	}
	return false;
}
