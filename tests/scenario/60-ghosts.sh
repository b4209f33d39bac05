#!/bin/bash
# Deleted files on every file system this machine can make: what has changed since the last take is
# found, however it was written, what has not is not read again; sparse files take the room they took;
# a restore that is killed leaves nothing behind.
# timeout: 120
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "needs python3"

# One folder for each file system, in the scenario's own mount namespace.
FILE_SYSTEMS=
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
unmount() {
	local fs rc=$?
	for pid in $STARTED_PIDS; do kill_tree "$pid" 2>/dev/null; done
	cd /
	for fs in $FILE_SYSTEMS; do umount -l "$W/$fs"; done
	(exit $rc)
	scenario_end
}
trap unmount EXIT

# Restores of every kind of sparse file.
for fs in $FILE_SYSTEMS; do
	note "$fs: sparse"
	start_target "$W/$fs/a" "$TARGETS/deleted_sparse"
	take_kill "$PID"
	restore "$GEN"
	judge "$W/$fs/a" "$PID" "on $fs after restore"
done

# Writes a deleted file in the way it is told, and knows what it must hold.
cat >"$W/writer.py" <<'END'
import mmap, os, sys, time
SIZE = 2 << 20
fd = os.open("ghost", os.O_RDWR | os.O_CREAT, 0o600)
want = bytearray(os.urandom(SIZE))
os.write(fd, want)
os.unlink("ghost")
kept = mmap.mmap(fd, SIZE)
if "keep" not in sys.argv:
    kept.close()
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
    elif what == "kept":
        kept[at:at + 4] = b"kept"
        want[at:at + 4] = b"kept"
    same = os.pread(fd, SIZE, 0) == want and os.fstat(fd).st_size == SIZE
    say(what if same else "differs")
END
tell() { # FOLDER WORD
	rm -f "$1/said"
	printf %s "$2" >"$1/told.new"
	mv "$1/told.new" "$1/told"
	wait_for 10 test -s "$1/said" || fail "$1: does not answer to $2"
	[ "$(cat "$1/said")" = "$2" ] || fail "$1: $2: the file $(cat "$1/said")"
}
bytes_read() { field ghost_bytes_read "$W/take.json"; }
for fs in $FILE_SYSTEMS; do
	case $fs in ext4-*) continue ;; esac
	note "$fs: changes"
	start "$W/$fs/b" python3 "$W/writer.py"
	wait_for 10 test -s "$W/$fs/b/said" || fail "no writer: $(cat "$W/$fs/b/out")"
	sleep 0.05
	take "$PID" --name "$fs"
	[ "$(bytes_read)" -ge 2097152 ] || fail "$fs: the first take has read $(bytes_read) bytes"
	take "$PID" --name "$fs"
	case $fs in
	tmpfs) ;;
	*) [ "$(bytes_read)" = 0 ] || fail "$fs: unchanged, and $(bytes_read) bytes read" ;;
	esac
	for way in write map nothing; do
		tell "$W/$fs/b" $way
		take "$PID" --name "$fs"
	done
	take_kill "$PID" --name "$fs"
	restore "$GEN"
	tell "$W/$fs/b" nothing
	kill_tree "$PID"
	# Mapped all the time: whatever is written through the mapping has to be met.
	start "$W/$fs/c" python3 "$W/writer.py" keep
	wait_for 10 test -s "$W/$fs/c/said" || fail "no writer: $(cat "$W/$fs/c/out")"
	for i in 1 2; do
		tell "$W/$fs/c" kept
		take "$PID" --name "$fs-kept"
	done
	tell "$W/$fs/c" kept
	take_kill "$PID" --name "$fs-kept"
	restore "$GEN"
	tell "$W/$fs/c" nothing
	kill_tree "$PID"
done

# The file changes before, between and after takes that read memory at other times than when the tree
# stands still; the ghost has to be that of the moment all the same.
for options in --pre-dump --capture=clone; do
	note "with $options"
	start "$W/e" python3 "$W/writer.py" keep
	wait_for 10 test -s "$W/e/said" || fail "no writer: $(cat "$W/e/out")"
	for way in write kept map; do
		tell "$W/e" $way
		take "$PID" --name memory $options
	done
	tell "$W/e" kept
	take_kill "$PID" --name memory $options
	restore "$GEN"
	tell "$W/e" nothing
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
tell "$W/d" nothing
[ ! -e "$W/d/ghost" ] && [ -z "$(ls -A "$W/d" | grep -- snap)" ] || fail "left behind: $(ls -A "$W/d")"
exit 0
