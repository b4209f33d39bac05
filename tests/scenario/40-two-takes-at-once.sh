#!/bin/bash
# Two takes at once into one store both succeed, beside a gc; every generation is whole.
. "$(dirname "$0")/lib.sh"
start_target "$W/a" "$TARGETS/anon_memory"
a=$PID
start_target "$W/b" "$TARGETS/shared_anon"
b=$PID
take "$a"
for _ in 1 2 3 4 5; do
	snap_json "$W/a.json" take --pid "$a" &
	one=$!
	snap_json "$W/b.json" take --pid "$b" &
	two=$!
	snap_json "$W/gc.json" gc --keep-last 3 &
	three=$!
	wait $one || fail "the first of two takes failed: $(cat "$W/a.json.err")"
	wait $two || fail "the second of two takes failed: $(cat "$W/b.json.err")"
	wait $three || fail "gc beside two takes failed: $(cat "$W/gc.json.err")"
done
last_a=$(field generation "$W/a.json")
last_b=$(field generation "$W/b.json")
[ "$last_a" != "$last_b" ] || fail "both takes made generation $last_a"
snap_json "$W/verify.json" verify --data || fail "verify --data: $(cat "$W/verify.json.err")"
for pair in "$W/a:$a:$last_a" "$W/b:$b:$last_b"; do
	IFS=: read -r dir pid gen <<<"$pair"
	kill_tree "$pid"
	wait_for 5 gone "$pid"
	restore "$gen"
	judge "$dir" "$PID" "generation $gen"
done
