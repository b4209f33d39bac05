#!/bin/bash
# Tracking: what a take keeps without reading is, each time, what is there: every page is compared under
# the same freeze, also where it is read from a clone or was read ahead.  TAKES=N takes more often,
# SEED=N writes otherwise, CAPTURES are the ways in turn.
# timeout: 300
. "$(dirname "$0")/lib.sh"
TAKES=${TAKES:-30}
SEED=${SEED:-4711}
read -ra CAPTURES <<<"${CAPTURES:-copy clone predump}"
note "SEED=$SEED"

# Others may track the same number in a pid namespace of their own.
space=$(stat -L -c %i /proc/self/ns/pid)
is_tracked() { ls /run/snap/track-*"$space"-"$PID"-* >/dev/null 2>&1; }

start_target "$W/writer" "$TARGETS/random_writer" "$SEED"
kept=0 reached=0
for round in $(seq "$TAKES"); do
	capture=${CAPTURES[round % ${#CAPTURES[@]}]}
	rc=1
	for try in 1 2 3 4 5; do # a task that is just being executed cannot be taken
		snap_json "$W/take.json" take --pid "$PID" --track=wp --verify-tracking --capture=$capture
		rc=$?
		[ $rc = 0 ] && break
	done
	[ $rc = 0 ] || fail "round $round: exit code $rc: $(tail -n 3 "$W/take.json.err")"
	[ "$(field tracking_misses "$W/take.json")" = 0 ] || fail "round $round: $(cat "$W/take.json" "$W/take.json.err")"
	[ "$(field clone_misses "$W/take.json")" = 0 ] || fail "round $round: $(cat "$W/take.json" "$W/take.json.err")"
	[ "$(field tracking "$W/take.json")" = wp ] && kept=$((kept + 1))
	[ "$(field capture "$W/take.json")" = "$capture" ] && reached=$((reached + 1))
	GEN=$(field generation "$W/take.json")
done
note "$kept of $TAKES takes relied on tracking"
note "$reached of $TAKES captured as asked for (${CAPTURES[*]})"
[ "$reached" -gt $((TAKES / 2)) ] || fail "hardly ever captured as asked for: $(cat "$W/take.json")"
[ "$kept" -gt $((TAKES / 2)) ] || fail "tracking was hardly ever used: $(cat "$W/take.json")"
is_tracked || fail "no proof is kept in /run/snap"
timeout 20 "$SNAP" --quiet untrack --pid "$PID" || fail "untrack failed"
is_tracked && fail "untrack left the proof"
wait_for 3 eval "! grep -q '^VmFlags:.* uw' /proc/$PID/smaps" || fail "untrack left ranges registered"
judge "$W/writer" "$PID" "after $TAKES takes with tracking"
