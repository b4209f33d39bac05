#!/bin/bash
# Looking into generations: mem, core and search tell what the program had in its memory, also where
# it lies across pages, in shared memory and in a memfd, and in which generations.
# timeout: 120
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "needs python3"
command -v gdb >/dev/null || skip "needs gdb"

# places EXPRESSION: holds for the value j of the search before.
places() {
	python3 -c 'import json, sys; j = json.load(open(sys.argv[1])); assert eval(sys.argv[2]), j["matches"]' \
		"$W/out" "$1" 2>"$W/python.err" || fail "not so: $1: $(tail -n 1 "$W/python.err")"
}
at() { sed -n "s/^$1 //p" "$W/a/places"; }

start_target "$W/a" "$TARGETS/../look/look_at_me"
first=$PID
take "$first"
one=$GEN
: >"$W/a/next" && wait_for 10 test -e "$W/a/changed" || fail "the program did not go on"
take "$first"
two=$GEN
kill -KILL "$first"

note "mem"
code 0 mem --gen "$one" --pid "$first" --range "$(at border)+12" --raw
[ "$(cat "$W/out")" = "over-the-edge" ] && fail "one byte too many"
[ "$(cat "$W/out")" = "over-the-edg" ] || fail "raw bytes: $(xxd "$W/out" | head -n 2)"
code 0 mem --gen "$one" --range "$(at shared)+16"
grep -q '|shared-words' "$W/out" || fail "dump of shared memory: $(cat "$W/out")"
code 0 mem --gen "$one" --range "$(at memfd)+16"
grep -q '|in-a-memfd' "$W/out" || fail "dump of a memfd: $(cat "$W/out")"
code 0 mem --gen "$one" --json
python3 -c 'import json, sys
m = json.load(open(sys.argv[1]))["mappings"]
at = int(sys.argv[2], 16)
assert any(v["start"] <= at < v["end"] and v["bytes_stored"] for v in m), m' "$W/out" "$(at border)" ||
	fail "the table lacks the mapping"
code 0 mem --gen "$one" --range 1000-2000
grep -q 'not in the generation' "$W/err" || fail "a range without memory is passed over in silence"
code 2 mem --gen "$one" --range 2000-1000
code 3 mem --gen "$one" --pid 999999

note "search"
code 0 search --string over-the-edge --json
places 'j["places"] == 1 and j["matches"][0]["generations"] == ['"$one, $two"']'
places 'j["matches"][0]["address"] == 0x'"$(at border)"
code 0 search --regex 'over-(the|an)-edg[a-z]' --json
places 'j["places"] == 1 and j["matches"][0]["text"] == "over-the-edge"'
code 0 search --hex '6f 76 65 72 2d ?? 68 65' --json
places 'j["places"] == 1'
code 0 search --ignore-case --string OVER-THE-EDGE --json
places 'j["places"] == 1'
code 0 search --string shared-words --json
places 'any(m.get("address") == 0x'"$(at shared)"' and m["mapping"] == "[shared]" for m in j["matches"])'
code 0 search --string only-later --json
places 'j["places"] == 1 and j["matches"][0]["first_seen"] == '"$two"' and j["matches"][0]["generations"] == ['"$two]"
code 0 search --string only-later --gen "$one" --json
places 'j["places"] == 0'
# What the second generation has in common with the first is not read again.
code 0 search --string over-the-edge --json
places 'j["pages_known"] > 1000 and j["pages_read"] < 2000'
code 2 search --regex '(('
code 2 search --string a --hex 61
code 3 search --string a --gen 99

