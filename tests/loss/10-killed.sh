#!/bin/bash
# A take into a new store, a take, a gc, a forget, gcs that move pages and that detach them from chains
# of differences, killed at every fault point and in every call that changes a file: what was
# committed is whole, nothing else is visible, the same command then goes through, and after a gc the
# store is as big as if nobody had been killed.
# timeout: 600
. "$(dirname "$0")/lib.sh"

killed=0

# settle COMMAND: what the next ones do after a kill; then the sizes
settle() {
	disturb=()
	"run_$1" >"$W/out" 2>&1 || { cat "$W/out"; fail "$1 after $2 does not go through"; }
	check writable || fail "$1 after $2: not as the ledger has it"
	# All that is dead goes: by itself a gc leaves a tenth of each pack alone.
	run_compact >"$W/out" 2>&1 || { cat "$W/out"; fail "gc after $1 and $2"; }
	check || fail "gc after $1 and $2: not as the ledger has it"
	left=$(find "$W/store" -name '.*.tmp')
	[ -z "$left" ] || fail "gc after $1 and $2 leaves $left"
}

# walk COMMAND HOW VARIABLE: kills at point 1, 2 ... of that numbering until the command gets through
walk() {
	local command=$1 how=$2 variable=$3 n rc
	shift 3
	for ((n = 1; n < 400; n++)); do
		"begin_$command"
		disturb=("$@" "$variable=$n")
		"run_$command" >"$W/out" 2>&1
		rc=$?
		[ $rc = 0 ] || [ $rc = 137 ] || { cat "$W/out"; fail "$command, $how $n: exit code $rc"; }
		if [ -e "$W/store/snap-store" ]; then
			check || fail "$command, killed at $how $n: not as the ledger has it"
		fi
		settle "$command" "a kill at $how $n"
		# As many blocks, but for the part of one each pack ends with: what an interrupted gc
		# has moved is divided among packs otherwise.
		[ "$(packs_kib)" -le $((undisturbed_packs + 4 * $(packs))) ] || {
			ls -s "$W/store/packs"
			fail "$command, $how $n: packs take $(packs_kib) KiB, undisturbed $undisturbed_packs"
		}
		[ "$(index_kib)" -le $((undisturbed_index + 128)) ] ||
			fail "$command, $how $n: index takes $(index_kib) KiB, undisturbed $undisturbed_index"
		[ $rc = 0 ] && break
		killed=$((killed + 1))
	done
	[ $n -gt "$least" ] && [ $n -lt 400 ] || fail "$command: only $n points ($how)"
	note "$command: killed at $((n - 1)) of $how"
}

# tells_detached COMMAND: without it, kills while pages are detached would not be what is tested
tells_detached() {
	local options=(--keep-last 1)
	[ "$1" = recompress ] && options+=(--recompress)
	snap gc "${options[@]}" --json >"$W/out" || fail "$1 fails"
	grep -qE '"pages_detached": [1-9]' "$W/out" || { cat "$W/out"; fail "$1 detaches nothing"; }
	"begin_$1"
}
packs() { find "$W/store/packs" -name '*.pack' | wc -l; }

make_base
[ $# = 0 ] || commands=("$@") # some only, by hand
for command in "${commands[@]}"; do
	"begin_$command"
	case $command in recompress | detach) tells_detached "$command" ;; esac
	settle "$command" nothing
	undisturbed_packs=$(packs_kib) undisturbed_index=$(index_kib)
	least=2
	walk $command "fault points" SNAP_FAULT
	least=4
	walk $command "file calls" LOSS_AT LD_PRELOAD="$PRELOAD" LOSS_CLASS=files LOSS_ERROR=kill
done
note "$killed kills, nothing lost"
