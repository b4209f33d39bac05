#!/bin/bash
# Every call that changes or reads a file of the store, every allocation and every call of LMDB is
# made to fail, once or from then on, in a take into a new store, a take, a forget and gcs, of those
# too that move pages, pack them anew or take them off chains of differences.  The command gets over
# it or says what is wrong and exits with 1 (5 for bytes that cannot be read); nothing is lost, and
# the same command then goes through.  A few calls of the program itself; then loss_fail, which does
# what the program does behind its options, tries every Nth call, LOSS_JOBS (2) at once.
# timeout: 900
# LOSS_FULL=1 tries all of them (an hour), LOSS_COMMANDS names some commands; CLASS ERROR ALWAYS: one list.
export LOSS_PAGES=${LOSS_PAGES:-200}
. "$(dirname "$0")/lib.sh"

tried=0 refused=0

# one COMMAND CLASS ERROR ALWAYS N: true if the call was reached
one() {
	local command=$1 class=$2 error=$3 always=$4 n=$5 rc what
	what="$command with $class call $n failing with $error$([ "$always" = 1 ] && echo ' and all later ones')"
	"begin_$command"
	rm -f "$W/count"
	disturb=(LD_PRELOAD="$PRELOAD" LOSS_CLASS="$class" LOSS_ERROR="$error" LOSS_ALWAYS="$always"
		LOSS_AT="$n" LOSS_COUNT="$W/count")
	"run_$command" >"$W/out" 2>&1
	rc=$?
	disturb=()
	[ -s "$W/count" ] || [ "$class" = memory ] || { cat "$W/out"; fail "$what: exit code $rc, no count"; }
	case $rc in
	0) ;;
	1 | 5)
		refused=$((refused + 1))
		grep -qE "^snap: .*($W/store|index|pack|memory|page|generation)|out of memory" "$W/out" ||
			{ cat "$W/out"; fail "$what: exit code $rc and no clear message"; }
		[ $rc = 1 ] || [ "$class" = reads ] || { cat "$W/out"; fail "$what: exit code $rc"; }
		cat "$W/out" >>"$W/messages"
		;;
	*) cat "$W/out"; fail "$what: exit code $rc" ;;
	esac
	tried=$((tried + 1))
	if [ -e "$W/store/snap-store" ]; then
		check || fail "after $what: not as the ledger has it"
	fi
	"run_$command" >"$W/out" 2>&1 || { cat "$W/out"; fail "$what: the next one fails as well"; }
	check writable || fail "after $what and the next one: not as the ledger has it"
	[ "$(cat "$W/count" 2>/dev/null || echo 100000)" -ge "$n" ]
}

# program CLASS ERROR ALWAYS: some calls of the program
program() {
	local command n
	for command in "${commands[@]}"; do
		for ((n = 1; n < 5000; n++)); do
			one "$command" "$@" $n || break
			[ $n -ge 3 ] && n=$((n + 199))
		done
		[ $n -gt 3 ] || fail "$command has only $n calls of class $1"
	done
	note "$*: $tried tried so far, $refused ended with an error"
}

# walk STEP CLASS ERROR ALWAYS: every STEPth call, or all, of what all commands do
walk() {
	local command from step=$1 bad=0
	shift
	[ -n "${LOSS_FULL:-}" ] && step=1
	for command in "${commands[@]}"; do
		from=base
		[ $command = detach ] && from=chains
		LD_PRELOAD=$PRELOAD "$LOSS/loss_fail" "$W/$from/store" "$W/$from/ledger" $command "$@" 1 \
			"$step" "${LOSS_JOBS:-2}" "$W" || bad=1
	done
	[ $bad = 0 ] || fail "$*"
}

make_base
begin_detach # makes its store
ENOSPC=28 EIO=5 ENOMEM=12 MAP_FULL=-30792
if [ $# = 3 ]; then
	walk 1 "$@" # by hand
else
	[ -n "${LOSS_FULL:-}" ] || for list in "files $ENOSPC 0" "reads $EIO 0" "index $EIO 0" "memory $ENOMEM 0"; do
		# shellcheck disable=SC2086 # three words
		program $list
	done
	for always in 0 1; do
		walk 7 files $ENOSPC $always
		walk 7 files $EIO $always
		walk 31 reads $EIO $always
		walk 101 memory $ENOMEM $always
		walk 211 index $EIO $always
		walk 211 index $ENOMEM $always
		walk 211 index $MAP_FULL $always
	done
	walk 7 files short 0
fi
note "the messages, without numbers:"
sed "s|$W||g; s/[0-9a-f]\{16\}/N/g; s/[0-9]\+/N/g" "$W/messages" | sort | uniq -c | sort -rn
