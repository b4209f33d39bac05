#!/bin/bash
# The living target of restore --replace writes to its file after that has been compared: it is compared
# again before the target is ended.
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "needs python3"

cat >"$W/writer.py" <<'PY'
import os, time
f = open("file", "rb+", buffering=0)
big = open("big", "rb")
open("ready", "w").close()
while not os.path.exists("write"):
    time.sleep(0.01)
os.pwrite(f.fileno(), b"later", 0)
open("written", "w").close()
while not os.path.exists("judge"):
    time.sleep(0.01)
open("verdict.new", "w").write("PASS" if os.pread(f.fileno(), 5, 0) == b"first" else "FAIL")
os.rename("verdict.new", "verdict")
PY
mkdir "$W/a"
printf first >"$W/a/file"
# Takes a while to compare: its contents are noted, and its time has changed.
dd if=/dev/urandom of="$W/a/big" bs=1M count=600 status=none
sleep 1.1
start_target "$W/a" python3 "$W/writer.py"
take "$PID" --name writer --cookie full
touch "$W/a/big"
"$SNAP" restore --gen "$GEN" --replace >"$W/out" 2>"$W/err" &
snap=$!
sleep 0.05
touch "$W/a/write"
wait_for 5 test -e "$W/a/written" || fail "the target does not write"
alive $snap || skip "the restore was over before the target could write: $(cat "$W/err")"
wait $snap
rc=$?
[ $rc = 4 ] || fail "exit code $rc instead of 4: $(cat "$W/err")"
grep -q "$W/a/file" "$W/err" || fail "the file is not named: $(cat "$W/err")"
alive "$PID" || fail "the living target was ended"
grep -q "^State:.*[RS] " "/proc/$PID/status" || fail "the living target does not run on: $(grep State "/proc/$PID/status")"
