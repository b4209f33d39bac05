#!/bin/bash
# A stack used down to its end, which grows for a take, stays in one piece however what it writes is
# noted: in pieces, nothing finds room on it any more, neither a check nor a take without tracking.
# timeout: 180
. "$(dirname "$0")/lib.sh"

is_in_one_piece() {
	python3 - "$1" <<'end'
import sys
before = None
for line in open(f"/proc/{sys.argv[1]}/maps"):
    start, end = line.split()[0].split("-")
    if line.rstrip().endswith("[stack]"):
        sys.exit(before == start)
    before = end
sys.exit(2)
end
}

n=0
while read -r -a options; do
	n=$((n + 1))
	when="after a take ${options[*]}"
	export SNAP_STORE=$W/store$n
	start_target "$W/target$n" "$TARGETS/anon_memory"
	timeout 60 "$SNAP" --quiet take --pid "$PID" --name still "${options[@]}" 2>"$W/take.err" ||
		fail "take ${options[*]}: $(cat "$W/take.err")"
	is_in_one_piece "$PID" || fail "$when the stack is in pieces: $(cat /proc/"$PID"/maps)"
	code 0 check --pid "$PID"
	# In other stores as well, none of which knows what is noted in the first one.
	SNAP_STORE=$W/other$n take "$PID" --track=none
	code 0 check --pid "$PID"
	take "$PID" --name still --track=wp --verify-tracking
	[ "$(field tracking_misses "$W/take.json")" = 0 ] || fail "$when pages differ: $(cat "$W/take.json")"
	is_in_one_piece "$PID" || fail "$when and another the stack is in pieces: $(cat /proc/"$PID"/maps)"
	SNAP_STORE=$W/third$n take "$PID" --capture=clone
	code 0 check --pid "$PID"
	judge "$W/target$n" "$PID" "$when and others"
done <<'end'
--track=wp --pre-dump-only
--track=wp
--track=wp --pre-dump
--track=wp --capture=clone
--track=auto --pre-dump-only
--track=soft-dirty
--track=none --pre-dump
end
