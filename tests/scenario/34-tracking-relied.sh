#!/bin/bash
# When tracking is relied on: only where it continues the newest generation of the same lineage in the
# same store, of the same target.
# timeout: 120
. "$(dirname "$0")/lib.sh"

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
# Nor does a store in which the generation has the same number.
SNAP_STORE=$W/one take "$PID" --track=wp --name same
SNAP_STORE=$W/two take "$PID" --track=wp --name same
[ "$GEN" = 1 ] || fail "generation $GEN of a new store"
SNAP_STORE=$W/one take "$PID" --track=wp --name same
[ "$(field tracking "$W/take.json")" = none ] || fail "relied on generation 1 of another store"
take "$PID" --track=wp --name elsewhere
# A generation that is forgotten is not there to rely on.
timeout 20 "$SNAP" --quiet forget --gen "$GEN" || fail "forget failed"
take "$PID" --track=wp --name elsewhere
[ "$(field tracking "$W/take.json")" = none ] || fail "relied on a forgotten generation"
take "$PID" --track=wp --name elsewhere
[ "$(field tracking "$W/take.json")" = wp ] || fail "not tracked after that"
last=$GEN
kill_tree "$first"
wait_for 5 test ! -e "/proc/$first"
restore "$last"
take "$PID" --track=wp --name elsewhere
[ "$(field tracking "$W/take.json")" = none ] || fail "a restored target is another one"
take "$PID" --track=wp --name elsewhere
last=$GEN
[ "$(field tracking "$W/take.json")" = wp ] || fail "a restored target is not tracked: $(cat "$W/take.json")"
# In the place of a tracked one comes another, which is not.
restore "$last" --replace
take "$PID" --track=wp --name elsewhere --verify-tracking
[ "$(field tracking "$W/take.json")" = none ] || fail "relied on what was noted of the target that was replaced"
take "$PID" --track=wp --name elsewhere
last=$GEN
first=$PID
kill_tree "$first"
wait_for 5 test ! -e "/proc/$first"
restore "$last"
judge "$W/still" "$PID" "restored from kept pages"

# Two stores at once: one of them may find the target busy; neither relies on what the other protects.
start_target "$W/writer" "$TARGETS/random_writer"
taken=0
for round in 1 2 3 4 5; do
	SNAP_STORE=$W/other snap_json "$W/there.json" take --pid "$PID" --track=wp --verify-tracking &
	there=$!
	snap_json "$W/here.json" take --pid "$PID" --track=wp --verify-tracking
	here=$?
	wait $there
	there=$?
	for told in here there; do
		[ "${!told}" = 0 ] || continue
		taken=$((taken + 1))
		[ "$(field tracking_misses "$W/$told.json")" = 0 ] || fail "$told, $round: $(cat "$W/$told.json")"
	done
done
note "$taken takes into two stores at once"
[ $taken -ge 5 ] || fail "too few takes: $(cat "$W/here.json.err" "$W/there.json.err")"
judge "$W/writer" "$PID" "after takes into two stores"
