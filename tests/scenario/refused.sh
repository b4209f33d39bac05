#!/bin/bash
# refused.sh PROGRAM: a target whose state cannot be captured is refused by name and goes on unharmed.
. "$(dirname "$0")/lib.sh"
program=$1

start_target "$W/a" "$program"
snap_json "$W/take.json" take --pid "$PID" $(options take "$program")
rc=$?
[ $rc = 4 ] || fail "take ended with $rc instead of 4: $(cat "$W/take.json.err")"
word=$(options names "$program")
grep -qi -- "${word:-$PID}" "$W/take.json.err" ||
	fail "the refusal does not name '${word:-$PID}': $(cat "$W/take.json.err")"
snap_json "$W/ls.json" ls
case $? in
0) [ -z "$(field generation "$W/ls.json")" ] || fail "a refused take left a generation" ;;
3) ;;
*) fail "ls after a refused take: $(cat "$W/ls.json.err")" ;;
esac
snap_json "$W/check.json" check --pid "$PID" $(options take "$program")
[ $? = 4 ] || fail "check did not say beforehand that this process is refused"
# Word by word what the take said.
while read -r line; do
	case "$line" in
	"snap: pid "*) grep -qF -- "${line#snap: }" "$W/check.json" ||
		fail "check does not say '${line#snap: }': $(cat "$W/check.json")" ;;
	esac
done <"$W/take.json.err"
judge "$W/a" "$PID" "after a refused take"
