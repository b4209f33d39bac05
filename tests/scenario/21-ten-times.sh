#!/bin/bash
# A restored target is taken and restored again, ten times.
# timeout: 120
. "$(dirname "$0")/lib.sh"
for target in threads fork_tree event_fds; do
	start_target "$W/$target" "$TARGETS/$target"
	first=$PID
	for round in 1 2 3 4 5 6 7 8 9 10; do
		take_kill "$PID"
		restore "$GEN"
		[ "$PID" = "$first" ] || fail "$target came back as $PID in round $round"
	done
	judge "$W/$target" "$PID" "$target restored ten times"
done
