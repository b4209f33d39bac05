#!/bin/bash
# An ordinary user, with CAP_CHECKPOINT_RESTORE alone, takes and rolls back processes of their own;
# without it, everything is refused and nothing is lost.
# timeout: 60
. "$(dirname "$0")/lib.sh"
command -v setpriv >/dev/null || skip "needs setpriv"
setpriv --inh-caps +checkpoint_restore true 2>/dev/null || skip "setpriv does not know CAP_CHECKPOINT_RESTORE"

# What lies below the build may be out of that user's reach.
U=$W/user
mkdir "$U" "$U/run" && cp "$SNAP" "$W/snap" && chown -R 65534:65534 "$U" && chmod 700 "$U/run"
as() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
plain() { as --inh-caps -all env HOME="$U" XDG_RUNTIME_DIR="$U/run" "$@"; }
able() {
	as --inh-caps +checkpoint_restore --ambient-caps +checkpoint_restore \
		env HOME="$U" XDG_RUNTIME_DIR="$U/run" "$@"
}
unset SNAP_STORE XDG_DATA_HOME
exits() { # CODE WORDS COMMAND...
	local code=$1 words=$2 got
	shift 2
	"$@" >"$W/out" 2>"$W/err"
	got=$?
	[ $got = "$code" ] || fail "${*: -5}: exit code $got instead of $code: $(cat "$W/err")"
	grep -q "$words" "$W/err" || fail "${*: -5}: not told \"$words\": $(cat "$W/err")"
}
# begin FOLDER PROGRAM: as that user, without any capability.
begin() {
	mkdir "$U/$1" && cp "$TARGETS/$2" "$U/$1.program"
	: >"$U/$1/out"
	chown -R 65534:65534 "$U/$1"
	start_target "$U/$1" setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all "$U/$1.program"
}

for target in anon_memory fork_tree threads; do
	note "$target"
	begin $target $target
	exits 0 "frozen" able "$W/snap" take --pid "$PID" --name $target
	exits 0 "frozen" able "$W/snap" take --name $target
	exits 0 "is back as process $PID" able "$W/snap" restore --name $target --replace
	judge "$U/$target" "$PID" "rolled back by its own user"
done
[ -d "$U/.local/share/snap" ] || fail "the store is not where such a user's data is"
[ "$(stat -c %a "$U/.local/share")" = 700 ] || fail "its folders are open to others"

note "without the capability"
begin left anon_memory
exits 1 "CAP_CHECKPOINT_RESTORE" plain "$W/snap" take --pid "$PID" --name left
exits 0 "frozen" able "$W/snap" take --pid "$PID" --name left
exits 4 "CAP_CHECKPOINT_RESTORE" plain "$W/snap" restore --name left --replace
alive "$PID" || fail "it was ended for a restore that could not be"
judge "$U/left" "$PID" "after a restore that was refused"

note "a program that has the capability itself"
cp "$W/snap" "$W/capable"
if setcap cap_checkpoint_restore+ep "$W/capable" 2>/dev/null && plain "$W/capable" ls >/dev/null 2>&1; then
	begin capable fork_tree
	exits 0 "frozen" plain "$W/capable" take --pid "$PID" --name capable
	exits 0 "is back as process $PID" plain "$W/capable" restore --name capable --replace
	judge "$U/capable" "$PID" "rolled back by a program with file capabilities"
else
	note "left out: files have no capabilities here"
fi

note "a file that is no longer theirs to write"
begin file anon_memory
exits 0 "frozen" able "$W/snap" take --pid "$PID" --name file
chown 0:0 "$U/file/out"
exits 1 "was open for writing" able "$W/snap" restore --name file --replace
alive "$PID" || fail "it was ended for a file that cannot be opened"
kill_tree "$PID"

note "what root took"
start_target "$W/root" "$TARGETS/anon_memory"
mkdir "$U/roots" && SNAP_STORE=$U/roots "$SNAP" take --pid "$PID" --name root >"$W/out" 2>"$W/err" || fail "$(cat "$W/err")"
chown -R 65534:65534 "$U/roots"
kill_tree "$PID"
wait_for 5 gone "$PID" || fail "it is still there"
exits 4 "CAP_SETUID" able "$W/snap" --store "$U/roots" restore --name root
exit 0
