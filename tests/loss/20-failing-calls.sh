#!/bin/bash
# Every call that changes or reads a file of the store, every allocation and every call of LMDB is
# made to fail, once or from then on, in a take into a new store, a take, a gc and a forget.  The
# command gets over it or says what is wrong and exits with 1 (5 for bytes that cannot be read);
# nothing is lost, and the same command then goes through.
# timeout: 900
# LOSS_FULL=1 tries all of them, LOSS_FROM and LOSS_TO a part; otherwise the first 8 and then every 100th of each class, and those of
# a gc that moves pages only with a full disk, and of compaction with an index that has no memory.
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

# walk CLASS ERROR ALWAYS: all calls of all commands
walk() {
	local command n
	for command in "${commands[@]}"; do
		case "${LOSS_FULL:+full }$command $*" in
		"full "* | *" files $ENOSPC 0") ;;
		"compact index $ENOMEM 0") ;;
		compact* | recompress* | detach*) continue ;;
		esac
		for ((n = ${LOSS_FROM:-1}; n < ${LOSS_TO:-5000}; n++)); do
			one "$command" "$@" $n || break
			[ -z "${LOSS_FULL:-}" ] && [ $n -ge 8 ] && n=$((n + 99))
		done
		[ $n -gt 3 ] || fail "$command has only $n calls of class $1"
	done
	note "$*: $tried tried so far, $refused ended with an error"
}

make_base
ENOSPC=28 EIO=5 ENOMEM=12 MAP_FULL=-30792
if [ $# = 3 ]; then
	walk "$@" # one class, by hand
else
	walk files $ENOSPC 0
	walk files $ENOSPC 1
	walk files $EIO 0
	walk files $EIO 1
	walk files short 0
	walk reads $EIO 0
	walk reads $EIO 1
	walk index $EIO 0
	walk index $EIO 1
	walk index $ENOMEM 0
	walk index $MAP_FULL 0
	walk memory $ENOMEM 0
	walk memory $ENOMEM 1
fi
note "the messages, without numbers:"
sed "s|$W||g; s/[0-9a-f]\{16\}/N/g; s/[0-9]\+/N/g" "$W/messages" | sort | uniq -c | sort -rn
