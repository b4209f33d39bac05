#!/bin/bash
# roundtrip.sh PROGRAM: a self-judging target (tests/targets) through take and restore.
. "$(dirname "$0")/lib.sh"
program=$1
t=$(options take "$program")
r=$(options restore "$program")
# What happens to the machine between the end of the target and its restore.
b=$(options between "$program")
between() {
	[ -z "$b" ] || (cd "$1" && eval "$b") || fail "between take and restore: $b"
}

start_target "$W/a" "$program"
take "$PID" $t
judge "$W/a" "$PID" "after a take that left it running"

start_target "$W/b" "$program"
first=$PID
take_kill "$PID" $t
between "$W/b"
restore "$GEN" $r
[ "$PID" = "$first" ] || fail "restored as process $PID instead of $first"
judge "$W/b" "$PID" "after restore"

start_target "$W/c" "$program"
take_kill "$PID" $t
between "$W/c"
restore "$GEN" $r
take_kill "$PID" $t
between "$W/c"
restore "$GEN" $r
judge "$W/c" "$PID" "after the second restore"
