#!/bin/bash
# Power goes at any moment of takes, forgets and gcs, of those too that move pages or take them off
# chains of differences: what a take has returned for is there.  Takes that go by the note that the
# index was looked at (index-walked) are among what is recorded, and what comes after the cut.
# timeout: 600
# LOSS_STATES=N looks at N states in place of 240; LOSS_SEED=N at others.
. "$(dirname "$0")/lib.sh"

PAGES=300
record=(env LD_PRELOAD="$PRELOAD" LOSS_RECORD="$W/record")
take() { "${record[@]}" "$LIMIT" 30 "$DRIVER" take "$W/store" "$W/ledger" "$1" "$2" "$3" "${4:-$PAGES}"; }
say() { "${record[@]}" "$DRIVER" say "$W/ledger" "$@"; }
disturb=(LD_PRELOAD="$PRELOAD" LOSS_RECORD="$W/record")

take a 5 0 && take a 5 1 && take b 6 0 && take b 7 0 && take c 8 0 1000 && take c 8 0 200 && take a 5 2 ||
	fail "cannot take"
run_forgetting forget --gen 3 || fail "cannot forget"
run_gc || fail "gc fails"
take a 5 3 && take c 9 0 || fail "cannot take after gc"
"${record[@]}" "$LIMIT" 30 "$SNAP" pin --gen 8 --store "$W/store" --quiet || fail "cannot pin"
make_chains # the lineage whose pages gc detaches; all but its last two generations go
snap() { "${record[@]}" "$LIMIT" 30 "$SNAP" "$@" --store "$W/store" --quiet; }
may_forget
snap gc --keep-last 1 --max-unused 0 --json >"$W/out" || fail "gc fails"
did_forget
grep -qE '"pages_detached": [1-9]' "$W/out" || { cat "$W/out"; fail "gc detaches nothing"; }
[ -e "$W/store/index-walked" ] || fail "no note that the index was looked at"
for command in "${commands[@]}"; do
	case $command in compact | recompress) "run_$command" || fail "$command fails" ;; esac
done
run_gc || fail "gc fails"
check || fail "the recorded run itself is not good"
"$LOSS/loss_replay" "$W/record" "${LOSS_STATES:-240}" "$W" "${LOSS_SEED:-1}" || fail "lost by a power cut"
