#include "cli/privileges.h"

#include "base/result.h"
#include "base/warn.h"

#include <sys/capability.h>

/* Each with its reason in docs/privileges.md. */
static const cap_value_t engine_needs[] = {
	CAP_SYS_PTRACE,	  CAP_CHECKPOINT_RESTORE, CAP_SYS_ADMIN,
	CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH,	  CAP_FOWNER,
	CAP_KILL,	  CAP_NET_ADMIN,	  CAP_SYS_RESOURCE,
	CAP_IPC_LOCK,
};

static int keep_only(const cap_value_t *wanted, size_t n)
{
	cap_t now, then;
	size_t i;
	int result = R_FAILED;

	now = cap_get_proc();
	then = cap_init();
	if (!now || !then)
		goto out;
	for (i = 0; i < n; i++) {
		cap_flag_value_t held;

		/* What is not held is not missed here: the call that needs it will say so. */
		if (cap_get_flag(now, wanted[i], CAP_PERMITTED, &held) < 0 || held != CAP_SET)
			continue;
		if (cap_set_flag(then, CAP_PERMITTED, 1, &wanted[i], CAP_SET) < 0 ||
		    cap_set_flag(then, CAP_EFFECTIVE, 1, &wanted[i], CAP_SET) < 0)
			goto out;
	}
	if (cap_set_proc(then) == 0)
		result = R_OK;
out:
	if (result != R_OK)
		warn_errno("cannot give up capabilities");
	cap_free(now);
	cap_free(then);
	return result;
}

int privileges_reduce(enum command_kind kind)
{
	switch (kind) {
	case COMMAND_READS:
	case COMMAND_WRITES:
	case COMMAND_LISTENS:
		return keep_only(NULL, 0);
	case COMMAND_ENGINE:
		return keep_only(engine_needs, sizeof(engine_needs) / sizeof(engine_needs[0]));
	case COMMAND_STARTS:
	case COMMAND_REBUILDS:
		/* The tasks made may need any capability, and what is given up cannot be regained.
		 */
		return R_OK;
	}
	return R_FAILED;
}
