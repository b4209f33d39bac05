# Sourced by every scenario; bash.
#
# A scenario runs in a pid namespace of its own (so that a pid is free again when a target is gone,
# however busy the machine is, and everything ends with the scenario, even when that is killed) and
# in a scratch folder of its own, $W, which is removed at the end.  Its store is $W/store.
# Exit codes: 0 passed, 1 failed, 77 skipped with the reason.
# SCENARIO_OPEN=1, set before sourcing this, keeps the scenario in the machine's own pid namespace.

set -u
SNAP=${SNAP:?set SNAP to the snap program to test}

fail() { echo "FAIL: $*"; exit 1; }
skip() { echo "SKIP: $*"; exit 77; }
note() { echo "-- $*"; }

[ "$(id -u)" = 0 ] || skip "needs root"
[ -x "$SNAP" ] || skip "no snap program at $SNAP"
if [ -z "${SCENARIO_INSIDE:-}" ] && [ -z "${SCENARIO_OPEN:-}" ]; then
	unshare --pid --fork --mount-proc true 2>/dev/null || skip "cannot create a pid namespace here"
	# TERM would be ignored by the first process of a namespace: the trap makes it count.
	SCENARIO_INSIDE=1 exec unshare --pid --fork --mount-proc --kill-child -- bash "$0" "$@"
fi

W=$(mktemp -d "${TMPDIR:-/tmp}/snap-test.XXXXXX")
chmod 755 "$W"
export SNAP_STORE=$W/store
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
STARTED_PIDS=

# Ends one process tree by pid: first stopped, so that nothing new appears meanwhile, then killed.
kill_tree() {
	local pid=$1 child
	[ -n "$pid" ] && [ -d "/proc/$pid" ] || return 0
	kill -STOP "$pid" 2>/dev/null
	for child in $(cat /proc/"$pid"/task/*/children 2>/dev/null); do
		kill_tree "$child"
	done
	kill -KILL "$pid" 2>/dev/null
}

scenario_end() {
	local rc=$? pid
	trap - EXIT
	for pid in $STARTED_PIDS; do
		kill_tree "$pid" 2>/dev/null
	done
	if [ $rc != 0 ] && [ $rc != 77 ]; then
		for f in "$W"/*.err "$W"/*/out "$W"/*/verdict; do
			[ -s "$f" ] && { echo "---- $f"; tail -n 20 "$f"; }
		done
		[ -n "${SCENARIO_KEEP:-}" ] && { echo "kept: $W"; exit $rc; }
	fi
	rm -rf "$W"
	exit $rc
}
trap scenario_end EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

# remember PID: it is ended, with its children, when the scenario ends.
remember() { STARTED_PIDS="$STARTED_PIDS $1"; }

# code N ARGUMENTS...: snap has to end with exit code N; it prints into $W/out and $W/err.
code() {
	local code=$1 got
	shift
	"$SNAP" "$@" >"$W/out" 2>"$W/err"
	got=$?
	[ $got = "$code" ] || fail "snap $*: exit code $got instead of $code: $(cat "$W/err")"
}

# wait_for SECONDS COMMAND...: until the command succeeds; fails after that time.
wait_for() {
	local end=$(($(date +%s%N) / 1000000 + $1 * 1000))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $(($(date +%s%N) / 1000000)) -lt $end ] || return 1
		sleep 0.02
	done
}

alive() {
	local state
	state=$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null)
	[ -n "$state" ] && [ "$state" != Z ] && [ "$state" != X ]
}
gone() { ! alive "$1"; }

close_inherited() {
	local fd
	for fd in /proc/self/fd/*; do
		fd=${fd##*/}
		[ "$fd" -gt 2 ] && eval "exec $fd>&-" 2>/dev/null
	done
	return 0
}

