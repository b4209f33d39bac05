#!/bin/bash
# Power goes at any moment of takes, forgets and gcs: what a take has returned for is there.
# timeout: 600
# LOSS_STATES=N looks at N states in place of 240; LOSS_SEED=N at others.
. "$(dirname "$0")/lib.sh"

PAGES=300
record=(env LD_PRELOAD="$PRELOAD" LOSS_RECORD="$W/record")
take() { "${record[@]}" timeout 30 "$DRIVER" take "$W/store" "$W/ledger" "$1" "$2" "$3" "${4:-$PAGES}"; }
say() { "${record[@]}" "$DRIVER" say "$W/ledger" "$@"; }
disturb=(LD_PRELOAD="$PRELOAD" LOSS_RECORD="$W/record")

take a 5 0 && take a 5 1 && take b 6 0 && take b 7 0 && take c 8 0 1000 && take c 8 0 200 && take a 5 2 ||
	fail "cannot take"
run_forgetting forget --gen 3 || fail "cannot forget"
run_gc || fail "gc fails"
take a 5 3 && take c 9 0 || fail "cannot take after gc"
"${record[@]}" timeout 30 "$SNAP" pin --gen 8 --store "$W/store" --quiet || fail "cannot pin"
for command in "${commands[@]}"; do
	case $command in compact | recompress) "run_$command" || fail "$command fails" ;; esac
done
run_gc || fail "gc fails"
check || fail "the recorded run itself is not good"
"$LOSS/loss_replay" "$W/record" "${LOSS_STATES:-240}" "$W" "${LOSS_SEED:-1}" || fail "lost by a power cut"
