#!/bin/bash
# A shell's job that ^Z (SIGTSTP) has stopped comes back stopped, without the shell, and goes on when
# it is told to.
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "needs python3"

cat >"$W/job.py" <<'PY'
import os, signal, time
open("ready", "w").close()
os.kill(os.getpid(), signal.SIGTSTP)
open("went-on", "w").close()
while not os.path.exists("judge"):
    time.sleep(0.02)
open("verdict.new", "w").write("PASS")
os.rename("verdict.new", "verdict")
PY
# What of a shell matters: it is of the job's session and not of its group.
cat >"$W/shell.py" <<'PY'
import os, signal, sys, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
pid = os.fork()
if pid == 0:
    os.setpgid(0, 0)
    os.execvp("python3", ["python3", sys.argv[1]])
open("job.new", "w").write(str(pid))
os.rename("job.new", "job")
time.sleep(1000)
PY
start_target "$W/a" python3 "$W/shell.py" "$W/job.py"
job=$(cat "$W/a/job")
stopped() { grep -q '^State:.*T' "/proc/$1/status"; }
wait_for 5 stopped "$job" || fail "the job does not stop"
take_kill "$job"
[ ! -e "$W/a/went-on" ] || fail "the job has gone on before it was restored"
timeout 20 "$SNAP" restore --gen "$GEN" >"$W/out" 2>"$W/err"
rc=$?
remember "$job"
[ $rc = 0 ] || fail "restore: exit code $rc: $(cat "$W/err")"
stopped "$job" || fail "the job is not stopped: $(grep State "/proc/$job/status")"
sleep 0.2
[ ! -e "$W/a/went-on" ] || fail "the job has gone on"
kill -CONT "$job"
wait_for 5 test -e "$W/a/went-on" || fail "the job does not go on"
judge "$W/a" "$job" "after SIGCONT"
