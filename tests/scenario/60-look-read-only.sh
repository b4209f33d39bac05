#!/bin/bash
# What looks into a store writes nothing to it, holds no lock that keeps a take or a gc waiting, needs no
# right to write, and has no capabilities while it works.
# timeout: 120
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "needs python3"

start_target "$W/a" "$TARGETS/../look/look_at_me"
take "$PID"
: >"$W/a/next" && wait_for 10 test -e "$W/a/changed" || fail "the program did not go on"
take "$PID"

cat >"$W/commands" <<-'C'
	inspect --gen 1 --all
	inspect --gen 2 --all --json
	diff --gen 1 --gen 2
	mem --gen 1
	mem --gen 1 --json
	search --string e
	search --regex [a-z]{3,} --gen 2 --json
	image x ps --gen 1
	image show --gen 1 files
	show --gen 1 --json
C

note "nothing below the store changes"
# All bytes, times and modes, but for the table in which readers say that they are there.
picture() {
	(cd "$1" && find . -path ./index/lock.mdb -prune -o -printf '%p %m %s %T@ ' -type f -exec md5sum {} \; -o -print)
}
picture "$SNAP_STORE" >"$W/before"
while read -r words; do
	# shellcheck disable=SC2086
	"$SNAP" $words >"$W/out" 2>"$W/err" || fail "snap $words: $(cat "$W/err")"
done <"$W/commands"
"$SNAP" core --gen 1 --output "$W/core" >"$W/out" 2>"$W/err" || fail "core: $(cat "$W/err")"
"$SNAP" diff --gen 1 --gen 2 --html "$W/page" >"$W/out" 2>"$W/err" || fail "diff --html: $(cat "$W/err")"
picture "$SNAP_STORE" >"$W/after"
cmp -s "$W/before" "$W/after" || fail "the store changed: $(diff "$W/before" "$W/after" | head -n 5)"

note "a store that cannot be written to"
mkdir "$W/read-only"
if mount --bind "$SNAP_STORE" "$W/read-only" 2>/dev/null && mount -o remount,ro,bind "$W/read-only" 2>/dev/null; then
	while read -r words; do
		# shellcheck disable=SC2086
		"$SNAP" $words >"$W/out" 2>"$W/err" || fail "snap $words: status $?"
		# shellcheck disable=SC2086
		"$SNAP" $words --store "$W/read-only" >"$W/out.ro" 2>"$W/err" ||
			fail "snap $words on a read-only file system: $(cat "$W/err")"
		cmp -s "$W/out" "$W/out.ro" || fail "snap $words tells something else on a read-only file system"
	done <"$W/commands"
	umount "$W/read-only"
else
	note "left out: nothing can be mounted here"
fi

note "while they work"
# Each writes into a pipe that nobody reads, and so stands still in the middle of what it does.
cat >"$W/held.py" <<-'P'
	import fcntl, os, subprocess, sys, time
	snap, commands = sys.argv[1], [line.split() for line in open(sys.argv[2])]
	held = []
	def figures(pid):
	    return dict(line.split(":", 1) for line in open(f"/proc/{pid}/status"))
	for words in commands:
	    ours, theirs = os.pipe()
	    fcntl.fcntl(ours, 1031, 4096)  # F_SETPIPE_SZ
	    child = subprocess.Popen([snap, *words], stdout=theirs, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
	    os.close(theirs)
	    end = time.monotonic() + 10
	    while child.poll() is None and time.monotonic() < end:
	        try:
	            # As many bytes as the pipe takes, and it waits for room.
	            if open(f"/proc/{child.pid}/wchan").read() in ("pipe_write", "anon_pipe_write"):
	                break
	        except FileNotFoundError:
	            pass
	        time.sleep(0.01)
	    if child.poll() is not None:
	        os.close(ours)
	        continue  # it had less to say
	    told = figures(child.pid)
	    for name in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
	        assert int(told[name], 16) == 0, (words, name, told[name])
	    held.append((child, ours))
	assert len(held) >= 4, "too few commands could be held"
	print("held", len(held), flush=True)
	sys.stdin.readline()
	for child, pipe in held:
	    while os.read(pipe, 65536):
	        pass
	    assert child.wait() == 0, child.args
	print("done", flush=True)
P
coproc HELD { exec python3 "$W/held.py" "$SNAP" "$W/commands" 2>"$W/held.err"; }
helper=$HELD_PID
remember "$helper"
read -r -t 60 word count <&"${HELD[0]}" && [ "$word" = held ] || fail "not held: $(tail -n 1 "$W/held.err")"
note "$count commands stand still"
timeout 20 "$SNAP" take --pid "$PID" >"$W/out" 2>"$W/err" || fail "a take beside them: status $?: $(cat "$W/err")"
timeout 20 "$SNAP" gc --keep-last 1 >"$W/out" 2>"$W/err" || fail "a gc beside them: status $?: $(cat "$W/err")"
echo go >&"${HELD[1]}"
read -r -t 60 word <&"${HELD[0]}" && [ "$word" = done ] ||
	fail "what they read was taken from under them: $(tail -n 1 "$W/held.err")"
"$SNAP" verify --data >"$W/out" 2>"$W/err" || fail "verify: $(cat "$W/err")"
