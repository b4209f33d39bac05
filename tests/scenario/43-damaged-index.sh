#!/bin/bash
# An index or a mark file that is not what snap wrote: whatever a command then cannot do, it says so,
# names the file and ends with exit code 5.  A command that needs nothing of what is damaged works.
# timeout: 300
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "needs python3"

# code CODES ARGS...: runs snap, with one of these exit codes; its exit code is in $CODE.
code() {
	local codes=$1
	shift
	"$SNAP" "$@" >"$W/out" 2>"$W/out.err"
	CODE=$?
	[[ " $codes " == *" $CODE "* ]] ||
		fail "$what: snap $*: exit code $CODE instead of $codes: $(tail -n 3 "$W/out.err")"
	[ $CODE != 5 ] || grep -Eq 'index|snap-store' "$W/out" "$W/out.err" ||
		fail "$what: snap $*: does not name what is damaged: $(cat "$W/out.err")"
}
# The store as it was, in which the file is then damaged in one way.
damage() {
	what=$*
	rm -rf "$SNAP_STORE"
	cp -a "$W/good" "$SNAP_STORE"
	python3 - "$SNAP_STORE/$1" "${@:2}" <<-'P' || fail "cannot damage $*"
		import os, random, sys
		path, how, page = sys.argv[1], sys.argv[2], int(sys.argv[3])
		data = bytearray(open(path, "rb").read())
		at = slice(page * 4096, (page + 1) * 4096)
		if how == "cut": del data[page * 4096:]
		elif how == "zeros": data[at] = bytes(4096)
		elif how == "noise": data[at] = random.Random(page).randbytes(4096)
		elif how == "text": data[:] = b"dear store\n"
		elif how == "long": data += b"\n" * 5000
		elif how == "uuid": data[:] = data[:data.index(b"uuid")]
		if how == "gone": os.unlink(path)
		else: open(path, "wb").write(data)
	P
}
each_command() {
	code "$1" ls
	code "$1" show --gen 3
	code "$1" stats
	code "$1" verify
	code "$1" pin --gen 2
	code "$1" gc --keep-last 4
	code "$1" take --quiet --pid "$pid" --name shell
	# What a restore before has made is not the target this copy of the store knows of.
	code "${1/0/0 6}" restore --gen 5 --replace
}

start "$W/t" sh -c 'while :; do sleep 1000; done'
pid=$PID
wait_for 5 sh -c "[ -n \"\$(cat /proc/$pid/task/$pid/children)\" ]" || fail "the shell did not start"
for _ in 1 2 3 4 5; do
	take "$pid" --name shell
done
cp -a "$SNAP_STORE" "$W/good"
pages=$(($(stat -c %s "$W/good/index/data.mdb") / 4096))
note "$pages pages of index"
[ $pages -ge 10 ] || fail "an index of $pages pages"

for mark in "text 0" "cut 0" "long 0" "uuid 0" "gone 0"; do
	# shellcheck disable=SC2086
	damage snap-store $mark
	each_command 5
done
for cut in 0 1 2 $((pages / 2)); do
	damage index/data.mdb cut "$cut"
	code 5 verify
	code 5 take --quiet --pid "$pid" --name shell
	each_command "0 5"
done
damage index/data.mdb gone 0
each_command 5

# Pages that no longer belong to any entry may be as they like.
found=0
for ((page = 0; page < pages; page++)); do
	how=zeros
	[ $((page % 2)) = 0 ] || how=noise
	damage index/data.mdb $how $page
	code "0 5" verify
	[ $CODE = 0 ] || found=$((found + 1))
	code "0 5" take --quiet --pid "$pid" --name shell
	[ $((page % 8)) -lt 7 ] || each_command "0 5"
done
note "$found of $pages damaged pages make verify complain"
[ $found -ge $((pages / 8)) ] || fail "verify finds hardly anything: $found of $pages"

# The target has come through all of this.
alive "$pid" || fail "the target is gone"
exit 0
