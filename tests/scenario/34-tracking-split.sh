#!/bin/bash
# Pages of zeroes of a huge page that was split: they are the shared zero page then, still protected,
# and are kept or read as all others, however closely a take looks at their neighbours.
# timeout: 120
. "$(dirname "$0")/lib.sh"

step() {
	touch "$W/$1/step"
	wait_for 5 test ! -e "$W/$1/step" || fail "$1 takes no step: $(cat "$W/$1/verdict" 2>&1)"
}

# relied WHAT: of the last take, which compared what it kept.
relied() {
	[ "$(field tracking "$W/take.json")" = wp ] || fail "$1: no tracking: $(cat "$W/take.json")"
	[ "$(field tracking_misses "$W/take.json")" = 0 ] ||
		fail "$1: pages differ: $(cat "$W/take.json" "$W/take.json.err")"
}

for verify in "" --verify-tracking; do
	name=split$verify
	start_target "$W/$name" "$TARGETS/split_huge"
	take "$PID" --track=wp --name "$name"
	for round in 1 2 3 4; do
		step "$name"
		take "$PID" --track=wp --name "$name" $verify
		relied "$name, round $round"
	done
	# Another take that relies on nothing, and others that rely on it.
	SNAP_STORE=$W/other take "$PID" --track=wp --name "$name"
	for round in 5 6; do
		step "$name"
		SNAP_STORE=$W/other take "$PID" --track=wp --name "$name" $verify
		relied "$name, round $round"
	done
	first=$PID last=$GEN
	kill_tree "$first"
	wait_for 5 test ! -e "/proc/$first"
	SNAP_STORE=$W/other restore "$last"
	judge "$W/$name" "$PID" "$name"
done
