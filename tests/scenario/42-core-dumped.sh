#!/bin/bash
# A dead child that had dumped core comes back as one that did not: its parent is told the signal, and
# the user what is missing.
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "needs python3"

cat >"$W/parent.py" <<'PY'
import os, resource, signal, time
resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
pid = os.fork()
if pid == 0:
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(10)
info = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
if info.si_code != os.CLD_DUMPED:
    open("verdict", "w").write("SKIP: nothing dumps core here")
open("child", "w").write(str(pid))
open("ready", "w").close()
while not os.path.exists("judge"):
    time.sleep(0.02)
_, status = os.wait()
ok = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGSEGV
open("verdict.new", "w").write("PASS" if ok else "FAIL: %#x" % status)
os.rename("verdict.new", "verdict")
PY
start_target "$W/a" python3 "$W/parent.py"
take_kill "$PID"
rm -f "$W/a"/core*
restore "$GEN"
grep -q "task $(cat "$W/a/child"): had dumped core" "$W/restore.json.err" ||
	fail "not told: $(cat "$W/restore.json.err")"
[ -z "$(find "$W/a" -name 'core*')" ] || fail "a second core file was written"
judge "$W/a" "$PID" "after the restore"
