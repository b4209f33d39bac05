#!/bin/bash
# Images that make no sense and pages that are damaged: every command that looks into generations says
# what is damaged, ends with exit code 5, and leaves no half file behind.
# timeout: 120
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "needs python3"

# damaged WORDS ARGS...: exit code 5, and the words are in what it says.
damaged() {
	local words=$1 got
	shift
	timeout 30 "$SNAP" "$@" >"$W/out" 2>"$W/err"
	got=$?
	[ $got = 5 ] || fail "snap $*: exit code $got instead of 5: $(cat "$W/err")"
	grep -qE "$words" "$W/err" || fail "snap $*: does not say \"$words\": $(cat "$W/err")"
}

start_target "$W/a" "$TARGETS/../look/look_at_me"
pid=$PID
take "$pid"
: >"$W/a/next" && wait_for 10 test -e "$W/a/changed" || fail "the program did not go on"
take "$pid"
kill -KILL "$pid"

note "images that make no sense"
# Valid by themselves: a mapping that ends before it begins.
"$SNAP" image decode --gen 1 "mm-$pid" >"$W/mm.json" || fail "image decode"
python3 -c 'import json, sys
image = json.load(open(sys.argv[1]))
image["entries"][0]["vmas"][3]["end"] = 4096
json.dump(image, open(sys.argv[1], "w"))' "$W/mm.json"
"$SNAP" image edit --gen 1 "mm-$pid" -i "$W/mm.json" --name odd >"$W/out" 2>&1 || fail "image edit: $(cat "$W/out")"
odd=$("$SNAP" ls --name odd | awk 'END { print $1 }')
damaged "mm-$pid has a mapping" inspect --gen "$odd"
damaged "mm-$pid has a mapping" core --gen "$odd" --output "$W/core"
damaged "mm-$pid has a mapping" mem --gen "$odd"
damaged "mm-$pid has a mapping" diff --gen 1 --gen "$odd"
damaged "mm-$pid has a mapping" search --string over-the-edge --gen "$odd"
grep -q "over-the-edge" "$W/out" || fail "nothing is told of what was found beside damage: $(cat "$W/out" "$W/err")"
[ ! -e "$W/core" ] || fail "half a core was left behind"
# A process of which there is no image.
"$SNAP" image decode --gen 1 pstree | sed "s/\"pid\": $pid,/\"pid\": 77,/; s/\"threads\": \[ *$pid/\"threads\": [77/" >"$W/tree.json"
"$SNAP" image edit --gen 1 pstree -i "$W/tree.json" --name lost >"$W/out" 2>&1 || fail "image edit: $(cat "$W/out")"
lost=$("$SNAP" ls --name lost | awk 'END { print $1 }')
damaged "core-77 is missing" inspect --gen "$lost"
damaged "core-77 is missing" core --gen "$lost" --output "$W/core"
damaged "core-77" image x ps --gen "$lost"
# The others are as they were.
"$SNAP" inspect --gen 1 --all >"$W/out" 2>&1 || fail "the edited generation: $(cat "$W/out")"

note "damaged pages"
# A byte of every 512, but for the heads of segments, which hold what finds the pages.
cp -a "$SNAP_STORE" "$W/whole"
python3 - "$SNAP_STORE/packs" <<-'P'
	import os, sys
	for folder, _, files in os.walk(sys.argv[1]):
	    for name in files:
	        path = os.path.join(folder, name)
	        data = bytearray(open(path, "rb").read())
	        for at in range(len(data) // 4, len(data), 512):
	            data[at] ^= 0x41
	        open(path, "wb").write(data)
P
damaged "damaged" search --string over-the-edge
damaged "damaged" search --string over-the-edge --json
python3 -c 'import json, sys
found = json.load(open(sys.argv[1]))
assert found["pages_damaged"] <= found["pages_read"] and not found["limited"], found' "$W/out" || fail "search --json over damage: $(cat "$W/out")"
damaged "damaged" diff --gen 1 --gen 2
damaged "damaged" diff --gen 1 --gen 2 --html "$W/page"
damaged "damaged" core --gen 1 --output "$W/core"
damaged "damaged" inspect --gen 2 --all
damaged "damaged" mem --gen 2 --range "$(sed -n 's/^border //p' "$W/a/places")+4096"
damaged "damaged" image show --gen 2 "core-$pid"
damaged "damaged" image x rss --gen 2
[ ! -e "$W/core" ] && [ ! -e "$W/page" ] || fail "half a file was left behind"
rm -rf "$SNAP_STORE" && mv "$W/whole" "$SNAP_STORE"
"$SNAP" search --gen 1 --string over-the-edge >"$W/out" 2>&1 && grep -q over-the-edge "$W/out" || fail "the whole store: $(cat "$W/out")"
