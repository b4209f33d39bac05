#!/bin/bash
# Large data files, and deleted ones, on file systems where files can share data: a clone is made while the tree stands
# still and read afterwards; it holds what the tree had written at that instant; nothing of it is
# left by a take that is killed; where it would cost more than reading, or could take from the target
# the room it writes to, the file is read as ever.
# timeout: 120
. "$(dirname "$0")/lib.sh"
. "$HERE/file_systems.sh"
command -v python3 >/dev/null || skip "needs python3"

for fs in xfs btrfs; do
	command -v mkfs.$fs >/dev/null || continue
	truncate -s 1000M "$W/$fs.img" && mkdir "$W/$fs"
	mkfs.$fs -q -f "$W/$fs.img" >"$W/mkfs.err" 2>&1 && mount -o loop "$W/$fs.img" "$W/$fs" 2>>"$W/mkfs.err" &&
		FILE_SYSTEMS="$FILE_SYSTEMS $fs"
done
[ -n "$FILE_SYSTEMS" ] || skip "neither XFS nor btrfs can be made and mounted here"

# Writes without a pause, by write(2) into one file, through a mapping into another, and into one that
# is deleted, the same number into all and into its own memory; when asked, tells whether they are the same.
cat >"$W/writer.py" <<'END'
import mmap, os, struct, time
SIZE = 64 << 20
def fresh(name):
    f = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
    os.posix_fallocate(f, 0, SIZE)
    os.pwrite(f, os.urandom(1 << 20), 0)
    os.pwrite(f, os.urandom(1 << 20), SIZE - (1 << 20))
    os.fsync(f)
    return f
written, mapped = fresh("written"), fresh("mapped")
gone = fresh("gone")
os.unlink("gone")
view = mmap.mmap(mapped, SIZE)
shadow = {}
open("ready", "w").close()
i = 0
while True:
    i += 1
    at = i * 4104 % (64 << 10) & ~7
    shadow[at] = struct.pack("<Q", i)
    os.pwrite(written, shadow[at], at)
    view[at:at + 8] = shadow[at]
    os.pwrite(gone, shadow[at], at)
    if i % 500 == 0 and os.path.exists("check"):
        os.unlink("check")
        same = all(os.pread(written, 8, a) == v == os.pread(gone, 8, a) and view[a:a + 8] == v
                   for a, v in shadow.items())
        with open("verdict.new", "w") as told:
            told.write("same" if same else "differs")
        os.rename("verdict.new", "verdict")
END
cloned() { grep -c "cloned while the tree stood still" "$W/take.json.err"; }
check() { # FOLDER
	rm -f "$1/verdict"
	: >"$1/check"
	wait_for 10 test -e "$1/verdict" || fail "$1: the writer does not go on"
	[ "$(cat "$1/verdict")" = same ] || fail "$1: its files are not what it had written"
}
for fs in $FILE_SYSTEMS; do
	note "$fs"
	start "$W/$fs/a" python3 "$W/writer.py"
	wait_for 20 test -e "$W/$fs/a/ready" || fail "no writer: $(cat "$W/$fs/a/out")"
	take "$PID" --with-files --verbose --name "$fs"
	[ "$(cloned)" = 3 ] || fail "$fs: cloned $(cloned) of 3: $(cat "$W/take.json.err")"
	grep -q "gone (deleted): cloned" "$W/take.json.err" || fail "$fs: the deleted file was not cloned"
	[ "$(field data_files_torn "$W/take.json")" = 0 ] || fail "$fs: torn: $(cat "$W/take.json")"
	for i in 1 2; do
		restore "$GEN" --replace --with-files
		check "$W/$fs/a"
		take "$PID" --with-files --verbose --name "$fs"
	done
	# Killed while a clone is there, or before or after: no name, no room.
	before=$(ls -A "$W/$fs/a")
	for us in 100000 200000 300000; do
		"$SNAP" --quiet take --pid "$PID" --name "$fs" --with-files >/dev/null 2>&1 &
		taking=$!
		sleep "$(printf 0.%06d "$us")"
		kill -9 $taking 2>/dev/null
		wait $taking 2>/dev/null
	done
	[ "$(ls -A "$W/$fs/a")" = "$before" ] || fail "$fs: left behind: $(ls -A "$W/$fs/a")"
	check "$W/$fs/a"
	# With --kill there is nothing to gain.
	take_kill "$PID" --with-files --verbose --name "$fs"
	grep -qE "(written|mapped): cloned" "$W/take.json.err" && fail "$fs: cloned for a tree that is ended"
	restore "$GEN" --with-files
	check "$W/$fs/a"
	# No room to write every page of it anew.
	mkdir "$W/$fs/full"
	for i in 1 2 3 4; do
		room=$(($(stat -f -c '%a * %S' "$W/$fs") - (100 << 20)))
		[ $room -le 0 ] && break
		fallocate -l $room "$W/$fs/full/$i" && sync -f "$W/$fs/full/$i" || fail "$fs: cannot be filled"
	done
	[ $(($(stat -f -c '%a * %S' "$W/$fs"))) -lt $((120 << 20)) ] || fail "$fs: not filled: $(df "$W/$fs")"
	take "$PID" --with-files --verbose --name "$fs"
	[ "$(cloned)" = 0 ] || fail "$fs: cloned where the target might lack room afterwards"
	check "$W/$fs/a"
	kill_tree "$PID"
	wait_for 5 gone "$PID"
	rm -r "$W/$fs/full" "$W/$fs/a"

	# Many pieces: read, as each costs more to clone than to read.
	start "$W/$fs/b" python3 -c 'import os, time
f = os.open("pieces", os.O_RDWR | os.O_CREAT, 0o600)
for i in range(2500): os.pwrite(f, os.urandom(4096), i * 8192)
os.fsync(f)
open("ready", "w").close()
while True: os.pwrite(f, b"x", 0)'
	wait_for 20 test -e "$W/$fs/b/ready" || fail "no writer: $(cat "$W/$fs/b/out")"
	take "$PID" --with-files --verbose --name "$fs-b"
	[ "$(cloned)" = 0 ] || fail "$fs: a file in 2500 pieces was cloned"
	[ "$(field data_files "$W/take.json")" -ge 1 ] || fail "$fs: not stored: $(cat "$W/take.json")"
	kill_tree "$PID"
	wait_for 5 gone "$PID"
done
exit 0
