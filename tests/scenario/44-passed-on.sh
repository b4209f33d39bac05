#!/bin/bash
# What snap itself was run with (ionice, chrt, setarch, taskset, a service's settings) is not passed on
# to what it restores, which is as it was taken; what cannot be helped is told.
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "needs python3"

look() {
	local status=/proc/$1/status
	ionice -p "$1"
	chrt -p "$1" | sed 's/^pid [0-9]*//'
	taskset -p "$1" | sed 's/^pid [0-9]*//'
	echo "personality $(cat "/proc/$1/personality")"
	grep -E 'THP_enabled|NoNewPrivs|Seccomp' $status
	echo "ksm $(grep -s ksm_merge_any "/proc/$1/ksm_stat")"
	# nice, and of the flags what the machine check handler and writeback look at
	set -- $(sed 's/.*) //' "/proc/$1/stat")
	echo "nice ${17} flags $(($7 & 0x0104c000))"
}
layout() { awk '{ print $1, $2, $3 }' "/proc/$1/maps"; }

cat >"$W/with.py" <<'PY'
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
what, command = sys.argv[1], sys.argv[2:]
if what == "shed":
    libc.prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE
    libc.prctl(33, 1, 1, 0, 0)  # PR_MCE_KILL: early
    libc.prctl(57, 1, 0, 0, 0)  # PR_SET_IO_FLUSHER
    libc.prctl(67, 1, 0, 0, 0)  # PR_SET_MEMORY_MERGE
    libc.personality(0x0040000) # ADDR_NO_RANDOMIZE
else:
    libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
if what == "filtered":
    allow = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0x7fff0000))
    program = struct.pack("HxxxxxxQ", 1, ctypes.addressof(allow))
    libc.prctl(22, 2, program, 0, 0)  # PR_SET_SECCOMP
os.execv(command[0], command)
PY
start "$W/a" sleep 1000
look "$PID" >"$W/before"
layout "$PID" >"$W/layout-before"
take_kill "$PID"

ionice -c 3 nice -n 5 chrt -b 0 taskset 1 python3 "$W/with.py" shed "$SNAP" restore --gen "$GEN" >"$W/out" 2>"$W/err" ||
	fail "restore: $(cat "$W/err")"
look "$PID" >"$W/after"
diff "$W/before" "$W/after" || fail "was passed on"
layout "$PID" >"$W/layout-after"
diff "$W/layout-before" "$W/layout-after" || fail "its memory is not as it was"
kill_tree "$PID"
wait_for 5 gone "$PID"

python3 "$W/with.py" kept "$SNAP" restore --gen "$GEN" >"$W/out" 2>"$W/err" || fail "restore: $(cat "$W/err")"
look "$PID" | grep -q 'NoNewPrivs:.*1' || skip "a process without new privileges cannot be had here"
grep -q "task $PID: will have no_new_privs" "$W/err" || fail "not told: $(cat "$W/err")"

# Under a filter nothing can be rebuilt: found out before the living target is ended.
python3 "$W/with.py" filtered "$SNAP" restore --gen "$GEN" --replace >"$W/out" 2>"$W/err"
rc=$?
[ $rc = 4 ] || fail "under a filter: exit code $rc instead of 4: $(cat "$W/err")"
grep -q "snap itself runs under a seccomp filter" "$W/err" || fail "not told: $(cat "$W/err")"
alive "$PID" || fail "the living target was ended in vain"
