#!/bin/bash
# Checkpoint archives of containers: podman's, CRI-O's and Kubernetes' layout, made here around a
# dump; each comes back byte for byte.  Hostile and damaged ones are refused, by name, and leave
# nothing behind.
# timeout: 120
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "needs python3"
cd "$W" || exit 1

start_target "$W/target" "$TARGETS/shared_anon"
take_kill "$PID"
OWN=$GEN
code 0 export --gen "$OWN" dump

# archive FILE [WHAT]: an archive of dump/ as the engines lay it out, with WHAT hostile in it.
cat >"$W/archive.py" <<'PY'
import io, json, os, random, sys, tarfile
out, what = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
layout = what if what in ("podman", "crio", "containerd") else "podman"
tar = tarfile.open(out, "w", format=tarfile.PAX_FORMAT if layout == "podman" else tarfile.GNU_FORMAT)
def add(name, data=b"", kind=tarfile.REGTYPE, link="", pax={}):
    i = tarfile.TarInfo(name)
    i.type, i.linkname, i.mtime, i.size, i.pax_headers = kind, link, 1700000000, len(data), pax
    tar.addfile(i, io.BytesIO(data))
dot = "./" if layout == "crio" else ""
add(dot + "checkpoint/", kind=tarfile.DIRTYPE)
for f in sorted(os.listdir("dump")):
    add(dot + "checkpoint/" + f, open("dump/" + f, "rb").read())
config = {"id": "f00dfeedcafe0123456789", "name": "web", "rootfsImageName": "registry.example/web:1",
          "runtime": "runc", "createdTime": "2024-01-02T03:04:05.6Z", "checkpointedTime": "2024-01-02T04:05:06Z"}
note = {"podman": {"io.container.manager": "libpod"},
        "crio": {"io.container.manager": "cri-o", "io.kubernetes.cri-o.Metadata": '{"name":"web","attempt":1}',
                 "io.kubernetes.cri-o.IP.0": "10.1.2.3", "io.kubernetes.cri-o.Created": "2024-01-02T03:04:05Z",
                 "io.kubernetes.pod.namespace": "shop", "io.kubernetes.pod.name": "web-0"},
        "containerd": {"io.kubernetes.cri.container-name": "web", "io.kubernetes.cri.sandbox-namespace": "shop",
                       "io.kubernetes.cri.sandbox-name": "web-0"}}[layout]
add(dot + "config.dump", json.dumps(config).encode())
add(dot + "spec.dump", json.dumps({"annotations": note, "mounts": [
    {"destination": "/proc", "type": "proc", "source": "proc"}]}).encode())
if layout == "podman":
    add("network.status", json.dumps({"podman": {"interfaces": {"eth0": {"subnets": [
        {"ipnet": "10.88.0.9/16", "gateway": "10.88.0.1"}], "mac_address": "f2:99:8d:fb:5a:57"}}}}).encode())
    add("artifacts/", kind=tarfile.DIRTYPE)
    add("artifacts/hosts", b"127.0.0.1 web\n", pax={"comment": "kept"})
add(dot + "rootfs-diff.tar", random.Random(7).randbytes((3 << 20) if layout == what else 4096))
add(dot + "deleted.files", b'["/gone"]')
add(dot + "empty")
evil = {"absolute": ("/etc/passwd",), "dots": ("checkpoint/../../x",), "dot": ("checkpoint/./x",), "control": ("a\x1b[2J",),
        "twice": ("config.dump",), "long": ("x/" * 140,), "device": ("sda", b"", tarfile.BLKTYPE), "pipe": ("p", b"", tarfile.FIFOTYPE),
        "hard": ("h", b"", tarfile.LNKTYPE, "config.dump"), "out": ("l", b"", tarfile.SYMTYPE, "../../etc"),
        "root": ("l", b"", tarfile.SYMTYPE, "/etc"), "parent": ("checkpoint/parent", b"", tarfile.SYMTYPE, "../pre-checkpoint"),
        "loop": ("checkpoint/parent", b"", tarfile.SYMTYPE, "../checkpoint")}
if what in evil: add(*evil[what])
if what == "below": add("l", kind=tarfile.SYMTYPE, link="artifacts"); add("l/x", b"x")
if what == "many":
    for i in range(32768): add("m/%d" % i)
