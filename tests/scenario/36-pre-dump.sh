#!/bin/bash
# Memory is read ahead of takes, while a target does all it can to its memory: every page is compared
# under the last freeze.  What is left for a later take is listed nowhere, used, and collected.
# TAKES=N takes more often.
# timeout: 300
. "$(dirname "$0")/lib.sh"
TAKES=${TAKES:-8}

start_target "$W/writer" "$TARGETS/random_writer"
kept=0
for round in $(seq "$TAKES"); do
	rc=1
	for try in 1 2 3 4 5; do # a task that is just being executed cannot be taken
		[ $((round % 3)) = 0 ] && snap_json "$W/ahead.json" take --pid "$PID" --track=wp --pre-dump-only
		snap_json "$W/take.json" take --pid "$PID" --track=wp --verify-tracking --pre-dump
		rc=$?
		[ $rc = 0 ] && break
	done
	[ $rc = 0 ] || fail "round $round: exit code $rc: $(tail -n 3 "$W/take.json.err")"
	[ "$(field tracking_misses "$W/take.json")" = 0 ] || fail "round $round: $(cat "$W/take.json" "$W/take.json.err")"
	[ "$(field capture "$W/take.json")" = predump ] || fail "round $round: no pre-dump: $(cat "$W/take.json")"
	[ "$(field generation "$W/take.json")" = "$round" ] || fail "round $round: pre-dumps leave gaps: $(cat "$W/take.json")"
	[ "$(field tracking "$W/take.json")" = wp ] && kept=$((kept + 1))
done
note "$kept of $TAKES takes relied on what was read ahead"
[ "$kept" -gt $((TAKES / 2)) ] || fail "what was read ahead was hardly ever used: $(cat "$W/take.json")"
judge "$W/writer" "$PID" "after $TAKES takes with pre-dumps"
# Every stop of the tree is told.
python3 - "$W/take.json" <<'end' || fail "stops are not told: $(cat "$W/take.json")"
import json, sys
told = json.load(open(sys.argv[1]))
stops = [r["frozen_ns"] for r in told["predump"]["rounds"]] + [told["frozen_last_ns"]]
sys.exit(not (min(stops) > 0 and told["frozen_ns"] == max(stops) and
              told["frozen_total_ns"] == sum(stops)))
end

# Alone: no generation, but the next take keeps it.
export SNAP_STORE=$W/second
start_target "$W/still" "$TARGETS/anon_memory"
timeout 60 "$SNAP" take --pid "$PID" --name still --track=wp --pre-dump-only >"$W/out" 2>"$W/out.err" ||
	fail "--pre-dump-only: $(cat "$W/out.err")"
[ ! -s "$W/out" ] || fail "--pre-dump-only printed $(cat "$W/out")"
grep -q 'read ahead: .* in 1 round' "$W/out.err" || fail "does not tell what was read: $(cat "$W/out.err")"
snap_json "$W/ls.json" ls || fail "ls"
[ "$(tr -d ' \n' <"$W/ls.json")" = '[]' ] || fail "ls shows a pre-dump: $(cat "$W/ls.json")"
for command in "restore --gen 1" "restore --name still" "show --gen 1" "pin --gen 1" "forget --gen 1"; do
	timeout 60 "$SNAP" $command >"$W/out" 2>&1
	[ $? = 3 ] || fail "$command finds a pre-dump: $(cat "$W/out")"
done
timeout 60 "$SNAP" --quiet gc || fail "gc"
timeout 60 "$SNAP" check --pid "$PID" >"$W/out" 2>&1 || fail "check: $(cat "$W/out")"
grep -q 'noted since pre-dump 1 of still' "$W/out" || fail "check: $(cat "$W/out")"
take "$PID" --name still --track=wp --verify-tracking
[ "$GEN" = 1 ] || fail "generation $GEN"
[ "$(field tracking "$W/take.json")" = wp ] || fail "the take did not build on the pre-dump: $(cat "$W/take.json")"
[ "$(field tracking_misses "$W/take.json")" = 0 ] || fail "pages differ: $(cat "$W/take.json")"
[ "$(field bytes_kept "$W/take.json")" -gt 500000 ] || fail "read again: $(cat "$W/take.json")"
timeout 60 "$SNAP" --quiet gc || fail "gc"
snap_json "$W/verify.json" verify --data || fail "verify: $(cat "$W/verify.json.err")"
[ "$(field generations "$W/verify.json")" = 1 ] || fail "gc left the pre-dump: $(cat "$W/verify.json")"

# A store of an earlier snap goes on as it began: the pre-dump has a number of the generations.
export SNAP_STORE=$W/earlier
timeout 60 "$SNAP" --quiet init || fail "init"
sed -i 's/^snap-store [0-9]*$/snap-store 3/' "$SNAP_STORE/snap-store"
timeout 60 "$SNAP" --quiet take --pid "$PID" --name still --track=wp --pre-dump-only || fail "--pre-dump-only"
take "$PID" --name still --track=wp --verify-tracking
[ "$GEN" = 2 ] || fail "generation $GEN in a store of format 3"
[ "$(field tracking "$W/take.json")" = wp ] || fail "the take did not build on the pre-dump: $(cat "$W/take.json")"
timeout 60 "$SNAP" --quiet gc || fail "gc"
snap_json "$W/verify.json" verify --data || fail "verify: $(cat "$W/verify.json.err")"
[ "$(field generations "$W/verify.json")" = 1 ] || fail "gc left the pre-dump: $(cat "$W/verify.json")"
export SNAP_STORE=$W/second

# By another store it is not known, and then not in the first one either.
timeout 60 "$SNAP" --quiet take --pid "$PID" --name still --track=wp --pre-dump-only || fail "--pre-dump-only"
SNAP_STORE=$W/third take "$PID" --name still --track=wp
[ "$(field tracking "$W/take.json")" = none ] || fail "relied on the pre-dump of another store"
take "$PID" --name still --track=wp
[ "$(field tracking "$W/take.json")" = none ] || fail "relied on tracking that another store has used up"

# Without tracking all is read again, and found.
take "$PID" --name still --track=none --pre-dump
[ "$(field tracking "$W/take.json")" = none ] || fail "relied on tracking that was not asked for"
[ "$(field pages_new "$W/take.json")" -lt 40 ] || fail "stored again: $(cat "$W/take.json")"
take "$PID" --name still --track=wp --pre-dump --verify-tracking --kill
wait_for 5 gone "$PID" || fail "not ended"
restore "$GEN"
judge "$W/still" "$PID" "restored from what was read ahead"
