#!/bin/bash
# Memory that was locked comes back locked, or not at all: also where the kernel tells of a limit by the
# same error as of pages that cannot be brought in.
. "$(dirname "$0")/lib.sh"
command -v setpriv >/dev/null || skip "needs setpriv"
able() { setpriv --bounding-set=-ipc_lock --inh-caps=-ipc_lock "$@"; }
able true 2>/dev/null || skip "cannot give up CAP_IPC_LOCK"

start_target "$W/a" setpriv --bounding-set=-ipc_lock --inh-caps=-ipc_lock "$TARGETS/locked_odd"
take_kill "$PID"
(
	ulimit -l 16
	able "$SNAP" --no-progress restore --gen "$GEN" >"$W/out" 2>"$W/err"
)
rc=$?
[ $rc = 1 ] || fail "restored where less may be locked: exit code $rc: $(cat "$W/err")"
grep -q "mlock of .* (ulimit -l)" "$W/err" || fail "not told what stands in the way: $(cat "$W/err")"
gone "$PID" || fail "a process was left"
able "$SNAP" --no-progress restore --gen "$GEN" >"$W/out" 2>"$W/err" || fail "not restored: $(cat "$W/err")"
remember "$PID"
judge "$W/a" "$PID" "with locked memory"