tar.close()
if what == "sparse":  # 4 GiB of which one block is there
    data = open(out, "rb").read().rstrip(b"\0")
    data += bytes(-len(data) % 512)
    i = tarfile.TarInfo("s"); i.size, i.type = 512, b"S"
    head = bytearray(i.tobuf(tarfile.GNU_FORMAT))
    head[386:410] = b"%011o\0%011o\0" % (0, 512)
    head[483:495] = b"%011o\0" % (1 << 32)
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    open(out, "wb").write(data + head + b"x" * 512 + bytes(1024))
if what == "huge":  # one more member, of which the header tells 8 EiB
    data = open(out, "rb").read().rstrip(b"\0")
    data += bytes(-len(data) % 512)
    i = tarfile.TarInfo("checkpoint/big"); i.size = (1 << 63) - 1025
    open(out, "wb").write(data + i.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
PY
archive() { python3 "$W/archive.py" "$@" || fail "no archive made: $*"; }

note "layouts"
for layout in podman crio containerd; do
	archive $layout.tar $layout
	code 0 import $layout.tar --name web --json
	gen=$(field generation out) stored=$(field bytes_data out)
	code 0 export --gen "$gen" --archive again
	cmp $layout.tar again || fail "$layout: it comes back otherwise"
	rm again
	# Looked into without a store: what checkpointctl shows.
	mkdir room
	TMPDIR=$PWD/room SNAP_STORE=/nonexistent "$SNAP" inspect $layout.tar --json >looked 2>err ||
		fail "$layout: inspect: $(cat err)"
	rmdir room || fail "inspect leaves something behind: $(ls -R room)"
	python3 - $layout <<'PY' || fail "$layout: inspect tells something else: $(cat looked)"
import json, sys
looked, layout = json.load(open("looked")), sys.argv[1]
c = looked["container"]
assert "generation" not in looked and looked["path"] == layout + ".tar"
assert looked["processes"] and looked["processes"][0]["command"]
assert (c["name"], c["id"], c["image"], c["runtime"]) == ("web", "f00dfeedcafe0123456789", "registry.example/web:1", "runc")
assert c["engine"] == {"podman": "Podman", "crio": "CRI-O", "containerd": "containerd"}[layout]
assert c["bytes_rootfs_diff"] == 3 << 20 and c["created"].startswith("2024-01-02T03:04:05")
if layout == "podman":
    assert c["networks"] == [{"network": "podman", "interface": "eth0", "mac": "f2:99:8d:fb:5a:57",
                              "addresses": [{"address": "10.88.0.9/16", "gateway": "10.88.0.1"}]}]
else:
    assert (c["namespace"], c["pod"]) == ("shop", "web-0")
if layout == "crio": assert c["address"] == "10.1.2.3"
PY
done
code 0 inspect --name web
grep -q "container: name web" out || fail "nothing of the container: $(cat out)"
code 0 inspect dump
grep -q "^dump, " out || fail "another heading: $(head -1 out)"
code 3 inspect nothing-there
code 2 inspect podman.tar --gen 1
[ "$stored" -lt 300000 ] || fail "what the others have was stored again: $stored bytes"
LAST=$gen
code 0 export --gen "$LAST" again.dir
diff -r dump again.dir || fail "the dump comes back otherwise"
code 0 show --gen "$LAST" --json
grep -q '"archive/config.dump"' out && grep -q '"archive/rootfs-diff.tar"' out || fail "not kept: $(cat out)"
"$SNAP" export --gen "$LAST" --archive - 2>/dev/null | cmp - containerd.tar || fail "standard output is another archive"

note "compressed"
gzip -kn podman.tar
"$SNAP" import podman.tar.gz --name zip >out 2>err || fail "gzip: $(cat err)"
code 0 export --name zip --archive again.gz
gzip -dc again.gz | cmp - podman.tar || fail "gzip: another tar"
# In two parts, as "cat a.gz b.gz" makes them.
{ head -c 5000 podman.tar | gzip && tail -c +5001 podman.tar | gzip; } >parts.tar.gz
code 0 import parts.tar.gz --name zip
code 0 export --name zip --archive again.parts
gzip -dc again.parts | cmp - podman.tar || fail "gzip in two parts: another tar"
if command -v xz >/dev/null; then
	xz -k podman.tar
	code 4 import podman.tar.xz --name bad
	grep -q "compressed by xz" err || fail "not told that it is xz: $(cat err)"
fi
if command -v zstd >/dev/null; then
	zstd -q podman.tar
	code 0 import podman.tar.zst --name zip
	code 0 export --name zip --archive again.zst
	zstd -dc again.zst | cmp - podman.tar || fail "zstd: another tar"
	gzip -k podman.tar.zst
	code 4 import podman.tar.zst.gz --name bad
	grep -q twice err || fail "not told that it is compressed twice: $(cat err)"
fi
# Through a pipe, which has no length.
cat podman.tar.gz | "$SNAP" import /dev/stdin --name zip >out 2>err || fail "through a pipe: $(cat err)"

note "back to life"
restore "$LAST"
judge "$W/target" "$PID" "restored from an archive"

note "one of our own"
code 0 export --gen "$OWN" --archive own.tar
python3 - <<'PY' || fail "own.tar is not what checkpointctl reads"
import datetime, json, tarfile
tar = tarfile.open("own.tar")
assert tar.getmember("checkpoint").isdir()
read = lambda n: tar.extractfile(n).read()
config, spec = json.loads(read("config.dump")), json.loads(read("spec.dump"))
assert config["name"] and config["id"].startswith(config["name"]) and config["runtime"] == "snap", config
for key in ("createdTime", "checkpointedTime"):
    datetime.datetime.strptime(config[key][:19], "%Y-%m-%dT%H:%M:%S")
assert spec["annotations"]["io.kubernetes.cri.container-name"] == config["name"]
assert read("stats-dump")[:4] == bytes([0x40, 0x59, 0x10, 0x55])
assert tar.getmember("checkpoint/inventory.img").isfile()
PY
code 0 import own.tar --name own
own=$(sed -n 's/^generation //p' out)
code 0 export --gen "$own" own.dir
diff -r --exclude=stats-dump dump own.dir || fail "an archive of our own holds another dump"
code 1 export --gen "$OWN" --archive own.tar
grep -q "exists already" err || fail "not told that it exists: $(cat err)"

note "increments"
python3 - <<'PY'
import io, os, struct, tarfile
def varint(n):
    out = b""
    while n > 127: out += bytes([n & 127 | 128]); n >>= 7
    return out + bytes([n])
entry = lambda *f: b"".join(varint(n << 3) + varint(v) for n, v in f)
framed = lambda m: struct.pack("<I", len(m)) + m
common = struct.pack("<I", 0x54564319)
tar = tarfile.open("chain.tar", "w")
def add(name, data=b"", kind=tarfile.REGTYPE, link=""):
    i = tarfile.TarInfo(name); i.size, i.type, i.linkname = len(data), kind, link
    tar.addfile(i, io.BytesIO(data))
def dump(folder, pages):
    add(folder + "inventory.img", struct.pack("<I", 0x58313116) + framed(entry((1, 2))))
    m = common + struct.pack("<I", 0x56084025) + framed(entry((1, 1)))
    for n, b in pages: m += framed(entry((1, n << 12), (2, 0), (4, 4 if b else 1), (5, 1)))
    add(folder + "pagemap-7.img", m)
    add(folder + "pages-1.img", b"".join(bytes([b]) * 4096 for n, b in pages if b))
dump("pre-checkpoint/", [(16, 1), (17, 2)])
dump("checkpoint/", [(16, 0), (17, 4)])
add("checkpoint/pstree.img", common + struct.pack("<I", 0x50273030) + framed(entry((1, 7), (2, 0), (3, 7), (4, 7), (5, 7))))
add("checkpoint/parent", b"", tarfile.SYMTYPE, "../pre-checkpoint")
tar.close()
PY
code 0 import chain.tar --name chain --json
[ "$(field directories out)" = 2 ] || fail "the parent was not read: $(cat out)"
code 0 export --name chain --archive again
cmp chain.tar again || fail "a chain comes back otherwise"
code 0 export --name chain whole
python3 -c 'assert open("whole/pages-1.img", "rb").read() == bytes([1]) * 4096 + bytes([4]) * 4096' || fail "memory of the chain is not what it should be"

note "hostile and damaged"
code 0 ls --json
before=$(cat out)
refused() { # CODE FILE WORDS
	code "$1" import "$2" --name bad
	grep -q "$3" err || fail "$2: not told \"$3\": $(cat err)"
	! grep -q $'\x1b' err || fail "$2: its name reached the terminal"
}
while read -r code what words; do
	archive bad.tar "$what"
	refused "$code" bad.tar "$words"
done <<'LIST'
4 absolute "/etc/passwd".*absolute
4 dots "checkpoint/../../x".*leads out
4 dot "checkpoint/./x".*plainly
4 control "a?.2J".*control
4 twice "config.dump".*twice
4 long more than 240
4 device "sda".*device
4 pipe "p".*pipe
4 hard "h".*hard link
4 out "l".*leads out
4 root "l".*leads out
4 below "l/x".*no folder
4 sparse "s".*sparse
4 many too many
5 parent pre-checkpoint/, which is not in the archive
5 loop lead back
5 huge big.*cut off
LIST
size=$(stat -c %s podman.tar)
for cut in 300 700 5000 $((size / 2)); do
	head -c $cut podman.tar >bad.tar
	code=5
	[ $cut -gt 512 ] || code=4
	code $code import bad.tar --name bad
done
python3 -c 'd = open("podman.tar", "rb").read().rstrip(b"\0"); open("bad.tar", "wb").write(d + bytes(-len(d) % 512))'
refused 5 bad.tar "does not end as a tar"
head -c 100000 podman.tar.gz >bad.gz
refused 5 bad.gz "damaged or ends early"
python3 - <<'PY'
data = bytearray(open("podman.tar", "rb").read()); data[150] ^= 1
open("bad.tar", "wb").write(data)
data = bytearray(open("podman.tar.gz", "rb").read()); data[len(data) // 2] ^= 255
open("bad.gz", "wb").write(data)
PY
code 4 import bad.tar --name bad
code 5 import bad.gz --name bad
head -c 100000 /dev/urandom >bad.tar
refused 4 bad.tar "neither a folder"
: >bad.tar
refused 4 bad.tar "neither a folder"
tar -cf bad.tar own.tar
refused 3 bad.tar "holds no dump"
code 0 ls --json
[ "$before" = "$(cat out)" ] || fail "a generation came of it: $(cat out)"
code 3 import nowhere.tar --name bad
code 2 export --gen 1 --archive x y
code 0 verify --data
exit 0
