#!/bin/bash
# A stack used down to its end, which grows for a take, is not cut in two however what it writes is
# noted, and room on it is found again by a check and by any other take.
# timeout: 180
. "$(dirname "$0")/lib.sh"

# Ranges that grow downwards.
pieces() { grep -c '^VmFlags:.* gd' "/proc/$1/smaps"; }

n=0
while read -r program options; do
	read -r -a options <<<"$options"
	n=$((n + 1))
	when="$program after a take ${options[*]}"
	export SNAP_STORE=$W/store$n
	start_target "$W/target$n" "$TARGETS/$program"
	before=$(pieces "$PID")
	timeout 60 "$SNAP" --quiet take --pid "$PID" --name still "${options[@]}" 2>"$W/take.err" ||
		fail "take ${options[*]}: $(cat "$W/take.err")"
	[ "$(pieces "$PID")" = "$before" ] || fail "$when: its stack is in more pieces: $(cat /proc/"$PID"/maps)"
	code 0 check --pid "$PID"
	# In other stores as well, none of which knows what is noted in the first one.
	SNAP_STORE=$W/other$n take "$PID" --track=none
	code 0 check --pid "$PID"
	take "$PID" --name still --track=wp --verify-tracking
	[ "$(field tracking_misses "$W/take.json")" = 0 ] || fail "$when: pages differ: $(cat "$W/take.json")"
	[ "$(pieces "$PID")" = "$before" ] || fail "$when and another: its stack is in more pieces: $(cat /proc/"$PID"/maps)"
	SNAP_STORE=$W/third$n take "$PID" --capture=clone
	code 0 check --pid "$PID"
	judge "$W/target$n" "$PID" "$when and others"
done <<'end'
anon_memory --track=wp --pre-dump-only
anon_memory --track=wp
anon_memory --track=wp --pre-dump
anon_memory --track=wp --capture=clone
anon_memory --track=auto --pre-dump-only
anon_memory --track=soft-dirty
anon_memory --track=none --pre-dump
stack_in_pieces --track=wp --pre-dump-only
stack_in_pieces --track=wp --capture=clone
end