note "inspect"
code 0 inspect --gen "$one" --all --json
places_of() {
	python3 -c 'import json, sys; p = json.load(open(sys.argv[1]))["processes"][0]; assert eval(sys.argv[2]), p' \
		"$W/out" "$1" 2>"$W/python.err" || fail "not so: $1: $(tail -n 1 "$W/python.err" | cut -c1-300)"
}
places_of 'p["pid"] == '"$first"' and p["state"] == "alive" and p["name"] == "look_at_me"'
places_of 'p["command"][0].endswith("look_at_me") and len(p["threads"]) == 2'
places_of 'any(f["kind"] == "memfd" and f["name"] == "looked-at" for f in p["files"])'
places_of 'any(e.startswith("SNAP_STORE=") for e in p["environment"])'
places_of 'p["credentials"]["uid"] == 0 and "cap_kill" in p["credentials"]["effective"]'
places_of 'any(m["name"] == "[stack]" and 0 < m["entropy"] <= 8 for m in p["mappings"])'
places_of 'not any("bytes_dirty" in m for m in p["mappings"])'
code 0 inspect --gen "$two" --mappings --json
places_of '0 < sum(m["bytes_dirty"] for m in p["mappings"]) < 60 * 4096'
code 0 inspect --gen "$one" --all --json
places_of 'p["threads"][0]["registers"]["rip"].startswith("0x")'
places_of '{"read", 9} <= {v for f in p["files"] if f["kind"] == "pipe" for v in (f["access"], f["bytes_waiting"])}'
places_of '[(s["bytes_receive_queue"], s["bytes_send_queue"], s["peer_pid"], s["peer_fd"]) for s in p["files"]
	if s["kind"] == "unix socket"] == [(0, 17, p["pid"], 5), (17, 0, p["pid"], 3)]'
places_of '"cap_kill" in p["credentials"]["bounding"]'
places_of 'all(m["bytes_stored"] == m["bytes_anonymous"] + m["bytes_shared"] for m in p["mappings"])'
places_of 'any(m["name"] == "[shared]" and m["bytes_shared"] == 4096 for m in p["mappings"])'
places_of 'any(m["name"] == "[stack]" and m["bytes_anonymous"] and not m["bytes_shared"] for m in p["mappings"])'
python3 -c 'import json, sys
j = json.load(open(sys.argv[1])); s = j["statistics"]
assert s["frozen_ns"] > 0 and s["pages_scanned"] > 1000, j
seen = {}
for line in open("/proc/self/mountinfo"):
    mount, behind = [part.split() for part in line.rstrip("\n").split(" - ", 1)]
    seen[int(mount[0])] = (int(mount[1]), mount[3], mount[4], mount[5].split(","), behind[0], behind[1])
told = {m["id"]: (m["parent"], m["root"], m["mountpoint"], m["options"], m["type"], m["source"]) for m in j["mounts"]}
assert told.keys() == seen.keys(), (told, seen)
for n, mount in seen.items():
    if not any("\\" in text for text in (mount[1], mount[2], mount[5])) and told[n][3][0] == mount[3][0]:
        assert told[n][:3] + told[n][4:] == mount[:3] + mount[4:], (told[n], mount)
        assert told[n][3][:len(mount[3])] == mount[3], (told[n], mount)' "$W/out" || fail "statistics, mounts"
code 0 inspect --gen "$one" --mounts
grep -q 'mountpoint /proc, type proc,' "$W/out" || fail "no mounts in the text: $(cat "$W/out")"
code 0 inspect --gen "$one" --files
grep -q ', send queue 17 bytes' "$W/out" || fail "no queue in the text: $(cat "$W/out")"
grep -q 'statistics: frozen [0-9]' "$W/out" || fail "no statistics in the text: $(cat "$W/out")"
grep -q 'kind memfd' "$W/out" || fail "no memfd among the files: $(cat "$W/out")"
code 3 inspect --gen "$one" --pid 999999

note "stacks"
code 0 inspect --gen "$one" --stacks --json
places_of '"main" in [f.get("function") for f in p["threads"][0]["stack"]]'
places_of '"the_other_thread" in [f.get("function") for f in p["threads"][1]["stack"]]'
places_of 'any(f.get("source", "").endswith("look_at_me.c") and f["line"] > 0 for f in p["threads"][1]["stack"])'
places_of 'all("libc" in t["stack"][0]["module"] and "stack_ends" not in t for t in p["threads"])'
# With the program gone its code and its names come from the generation.
code 0 inspect --gen "$one" --stacks
grep -q 'function the_other_thread' "$W/out" || fail "no function in the text: $(cat "$W/out")"

