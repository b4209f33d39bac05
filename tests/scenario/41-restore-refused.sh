#!/bin/bash
# A restore that cannot work out says why and leaves no process: a file is gone, a file has changed,
# no such generation, the pid is somebody else's.
. "$(dirname "$0")/lib.sh"
processes() { set -- /proc/[0-9]*; echo $#; }

start_target "$W/a" "$TARGETS/files"
take_kill "$PID"
before=$(processes)
refused() {
	snap_json "$W/restore.json" restore --gen "$1"
	rc=$?
	[ $rc != 0 ] || fail "restore with $2 did not fail"
	[ -z "$3" ] || [ $rc = "$3" ] || fail "restore with $2: exit code $rc instead of $3"
	[ -s "$W/restore.json.err" ] || fail "restore with $2 failed without a word"
	[ "$(processes)" -le "$before" ] || fail "restore with $2 left a process behind"
}
refused 99 "an unknown generation" 3
cp -p "$W/a/file" "$W/a/elsewhere"
rm "$W/a/file"
refused "$GEN" "a missing file" ""
grep -q "$W/a/file" "$W/restore.json.err" || fail "the missing file is not named: $(cat "$W/restore.json.err")"
mv "$W/a/elsewhere" "$W/a/file"
cp -p "$W/a/file" "$W/a/copy"
echo more >>"$W/a/file"
refused "$GEN" "a changed file" ""
cp -p "$W/a/copy" "$W/a/file"
restore "$GEN"
judge "$W/a" "$PID" "after the refused restores"
