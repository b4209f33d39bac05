#!/bin/bash
# A pid is not free before the parent has taken note of the end: a restore waits for that, and says
# for whom it waits.
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "needs python3"

cat >"$W/parent.py" <<'PY'
import os, subprocess, sys, time
child = subprocess.Popen([sys.argv[1]], stdin=subprocess.DEVNULL, start_new_session=True)
while not os.path.exists("reap"):
    time.sleep(0.02)
child.wait()
time.sleep(60)
PY
start_target "$W/a" python3 "$W/parent.py" "$TARGETS/files"
parent=$PID
PID=$(tr -d ' ' <"/proc/$parent/task/$parent/children")
target=$PID
take_kill "$target"
(
	sleep 1.5
	: >"$W/a/reap"
) &
restore "$GEN"
[ "$PID" = "$target" ] || fail "restored as $PID instead of $target"
grep -q "pid $target is needed.*parent, pid $parent" "$W/restore.json.err" ||
	fail "it does not say what it waited for: $(cat "$W/restore.json.err")"
judge "$W/a" "$PID" "after a restore that waited"
