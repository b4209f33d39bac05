#!/bin/bash
# snap is killed with SIGKILL at 200 random moments of a take: the target is unharmed each time, and
# in the end the next take works and the store is whole.  SEED=N repeats a run.
# timeout: 180
. "$(dirname "$0")/lib.sh"
SEED=${SEED:-7}
RANDOM=$SEED
note "SEED=$SEED"

untouched() {
	local status
	status=$(cat "/proc/$PID/status" "/proc/$PID"/task/*/status)
	! grep -q 'TracerPid:	[1-9]' <<<"$status" && ! grep -q '^State:	[tTZX]' <<<"$status"
}

start_target "$W/a" "$TARGETS/unharmed"
from=$(date +%s%N)
take "$PID"
take "$PID"
usual_us=$((($(date +%s%N) - from) / 2000))
note "a take needs $usual_us us"
children=$(cat "/proc/$PID/task/$PID/children")
inside=0
for round in $(seq 200); do
	delay_us=$((RANDOM * (usual_us + 1000) / 32768))
	"$SNAP" --quiet take --pid "$PID" >/dev/null 2>"$W/killed.err" &
	taker=$!
	sleep "$(printf '0.%06d' "$delay_us")"
	kill -KILL "$taker" 2>/dev/null && inside=$((inside + 1))
	wait "$taker" 2>/dev/null
	wait_for 5 untouched || fail "round $round (after $delay_us us): the target is left stopped or traced"
	[ ! -e "$W/a/verdict" ] || fail "round $round (after $delay_us us): $(cat "$W/a/verdict")"
	[ "$(cat "/proc/$PID/task/$PID/children")" = "$children" ] ||
		fail "round $round (after $delay_us us): the target has other children"
done
note "$inside takes were killed"
[ $inside -gt 50 ] || fail "only $inside of 200 takes were killed before they ended"
take "$PID"
judge "$W/a" "$PID" "after snap was killed $inside times"
snap_json "$W/verify.json" verify --data || fail "verify --data: $(cat "$W/verify.json.err")"
