#!/bin/bash
# Dumps that come by CRIU's image streamer: from a driver here, well-behaved and not, and from criu
# where there is one.
# timeout: 120
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "needs python3"
cd "$W" || exit 1

# peer.py DIR WORD...: streams the files of the directory DIR (pages last, and pagemaps before them)
# to its socket.  all  file:NAME  text:NAME:TEXT  nopipe:NAME  raw:HEX  stats  sleep
cat >peer.py <<'P'
import os, socket, struct, sys, time
folder = sys.argv[1]
s = socket.socket(socket.AF_UNIX); s.connect(folder + "/streamer-capture.sock")
def ask(name, fd):
    m = bytes([10, len(name)]) + name.encode()
    s.sendall(struct.pack("<I", len(m)) + m)
    if fd is None: s.sendall(b"\0")
    else: socket.send_fds(s, [b"\0"], [fd])
def stream(names, data):
    pipes = []
    for n in names:
        r, w = os.pipe(); ask(n, r); os.close(r); pipes.append(w)
    for n, w in zip(names, pipes):
        with os.fdopen(w, "wb") as f: f.write(data(n))
read = lambda n: open("made/" + n, "rb").read()
for word in sys.argv[2:]:
    do, *rest = word.split(":")
    if do == "all": stream(sorted(os.listdir("made"), key=lambda n: n.startswith("pages-")), read)
    elif do == "file": stream([rest[0]], read)
    elif do == "text": stream([rest[0]], lambda n: rest[1].encode())
    elif do == "nopipe": ask(rest[0], os.open("/dev/null", os.O_RDONLY) if rest[1:] else None)
    elif do == "raw": s.sendall(bytes.fromhex(rest[0]))
    elif do == "sleep": time.sleep(60)
    elif do == "stats": open(folder + "/stats-dump", "wb").write(struct.pack("<III", 0x55105940, 0x57093306, 0))
P
# made: a dump as criu makes them, of this task.
start_target "$W/t" "$TARGETS/shared_anon"
task=$PID
take_kill "$task"
"$SNAP" export -q --gen "$GEN" made >export.out || fail "export"
rm made/stats-dump # criu never streams it

ingest() { # FOLDER OPTION...
	local dir=$1
	shift
	mkdir -p "$dir"
	env --default-signal=INT "$SNAP" ingest --stream "$dir" --name x "$@" >out 2>err &
	SERVER=$!
	remember $SERVER
	wait_for 10 test -S "$dir/streamer-capture.sock" || fail "it does not wait: $(cat err)"
}
ended() { # CODE [WORDS]
	local got
	wait "$SERVER"
	got=$?
	[ $got = "$1" ] || fail "snap ingest: exit code $got instead of $1: $(cat err)"
	[ -z "${2:-}" ] || grep -q "$2" err || fail "not told that $2: $(cat err)"
}
peer() { timeout 20 python3 peer.py "$@" 2>peer.err; }

note "a dump"
ingest d
peer d all stats
ended 0
[ "$(ls d)" = stats-dump ] || fail "there are files: $(ls d)"
gen=$(sed -n 's/^generation //p' out)
"$SNAP" export -q --gen "$gen" back >export.out || fail "export"
diff -x stats-dump -r made back || fail "the images come back otherwise"
restore "$gen"
judge "$W/t" "$PID" "restored from a stream"

note "peers that do not keep to it"
before=$("$SNAP" ls | wc -l)
bad() { # CODE WORDS PEER'S WORDS...
	local code=$1 words=$2
	shift 2
	ingest bad --timeout "${limit:-30}"
	peer bad "$@"
	ended "$code" "$words"
	[ ! -e bad/streamer-capture.sock ] || fail "the socket is still there"
	rm -rf bad
}
bad 1 "before it was through" file:pages-1.img file:pagemap-$task.img
limit=3 bad 1 "stats-dump, which criu writes last" all
bad 5 "twice" file:pages-1.img file:pages-1.img
bad 5 "ends within a page" text:pages-1.img:short
bad 5 "without the name" text:a/b:x
bad 5 "no pipe comes" nopipe:core-1.img
bad 5 "no pipe to read" nopipe:core-1.img:null
bad 5 "too long" raw:ffffffff
bad 5 "within a request" raw:0500
bad 5 "came with fewer" text:pages-1.img: file:pagemap-$task.img file:inventory.img file:pstree.img stats
bad 5 "pstree" file:pages-1.img file:inventory.img text:pstree.img:nonsense stats
ingest bad --timeout 3
peer bad file:pages-1.img sleep &
remember $!
ended 1 "nothing for 3 s"
ingest bad
kill -INT "$SERVER"
ended 130
[ ! -e bad/streamer-capture.sock ] || fail "the socket is still there"
[ "$("$SNAP" ls | wc -l)" = "$before" ] || fail "a generation of something that was not whole"
"$SNAP" gc >export.out && "$SNAP" verify --data -q || fail "the store is not whole"

command -v criu >/dev/null || { note "no criu on PATH: that part is left out"; exit 0; }
for target in anon_memory shared_anon; do
	note "criu dumps $target"
	start_target "$W/$target" "$TARGETS/$target"
	first=$PID
	ingest "criu.$target"
	criu dump -t "$PID" -D "criu.$target" -o log --stream --network-lock skip >/dev/null 2>&1 ||
		fail "criu dump: $(grep Error "criu.$target/log" | tail -n 3)"
	ended 0
	ls "criu.$target"/*.img 2>/dev/null && fail "images are in the directory"
	wait_for 5 gone "$first" || fail "$target is still there"
	restore "$(sed -n 's/^generation //p' out)"
	judge "$W/$target" "$PID" "restored from criu's stream"
done
exit 0
