#!/bin/bash
# Dumps that come by CRIU's page-server protocol: from a driver here, well-behaved and not, and from
# criu where there is one.
# timeout: 120
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "needs python3"
cd "$W" || exit 1

# peer.py WHERE FORM WORD...: does as the words say.  open:ID  shmem:ID  page:INDEX:BYTE  hold:INDEX
# (left to the parent)  parent:ID  close  sleep  raw:HEX  images:DIR:UPTIME (of a dump of task 7)
# predump:DIR:UPTIME  mm:DIR  stay (until the other end closes: one that is gone before it is looked
# at is no peer).  Prints what it is answered.
cat >peer.py <<'P'
import os, socket, struct, sys, time
def varint(n):
    out = b""
    while n > 127: out += bytes([n & 127 | 128]); n >>= 7
    return out + bytes([n])
def framed(*fields):
    m = b"".join(varint(f << 3) + varint(v) for f, v in fields)
    return struct.pack("<I", len(m)) + m
where, form = sys.argv[1:3]
if "/" in where:
    s = socket.socket(socket.AF_UNIX); s.connect(where)
else:
    s = socket.create_connection(("127.0.0.1", int(where)))
def send(cmd, pages=0, vaddr=0, target=0):
    s.sendall(struct.pack("<IIQQ", cmd, pages, vaddr, target) if form == "old"
              else struct.pack("<IIQQQ", cmd, 0xdeadbeef, pages, vaddr, target))
def answer(n):
    data = s.recv(n, socket.MSG_WAITALL)
    print(int.from_bytes(data, "little", signed=True) if len(data) == n else "nothing", flush=True)
common, target = struct.pack("<I", 0x54564319), 0
for word in sys.argv[3:]:
    do, *rest = word.split(":")
    if do in ("open", "shmem"):
        target = int(rest[0]) << 8 | (1 if do == "open" else 2)
        send(4, target=target); answer(1)
    elif do == "page":
        send(6 | 4 << 16, 1, int(rest[0]) << 12, target); s.sendall(bytes([int(rest[1])]) * 4096)
    elif do == "hold": send(6 | 1 << 16, 1, int(rest[0]) << 12, target)
    elif do == "parent": send(5, target=int(rest[0]) << 8 | 1); answer(4)
    elif do == "close": send(0x1023); answer(4); s.close()
    elif do == "sleep": time.sleep(60)
    elif do == "stay":
        try: s.recv(1)
        except ConnectionResetError: pass
    elif do == "raw": s.sendall(bytes.fromhex(rest[0]))
    elif do == "mm": open(rest[0] + "/mm-7.img", "wb").write(common + struct.pack("<I", 0x57492820))
    else:
        put = lambda name, data: open(rest[0] + "/" + name, "wb").write(data)
        put("inventory.img", struct.pack("<I", 0x58313116) + framed((1, 2), (8, int(rest[1]))))
        if do == "images":
            put("pstree.img", common + struct.pack("<I", 0x50273030) + framed((1, 7), (2, 0), (3, 7), (4, 7), (5, 7)))
        put("stats-dump", struct.pack("<II", 0x55105940, 0x57093306) + framed())
P

