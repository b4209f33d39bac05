#!/bin/bash
# Dumps of 13 kinds of process that CRIU 4.2 made once: each image comes back byte for byte, each dump is
# imported, looked into, exported as it was, and restored, where the program says whether its state is still there.
# Parts of a memory that are in parents of a dump are, too.
# timeout: 240
# Ports of a network of its own: those of a dump may be somebody's.
if [ -z "${GOLDEN_NETWORK:-}" ] && unshare --net true 2>/dev/null; then
	GOLDEN_NETWORK=1 exec unshare --net -- bash "$0" "$@"
fi
. "$(dirname "$0")/lib.sh"
[ -n "${GOLDEN_NETWORK:-}" ] || skip "cannot create a network namespace here"
command -v python3 >/dev/null && command -v zstd >/dev/null || skip "needs python3 and zstd"
GOLDEN=$HERE/../golden/criu-4.2-whole
# Where they were made; the scenario's mounts are its own.
mount -t tmpfs tmpfs /mnt 2>/dev/null || skip "cannot mount a tmpfs here"
python3 -c 'import fcntl, socket, struct
s = socket.socket(); up = struct.pack("16sh14x", b"lo", 0x49)
fcntl.ioctl(s, 0x8914, up)  # SIOCSIFFLAGS: up, running, loopback' || fail "no loopback"
cp "$GOLDEN/tiny" /mnt/tiny && chmod 755 /mnt/tiny
cd "$W" || exit 1

# come_back NAME GENERATION: restored, it says that all is as it was.
come_back() {
	mkdir -p "/mnt/$1"
	rm -f "/mnt/$1"/*
	[ "$1" != locks ] || (umask 077 && : >"/mnt/$1/locked")
	"$SNAP" restore --gen "$2" >out 2>err
	case $? in
	0) ;;
	# Another processor or kernel than the one they were made under.
	4) refused=$((${refused:-0} + 1)) && note "$1 is not restored here: $(head -n 1 err)" && return ;;
	*) fail "restore of $1: $(cat err)" ;;
	esac
	remember "$(cat out)"
	# Again and again: one that comes before it waits again wakes nobody.
	wait_for 10 eval "kill -USR1 $(cat out) 2>/dev/null; test -s /mnt/$1/verdict" || fail "$1: restored, it says nothing"
	[ "$(cat "/mnt/$1/verdict")" = ok ] || fail "$1: not as it was: $(cat "/mnt/$1/verdict")"
	wait_for 5 gone "$(cat out)" || fail "$1: it does not end"
	restored=$((${restored:-0} + 1))
}

for archive in "$GOLDEN"/*.tar.zst; do
	name=$(basename "$archive" .tar.zst)
	note "$name"
	tar -xf "$archive" || fail "tar"
	for image in "$name"/*.img "$name"/stats-dump; do
		"$SNAP" image decode -i "$image" -o a.json --pretty && "$SNAP" image encode -i a.json -o a.img &&
			cmp -s a.img "$image" || fail "$image does not come back"
		images=$((${images:-0} + 1))
	done
	code 0 import "$name" --name "$name"
	gen=$(sed -n 's/^generation //p' out)
	code 0 inspect --gen "$gen" --all --json
	python3 -c '
import json, sys
j, name = json.load(open(sys.argv[1])), sys.argv[2]
root = j["processes"][0]
assert root["exe"] == "/mnt/tiny" and root["command"] == ["../tiny", name] and root["cwd"] == "/mnt/" + name, root
assert len(j["processes"]) == (3 if name == "tree" else 1), j["processes"]
assert len(root["threads"]) == (2 if name == "threads" else 1), root
assert j["statistics"]["criu"]["pages_written"] > 0
kinds = {f["kind"] for f in root["files"]}
want = {"pipe": {"pipe"}, "unix": {"unix socket"}, "inet": {"inet socket"},
        "events": {"eventfd", "signalfd", "epoll", "inotify"}, "memory": {"memfd"}, "timers": {"timerfd"}}.get(name, set())
assert want <= kinds, (want, kinds)' out "$name" || fail "$name: inspect: $(cat out)"
	code 0 search --gen "$gen" --string "kept over the dump"
	[ -s out ] || fail "$name: its words are not found"
	code 0 core --gen "$gen" -o "core.$name"
	code 0 export --gen "$gen" "again.$name"
	diff -r "$name" "again.$name" || fail "$name comes back otherwise"
	code 0 import "$archive" --name "$name"
	code 0 export --name "$name" --archive "$name.tar"
	zstd -dqc "$archive" | cmp - <(zstd -dqcf "$name.tar") || fail "$name: another archive comes back"
	come_back "$name" "$gen"
done

note "in parents"
# increment FROM TO PARENT KEEP: TO is FROM, whose pages are in PARENT but for those of the ranges KEEP.
increment() {
	cp -r "$1" "$2" && ln -s "../$3" "$2/parent" || fail "cp"
	"$SNAP" image decode -i "$(echo "$1"/pagemap-*.img)" -o map.json || fail "decode"
	python3 - "$1" "$2" "$4" <<'EOF' || fail "increment"
import json, sys
source, to, keep = sys.argv[1:]
image = json.load(open("map.json"))
pages, at, out = open(source + "/pages-1.img", "rb").read(), 0, b""
for n, entry in enumerate(image["entries"][1:]):
    size = entry["nr_pages"] * 4096
    if str(n) in keep.split(","):
        out += pages[at:at + size]
    else:
        entry["flags"] = 1  # PE_PARENT
    at += size
assert out and len(out) < len(pages)
open(to + "/pages-1.img", "wb").write(out)
json.dump(image, open("map.json", "w"))
EOF
	"$SNAP" image encode -i map.json -o "$(echo "$2"/pagemap-*.img)" || fail "encode"
}
increment pipe second pipe 0
# The third has all that the second has not of the first one, through it.
increment pipe third second 1
code 0 import third --name chain --json
[ "$(field directories out)" = 3 ] || fail "not all parents were read: $(cat out)"
gen=$(field generation out)
code 0 export --gen "$gen" whole
cmp whole/pages-1.img pipe/pages-1.img || fail "the memory of the chain is another"
come_back pipe "$gen"
rm second/pages-1.img
code 5 import third --name broken
grep -q "third/parent/pages-1.img.*not there" err || fail "not told which directory is broken: $(cat err)"

[ "$images" -gt 140 ] || fail "only $images images"
note "$images images; ${restored:-0} restored, ${refused:-0} refused here"
[ -n "${restored:-}" ] || [ "$(uname -m)" != x86_64 ] || [ "${refused:-0}" -gt 0 ] || fail "none was restored"
code 0 verify --data
exit 0
