#!/bin/bash
# The same generation restored twice in a row; a living pid is refused in between.
. "$(dirname "$0")/lib.sh"
start_target "$W/a" "$TARGETS/threads"
take_kill "$PID"
restore "$GEN"
snap_json "$W/busy.json" restore --gen "$GEN"
[ $? != 0 ] || fail "a second restore beside the living one did not fail"
grep -q "$PID" "$W/busy.json.err" || fail "the refusal does not name process $PID: $(cat "$W/busy.json.err")"
alive "$PID" || fail "the refused restore ended the living target"
kill_tree "$PID"
wait_for 5 gone "$PID"
restore "$GEN"
judge "$W/a" "$PID" "restored for the second time"