# serve FOLDER OPTION...: begins to wait; the place is then in $AT, the pid in $SERVER.
serve() {
	local dir=$1
	shift
	mkdir -p "$dir"
	rm -f err
	env --default-signal=INT "$SNAP" serve --page-server 127.0.0.1:0 --images "$dir" --name x "$@" >out 2>err &
	SERVER=$!
	remember $SERVER
	wait_for 10 grep -q "waiting for criu at" err || fail "it does not wait: $(cat err)"
	AT=$(sed -n 's/.*waiting for criu at //p' err)
	AT=${AT#127.0.0.1:}
}
# served CODE [WORDS]: how it ends.
served() {
	local got
	wait_for 20 gone "$SERVER" || fail "snap serve does not end: $(cat err)"
	wait "$SERVER"
	got=$?
	[ $got = "$1" ] || fail "snap serve: exit code $got instead of $1: $(cat err)"
	[ -z "${2:-}" ] || grep -q "$2" err || fail "not told that $2: $(cat err)"
}
peer() { timeout 20 python3 peer.py "$@" >answers 2>peer.err; }
generations() { "$SNAP" ls --json 2>/dev/null | grep -o '"generation"' | wc -l; }

for form in old new; do
	note "$form headers"
	serve "$form.dump"
	peer "$AT" $form open:7 page:16:1 page:17:2 page:20:3 shmem:9 page:0:4 images:$form.dump:5 close
	served 0
	[ "$(tr '\n' ' ' <answers)" = "0 0 0 " ] || fail "answers: $(cat answers)"
	"$SNAP" export -q --gen "$(sed -n 's/^generation //p' out)" "$form.export" >export.out || fail "export"
	python3 - "$form.export" <<-'P' || fail "$form: the memory is another one"
		import glob, sys
		data = b"".join(open(f, "rb").read() for f in sorted(glob.glob(sys.argv[1] + "/pages-*.img")))
		assert data == b"".join(bytes([b]) * 4096 for b in (1, 2, 3, 4)), len(data)
	P
	[ -e "$form.export/pagemap-shmem-9.img" ] || fail "shared memory is missing"
done

note "a pre-dump and what builds on it"
serve d1
peer "$AT" new open:7 page:16:1 page:17:2 predump:d1:100 close
served 0
grep -q '^pre-dump' out || fail "no pre-dump: $(cat out)"
mkdir d2 && ln -s ../d1 d2/parent
serve d2
peer "$AT" new parent:7 parent:8 open:7 page:16:5 hold:17 images:d2:200 close
served 0
[ "$(tr '\n' ' ' <answers)" = "1 0 1 0 " ] || fail "answers: $(cat answers)"
"$SNAP" export -q --name x d2.export >export.out || fail "export"
python3 - <<'P' || fail "memory of the parent is not what it should be"
assert open("d2.export/pages-1.img", "rb").read() == bytes([5]) * 4096 + bytes([2]) * 4096
P
mkdir d3 && ln -s ../d1 d3/parent
serve d3
peer "$AT" new parent:7 open:7 hold:17
served 5 "told that there is none"
[ "$(tr '\n' ' ' <answers)" = "0 0 " ] || fail "what is no parent any more counts as one: $(cat answers)"

note "peers that do not keep to it"
before=$(generations)
bad() { # CODE WORDS FORM PEER'S WORDS...
	local code=$1 words=$2
	shift 2
	serve bad
	peer "$AT" "$@"
	served "$code" "$words"
	rm -rf bad
}
bad 1 "before it was through" new open:7 page:16:1
bad 1 "before it was through" new open:7 raw:0600040000000000
serve bad # whoever only knocks is no peer
peer "$AT" new
wait_for 5 grep -Eq "without a word|gone already" err || fail "a knock went unheard: $(cat err)"
peer "$AT" new open:7 page:16:1
served 1 "before it was through"
rm -rf bad
bad 1 "sent no memory" old close
bad 4 "does not speak" new raw:474554202f20485454502f312e310d0a0d0a0d0a0d0a0d0a stay
bad 4 "TLS" new raw:160301020001000001fc0303000000000000000000000000 stay
bad 4 "command 0x63" new open:7 raw:6300000000000000000000000000000000000000000000000000000000000000
bad 4 "asks for pages" new open:7 raw:0700000000000000010000000000000000000100000000000107000000000000
bad 4 "flags 0x" new open:7 raw:0600140000000000010000000000000000000100000000000107000000000000
bad 4 "lazy-pages" new open:7 raw:0600020000000000010000000000000000000100000000000107000000000000
bad 5 "neither a task" new open:7 raw:0400000000000000000000000000000000000000000000000300000000000000
bad 5 "which no task has" new open:7 raw:0600040000000000ffffffffffffffff00000100000000000107000000000000
bad 5 "which no task has" new open:7 raw:0600040000000000010000000000000001000100000000000107000000000000
bad 5 "not behind" new open:7 page:16:1 page:16:1
bad 5 "twice" new open:7 page:16:1 open:8 open:7
bad 5 "told that there is none" new open:7 hold:16
mkdir bad && : >bad/mm-8.img
"$SNAP" serve --page-server 0 --images bad --name x 2>err
[ $? = 4 ] && grep -q "mm-8.img of an earlier dump" err || fail "images of another dump: $(cat err)"
rm -rf bad
serve late --timeout 3
peer "$AT" new open:7 page:16:1 close
served 1 "stats-dump, which criu writes last"
serve silent --timeout 3
: >answers
peer "$AT" new open:7 sleep &
remember $!
served 1 "nothing for 3 s"
serve other
peer "$AT" new open:8 page:16:1 images:other:7 mm:other close
served 5 "memory of task 7 did not come"
[ "$(generations)" = "$before" ] || fail "a generation of something that was not whole"

note "two peers, an interruption, sockets of others"
serve two
: >answers
peer "$AT" new open:7 sleep &
remember $!
wait_for 5 test -s answers || fail "no answer: $(cat peer.err)"
(: <>"/dev/tcp/127.0.0.1/$AT") 2>peer.err && fail "a second peer is let in"
kill -INT "$SERVER"
served 130
"$SNAP" serve --page-server unix:$W/sock --images two --name x 2>err &
SERVER=$!
wait_for 5 test -S sock || fail "no socket"
[ "$(stat -c %a sock)" = 600 ] || fail "others may connect: $(stat -c %a sock)"
"$SNAP" serve --page-server ./sock --images two --name x 2>err.two
[ $? = 6 ] || fail "a socket was taken from somebody: $(cat err.two)"
kill -TERM "$SERVER"
served 143
[ ! -e sock ] || fail "the socket is still there"
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("sock")'
"$SNAP" serve --page-server ./sock --images two --name x --timeout 1 2>err
[ $? = 1 ] && grep -q "any more" err || fail "a socket nobody listens at: $(cat err)"
: >sock
"$SNAP" serve --page-server ./sock --images two --name x 2>err
[ $? = 1 ] && [ -f sock ] || fail "a file was taken away: $(cat err)"
for at in 0.0.0.0:7 192.168.1.1:7 "[::]:7" host:7 7x 70000 :7 unix: ""; do
	"$SNAP" serve --page-server "$at" --images two --name x 2>err
	[ $? = 2 ] || fail "address $at: $(cat err)"
done
"$SNAP" gc >/dev/null && "$SNAP" verify --data -q || fail "the store is not whole"

command -v criu >/dev/null || { note "no criu on PATH: that part is left out"; exit 0; }
for target in anon_memory shared_anon fork_tree; do
	note "criu dumps $target"
	start_target "$W/$target" "$TARGETS/$target"
	first=$PID
	serve "criu.$target"
	criu dump -t "$PID" -D "criu.$target" -o log --page-server --address 127.0.0.1 --port "$AT" \
		--network-lock skip >/dev/null 2>&1 ||
		fail "criu dump: $(grep Error "criu.$target/log" | tail -n 3)"
	served 0
	ls "criu.$target"/pages-* 2>/dev/null && fail "pages are in the directory"
	wait_for 5 gone "$first" || fail "$target is still there"
	restore "$(sed -n 's/^generation //p' out)"
	judge "$W/$target" "$PID" "restored from criu's pages"
done
exit 0
