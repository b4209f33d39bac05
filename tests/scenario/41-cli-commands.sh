#!/bin/bash
# Every command on a small target: what is printed, as text and as JSON, and the exit codes.
# timeout: 120
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "needs python3"

# json FILE EXPRESSION: the expression, of the value `j`, holds.
json() {
	python3 -c 'import json, sys; j = json.load(open(sys.argv[1])); assert eval(sys.argv[2]), j' \
		"$1" "$2" 2>"$W/python.err" || fail "$1: not so: $2: $(tail -n 1 "$W/python.err")"
}
generations() { "$SNAP" ls --json | python3 -c 'import json, sys
print(*[g["generation"] for g in json.load(sys.stdin)])'; }
# The target's own children would otherwise stay zombies of this namespace's first process.
ended() { wait_for 5 gone "$1"; }

cd "$W" || exit 1
# A shell has hardly any state and a pid that tells whether it is the same.
umask 027
code 0 run --name shell -- sh -c 'while :; do sleep 1000; done'
pid=$(cat "$W/out")
umask 022
[ "$(stat -c %a "$SNAP_STORE")" = 700 ] || fail "the store's folder is open to others"
remember "$pid"
wait_for 5 sh -c "[ -n \"\$(cat /proc/$pid/task/$pid/children)\" ]" || fail "the command did not start"

note "run: a clean start"
[ "$(cut -d' ' -f6 "/proc/$pid/stat")" = "$pid" ] || fail "no session of its own"
[ "$(readlink /proc/"$pid"/fd/* | sort -u)" = /dev/null ] || fail "descriptors: $(readlink /proc/"$pid"/fd/*)"
grep -q '^SigBlk:	0*$' "/proc/$pid/status" || fail "signals are blocked"
grep -q '^SigIgn:	0*$' "/proc/$pid/status" || fail "signals are ignored"
grep -q '^Umask:	0027$' "/proc/$pid/status" || fail "not the caller's umask"
[ "$(readlink "/proc/$pid/cwd")" = "$W" ] || fail "not the caller's folder"
code 6 run --name shell -- sleep 1
code 1 run --name other -- "$W/no-such-program"
code 3 take --name other
code 0 run --name out --output "$W/log" -- sh -c 'echo one; echo two >&2'
wait_for 5 grep -q two "$W/log" || fail "the output went elsewhere: $(cat "$W/log")"

note "check, take"
code 0 check
code 0 check --json
json "$W/out" 'j["supported"] is True and j["findings"] == []'
code 0 check --name shell
code 0 check --pid "$pid" --json
json "$W/out" "j['pid'] == $pid and j['supported'] is True"
code 0 take --name shell
[ "$(cat "$W/out")" = "generation 1" ] || fail "take printed $(cat "$W/out")"
code 0 take --json --pid "$pid"
json "$W/out" "j['generation'] == 2 and j['lineage'] == 'shell' and j['root_pid'] == $pid"
json "$W/out" "j['pids'][0] == $pid and len(j['pids']) == j['tasks'] == 2"
json "$W/out" 'all(type(j[k]) is int and j[k] >= 0 for k in ("frozen_ns", "wall_ns",
	"pages_scanned", "pages_new", "pages_shared", "pages_zero", "bytes_logical", "bytes_stored"))'
json "$W/out" '0 < j["frozen_ns"] <= j["wall_ns"]'
code 0 take --quiet --name shell --name copy
[ ! -s "$W/out" ] || fail "take --quiet printed $(cat "$W/out")"
[ ! -s "$W/err" ] || fail "take --quiet remarked $(cat "$W/err")"

note "ls, show, stats, verify"
code 0 ls --json
json "$W/out" '[g["generation"] for g in j] == [1, 2, 3]'
json "$W/out" '[g["lineage"] for g in j] == ["shell", "shell", "copy"]'
json "$W/out" 'all(k in g for g in j for k in ("time", "root_pid", "tasks", "bytes_logical",
	"bytes_unique", "pinned"))'
code 0 ls --name copy --json
json "$W/out" '[g["generation"] for g in j] == [3]'
code 0 ls
[ "$(wc -l <"$W/out")" = 4 ] || fail "ls printed $(cat "$W/out")"
code 0 show --gen 2 --json
json "$W/out" "[p['pid'] for p in j['processes']][0] == $pid and len(j['processes']) == 2"
json "$W/out" 'any(o["name"] == "pstree" for o in j["objects"])'
code 0 show --name copy
grep -q "^generation  3" "$W/out" || fail "show printed $(cat "$W/out")"
code 3 show --gen 9
code 3 show --name nobody
code 0 stats --json
json "$W/out" 'j["generations"] == 3 and j["lineages"] == 2 and j["bytes_packs"] > 0'
code 0 stats
code 0 verify --json
json "$W/out" 'j["damaged"] == [] and j["generations"] == 3'
code 0 verify --data --gen 1
code 3 verify --gen 9

