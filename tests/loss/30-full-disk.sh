#!/bin/bash
# A disk that is really full, in a mount namespace of its own: a take says so and ends with 1, what
# was committed is whole, and when there is room again everything goes on.
# timeout: 120
[ "$(id -u)" = 0 ] || { echo "SKIP: needs root"; exit 77; }
if [ -z "${LOSS_INSIDE:-}" ]; then
	unshare --mount true 2>/dev/null || { echo "SKIP: cannot create a mount namespace here"; exit 77; }
	LOSS_INSIDE=1 exec unshare --mount -- bash "$0" "$@"
fi
. "$(dirname "$0")/lib.sh"

mkdir "$W/store"
mount -t tmpfs -o size=6m,mode=0700 tmpfs "$W/store" || skip "cannot mount a file system"
# shellcheck disable=SC2154 # rc is set there
trap 'rc=$?; umount "$W/store"; (exit $rc); loss_end' EXIT
take a 5 0 || fail "the first take does not fit"
failed=0 took=0
for ((step = 1; step < 60; step++)); do
	take b $((100 + step)) 0 2>/dev/null
	rc=$?
	case $rc in
	0) took=$((took + 1)) ;;
	1) failed=$((failed + 1)) ;;
	*) fail "a take with a full disk ends with $rc" ;;
	esac
	[ $failed = 3 ] && break
done
[ $failed = 3 ] || fail "the disk was never full"
take b 300 0 2>"$W/out" && fail "a take fits after all"
grep -qE 'snap: .*(No space|no space|cannot)' "$W/out" ||
	{ cat "$W/out"; fail "no clear message"; }
note "$took takes fitted, then: no space"
"$DRIVER" check "$W/store" "$W/ledger" >/dev/null || fail "with a full disk: not as the ledger has it"
mount -o remount,size=40m "$W/store" || fail "cannot give it more room"
take b 301 0 || fail "a take with room again"
check writable || fail "with room again: not as the ledger has it"
run_gc || fail "gc with room again"
check || fail "after gc: not as the ledger has it"
