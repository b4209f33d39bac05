#!/bin/bash
# A restore that is interrupted ends within a second and leaves nothing: while it fills memory, shared
# memory or files, numbers watches, and while it waits for a task that stands still.  Afterwards the generation comes
# back.
# timeout: 120
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "needs python3"
processes() { set -- /proc/[0-9]*; echo $#; }
milliseconds() { echo $(($(date +%s%N) / 1000000)); }

# background ARGS...: a restore, in $snap.
background() {
	"$SNAP" --no-progress restore "$@" >"$W/out" 2>"$W/err" &
	snap=$!
}

# interrupted SIGNAL CODE WHAT [MS]: it ends at once, with that code, and no process stays.  Returns 1
# if it was through before the signal came, where that may be.
may_be_through=
interrupted() {
	local begun rc
	begun=$(milliseconds)
	kill -"$1" $snap 2>/dev/null || fail "$3: the restore was over already"
	wait_for 10 gone $snap || fail "$3: does not end by SIG$1"
	[ $(($(milliseconds) - begun)) -lt ${4:-1000} ] || fail "$3: took $(($(milliseconds) - begun)) ms to end"
	wait $snap
	rc=$?
	[ $rc = 0 ] && [ -n "$may_be_through" ] && return 1
	[ $rc = "$2" ] || fail "$3: exit code $rc instead of $2: $(cat "$W/out" "$W/err")"
	[ "$(processes)" -le "$before" ] || fail "$3: left a process"
}

# ---- shared memory, a memfd, a deleted file, files to be put back: enough to take a while
cat >"$W/big.py" <<'PY'
import mmap, os, sys, time
kind = sys.argv[1]
size = (400 if kind == "memfd" else 256) << 20
block = os.urandom(1 << 20)
def filled(write):
    for at in range(0, size, 1 << 20):
        write(at.to_bytes(8, "little") + block[8:])
if kind == "shared":
    m = mmap.mmap(-1, size)
    filled(m.write)
elif kind == "memfd":
    f = open(os.memfd_create("big"), "wb+", buffering=0)
    filled(f.write)
else:
    f = open("file", "wb+", buffering=0)
    filled(f.write)
    if kind == "deleted":
        os.unlink("file")
open("ready", "w").close()
while not os.path.exists("judge"):
    time.sleep(0.02)
if kind != "shared":
    m = mmap.mmap(f.fileno(), size)
ok = all(m[at:at + (1 << 20)] == at.to_bytes(8, "little") + block[8:] for at in range(0, size, 1 << 20))
open("verdict.new", "w").write("PASS" if ok else "FAIL")
os.rename("verdict.new", "verdict")
PY
for kind in shared memfd deleted file; do
	start_target "$W/$kind" python3 "$W/big.py" $kind
	with=
	[ $kind != file ] || with=--with-files
	# shellcheck disable=SC2086
	take_kill "$PID" $with
	before=$(processes)
	spoil() { [ $kind != file ] || echo something else >"$W/file/file"; }
	spoil
	# How long it takes depends on what is in memory: the first try is the latest one.
	hit=
	may_be_through=true
	for delay in 0.1 0.05 0.02 0.01; do
		# shellcheck disable=SC2086
		background --gen "$GEN" $with
		sleep $delay
		interrupted TERM 143 "filling of $kind" && hit=true && break
		kill_tree "$(cat "$W/out")"
		wait_for 5 gone "$(cat "$W/out")"
		spoil
	done
	may_be_through=
	[ -n "$hit" ] || fail "filling of $kind is never interrupted"
	if [ $kind = file ]; then
		[ "$(cat "$W/file/file")" = "something else" ] || fail "what was in the file is not back"
		[ -z "$(find "$W/file" -name '.snap-*')" ] || fail "something was left beside the file"
	fi
	# shellcheck disable=SC2086
	restore "$GEN" $with
	judge "$W/$kind" "$PID" "after a restore that was interrupted in filling $kind"
	rm -rf "$W/$kind/file"
done

# ---- a watch of inotify whose number takes millions of calls to get to
start_target "$W/watching" "$TARGETS/inotify"
take_kill "$PID"
before=$(processes)
"$SNAP" image decode --gen "$GEN" files -o "$W/files.json" || fail "the image of files is not decoded"
grep -q '"wd": *3' "$W/files.json" || fail "no third watch: $(grep -o '"wd": *[0-9]*' "$W/files.json")"
sed 's/"wd": *3/"wd": 9999999/' "$W/files.json" >"$W/high.json"
code 0 image edit --gen "$GEN" files -i "$W/high.json" --json
edited=$(field generation "$W/out")
background --gen "$edited"
sleep 0.5
interrupted TERM 143 "watching"
restore "$GEN"
judge "$W/watching" "$PID" "after a restore that was interrupted in numbering watches"

# ---- a task that stands still: its control group is frozen as it is being made
unified=$(sed -n 's,^[^ ]* \([^ ]*\) cgroup2 .*,\1,p' /proc/mounts | head -n 1)
group=$unified/snap-interrupted-$$
if [ -z "$unified" ] || ! mkdir "$group" || [ ! -e "$group/cgroup.freeze" ]; then
	rmdir "$group" 2>/dev/null
	note "no control groups that can be frozen: waits for tasks are not tested"
	exit 0
fi
end_group() {
	local rc=$?
	echo 0 >"$group/cgroup.freeze"
	echo 1 >"$group/cgroup.kill"
	[ ! -e "$group/inner" ] || wait_for 2 rmdir "$group/inner"
	wait_for 2 rmdir "$group"
	(exit $rc)
	scenario_end
}
trap end_group EXIT
cat >"$W/eight.py" <<'PY'
import os, sys, time
memory = os.urandom(40 << 20)
for i in range(7):
    if os.fork() == 0:
        while not os.path.exists("judge"):
            time.sleep(0.02)
        os._exit(len(memory) != 40 << 20)
open("ready", "w").close()
status = [os.wait()[1] for i in range(7)]
open("verdict.new", "w").write("PASS" if not any(status) else "FAIL: %s" % status)
os.rename("verdict.new", "verdict")
PY
start "$W/frozen" bash -c 'while [ ! -e go ]; do sleep 0.02; done; exec python3 "$1"' - "$W/eight.py"
echo "$PID" >"$group/cgroup.procs"
touch "$W/frozen/go"
wait_for 20 test -e "$W/frozen/ready" || fail "the eight do not get ready"
root=$PID
take_kill "$root"
before=$(processes)

# hold: freezes the group as soon as a task of the restore has entered it.
occupied() { read -r _ <"$group/cgroup.procs"; }
over() { fail "the restore was over before it was held: $(cat "$W/out" "$W/err")"; }
hold() {
	until occupied; do alive $snap || over; done
	echo 1 >"$group/cgroup.freeze"
	sleep 0.5
	alive $snap || over
}
thaw() { echo 0 >"$group/cgroup.freeze"; }
background --gen "$GEN"
hold
interrupted TERM 143 "waiting for a task"
gone "$root" || fail "the root is still there"
thaw
background --gen "$GEN"
hold
interrupted HUP 129 "waiting for a task"

# Frozen from the beginning.
code 4 restore --gen "$GEN"
grep -q "is frozen; thaw $group" "$W/err" || fail "the frozen group is not named: $(cat "$W/err")"
thaw

# With the old target gone it goes on, but not for ever.
restore "$GEN"
first=$PID
background --gen "$GEN" --replace
while occupied; do alive $snap || over; done
hold
interrupted TERM 143 "replacing" 8000
grep -q "the restore goes on" "$W/err" || fail "not told that it goes on: $(cat "$W/err")"
grep -q "process $first, which was to be replaced, has been ended" "$W/err" || fail "not told what is left: $(cat "$W/err")"
thaw

restore "$GEN"
judge "$W/frozen" "$PID" "after restores that were interrupted"

# Once more, with a control group that is made again: a second signal does not leave it behind.
mkdir "$group/inner"
start "$W/inner" bash -c 'while [ ! -e go ]; do sleep 0.02; done; exec "$1"' - "$TARGETS/fpu"
echo "$PID" >"$group/inner/cgroup.procs"
touch "$W/inner/go"
wait_for 20 test -e "$W/inner/ready" || fail "the one in a group of its own does not get ready"
take "$PID"
first=$PID
echo "$first" >"$group/cgroup.procs"
rmdir "$group/inner" || fail "the inner group is not left"
before=$(($(processes) - 1))
background --gen "$GEN" --replace
until echo 1 >"$group/inner/cgroup.freeze"; do alive $snap || over; done 2>/dev/null
wait_for 10 eval 'read -r _ <"$group/inner/cgroup.procs"' || fail "no task enters the group"
sleep 0.5
alive $snap || over
kill -TERM $snap
wait_for 2 grep -q "the restore goes on" "$W/err" || fail "not told that it goes on: $(cat "$W/err")"
interrupted TERM 143 "a second signal" 3000
[ ! -e "$group/inner" ] || fail "the control group that was made again is left"
grep -q "process $first, which was to be replaced, has been ended" "$W/err" || fail "not told what is left: $(cat "$W/err")"
restore "$GEN"
judge "$W/inner" "$PID" "after a restore that was interrupted twice"
rmdir "$group/inner"
