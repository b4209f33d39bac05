#!/bin/bash
# What runs is not touched when its pages are protected ahead of a freeze, though it maps and moves
# memory meanwhile.  TAKES=N takes more often.
# timeout: 180
. "$(dirname "$0")/lib.sh"
TAKES=${TAKES:-20}

start_target "$W/target" "$TARGETS/moved_memory"
for round in $(seq "$TAKES"); do
	timeout 60 "$SNAP" --quiet take --pid "$PID" --track=wp --pre-dump-only 2>"$W/take.err" ||
		fail "round $round: $(cat "$W/take.err" "$W/target/verdict")"
done
take "$PID" --track=wp --verify-tracking --pre-dump
[ "$(field tracking "$W/take.json")" = wp ] || fail "no tracking: $(cat "$W/take.json")"
[ "$(field tracking_misses "$W/take.json")" = 0 ] || fail "pages differ: $(cat "$W/take.json")"
judge "$W/target" "$PID" "after $TAKES pre-dumps"
