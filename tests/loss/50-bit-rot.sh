#!/bin/bash
# Single bits and sectors of a store rot: each is harmless or told of, never read as if it were right.
# timeout: 600
# LOSS_DAMAGES=N tries N in place of 300; LOSS_SEED=N others.
. "$(dirname "$0")/lib.sh"

PAGES=300
make_base
"$LOSS/loss_rot" "$W/store" "$W/ledger" "${LOSS_DAMAGES:-300}" "$W" "${LOSS_SEED:-1}" ||
	fail "damage that nobody told of"
