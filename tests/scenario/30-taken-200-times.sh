#!/bin/bash
# A self-checking program with threads and children is taken 200 times and notices nothing.
# timeout: 180
. "$(dirname "$0")/lib.sh"
start_target "$W/a" "$TARGETS/unharmed"
for _ in $(seq 200); do
	take "$PID"
	[ ! -e "$W/a/verdict" ] || fail "after $GEN takes: $(cat "$W/a/verdict")"
done
judge "$W/a" "$PID" "after 200 takes"
