#!/bin/bash
# Writes through a shared mapping move no time after the first: the restore sees them all the same where a
# sum was noted, those after the take and those that the target to be replaced does meanwhile.
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "needs python3"

cat >"$W/mapper.py" <<'PY'
import mmap, os, time
f = open("file", "r+b", buffering=0)
m = mmap.mmap(f.fileno(), 4096)
big = open("big", "rb")
def put(what):
    m[:5] = what
put(b"begun")
open("ready", "w").close()
for word in b"later", b"first", b"again":
    while not os.path.exists(word.decode()):
        time.sleep(0.005)
    put(word)
    open("did-" + word.decode(), "w").close()
time.sleep(1000)
PY
# On a file system that writes nothing back, which would make the next write move the time.
mkdir "$W/a"
mount -t tmpfs none "$W/a" || skip "cannot mount a tmpfs"
end_mount() {
	local rc=$?
	umount -l "$W/a"
	(exit $rc)
	scenario_end
}
trap end_mount EXIT
head -c 4096 /dev/zero >"$W/a/file"
# Takes a while to compare: its contents are noted, and its time has changed.
dd if=/dev/urandom of="$W/a/big" bs=1M count=300 status=none
start_target "$W/a" python3 "$W/mapper.py"
target=$PID
# write WORD: the target does, and the time of the file stays.
write() {
	touch "$W/a/$1"
	wait_for 5 test -e "$W/a/did-$1" || fail "the target does not write"
}
time_of() { stat -c %y "$W/a/file"; }
runs_on() {
	alive "$target" || fail "the living target was ended"
	grep -q "^State:.*[RS] " "/proc/$target/status" || fail "the living target does not run on"
}
refused() { # WHAT
	[ "$rc" = 4 ] || fail "$1: exit code $rc instead of 4: $(cat "$W/err")"
	grep -q "$W/a/file: content" "$W/err" || fail "$1: the file is not named: $(cat "$W/err")"
	runs_on
}

take "$target" --name mapper --cookie full
before=$(time_of)
write later
[ "$(time_of)" = "$before" ] || skip "here the time of a file moves with each write"
"$SNAP" restore --gen "$GEN" --replace >"$W/out" 2>"$W/err"
rc=$?
refused "written after the take"

# Written between the two comparisons.
write first
take "$target" --name mapper --cookie full
touch "$W/a/big"
"$SNAP" restore --gen "$GEN" --replace >"$W/out" 2>"$W/err" &
snap=$!
sleep 0.03
write again
alive $snap || skip "the restore was over before the target could write: $(cat "$W/err")"
wait $snap
rc=$?
refused "written meanwhile"
