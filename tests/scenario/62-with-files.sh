#!/bin/bash
# Rolled back together with their files: a database in the middle of a transaction, a daemon with its
# log, a file others hold; put back as before if the restore fails; a file that others write to.
# timeout: 120
. "$(dirname "$0")/lib.sh"
back() { field files_back "$W/restore.json"; }

# ---- sqlite3, more changed than its cache holds, so that the journal is hot and the file half new
if command -v sqlite3 >/dev/null; then
	mkdir "$W/s" && mkfifo "$W/s/commands"
	say() { echo "$*" >"$W/s/commands"; }
	said() { grep -qx "$1" "$W/s/out"; }
	start "$W/s" bash -c 'exec sqlite3 db <>commands'
	say "pragma cache_size=10; create table t(x, y); insert into t values (1, 'first');"
	say "begin; with recursive n(i) as (values(1) union all select i + 1 from n where i < 3000)
		insert into t select i, hex(randomblob(100)) from n; select 'inserted';"
	wait_for 20 said inserted || fail "sqlite3: $(cat "$W/s/out")"
	[ -s "$W/s/db-journal" ] || fail "sqlite3 wrote no journal"
	take "$PID" --name db --with-files
	[ "$(field data_files "$W/take.json")" -ge 2 ] || fail "not stored: $(cat "$W/take.json")"
	say "commit; delete from t where x > 10; select 'gone ' || count(*) from t;"
	wait_for 20 said "gone 11" || fail "sqlite3 does not go on: $(cat "$W/s/out")"
	[ ! -s "$W/s/db-journal" ] || fail "the journal is still there"
	snap_json "$W/restore.json" restore --name db --replace
	[ $? = 4 ] && alive "$PID" || fail "restored without its files"
	restore "$GEN" --replace --with-files
	[ "$(back)" -ge 2 ] || fail "not put back: $(cat "$W/restore.json")"
	say "select 'rows ' || count(*) from t; rollback; select 'left ' || count(*) from t;"
	wait_for 20 said "rows 3001" || fail "the transaction lost its rows: $(tail -n 3 "$W/s/out")"
	wait_for 20 said "left 1" || fail "the journal did not roll back: $(tail -n 3 "$W/s/out")"
	say .quit
	wait_for 10 gone "$PID" || fail "sqlite3 does not end"
	[ "$(sqlite3 "$W/s/db" "select y from t; pragma integrity_check;" | tr '\n' ' ')" = "first ok " ] ||
		fail "the database is not whole"
	[ -z "$(find "$W/s" -name '.snap-*')" ] || fail "something was left beside the database"
fi

# ---- a daemon, its log (which has a second name), and a state file it replaces
mkdir "$W/d" && mkfifo "$W/d/in"
: >"$W/d/log" && ln "$W/d/log" "$W/d/second-name" && echo "state 0" >"$W/d/state"
start "$W/d" bash -c 'exec 3>>log 4<>state 9<>in; n=0; while read -r x <&9; do n=$((n + 1)); echo "line $n" >&3; done'
lines() { [ "$(tail -n 1 "$W/d/log")" = "line $1" ]; }
for i in 1 2 3; do echo x >"$W/d/in"; done
wait_for 5 lines 3 || fail "the daemon does not write"
sleep 2.1
take "$PID" --name daemon --with-files
take "$PID" --name daemon --with-files
[ "$(field data_files_known "$W/take.json")" = 3 ] || fail "unchanged files were read again: $(cat "$W/take.json")"
for i in 1 2 3 4; do echo x >"$W/d/in"; done
wait_for 5 lines 7 || fail "the daemon does not go on"
inode=$(stat -c %i "$W/d/log")
restore "$GEN" --replace --with-files
[ "$(back)" = 1 ] || fail "put back: $(cat "$W/restore.json")"
[ "$(cat "$W/d/second-name")" = "$(printf 'line 1\nline 2\nline 3')" ] || fail "the log: $(cat "$W/d/log")"
[ "$(stat -c %i "$W/d/log")" = "$inode" ] || fail "a log with two names lost its inode"
echo x >"$W/d/in"
wait_for 5 lines 4 || fail "the daemon does not go on where it was: $(cat "$W/d/log")"
kill -9 "$PID"
wait_for 5 gone "$PID"
# A log that is gone comes back.
rm "$W/d/log" "$W/d/second-name"
restore "$GEN" --with-files
[ "$(cat "$W/d/log")" = "$(printf 'line 1\nline 2\nline 3')" ] || fail "the deleted log is not back"
kill -9 "$PID"
wait_for 5 gone "$PID"
# Nothing is written through a link that came into the path meanwhile.
mv "$W/d" "$W/real" && mkdir "$W/outside" && ln -s "$W/outside" "$W/d"
snap_json "$W/restore.json" restore --gen "$GEN" --with-files && fail "restored through a symbolic link"
[ -z "$(ls -A "$W/outside")" ] || fail "something was written through a symbolic link"
rm "$W/d" && mv "$W/real" "$W/d"

# ---- a restore that fails when the files are back: they are again what they were
command -v python3 >/dev/null || exit 0
port=$(free_port)
listen='import socket, time
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", '$port')); s.listen(); f = open("data", "r+"); open("ready", "w").close()
time.sleep(1000)'
mkdir "$W/p" && echo then >"$W/p/data"
start "$W/p" python3 -c "$listen"
wait_for 10 test -e "$W/p/ready" || fail "python3 does not listen: $(cat "$W/p/out")"
take_kill "$PID" --with-files
echo "now, and longer" >"$W/p/data"
mkdir "$W/q" && : >"$W/q/data"
start "$W/q" python3 -c "$listen"
wait_for 10 test -e "$W/q/ready" || fail "python3 does not listen"
snap_json "$W/restore.json" restore --gen "$GEN" --with-files && fail "restored onto a port that is taken"
[ "$(cat "$W/p/data")" = "now, and longer" ] || fail "after a failed restore the file is: $(cat "$W/p/data")"
[ -z "$(find "$W/p" -name '.snap-*')" ] || fail "something was left"
kill -9 "$PID"
wait_for 5 gone "$PID"

