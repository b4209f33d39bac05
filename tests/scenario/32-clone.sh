#!/bin/bash
# Generations captured by clone hold what their targets were: each target is taken while it runs, then
# killed, restored from that generation and judged.  Clones leave nothing behind.
# timeout: 180
. "$(dirname "$0")/lib.sh"

orphans() { # processes that init was given and that are not ours
	local pid n=0
	for pid in $(cat /proc/1/task/1/children); do
		[ "$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$pid/status" 2>/dev/null)" = t ] && n=$((n + 1))
	done
	echo $n
}

for name in clone_unseen anon_memory memory_flags cow_fork shared_anon protections file_mappings memfd \
	stack_grows threads thread_state fork_tree seccomp signals_pending unharmed registers; do
	program=$TARGETS/$name
	[ -x "$program" ] || fail "no program $program"
	t=$(options take "$program")
	start_target "$W/$name" "$program"
	first=$PID
	take "$PID" $t --capture=clone
	[ "$(field capture "$W/take.json")" = clone ] || fail "$name: not cloned: $(cat "$W/take.json")"
	kill_tree "$first"
	wait_for 5 gone "$first" || fail "$name: cannot be killed"
	restore "$GEN"
	judge "$W/$name" "$PID" "$name, restored from a clone's memory"
	[ "$(orphans)" = 0 ] || fail "$name: a clone was left"
	note "$name"
done

# Twice the same, by copy and by clone: not a page differs.
start_target "$W/still" "$TARGETS/anon_memory"
take "$PID" --capture=clone
take "$PID" --capture=copy
[ "$(field pages_new "$W/take.json")" -lt 40 ] || fail "a copy differs from a clone: $(cat "$W/take.json")"
judge "$W/still" "$PID" "after both"

# What clones may not do is said, and copied instead.
start_target "$W/limit" "$TARGETS/anon_memory"
group=/sys/fs/cgroup/pids
[ -e /sys/fs/cgroup/cgroup.controllers ] && group=/sys/fs/cgroup
group=$group/snap-test-$$
if mkdir "$group" 2>/dev/null && echo 3 >"$group/pids.max" 2>/dev/null && echo "$PID" >"$group/cgroup.procs" 2>/dev/null; then
	take "$PID" --capture=clone
	[ "$(field capture "$W/take.json")" = copy ] || fail "cloned beyond pids.max"
	grep -q '"not_cloned".*pids.max' "$W/take.json" || fail "no reason given: $(cat "$W/take.json")"
else
	note "no control group of pids here"
fi
judge "$W/limit" "$PID" "after a take within a limit"
wait_for 2 gone "$PID"
rmdir "$group" 2>/dev/null
true
