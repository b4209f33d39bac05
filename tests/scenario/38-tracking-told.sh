#!/bin/bash
# A take that was asked to track tells when it does not; what a killed snap left half written beside the
# proofs is removed by the next one.
. "$(dirname "$0")/lib.sh"

start_target "$W/small" "$TARGETS/anon_memory"
timeout 60 "$SNAP" take --pid "$PID" --track=auto >"$W/out" 2>&1 || fail "take: $(cat "$W/out")"
grep -q "tracking: not begun (less than .* MiB" "$W/out" || fail "not told why there is no tracking: $(cat "$W/out")"
timeout 60 "$SNAP" take --pid "$PID" --track=none >"$W/out" 2>&1 || fail "take: $(cat "$W/out")"
grep -q "tracking:" "$W/out" && fail "told of tracking that nobody asked for: $(cat "$W/out")"

[ -d /run/snap ] && [ -w /run/snap ] || skip "no /run/snap here"
left=/run/snap/.track-1-1-1.$$.tmp
kept=/run/snap/.track-1-1-2.$$.tmp
: >"$left"
exec 9>"$kept"
flock -n 9 || skip "no locks on files in /run/snap"
take "$PID" --track=wp
timeout 20 "$SNAP" --quiet untrack --pid "$PID"
[ -e "$kept" ] || fail "a file that a living process writes was removed"
rm -f "$kept"
[ ! -e "$left" ] || { rm -f "$left"; fail "what a killed snap left is still there"; }
judge "$W/small" "$PID" "after takes with tracking"
