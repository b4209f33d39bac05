#!/bin/bash
# A restore that fails, or is killed, after it has begun to make processes leaves none of them: the
# first task to need much memory is refused it.  Afterwards the same generation comes back.
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "needs python3"
processes() { set -- /proc/[0-9]*; echo $#; }

cat >"$W/tree.py" <<'PY'
import mmap, os, time
if os.fork() == 0:
    # Written once, so that it has a private mapping of its own to be refused.
    m = mmap.mmap(-1, 1 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    m[12345] = 77
    open("ready", "w").close()
    while not os.path.exists("judge"):
        time.sleep(0.02)
    os._exit(0 if m[12345] == 77 and m[0] == 0 else 1)
_, status = os.wait()
open("verdict.new", "w").write("PASS" if status == 0 else "FAIL: %d" % status)
os.rename("verdict.new", "verdict")
PY
start_target "$W/a" python3 "$W/tree.py"
root=$PID
take_kill "$root"
before=$(processes)

(
	ulimit -d 700000
	snap_json "$W/restore.json" restore --gen "$GEN"
)
rc=$?
[ $rc = 1 ] || fail "restore without memory: exit code $rc instead of 1"
grep -q "mmap of" "$W/restore.json.err" || fail "what was refused is not named: $(cat "$W/restore.json.err")"
wait_for 5 eval '[ "$(processes)" -le "$before" ]' || fail "the failed restore left a process"

# Killed at any moment.  What it had made goes with it.
for delay in 0.002 0.005 0.01 0.02 0.03 0.05; do
	"$SNAP" restore --gen "$GEN" >/dev/null 2>&1 &
	snap=$!
	sleep $delay
	kill -KILL $snap 2>/dev/null
	wait $snap 2>/dev/null
	if wait_for 2 gone "$root"; then
		wait_for 5 eval '[ "$(processes)" -le "$before" ]' ||
			fail "a restore killed after $delay s left a process"
	else
		# It had finished: then all of it has to be there.
		[ "$(processes)" -ge $((before + 2)) ] || fail "a restore killed after $delay s is half there"
		kill_tree "$root"
		wait_for 5 eval '[ "$(processes)" -le "$before" ]' || fail "the restored tree did not end"
	fi
done

# One that fails when there is no way back says what has become of the target.
restore "$GEN"
first=$PID
(
	ulimit -d 700000
	snap_json "$W/restore.json" restore --gen "$GEN" --replace
)
rc=$?
[ $rc = 1 ] || fail "restore --replace without memory: exit code $rc instead of 1"
grep -q "process $first, which was to be replaced, has been ended" "$W/restore.json.err" ||
	fail "not told that the target is gone: $(cat "$W/restore.json.err")"
wait_for 5 gone "$first" || fail "told to have been ended, and is there"

restore "$GEN"
judge "$W/a" "$PID" "after restores that failed"
