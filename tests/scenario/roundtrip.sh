#!/bin/bash
# roundtrip.sh PROGRAM: a self-judging target (tests/targets) through take and restore.
. "$(dirname "$0")/lib.sh"
program=$1
t=$(options take "$program")
r=$(options restore "$program")

start_target "$W/a" "$program"
take "$PID" $t
judge "$W/a" "$PID" "after a take that left it running"

start_target "$W/b" "$program"
first=$PID
take_kill "$PID" $t
restore "$GEN" $r
[ "$PID" = "$first" ] || fail "restored as process $PID instead of $first"
judge "$W/b" "$PID" "after restore"

start_target "$W/c" "$program"
take_kill "$PID" $t
restore "$GEN" $r
take_kill "$PID" $t
restore "$GEN" $r
judge "$W/c" "$PID" "after the second restore"
