#!/bin/bash
# The commands under valgrind, on targets with files, pipes, threads and memory of all kinds.  Only
# snap runs under it: the targets do not, and what snap starts does not.
#
# A restore only as far as its checks: valgrind tells programs of a processor without the registers
# this machine has and the generation holds, and the restore refuses that (or the pid in use).
. "$(dirname "$0")/../scenario/lib.sh"
: "${VALGRIND:?}" "${TARGETS:?}"

# code CODES ARGS...: runs snap under valgrind, with one of these exit codes.
code() {
	local codes=$1 got
	shift
	# shellcheck disable=SC2086
	timeout 60 $VALGRIND "$SNAP" "$@" >"$W/out" 2>"$W/out.err"
	got=$?
	# Its exit code tells of snap's own process; what it finds in a fork is in its words only.
	[[ " $codes " == *" $got "* ]] ||
		fail "snap $*: exit code $got instead of $codes: $(head -c 3000 "$W/out.err")"
	! grep -E '^==[0-9]+== +at 0x' "$W/out.err" || fail "snap $*: valgrind found something"
}

cd "$W" || exit 1
code 0 run --name sleeper -- sleep 1000
remember "$(cat "$W/out")"
code "0 4" check # valgrind knows no clone3()
gen=0
for name in anon_memory files pipes threads unix_sockets event_fds deleted_files; do
	start_target "$W/$name" "$TARGETS/$name"
	pid=$PID
	code 0 check --pid "$pid"
	code 0 take --pid "$pid" --name "$name"
	code 0 take --name "$name" --json
	gen=$((gen + 2))
	code "4 6" restore --name "$name"
	judge "$W/$name" "$pid" "after takes under valgrind"
done
code 0 take --name sleeper --kill
code 0 ls
code 0 ls --json
code 0 show --gen 1 --verbose
code 0 show --name threads --json
code 0 stats
code 0 verify --data
code 0 pin --gen 2
code 0 forget --gen 1
code 0 unpin --gen 2
code 0 gc --keep-last 1 --dry-run
code 0 gc --keep-last 1
code 0 verify --data --json
code 3 show --gen $((gen + 9))
code 2 take
code 0 --help
exit 0
