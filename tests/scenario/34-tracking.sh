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

# What is kept is what is restored.
start_target "$W/still" "$TARGETS/anon_memory"
take "$PID" --track=wp
[ "$(field tracking "$W/take.json")" = none ] || fail "the first take relied on something: $(cat "$W/take.json")"
take "$PID" --track=wp
[ "$(field tracking "$W/take.json")" = wp ] || fail "the second take did not: $(cat "$W/take.json")"
[ "$(field pages_new "$W/take.json")" -lt 40 ] || fail "too many new pages: $(cat "$W/take.json")"
first=$PID last=$GEN
# Soft-dirty bits, which this kernel may not have: used, or said why not.
for i in 1 2; do
	take "$PID" --track=soft-dirty --verify-tracking
	[ "$(field tracking_misses "$W/take.json")" = 0 ] || fail "soft-dirty: $(cat "$W/take.json" "$W/take.json.err")"
done
case "$(field tracking "$W/take.json") $(field tracking_reason "$W/take.json")" in
soft-dirty*) note "this kernel has soft-dirty bits" ;;
"none this kernel has no soft-dirty bits (CONFIG_MEM_SOFT_DIRTY)") note "this kernel has no soft-dirty bits" ;;
*) fail "--track=soft-dirty: $(cat "$W/take.json")" ;;
esac
take "$PID" --track=wp
take "$PID" --track=wp
# Another store, or another lineage, knows nothing of that.
SNAP_STORE=$W/other take "$PID" --track=wp
[ "$(field tracking "$W/take.json")" = none ] || fail "relied on the generation of another store"
take "$PID" --track=wp
[ "$(field tracking "$W/take.json")" = none ] || fail "relied on tracking that another store has used up"
take "$PID" --track=wp
[ "$(field tracking "$W/take.json")" = wp ] || fail "not tracked again"
take "$PID" --track=wp --name elsewhere
[ "$(field tracking "$W/take.json")" = none ] || fail "relied on the generation of another lineage"
take "$PID" --track=wp --name elsewhere
# A generation that is forgotten is not there to rely on.
timeout 20 "$SNAP" --quiet forget --gen "$GEN" || fail "forget failed"
take "$PID" --track=wp --name elsewhere
[ "$(field tracking "$W/take.json")" = none ] || fail "relied on a forgotten generation"
take "$PID" --track=wp --name elsewhere
[ "$(field tracking "$W/take.json")" = wp ] || fail "not tracked after that"
last=$GEN
kill_tree "$first"
wait_for 5 gone "$first"
restore "$last"
take "$PID" --track=wp --name elsewhere
[ "$(field tracking "$W/take.json")" = none ] || fail "a restored target is another one"
take "$PID" --track=wp --name elsewhere
last=$GEN
first=$PID
kill_tree "$first"
wait_for 5 gone "$first"
restore "$last"
judge "$W/still" "$PID" "restored from kept pages"
