#!/bin/bash
# python3 with threads, a subprocess on a pipe, an open file and a timer.
. "$(dirname "$0")/lib.sh"
python=/usr/bin/python3
[ -x $python ] || skip "python3 is not installed"

start_target "$W/a" $python "$HERE/programs/many_things.py"
for _ in 1 2 3; do
	take "$PID"
done
judge "$W/a" "$PID" "after three takes that left it running"

start_target "$W/b" $python "$HERE/programs/many_things.py"
for _ in 1 2 3; do
	take_kill "$PID"
	restore "$GEN"
	sleep 0.2
done
judge "$W/b" "$PID" "after being restored three times"
