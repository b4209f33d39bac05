#!/bin/bash
# Files compared before a restore: what differs is named with how, nothing is started, and what is
# the same in another place or has only grown is no difference.
. "$(dirname "$0")/lib.sh"

mkdir "$W/a" && cd "$W/a" || exit 1
mkfifo wait
head -c 1000000 /dev/urandom >data
head -c 300000 /dev/urandom >db
head -c 300000 /dev/urandom >log
cp -p log log.then && touch -r db db.then
start "$W/a" bash -c 'exec 3<data 4>>log 5<>db 9<>wait; echo x >ready; read -r x <&9; echo "$x" >&4; : >ended'
wait_for 5 test -e ready || fail "the target did not start"
sleep 2.2
take "$PID"
files=$(field files_seen "$W/take.json")
[ "$files" -ge 4 ] && [ "$(field files_read "$W/take.json")" = "$files" ] || fail "first take: $(cat "$W/take.json")"
take "$PID"
[ "$(field files_known "$W/take.json")" = "$files" ] && [ "$(field bytes_files_read "$W/take.json")" = 0 ] ||
	fail "an unchanged file was read again: $(cat "$W/take.json")"
take_kill "$PID" --cookie=sampled
sampled=$GEN

tasks() { set -- /proc/[0-9]*; echo $#; }
before=$(tasks)
# refused GEN PATH KIND...: exit code 4, the file named with these differences, by text and by JSON.
refused() {
	local gen=$1 path=$2
	shift 2
	snap_json "$W/restore.json" restore --gen "$gen"
	[ $? = 4 ] || fail "$path $*: not refused: $(cat "$W/restore.json.err")"
	grep -q "$path: " "$W/restore.json.err" || fail "$path is not named: $(cat "$W/restore.json.err")"
	grep -q -e "--files=stored" "$W/restore.json.err" || fail "the choices are not named"
	tr -d ' \n' <"$W/restore.json" | grep -q "\"path\":\"$path\",\"differs\":\[$(printf '"%s",' "$@" | sed 's/,$//')\]" ||
		fail "$path $*: $(cat "$W/restore.json")"
	[ "$(tasks)" -le "$before" ] || fail "a refused restore left a process"
}
# accepted GEN WORD [OPTION...]: restored, and said.
accepted() {
	local gen=$1 word=$2
	shift 2
	restore "$gen" "$@"
	grep -q "$word" "$W/restore.json" "$W/restore.json.err" || fail "$word was not said: $(cat "$W/restore.json")"
	kill -9 "$PID"
	wait_for 5 gone "$PID"
}
first=$((sampled - 1))

printf more >>log
accepted "$first" '"grown"'
truncate -s 100 log
refused "$first" "$W/a/log" size
head -c 400000 /dev/urandom >log
refused "$first" "$W/a/log" size prefix
cat log.then >log
touch -r log.then log

# The same bytes under another inode, and then other bytes of the same size and time.
cp -p data copy && mv copy data
accepted "$sampled" '"inode"'
printf x | dd of=data bs=1 seek=999999 conv=notrunc status=none
touch -r db data
refused "$sampled" "$W/a/data" content inode
accepted "$sampled" '"ignored"' --files=ignore
snap_json "$W/restore.json" restore --gen "$sampled" --files=stored
[ $? = 4 ] || fail "a file that is not stored was restored from the store"
mv data data.changed
refused "$sampled" "$W/a/data" missing
snap_json "$W/restore.json" restore --gen "$sampled" --files=ignore
[ $? = 4 ] || fail "a missing file was ignored"
grep -q "uses what is there, but 1 is missing" "$W/restore.json.err" || fail "why not is not told: $(cat "$W/restore.json.err")"
mv data.changed data

# Samples say nothing about what lies between them.
head -c 9000000 /dev/urandom >"$W/a/large"
start "$W/t" bash -c 'exec 3<../a/large; : >ready; exec sleep 1000'
wait_for 5 test -e "$W/t/ready" || fail "the target did not start"
take_kill "$PID" --cookie=sampled
large=$GEN
printf x | dd of=large bs=1 seek=5100000 conv=notrunc status=none
refused "$large" "$W/a/large" modified
grep -q "only samples were noted" "$W/restore.json.err" || fail "why is not told: $(cat "$W/restore.json.err")"

# Without a sum, times tell; and the mode.
touch db
refused "$first" "$W/a/db" modified
chmod 600 db
snap_json "$W/restore.json" restore --gen "$sampled"
grep -q '"mode"' "$W/restore.json" || fail "the mode is not compared"
chmod 644 db

# Renamed: the same inode in another folder, found by its handle; the restored task has it open.
head -c 1000000 /dev/zero >other && mv other data
refused "$sampled" "$W/a/data" content inode
touch -r db.then db
mkdir elsewhere && mv db elsewhere/db.old
restore "$sampled" --files=ignore
grep -q '"renamed_to": "'"$W/a/elsewhere/db.old" "$W/restore.json" || fail "the renamed file was not found"
[ "$(readlink "/proc/$PID/fd/5")" = "$W/a/elsewhere/db.old" ] || fail "the renamed file is not the one that is open"
echo appended >wait
wait_for 5 test -e ended || fail "the restored process does not run"
[ "$(tail -c 9 log)" = appended ] || fail "its log was not written to"
