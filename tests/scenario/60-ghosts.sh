#!/bin/bash
# Deleted files on every file system this machine can make: what has changed since the last take is
# found, however it was written, what has not is not read again; sparse files take the room they took;
# a restore that is killed leaves nothing behind.
# timeout: 120
. "$(dirname "$0")/lib.sh"
. "$HERE/file_systems.sh"
command -v python3 >/dev/null || skip "needs python3"

# One folder for each file system, in the scenario's own mount namespace.
have() { FILE_SYSTEMS="$FILE_SYSTEMS $1"; }
make_loop() { # NAME MEGABYTES MKFS...
	local name=$1 size=$2
	shift 2
	command -v "$1" >/dev/null || { note "no $1: $name is left out"; return; }
	truncate -s "${size}M" "$W/$name.img"
	mkdir "$W/$name"
	"$@" "$W/$name.img" >"$W/mkfs.err" 2>&1 && mount -o loop "$W/$name.img" "$W/$name" 2>>"$W/mkfs.err" ||
		{ note "$name cannot be mounted here: $(tail -n 1 "$W/mkfs.err")"; return; }
	have "$name"
}
mkdir "$W/tmpfs" && mount -t tmpfs none "$W/tmpfs" && have tmpfs
make_loop ext4 64 mkfs.ext4 -q -F
make_loop ext4-1k 64 mkfs.ext4 -q -F -b 1024
make_loop ext4-inline 64 mkfs.ext4 -q -F -I 256 -O inline_data
make_loop xfs 320 mkfs.xfs -q -f
make_loop btrfs 128 mkfs.btrfs -q -f
mkdir "$W/lower" "$W/upper" "$W/work" "$W/overlay"
mount -t overlay -o "lowerdir=$W/lower,upperdir=$W/upper,workdir=$W/work" none "$W/overlay" 2>/dev/null &&
	have overlay

# Restores of every kind of sparse file: one tree with a task on each file system.
note "sparse"
start "$W/sparse" bash -c 'program=$1; shift
for folder; do mkdir "$folder/a" && cd "$folder/a" && "$program" >out 2>&1 & done; wait' - "$TARGETS/deleted_sparse" \
	$(printf "$W/%s " $FILE_SYSTEMS)
for fs in $FILE_SYSTEMS; do
	wait_for 20 eval "[ -e $W/$fs/a/ready ] || [ -e $W/$fs/a/verdict ]"
	[ ! -e "$W/$fs/a/verdict" ] || fail "on $fs before anything was done to it: $(cat "$W/$fs/a/verdict")"
	[ -e "$W/$fs/a/ready" ] || fail "on $fs: not ready: $(cat "$W/$fs/a/out")"
done
take_kill "$PID"
restore "$GEN"
for fs in $FILE_SYSTEMS; do : >"$W/$fs/a/judge"; done
for fs in $FILE_SYSTEMS; do
	wait_for 15 test -e "$W/$fs/a/verdict" || fail "on $fs after restore: no verdict"
	[ "$(cat "$W/$fs/a/verdict")" = PASS ] || fail "on $fs after restore: $(cat "$W/$fs/a/verdict")"
done
wait_for 5 gone "$PID" || fail "the sparse files are done, but their tree does not end"

# Writes two deleted files in the way it is told, and knows what they must hold: one that is mapped only
# to be written to, and a smaller one that is mapped all the time, of which no write must be missed.
cat >"$W/writer.py" <<'END'
import mmap, os, time
SIZE, KEPT = 2 << 20, 300 << 10
def deleted(name, size):
    fd = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
    want = bytearray(os.urandom(size))
    os.write(fd, want)
    os.unlink(name)
    return fd, want
fd, want = deleted("ghost", SIZE)
kept_fd, kept_want = deleted("kept", KEPT)
kept = mmap.mmap(kept_fd, KEPT)
def same(fd, want):
    return os.pread(fd, len(want) + 1, 0) == want
def say(text):
    with open("said.new", "w") as f: f.write(text)
    os.rename("said.new", "said")
