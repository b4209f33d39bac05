#!/bin/bash
# Images that were edited into nonsense: the restore says at once what is wrong, and makes nothing.
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "needs python3"
processes() { set -- /proc/[0-9]*; echo $#; }

cat >"$W/target.py" <<'PY'
import ctypes, os, signal, time
ctypes.CDLL(None).timerfd_create(1, 0)
open("ready", "w").close()
os.kill(os.getpid(), signal.SIGSTOP)
time.sleep(1000)
PY
start_target "$W/a" python3 "$W/target.py"
wait_for 5 grep -q 'State:.*T' "/proc/$PID/status" || fail "the target does not stop"
take_kill "$PID"
first=$GEN
before=$(processes)

# wrong IMAGE EDIT MESSAGE: EDIT is Python with the image in `e`, the list of its entries.
wrong() {
	local rc
	code 0 image decode --gen "$first" "$1"
	python3 -c "
import json, sys
image = json.load(sys.stdin)
e = image['entries']
$2
json.dump(image, sys.stdout)" <"$W/out" >"$W/edited.json" || fail "$1 has not what is to be edited"
	code 0 image edit --gen "$first" "$1" -i "$W/edited.json" --json
	GEN=$(field generation "$W/out")
	timeout 5 "$SNAP" restore --gen "$GEN" >"$W/out" 2>"$W/err"
	rc=$?
	[ $rc = 5 ] || fail "$2: exit code $rc instead of 5: $(cat "$W/err")"
	grep -q "$3" "$W/err" || fail "$2: told $(cat "$W/err")"
	[ "$(processes)" -le "$before" ] || fail "$2: left a process"
}
wrong pstree "e[0]['pgid'] = 4294967295" "there is no process group -1"
wrong pstree "e[0]['pid'] = 0" "a number that is no process's"
wrong pstree "e[0]['threads'].append(4294967295)" "a number that is no process's"
wrong files "[f for f in e if 'tfd' in f][0].pop('tfd')" "open file .* (timerfd): its images do not go together"
wrong "core-$PID" "e[0]['tc']['stop_signo'] = 18" "stopped by signal 18"