# start FOLDER COMMAND...: starts a detached command in the (new) folder, output in FOLDER/out.
# Its pid, which is that of a session leader, is in $PID.
start() {
	local dir=$1
	shift
	mkdir -p "$dir"
	# The command's pid is that of the shell that becomes it.  It inherits nothing but 0, 1 and 2.
	(cd "$dir" && close_inherited && exec setsid bash -c 'echo $$ >pid; exec "$@"' - "$@" </dev/null >out 2>&1) &
	disown $!
	wait_for 5 test -s "$dir/pid" || fail "$1 did not start: $(cat "$dir/out")"
	PID=$(cat "$dir/pid")
	remember "$PID"
}

# start_target FOLDER PROGRAM [ARG...]: start, and wait until it is ready.  A target that cannot set
# its state up here ends the scenario as skipped.
start_target() {
	start "$@"
	wait_for 20 eval "[ -e $1/ready ] || [ -e $1/verdict ] || gone $PID"
	case "$(cat "$1/verdict" 2>/dev/null)" in
	SKIP:*) skip "$(cat "$1/verdict")" ;;
	?*) fail "$2 before anything was done to it: $(cat "$1/verdict")" ;;
	esac
	[ -e "$1/ready" ] || fail "$2 did not get ready in 20 s: $(cat "$1/out")"
}

# snap_json FILE ARGS...: runs `snap --json ARGS`, output in FILE, messages in FILE.err; its exit code.
snap_json() {
	local out=$1
	shift
	timeout 120 "$SNAP" --json --no-progress "$@" >"$out" 2>"$out.err"
}

# field NAME FILE: the first number or string of that name in a file of JSON.
field() { sed -n "s/.*\"$1\" *: *\"\{0,1\}\([^\",}]*\).*/\1/p" "$2" | head -n 1; }

# take PID [OPTION...]: a generation, whose number is then in $GEN; fails the scenario otherwise.
take() {
	local pid=$1 rc
	shift
	snap_json "$W/take.json" take --pid "$pid" "$@"
	rc=$?
	[ $rc = 0 ] || fail "take of $pid $*: exit code $rc: $(tail -n 3 "$W/take.json.err")"
	GEN=$(field generation "$W/take.json")
	[ -n "$GEN" ] || fail "take of $pid printed no generation: $(cat "$W/take.json")"
}

# take_kill PID [OPTION...]: the same with --kill; the process has to be gone afterwards.
take_kill() {
	take "$@" --kill
	wait_for 5 gone "$1" || fail "process $1 still there after take --kill"
}

# restore GENERATION [OPTION...]: brings it back; the root pid is then in $PID.
restore() {
	local gen=$1 rc
	shift
	snap_json "$W/restore.json" restore --gen "$gen" "$@"
	rc=$?
	[ $rc = 0 ] || fail "restore of generation $gen: exit code $rc: $(tail -n 3 "$W/restore.json.err")"
	PID=$(field root_pid "$W/restore.json")
	[ -n "$PID" ] || fail "restore printed no root_pid: $(cat "$W/restore.json")"
	remember "$PID"
}

# judge FOLDER PID WHEN: tells the target in FOLDER to judge itself, and fails unless it passes.
judge() {
	[ ! -e "$1/verdict" ] || fail "$3: it had to give up before it was judged: $(cat "$1/verdict")"
	: >"$1/judge"
	wait_for 15 eval "[ -e $1/verdict ] || gone $2"
	[ -e "$1/verdict" ] || {
		alive "$2" || fail "$3: process $2 is gone without a verdict"
		fail "$3: no verdict in 15 s: $(grep -E 'State|SigPnd|SigBlk' "/proc/$2/status" | tr '\n\t' '; ')"
	}
	[ "$(cat "$1/verdict")" = PASS ] || fail "$3: $(cat "$1/verdict")"
	wait_for 5 gone "$2" || fail "$3: process $2 passed but did not end"
}

# free_port: a TCP port nobody listens on.
free_port() {
	local port
	while :; do
		port=$((20000 + RANDOM % 20000))
		(: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
	done
	echo $port
}

# options WORD PROGRAM: what the target's source says in its line `// WORD: ...`.
options() {
	local name src
	name=$(basename "$2")
	for src in "$HERE/../targets/$name.c" "$HERE/../targets/refused/$name.c"; do
		[ -e "$src" ] && sed -n "s,^// $1: ,,p" "$src"
	done
}
