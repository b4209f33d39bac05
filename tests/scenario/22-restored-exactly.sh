#!/bin/bash
# Processes that do to their memory all that can be done to it are stopped, taken, ended, restored,
# and taken again as they were brought back: both generations hold the same memory.
# RESTORED_ROUNDS=N and RESTORED_SEED=S make a longer run, and another one.
# timeout: 120
. "$(dirname "$0")/lib.sh"
ROUNDS=${RESTORED_ROUNDS:-8}
[ -x /usr/bin/python3 ] || skip "python3 is not installed"

stopped() { grep -q '^State:.T' "/proc/$1/status" 2>/dev/null; }

children() { cat /proc/"$1"/task/*/children 2>/dev/null; }

# The root first: then it makes no child any more.  One that waits in vfork() stops when its child
# has become another program.
stop_tree() {
	local pid
	kill -STOP "$1"
	wait_for 10 eval "stopped $1 || gone $1" || fail "process $1 does not stop"
	for pid in $(children "$1"); do
		gone "$pid" || stop_tree "$pid"
	done
}

continue_tree() {
	local pid
	for pid in $(children "$1"); do
		continue_tree "$pid"
	done
	kill -CONT "$1"
}

# same_memory GENERATION GENERATION PID
same_memory() {
	local i
	for i in "$1" "$2"; do
		rm -f "$W/core.$i"
		code 0 core --gen "$i" --pid "$3" -o "$W/core.$i"
	done
	/usr/bin/python3 "$HERE/programs/same_core.py" "$W/core.$1" "$W/core.$2" >"$W/same" ||
		fail "round $round: process $3 is not what it was (generations $1 and $2): $(cat "$W/same")"
	rm -f "$W/core.$1" "$W/core.$2"
}

tasks=0
CAPTURES=(copy predump clone)
# there_and_back: the tree of $PID, stopped before and running after.
there_and_back() {
	local pid pids before
	stop_tree "$PID"
	pids=$(echo "$PID"; for pid in $(children "$PID"); do gone "$pid" || echo "$pid"; done)
	take_kill "$PID" "--capture=${CAPTURES[round % 3]}"
	before=$GEN
	restore "$before"
	take "$PID"
	for pid in $pids; do
		same_memory "$before" "$GEN" "$pid"
		tasks=$((tasks + 1))
	done
	# Shared memory and deleted files have other inode numbers now, and are told as the same.
	code 0 diff --gen "$before" --gen "$GEN"
	! grep -A 20 'shared memory' "$W/out" || fail "round $round: diff told of changes of shared memory or files"
	continue_tree "$PID"
}

start_target "$W/t" "$TARGETS/random_writer" ${RESTORED_SEED:-}
for round in $(seq "$ROUNDS"); do
	there_and_back
	sleep 0.$((round % 4 + 1))
done
[ "$tasks" -gt "$ROUNDS" ] || fail "there was never a child"
judge "$W/t" "$PID" "after $ROUNDS restores"
for target in deleted_files memfd; do
	start_target "$W/$target" "$TARGETS/$target"
	there_and_back
	judge "$W/$target" "$PID" "after its restore"
done
note "$ROUNDS rounds, $tasks processes compared"