step = 0
say("ready")
while True:
    try:
        with open("told") as f: what = f.read()
        os.unlink("told")
    except FileNotFoundError:
        time.sleep(0.01)
        continue
    step += 1
    at = step * 8192 + 5
    if what == "write":
        os.pwrite(fd, b"written", at)
        want[at:at + 7] = b"written"
    elif what == "map":
        with mmap.mmap(fd, SIZE) as m:
            m[at:at + 6] = b"mapped"
        want[at:at + 6] = b"mapped"
    if what != "nothing":
        kept[at:at + 4] = b"kept"
        kept_want[at:at + 4] = b"kept"
    say(what if same(fd, want) and same(kept_fd, kept_want) and kept[:] == kept_want else "differs")
END
tell() { # WORD FOLDER...
	local word=$1 folder
	shift
	for folder; do
		rm -f "$folder/said"
		printf %s "$word" >"$folder/told.new"
		mv "$folder/told.new" "$folder/told"
	done
	for folder; do
		wait_for 10 test -s "$folder/said" || fail "$folder: does not answer to $word"
		[ "$(cat "$folder/said")" = "$word" ] || fail "$folder: $word: a file $(cat "$folder/said")"
	done
}
bytes_read() { field ghost_bytes_read "$W/take.json"; }

# A tree with a writer on each file system.
note "changes"
FOLDERS=
for fs in $FILE_SYSTEMS; do
	case $fs in ext4-*) ;; *) FOLDERS="$FOLDERS $W/$fs/b" ;; esac
done
start "$W/changes" bash -c 'writer=$1; shift
for folder; do mkdir "$folder" && cd "$folder" && python3 "$writer" >out 2>&1 & done; wait' - "$W/writer.py" $FOLDERS
for folder in $FOLDERS; do
	wait_for 20 test -s "$folder/said" || fail "no writer: $(cat "$folder/out")"
done
n=$(set -- $FOLDERS; echo $#)
sleep 0.05
take "$PID" --name changes
[ "$(bytes_read)" -ge $((n * (2097152 + 307200))) ] || fail "the first take has read $(bytes_read) bytes of $n writers"
take "$PID" --name changes
# Those of tmpfs are read always; a second one more would show.
[ "$(bytes_read)" -le $((2097152 + n * 307200)) ] || fail "unchanged, and $(bytes_read) bytes read"
for way in write map nothing; do
	tell $way $FOLDERS
	take "$PID" --name changes
done
tell kept $FOLDERS
take_kill "$PID" --name changes
restore "$GEN"
tell nothing $FOLDERS
kill_tree "$PID"

# The file changes before, between and after takes that read memory at other times than when the tree
# stands still; the ghost has to be that of the moment all the same.
for options in --pre-dump --capture=clone; do
	note "with $options"
	start "$W/e" python3 "$W/writer.py"
	wait_for 10 test -s "$W/e/said" || fail "no writer: $(cat "$W/e/out")"
	for way in write kept map; do
		tell $way "$W/e"
		take "$PID" --name memory $options
	done
	tell kept "$W/e"
	take_kill "$PID" --name memory $options
	restore "$GEN"
	tell nothing "$W/e"
	kill_tree "$PID"
	rm -r "$W/e"
done

note "the limit"
start "$W/d" python3 "$W/writer.py"
wait_for 10 test -s "$W/d/said"
snap_json "$W/limit.json" take --pid "$PID" --ghost-limit 1M
[ $? = 4 ] || fail "a ghost above the limit was not refused"
grep -q "ghost-limit" "$W/limit.json.err" || fail "the limit is not named: $(cat "$W/limit.json.err")"
take "$PID" --ghost-limit 4M
"$SNAP" inspect --gen "$GEN" --files >"$W/inspect" || fail "inspect"
grep -q "path $W/d/ghost, deleted yes, " "$W/inspect" && grep "path $W/d/out" "$W/inspect" | grep -qv deleted ||
	fail "inspect does not tell what is deleted: $(cat "$W/inspect")"

note "a killed restore"
take_kill "$PID"
for us in 2000 5000 10000 20000; do
	"$SNAP" --quiet restore --gen "$GEN" >/dev/null 2>&1 &
	restoring=$!
	sleep "$(printf 0.%06d "$us")"
	kill_tree $restoring
	wait $restoring 2>/dev/null
	kill_tree "$PID"
	wait_for 5 gone "$PID" || fail "the target of a killed restore does not go"
done
restore "$GEN"
tell nothing "$W/d"
[ ! -e "$W/d/ghost" ] && [ -z "$(ls -A "$W/d" | grep -- snap)" ] || fail "left behind: $(ls -A "$W/d")"
exit 0