# ---- a restore that is killed half-way: the next one clears up what it left, once all is well
mkdir "$W/k" && head -c 60000000 /dev/urandom >"$W/k/data" && cp "$W/k/data" "$W/then"
start "$W/k/t" python3 -c 'import time; f = open("../data", "r+b"); open("ready", "w").close(); time.sleep(1000)'
wait_for 10 test -e "$W/k/t/ready" || fail "python3 does not run"
take "$PID" --with-files --verbose
grep -q "k/data: stored as it was read before the freeze" "$W/take.json.err" ||
	fail "a large file that nobody writes to was not read ahead: $(cat "$W/take.json.err")"
kill_tree "$PID"
wait_for 5 gone "$PID"
echo "in its place" >"$W/k/data"
left() { find "$W/k" -name '.snap-*-*' | wc -l; }
# Once from another pid namespace, in which numbers mean other processes; then from this one.
for way in "unshare --pid --fork --kill-child --mount-proc" ""; do
	before=$(left)
	$way "$SNAP" --quiet restore --gen "$GEN" --with-files >/dev/null 2>&1 &
	restoring=$!
	until [ "$(left)" -gt "$before" ] || gone $restoring; do :; done
	kill_tree $restoring
	wait $restoring 2>/dev/null
	kill_tree "$PID"
	wait_for 5 gone "$PID" || fail "the target of a killed restore does not go"
	[ "$(left)" -gt "$before" ] || fail "the restore was not killed half-way: $(ls -A "$W/k")"
done
# No name of ours; of somebody who is at work, which a lock tells wherever it is; of one who was.
left=$(cd "$W/k" && ls -d .snap-*-* | head -n 1)
for id in aaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbb; do
	touch "$W/k/.snap-$id" "$W/k/.snap-$id${left#.snap-????????????????}"
done
touch "$W/k/.snap-notes"
start "$W/k/l" flock "$W/k/.snap-aaaaaaaaaaaaaaaa" sh -c 'touch locked; exec sleep 1000'
wait_for 5 test -e "$W/k/l/locked" || fail "nobody at work"
restore "$GEN" --with-files
cmp "$W/k/data" "$W/then" || fail "the file is not back after a killed restore"
[ "$(cd "$W/k" && echo .snap-*)" = ".snap-aaaaaaaaaaaaaaaa .snap-aaaaaaaaaaaaaaaa${left#.snap-????????????????} .snap-notes" ] ||
	fail "left behind: $(ls -A "$W/k")"
grep -q "files removed that a killed restore had left" "$W/restore.json.err" || fail "not said: $(cat "$W/restore.json.err")"
kill -9 "$PID"
wait_for 5 gone "$PID"
rm "$W/then"

# ---- a large file that is written to all the time, now and then with a pause: what was read ahead
# counts only if it is what the process has written when it stands still
mkdir "$W/w"
cat >"$W/writer.py" <<'END'
import os, struct, time
shadow = bytearray(1 << 20)
f = os.open("data", os.O_RDWR | os.O_CREAT, 0o600)
os.pwrite(f, shadow, 0)
open("ready", "w").close()
i = 0
while True:
    i += 1
    at, new = i * 4104 % (1 << 20) & ~7, struct.pack("<Q", i)
    shadow[at:at + 8] = new
    os.pwrite(f, new, at)
    if i % 20 == 0:
        time.sleep(0.05)
        if os.path.exists("check"):
            os.unlink("check")
            with open("verdict.new", "w") as told:
                told.write("same" if os.pread(f, 2 << 20, 0) == shadow else "differs")
            os.rename("verdict.new", "verdict")
END
start "$W/w" python3 "$W/writer.py"
wait_for 10 test -e "$W/w/ready" || fail "python3 does not run"
for i in 1 2 3; do
	take "$PID" --with-files --name writer
	restore "$GEN" --replace --with-files
	touch "$W/w/check"
	wait_for 10 test -e "$W/w/verdict" || fail "the writer does not go on"
	[ "$(cat "$W/w/verdict")" = same ] || fail "its file is not what it had written"
	rm "$W/w/verdict"
done
kill -9 "$PID"
wait_for 5 gone "$PID"

# ---- others write to it while it is read: said
head -c 60000000 /dev/zero >"$W/p/big"
rm "$W/p/ready"
start "$W/p/t" python3 -c 'import time; f = open("../big", "r+b"); open("ready", "w").close(); time.sleep(1000)'
wait_for 10 test -e "$W/p/t/ready" || fail "python3 does not run"
target=$PID
start "$W/p/o" python3 -c 'import os
f = os.open("../big", os.O_RDWR); open("ready", "w").close()
while True: os.pwrite(f, b"x", 5)'
wait_for 10 test -e "$W/p/o/ready" || fail "python3 does not run"
take "$target" --with-files
[ "$(field data_files_torn "$W/take.json")" = 1 ] && grep -q "outside of the tree" "$W/take.json.err" ||
	fail "a torn file went unnoticed: $(cat "$W/take.json")"
exit 0
