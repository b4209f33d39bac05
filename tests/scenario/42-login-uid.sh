#!/bin/bash
# The login uid comes back; where it cannot be set, as /proc may only be read (in many containers),
# that is told.
. "$(dirname "$0")/lib.sh"
[ -e /proc/self/loginuid ] || skip "a kernel without login uids"
login() { cat "/proc/$1/loginuid"; }

own=$(login self)
mkdir "$W/a"
start_target "$W/a" bash -c 'echo 4711 >/proc/self/loginuid; exec "$1"' - "$TARGETS/fpu"
[ "$(login "$PID")" = 4711 ] || skip "login uids cannot be set here"
take_kill "$PID"
restore "$GEN"
[ "$(login "$PID")" = 4711 ] || fail "its login uid is $(login "$PID")"
kill_tree "$PID"
wait_for 5 gone "$PID"

mount -o remount,ro /proc || skip "cannot make /proc read-only"
restore "$GEN"
[ "$(login "$PID")" = "$own" ] || fail "its login uid could be set"
grep -q "task $PID: its login uid 4711 cannot be set" "$W/restore.json.err" ||
	fail "not told that its login uid is another one: $(cat "$W/restore.json.err")"
judge "$W/a" "$PID" "without its login uid"