note "pin, forget, gc"
code 0 pin --gen 1
code 0 ls --json
json "$W/out" '[g["pinned"] for g in j] == [True, False, False]'
code 1 forget --gen 1
code 1 forget --gen 3 # the last of its lineage
code 3 forget --gen 2 --gen 9
[ "$(generations)" = "1 2 3" ] || fail "a refused forget forgot: $(generations)"
code 0 gc --keep-last 1 --dry-run --json
json "$W/out" '[g["generation"] for g in j["kept"]] == [1, 2, 3] and j["dry_run"] is True'
code 0 pin --gen 1 --off
code 0 gc --keep-last 1 --dry-run
grep -q "^forget *1 " "$W/out" || fail "gc --dry-run printed $(cat "$W/out")"
[ "$(generations)" = "1 2 3" ] || fail "a dry run forgot: $(generations)"
code 3 gc --keep-last 1 --name nobody
code 0 gc --keep-last 1 --json --dry-run
cp "$W/out" "$W/plan"
code 0 gc --keep-last 1 --json
python3 -c 'import json, sys
a, b = (json.load(open(f)) for f in sys.argv[1:])
assert a["dry_run"] and not b["dry_run"] and a["kept"] and a["forgotten"]
assert (a["kept"], a["forgotten"]) == (b["kept"], b["forgotten"]), (a, b)' "$W/plan" "$W/out" ||
	fail "gc did not do what its dry run printed"
json "$W/out" '[g["generation"] for g in j["forgotten"]] == [1] and type(j["bytes_freed"]) is int'
json "$W/out" 'all(g["reason"] for g in j["kept"] + j["forgotten"])'
json "$W/out" 'all(type(j[k]) is int for k in ("bytes_freed", "bytes_rewritten", "bytes_pending",
	"bytes_unused"))'
[ "$(generations)" = "2 3" ] || fail "gc left $(generations)"
code 0 take --name shell --keep-last 2 --json
json "$W/out" 'j["generation"] == 4 and "gc" in j'
code 0 forget --gen 3-1000 --allow-empty --json
json "$W/out" 'sorted(j["forgotten"]) == [3, 4]'
[ "$(generations)" = 2 ] || fail "forget left $(generations)"

note "restore"
code 6 restore --gen 2
grep -q "$pid" "$W/err" || fail "the pid in use is not named: $(cat "$W/err")"
code 3 restore --gen 1
code 3 restore --gen 2 --name copy
for _ in 1 2; do
	old=$(cut -d' ' -f22 "/proc/$pid/stat")
	code 0 restore --gen 2 --replace --json
	json "$W/out" "j['root_pid'] == $pid and j['generation'] == 2 and j['wall_ns'] > 0"
	alive "$pid" || fail "process $pid does not run"
	[ "$old" != "$(cut -d' ' -f22 "/proc/$pid/stat")" ] || fail "process $pid is still the old one"
done
code 0 take --name shell # the restored one is the target now
code 0 take --name shell --name copy
code 0 restore --name copy --replace
code 0 take --name shell # and is the target under both names
kill -KILL "$pid"
ended "$pid" || fail "process $pid does not end"
code 3 take --name shell
for child in $(pgrep -s "$pid"); do kill -KILL "$child"; done
wait_for 5 sh -c "! pgrep -s $pid" || fail "children stay"
code 0 restore --name shell
[ "$(cat "$W/out")" = "$pid" ] || fail "restore printed $(cat "$W/out")"

note "waiting, and being interrupted"
code 6 restore --name shell --wait 1
[ "$(grep -c "$pid" "$W/err")" = 1 ] || fail "each try complained: $(cat "$W/err")"
"$SNAP" restore --name shell --wait 60 2>"$W/err" >"$W/out" &
waiting=$!
sleep 0.5
alive $waiting || fail "restore --wait did not wait: $(cat "$W/err")"
kill -TERM $waiting
wait $waiting
[ $? = 143 ] || fail "SIGTERM while waiting: not exit code 143"
"$SNAP" restore --name shell --wait 60 2>"$W/err" >"$W/out" &
waiting=$!
sleep 0.3
for child in $(pgrep -s "$pid"); do kill -KILL "$child"; done
wait $waiting || fail "restore --wait failed though the pids are free: $(cat "$W/err")"
[ "$(cat "$W/out")" = "$pid" ] || fail "restore --wait printed $(cat "$W/out")"

note "no capabilities for those who only need the store"
code 0 verify --data
chown -R 65534:65534 "$SNAP_STORE"
for line in ls stats verify "show --name shell" "pin --gen 2" gc; do
	# shellcheck disable=SC2086
	code 1 $line
	grep -qi permission "$W/err" || fail "snap $line: does not say why: $(cat "$W/err")"
done
exit 0
