#!/bin/bash
# Generations as directories in CRIU's format and back: what is exported is imported as another
# generation with the same memory, which comes back to life; an import is exported byte for byte.
# timeout: 120
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "needs python3"
cd "$W" || exit 1

for target in anon_memory zombies stopped shared_anon memfd deleted_sparse fpu pipes; do
	note "$target"
	start_target "$W/$target" "$TARGETS/$target"
	take_kill "$PID"
	code 0 export --gen "$GEN" "dump.$target"
	[ "$(stat -c %a "dump.$target")" = 700 ] || fail "the directory is not ours alone"
	code 0 import "dump.$target" --name "$target"
	two=$(sed -n 's/^generation //p' out)
	code 0 export --gen "$two" "again.$target"
	diff -r "dump.$target" "again.$target" || fail "$target: what was imported comes back otherwise"
	restore "$two"
	judge "$W/$target" "$PID" "restored from its export"
done

note "edited"
code 0 image decode --gen "$two" "fs-$PID"
sed 's/"umask": [0-9]*/"umask": 63/' out >edited.json
code 0 image edit --gen "$two" "fs-$PID" -i edited.json --name edited
code 0 export --name edited edited
cmp -s edited/fs-"$PID".img again.pipes/fs-"$PID".img && fail "the edit is not in the export"
code 0 image decode -i "edited/fs-$PID.img"
grep -q '"umask": 63' out || fail "another edit came back: $(cat out)"

note "increments"
# dump FOLDER PARENT PAGE:BYTE...: images of one task whose page is filled with BYTE; with 0x, PAGE is
# in the parent.
cat >"$W/dump.py" <<'PY'
import os, struct, sys
def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128]); n >>= 7
    return out + bytes([n])
def entry(*fields): return b"".join(varint(f << 3) + varint(v) for f, v in fields)
def framed(m): return struct.pack("<I", len(m)) + m
old, folder, parent, pages = sys.argv[1] == "old", sys.argv[2], sys.argv[3], sys.argv[4:]
os.mkdir(folder)
if parent != "-": os.symlink(os.path.relpath(parent, folder), folder + "/parent")
common = struct.pack("<I", 0x54564319)
put = lambda name, data: open(folder + "/" + name, "wb").write(data)
put("inventory.img", struct.pack("<I", 0x58313116) + framed(entry((1, 2))))
put("pstree.img", common + struct.pack("<I", 0x50273030) + framed(entry((1, 7), (2, 0), (3, 7), (4, 7), (5, 7))))
m, data = common + struct.pack("<I", 0x56084025) + framed(entry((1, 1))), b""
for p in pages:
    n, b = p.split(":")
    if b == "parent":
        m += framed(entry((1, int(n) << 12), (2, 1), (3, 1)) if old else entry((1, int(n) << 12), (2, 0), (4, 1), (5, 1)))
    else:
        m += framed(entry((1, int(n) << 12), (2, 1)) if old else entry((1, int(n) << 12), (2, 0), (4, 4), (5, 1)))
        data += bytes([int(b)]) * 4096
put("pagemap-7.img", m)
put("pages-1.img", data)
PY
dump() { python3 "$W/dump.py" "$@" || fail "no dump made: $*"; }
dump new d1 - 16:1 17:2 19:3
dump old d2 d1 16:parent 17:4 19:parent
dump new d3 d2 16:parent 17:parent 18:5
code 0 import d3 --name series --json
[ "$(field directories out)" = 3 ] || fail "not all parents were read: $(cat out)"
code 0 export --name series whole
python3 - <<'PY' || fail "memory of the chain is not what it should be"
data = open("whole/pages-1.img", "rb").read()
assert data == b"".join(bytes([b]) * 4096 for b in (1, 4, 5)), [data[i * 4096] for i in range(len(data) // 4096)]
PY
[ ! -e whole/parent ] || fail "what is whole leads to a parent"
code 0 import whole --name whole
code 0 export --name whole again.whole
diff -r whole again.whole || fail "what was made whole comes back otherwise"

note "damage"
before=$(find store -type f -name '*.pack' | wc -l)
refused() { # CODE WORDS
	code "$1" import bad --name bad
	grep -q "$2" err || fail "not told that $2: $(cat err)"
	rm -rf bad
}
dump new bad d1 18:parent
refused 5 "0x12000.*a later dump says"
dump new bad - 16:parent
refused 5 "0x10000.*no parent"
dump new bad - 17:1 16:2
refused 5 "not behind"
dump new bad - 17:1 17:2
refused 5 "not behind"
dump new bad - 17:1 && truncate -s 4095 bad/pages-1.img
refused 5 "4095 bytes, of the 4096"
dump new bad - 17:1 && rm bad/pages-1.img
refused 5 "pages-1.img"
dump new bad - 17:1 && ln -s . bad/parent
refused 5 "lead back"
dump new bad - 17:1 && ln -s nowhere bad/parent
refused 5 "needed for its pages"
dump new bad - 17:1 && ln -sf /etc/passwd bad/core-7.img
refused 4 "core-7.img"
dump new bad - 17:1 && mkfifo bad/core-7.img
refused 4 "core-7.img"
dump new bad - 17:1 && truncate -s 60 bad/pstree.img
refused 5 "pstree"
dump new bad - 17:1 && rm bad/inventory.img
refused 3 "inventory.img"
dump new p - 16:1 17:2 && dump new bad p 16:parent 17:3
fallocate -p -o 0 -l 4096 p/pages-1.img 2>/dev/null && refused 5 "punched" || rm -rf bad
python3 - <<'PY'
import struct, os
os.mkdir("bad")
open("bad/inventory.img", "wb").write(struct.pack("<II", 0x58313116, 5) + b"\x08\x02\xf8\x07\x01")
PY
refused 4 "after CRIU 4.2"
code 3 export --name bad nowhere
[ ! -e nowhere ] || fail "a directory was left behind"
code 1 export --name whole d1
grep -q "not empty" err || fail "not told that it is not empty: $(cat err)"
code 2 import d1
code 2 export --name whole
code 2 import d1 d2 --name x
code 0 verify --data
exit 0
