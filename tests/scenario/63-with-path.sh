#!/bin/bash
# A whole folder goes back with the process: owner, mode, times, attributes, links of both kinds, holes;
# what came in since goes; nothing outside of it is touched.
# timeout: 60
. "$(dirname "$0")/lib.sh"

D=$W/tree
mkdir -p "$D/sub/deep" "$D/empty" "$W/outside"
echo outside >"$W/outside/file"
echo one >"$D/one"
head -c 500000 /dev/urandom >"$D/sub/big"
ln "$D/sub/big" "$D/sub/deep/hard"
ln -s ../../outside/file "$D/sub/soft"
truncate -s 3000000 "$D/sub/holes" && printf data | dd of="$D/sub/holes" bs=1 seek=2000000 conv=notrunc status=none
mkfifo "$D/sub/fifo"
chmod 4751 "$D/one" && chmod 1770 "$D/sub/deep" && chown 12:34 "$D/sub/big" "$D/empty"
attributes=no
command -v python3 >/dev/null && python3 -c "import os; os.setxattr('$D/one', 'user.colour', b'blue')" 2>/dev/null && attributes=yes
touch -d '2001-02-03 04:05:06.123456789' "$D/sub/big" "$D/empty"
touch -h -d '2002-02-03 04:05:06.5' "$D/sub/soft"
touch -d '2003-03-03 03:03:03.3' "$D/sub"
look() {
	(cd "$D" && find . -printf '%p %y %m %U %G %s %T@ %l %n\n' | sed 's/^\(\S* d \S* \S* \S*\) \S* /\1 - /' | sort
	find . -type f -exec md5sum {} + | sort
	[ $attributes = no ] || python3 -c "import os; print(os.getxattr('one', 'user.colour'))")
}
look >"$W/then"
holes=$(stat -c %b "$D/sub/holes")

cd "$W" || exit 1
start "$W/a" sleep 1000
"$SNAP" config --name app with-path="$D" with-files=on cookie=sampled >/dev/null || fail "config"
"$SNAP" config --name app | grep -qx "with-path = $D" || fail "config does not tell what was set"
"$SNAP" config --name app colour=blue 2>/dev/null && fail "a setting that does not exist was taken"
sleep 2.1
take "$PID" --name app
# Three of the folder, and its output.
[ "$(field data_files "$W/take.json")" = 4 ] || fail "what was configured was not stored: $(cat "$W/take.json")"
take "$PID" --name app
[ "$(field data_files_known "$W/take.json")" = 4 ] || fail "unchanged files were read again: $(cat "$W/take.json")"

# Everything that can happen to a folder.
echo changed >>"$D/one" && chmod 600 "$D/one"
echo more | dd of="$D/sub/big" bs=1 seek=1000 conv=notrunc status=none
rm "$D/sub/soft" && echo file >"$D/sub/soft"
rm "$D/sub/deep/hard" && rmdir "$D/sub/deep" && ln -s "$W/outside" "$D/sub/deep"
rm "$D/sub/fifo" && mkdir -p "$D/sub/fifo/with" && echo x >"$D/sub/fifo/with/content"
mkdir "$D/new" && echo new >"$D/new/file" && echo new >"$D/sub/new"
rmdir "$D/empty"
truncate -s 10 "$D/sub/holes"
snap_json "$W/restore.json" restore --name app --replace --with-files || fail "restore: $(cat "$W/restore.json.err")"
PID=$(field root_pid "$W/restore.json")
remember "$PID"
look >"$W/now"
diff "$W/then" "$W/now" >"$W/difference" || fail "not what it was: $(cat "$W/difference")"
[ "$(stat -c %b "$D/sub/holes")" -le "$holes" ] || fail "holes were filled"
[ "$D/sub/big" -ef "$D/sub/deep/hard" ] || fail "the hard link is none any more"
[ "$(ls -A "$W/outside")" = file ] && [ "$(cat "$W/outside/file")" = outside ] || fail "something outside was touched"
# Nothing to do the second time, and nothing is left behind.
restore "$(field generation "$W/take.json")" --replace --with-files
look | diff "$W/then" - >"$W/difference" || fail "the second time: $(cat "$W/difference")"
[ -z "$(find "$W" -name '.snap-*')" ] || fail "something was left"
# Off again.
"$SNAP" config --name app with-path= with-files=off >/dev/null || fail "config"
take "$PID" --name app
[ "$(field data_files "$W/take.json")" = 0 ] || fail "still stored"
snap_json "$W/restore.json" restore --name app --replace --with-files
[ $? = 3 ] && alive "$PID" || fail "files that were not stored were put back"
