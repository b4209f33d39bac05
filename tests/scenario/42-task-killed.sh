#!/bin/bash
# A task that is killed while the tree is being made ends the restore, which says so, and leaves nothing.
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "needs python3"
processes() { set -- /proc/[0-9]*; echo $#; }

# Most of the restore is the descriptors of its tables.
cat >"$W/tree.py" <<'PY'
import os, time
fds = [os.open("/dev/null", os.O_RDONLY) for i in range(400)]
pids = []
for i in range(7):
    pid = os.fork()
    if pid == 0:
        while not os.path.exists("judge"):
            time.sleep(0.02)
        os._exit(0)
    pids.append(pid)
open("last", "w").write(str(pids[-1]))
open("ready", "w").close()
status = [os.wait()[1] for i in range(7)]
open("verdict.new", "w").write("PASS" if not any(status) else "FAIL: %s" % status)
os.rename("verdict.new", "verdict")
PY
start_target "$W/a" python3 "$W/tree.py"
root=$PID
last=$(cat "$W/a/last")
take_kill "$root"
wait_for 5 eval '[ ! -d /proc/$root ]'
before=$(processes)

failed=0
for i in {0..29}; do
	"$SNAP" restore --gen "$GEN" >"$W/out" 2>"$W/err" &
	snap=$!
	until [ -d "/proc/$last" ]; do kill -0 $snap 2>/dev/null || break; done
	sleep "$(printf '0.%03d' $((i * 3)))"
	kill -KILL "$last" 2>/dev/null
	if wait $snap; then
		kill_tree "$root"
	else
		failed=$((failed + 1))
		[ -s "$W/err" ] || fail "failed without a word"
		gone "$root" || fail "the root is still there: $(cat "$W/err")"
	fi
	wait_for 5 eval '[ "$(processes)" -le "$before" ]' || fail "a process is left: $(cat "$W/err")"
done
[ $failed -gt 0 ] || fail "no restore was hit"
restore "$GEN"
judge "$W/a" "$PID" "after restores that failed"