note "stored files"
main=$(gdb -batch -nx -ex 'info line main' "$TARGETS/../look/look_at_me" 2>/dev/null | grep -o '0x[0-9a-f]*' | head -n 1)
code 0 inspect --gen "$one" --mappings --json
base=$(python3 -c 'import json, sys
m = json.load(open(sys.argv[1]))["processes"][0]["mappings"]
print(next(v["start"] for v in m if v["name"].endswith("look_at_me")))' "$W/out")
from=$(printf '%x' $((base + main)))
code 0 mem --gen "$one" --range "$from+16" --raw
cmp -s "$W/out" <(python3 -c 'import sys; f = open(sys.argv[1], "rb"); f.seek(int(sys.argv[2], 16)); sys.stdout.buffer.write(f.read(16))' \
	"$TARGETS/../look/look_at_me" "$main") || fail "the code of main is not what the file has"
code 0 search --string look_at_me.c --gen "$one" --json
places 'any(m.get("path", "").endswith("look_at_me") for m in j["matches"])'

note "diff"
code 0 diff --gen "$one" --gen "$two" --json
python3 -c 'import json, sys
j = json.load(open(sys.argv[1])); p = j["changed"][0]; m = p["memory"]
assert (j["before"], j["after"]) == tuple(map(int, sys.argv[2:4])) and not j["added"] and not j["removed"]
assert p["pid"] == int(sys.argv[4]) and 0 < m["pages_written"] < 60, m
at = int(sys.argv[5], 16) + 5 + 200 * 4096
r = [r for r in m["ranges"] if int(r["start"], 16) <= at < int(r["end"], 16)]
assert len(r) == 1 and r[0]["change"] == "written" and 5 <= r[0]["bytes_changed"] <= 11, r' \
	"$W/out" "$one" "$two" "$first" "$(at border)" 2>"$W/python.err" ||
	fail "diff: $(tail -n 1 "$W/python.err" | cut -c1-500)"
code 0 diff --gen "$two" --gen "$two"
grep -q 'nothing differs' "$W/out" || fail "a generation differs from itself: $(cat "$W/out")"
code 2 diff --gen "$one"
code 3 diff --gen "$one" --gen 99

note "core"
code 0 core --gen "$one" --output "$W/core"
code 1 core --gen "$one" --output "$W/core"
gdb -batch -nx -ex 'thread apply all bt' -ex 'print words' "$TARGETS/../look/look_at_me" "$W/core" \
	>"$W/gdb.out" 2>"$W/gdb.err" || fail "gdb: $(tail -n 3 "$W/gdb.err")"
grep -q 'the_other_thread' "$W/gdb.out" || fail "gdb does not see the other thread: $(cat "$W/gdb.out")"
grep -q 'in main' "$W/gdb.out" || fail "gdb does not see the first thread's stack"
"$SNAP" core --gen "$one" --file-contents --output "$W/core.whole" >"$W/out" 2>&1 || fail "core: $(cat "$W/out")"
# As the kernel's, a core has of mapped files only what the program changed, and their heads.
[ "$(stat -c %s "$W/core")" -lt $(($(stat -c %s "$W/core.whole") - 1000000)) ] || fail "a core has the contents of files"
gdb -batch -nx -ex "x/1xw $base" -c "$W/core" 2>&1 | grep -q 0x464c457f || fail "a core lacks the heads of programs"
# Of the code, too: without the program's file there is something to disassemble.
gdb -batch -nx -ex "x/2i 0x$from" -c "$W/core.whole" >"$W/code.out" 2>&1
grep -q 'Cannot access' "$W/code.out" && fail "the core lacks the code: $(cat "$W/code.out")"
grep -q 'words of the data segment' "$W/gdb.out" || fail "gdb does not see the variable"
[ "$(stat -c %a "$W/core")" = 600 ] || fail "others may read the core"
