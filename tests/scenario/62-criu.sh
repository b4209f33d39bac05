#!/bin/bash
# What snap takes, criu restores; what criu dumps, snap restores.  Needs a criu on PATH.
# timeout: 180
. "$(dirname "$0")/lib.sh"
command -v criu >/dev/null || skip "no criu on PATH"
cd "$W" || exit 1
start_target "$W/probe" "$TARGETS/anon_memory"
mkdir probe.dump && criu dump -t "$PID" -D probe.dump -o log >/dev/null 2>&1 ||
	skip "criu cannot dump here: $(grep -m1 Error probe.dump/log)"

for target in shared_anon fork_tree fpu registers files memfd timers zombies stopped cgroups pty seccomp tcp_kept; do
	note "$target"
	start_target "$W/a.$target" "$TARGETS/$target"
	first=$PID
	take_kill "$PID" --tcp=keep
	"$SNAP" export -q --gen "$GEN" "export.$target" >/dev/null || fail "export of $target"
	criu restore -d -D "export.$target" -o "$W/$target.err" --tcp-established >/dev/null 2>&1 ||
		fail "criu does not restore $target: $(grep Error "$W/$target.err" | tail -n 3)"
	remember "$first"
	judge "$W/a.$target" "$first" "restored by criu"

	start_target "$W/b.$target" "$TARGETS/$target"
	first=$PID
	mkdir "dump.$target"
	# A lock is a table of the machine's, which a restore of connections takes away.
	lock=skip && [ "$target" = tcp_kept ] && lock=nftables
	criu dump -t "$PID" -D "dump.$target" -o log --tcp-established --network-lock $lock >/dev/null 2>&1 ||
		fail "criu does not dump $target: $(grep Error "dump.$target/log" | tail -n 3)"
	wait_for 5 gone "$first" || fail "$target is still there"
	snap_json "$W/import.json" import "dump.$target" --name "$target" ||
		fail "import of $target: $(cat "$W/import.json.err")"
	restore "$(field generation "$W/import.json")"
	judge "$W/b.$target" "$PID" "restored from criu's dump"
	"$SNAP" export --name "$target" "again.$target" -q >/dev/null || fail "export of $target again"
	diff -r "dump.$target" "again.$target" || fail "$target: the dump comes back otherwise"
done
exit 0
