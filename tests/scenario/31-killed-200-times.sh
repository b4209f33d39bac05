#!/bin/bash
# snap is killed with SIGKILL at 200 random moments of a take: the target is unharmed each time, and
# in the end the next take works and the store is whole.  SEED=N repeats a run, ROUNDS=N does it less often; TAKE_OPTIONS are those
# of the takes.
# timeout: 180
. "$(dirname "$0")/lib.sh"
SEED=${SEED:-7}
ROUNDS=${ROUNDS:-200}
RANDOM=$SEED
note "SEED=$SEED"

untouched() {
	local status
	status=$(cat "/proc/$PID/status" "/proc/$PID"/task/*/status)
	! grep -q 'TracerPid:	[1-9]' <<<"$status" && ! grep -q '^State:	[tTZX]' <<<"$status"
}

# A clone that lives on has init for its parent and the name of its target.
clone_left() {
	local pid
	for pid in $(cat /proc/1/task/1/children); do
		[ "$pid" != "$PID" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = unharmed ] && return 0
	done
	return 1
}
no_clone() { ! clone_left; }

start_target "$W/a" "$TARGETS/unharmed"
# The first one makes the store, and a key for the target's secret memory.
take "$PID" ${TAKE_OPTIONS:-}
from=$(date +%s%N)
take "$PID" ${TAKE_OPTIONS:-}
take "$PID" ${TAKE_OPTIONS:-}
usual_us=$((($(date +%s%N) - from) / 2000))
note "a take needs $usual_us us"
children=$(cat "/proc/$PID/task/$PID/children")
inside=0
for round in $(seq "$ROUNDS"); do
	delay_us=$((RANDOM * (usual_us + 1000) / 32768))
	"$SNAP" --quiet take --pid "$PID" ${TAKE_OPTIONS:-} >/dev/null 2>"$W/killed.err" &
	taker=$!
	sleep "$(printf '0.%06d' "$delay_us")"
	kill -KILL "$taker" 2>/dev/null && inside=$((inside + 1))
	wait "$taker" 2>/dev/null
	wait_for 5 untouched || fail "round $round (after $delay_us us): the target is left stopped or traced"
	wait_for 2 no_clone || fail "round $round (after $delay_us us): a clone is left"
	[ ! -e "$W/a/verdict" ] || fail "round $round (after $delay_us us): $(cat "$W/a/verdict")"
	[ "$(cat "/proc/$PID/task/$PID/children")" = "$children" ] ||
		fail "round $round (after $delay_us us): the target has other children"
done
note "$inside takes were killed"
[ $inside -gt $((ROUNDS / 4)) ] || fail "only $inside of $ROUNDS takes were killed before they ended"
for last in 1 2 3; do
	take "$PID" ${TAKE_OPTIONS:-}
	[ "$(field tracking_misses "$W/take.json")" = 0 ] || fail "pages were kept that had changed: $(cat "$W/take.json")"
done
# A killed take has no number, whatever it had read ahead.
snap_json "$W/ls.json" ls || fail "ls: $(cat "$W/ls.json.err")"
[ "$(grep -o '"generation"' "$W/ls.json" | wc -l)" = "$GEN" ] || fail "numbers of generations have gaps: $(cat "$W/ls.json")"
judge "$W/a" "$PID" "after snap was killed $inside times"
snap_json "$W/verify.json" verify --data || fail "verify --data: $(cat "$W/verify.json.err")"
