#!/bin/bash
# A number is in use too while a session or a group of that number has members.  With members that
# are not of the target's tree a restore is refused before anything is done to the target.
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "needs python3"

# refused WORDS [OPTION...]: a restore is refused, and the target is as it was.
refused() {
	local words=$1
	shift
	code 6 restore --gen "$GEN" "$@"
	grep -q "$words" "$W/err" || fail "not told \"$words\": $(cat "$W/err")"
}
left_alone() {
	[ "$(cut -d ' ' -f 22 "/proc/$1/stat")" = "$2" ] || fail "process $1 is not what it was"
}

# leaves.py WHAT [COMMAND...]: leads a session, or in the session of its parent a group, and leaves an
# orphan in it; with a command that runs it in the end.
cat >"$W/leaves.py" <<'PY'
import os, sys, time

def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.02)

def write(path, text):
    open(path + ".new", "w").write(text)
    os.rename(path + ".new", path)

def be_orphan():
    for fd in range(3):
        os.close(fd)
    write("orphan", str(os.getpid()))
    wait_for("end")
    if len(sys.argv) > 2:
        for name in "/dev/null", "said", "said":
            os.set_inheritable(os.open(name, os.O_RDWR | os.O_CREAT), True)
        os.execv(sys.argv[2], sys.argv[2:])

def fork(work):
    if not os.fork():
        work()
        os._exit(0)

if sys.argv[1] == "group":
    if os.fork():
        os.wait()
        time.sleep(1000)
    os.setpgid(0, 0)
fork(lambda: fork(be_orphan))
os.wait()
wait_for("orphan")
write("root", str(os.getpid()))
open("ready", "w").close()
wait_for("judge")
write("verdict", "PASS")
PY

for how in session group; do
	note "a $how with an orphan in it"
	start_target "$W/$how" python3 "$W/leaves.py" $how
	root=$(cat "$W/$how/root")
	orphan=$(cat "$W/$how/orphan")
	began=$(cut -d ' ' -f 22 "/proc/$root/stat")
	take "$root"
	refused "pid $root is needed.*process $orphan (python3).* in the .*$how of that number" --replace
	left_alone "$root" "$began"
	: >"$W/$how/end"
	wait_for 5 gone "$orphan" || fail "the orphan does not end"
	restore "$GEN" --replace
	judge "$W/$how" "$root" "after the orphan's end"
done

note "an orphan that its parent has yet to take note of"
rm "$W/session"/*
cat >"$W/reaper.py" <<'PY'
import ctypes, os, subprocess, sys, time
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
root = subprocess.Popen(sys.argv[1:], start_new_session=True)
root.wait()
while not os.path.exists("reap"):
    time.sleep(0.02)
os.wait()
time.sleep(60)
PY
start_target "$W/session" python3 "$W/reaper.py" python3 "$W/leaves.py" session
root=$(cat "$W/session/root")
take_kill "$root"
refused "pid $root is needed.*in the session of that number"
: >"$W/session/end"
wait_for 5 gone "$(cat "$W/session/orphan")"
(
	sleep 1
	: >"$W/session/reap"
) &
restore "$GEN"
grep -q "pid $root is needed; process .* has ended, but its parent" "$W/restore.json.err" ||
	fail "it does not say what it waited for: $(cat "$W/restore.json.err")"
judge "$W/session" "$root" "after a restore that waited"

note "snap itself is in that session"
start_target "$W/itself" python3 "$W/leaves.py" session "$SNAP" restore --name itself
root=$PID orphan=$(cat "$W/itself/orphan")
take_kill "$root" --name itself
: >"$W/itself/end"
wait_for 5 gone "$orphan" || fail "that snap does not end"
grep -q "pid $root is needed, but snap itself is in the session.*setsid" "$W/itself/said" ||
	fail "not told that it is snap itself: $(cat "$W/itself/said")"
restore "$GEN"
judge "$W/itself" "$root" "after a restore from another session"
