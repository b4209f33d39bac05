#!/bin/bash
# snap image on files, on standard input and on generations; an edited generation comes back edited.
# timeout: 120
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "needs python3"
golden=$HERE/../golden/criu-4.2

says() { grep -q -- "$1" "$W/err" || fail "does not say \"$1\": $(cat "$W/err")"; }
generations() { "$SNAP" ls | tail -n +2 | wc -l; }

cd "$W" || exit 1
note "files"
file=$(echo "$golden"/sleeping/core-*.img)
code 0 image decode -i "$file" -o core.json
code 0 image decode <"$file"
cmp -s out core.json || fail "standard input decodes to something else"
code 0 image encode -i core.json -o core.img
cmp -s core.img "$file" || fail "not the same bytes"
[ "$(stat -c %a core.img)" = 600 ] || fail "an image that others may read"
code 0 image encode <core.json
cmp -s out "$file" || fail "not the same bytes on standard output"
code 0 image decode --pretty -i "$file" -o pretty.json
code 0 image encode -i pretty.json -o core.img
cmp -s core.img "$file" || fail "not the same bytes from the pretty form"
code 0 image show "$golden/pipes/pipes-data.img" --nopl
grep -q '"extra": "... <17B>"' out || fail "--nopl: $(cat out)"
mv out nopl.json
code 1 image encode -i nopl.json
says "nopl"
code 0 image info "$golden/pipes/pipes-data.img"
python3 -c 'import json; assert json.load(open("out")) == {"magic": "PIPES_DATA", "count": 1}' || fail "info: $(cat out)"
# As crit counts, or would if it could.
for image in sleeping/pagemap-*:7 ghosts/ghost-file-1:1 ghosts/ghost-file-2:2 unix/sk-queues:4 ipc/ipcns-msg-*:1; do
	code 0 image info $golden/${image%:*}.img
	[ "$(field count out)" = "${image#*:}" ] || fail "${image%:*} has $(field count out) entries"
done

note "what is wrong"
head -c 500 "$file" >cut.img
code 5 image decode -i cut.img -o never.json
says 'cut.img: entry 0, byte 8'
[ ! -e never.json ] || fail "a file was made of a damaged image"
# Standard input, of raw files too, which have no magic word.
printf 'raw bytes' >pages-9.img
code 0 image decode -i pages-9.img
cp out raw.json
for words in "decode --as pages-9.img" "decode -i - --as some/folder/pages-9.img" "show - --as pages-9"; do
	# shellcheck disable=SC2086
	"$SNAP" image $words <pages-9.img >out 2>err || fail "image $words: $(cat err)"
	python3 -c 'import json; assert json.load(open("out")) == json.load(open("raw.json"))' || fail "image $words: $(cat out)"
done
"$SNAP" image encode <raw.json | cmp - pages-9.img || fail "a raw file came back otherwise"
"$SNAP" image info - --as pages-9.img <pages-9.img | grep -q RAW || fail "info of a raw file"
"$SNAP" image info - <"$golden/pipes/pipes-data.img" | grep -q PIPES_DATA || fail "info of standard input"
"$SNAP" image decode <pages-9.img >out 2>err && fail "bytes of no name were taken for an image"
code 5 image info cut.img
code 5 image show /dev/null
sed 's/"mtype": "X86_64"/"mtype": "Z80"/' core.json >bad.json
code 1 image encode -i bad.json -o never.img
says 'bad.json: entries\[0\].mtype: "Z80" is no'
[ ! -e never.img ] || fail "a file was made of JSON that is wrong"
code 1 image decode -i nothing.img
code 2 image
code 2 image nonsense
code 2 image decode --nopl
code 2 image show
code 2 image show --list
code 2 image edit core-1
code 2 image x "$golden/tree"
code 2 image x "$golden/tree" everything
code 2 image info a b
[ ! -e "$SNAP_STORE" ] || fail "a store was made"

note "folders"
for what in ps fds mems rss sk; do
	for state in sleeping tree unix inet; do
		code 0 image x "$golden/$state" $what
		code 0 image x "$golden/$state" $what --json
		python3 -c 'import json; assert json.load(open("out"))' || fail "x $what: no JSON"
	done
done
code 0 image x "$golden/tree" ps
[ "$(grep -c states out)" = 4 ] || fail "ps: $(cat out)"
code 0 image x "$golden/inet" sk
grep -q 'tcp  *LISTEN  *127.0.0.1:47001 -> ' out || fail "sk: $(cat out)"
code 0 image x "$golden/inet" fds
grep -q '/dev/null$' out || fail "fds: $(cat out)"
code 0 image x "$golden/sleeping" rss
[ "$(grep -c '^	[0-9a-f]* * / ' out)" = 7 ] || fail "rss: $(cat out)"

note "generations"
code 0 run --name it -- sleep 1000
pid=$(cat out)
remember "$pid"
code 0 take --name it
code 0 image info --gen 1 --list
grep -q "^core-$pid  *CORE  *1 " out || fail "--list: $(cat out)"
code 0 image info --gen 1 --list --json
for image in $(python3 -c 'import json; print(*[i["name"] for i in json.load(open("out"))])'); do
	code 0 image decode --gen 1 "$image" -o "$image.json"
	code 0 image encode -i "$image.json" -o "$image.img"
	code 0 image decode -i "$image.img"
	cmp -s out "$image.json" || fail "$image of a generation does not come back"
	code 0 image show --gen 1 "$image"
done
for what in ps fds mems rss sk; do
	code 0 image x --gen 1 $what
	grep -q "$pid" out || fail "x --gen $what: $(cat out)"
done
code 3 image decode --gen 1 core-1
says 'generation 1 has no image core-1'
code 3 image decode --gen 1 "pages-$pid"
code 3 image decode --gen 9 pstree

note "edit"
sed 's/"comm": "sleep"/"comm": "edited"/' "core-$pid.json" >new.json
code 0 image edit --gen 1 "core-$pid" -i new.json
[ "$(cat out)" = "generation 2" ] || fail "edit printed $(cat out)"
# By an editor, pretty, of an edit, to another name.
EDITOR="sed -i s/edited/again/" code 0 image edit --gen 2 "core-$pid" --name other --json
python3 -c 'import json; j = json.load(open("out"))
assert (j["generation"], j["edit_of"], j["lineage"]) == (3, 2, "other"), j' || fail "edit: $(cat out)"
code 0 show --gen 3
grep -q "^edited      core-$pid of generation 2" out || fail "show: $(cat out)"
code 0 image show --gen 3 snap-edit
[ "$(grep -c '"object"' out)" = 2 ] || fail "snap-edit: $(cat out)"
code 0 image x --gen 1 ps
grep -q sleep out || fail "the generation that was edited is another one now"
# Everything else is shared.
[ "$("$SNAP" show --gen 2 --json | sed -n 's/.*"pages_new": \([0-9]*\).*/\1/p')" -le 3 ] ||
	fail "an edit stored pages: $("$SNAP" show --gen 2 --json)"
code 1 image edit --gen 1 "core-$pid" -i "core-$pid.json"
says "as it was"
code 1 image edit --gen 1 "core-$pid" -i bad.json
code 1 image edit --gen 1 "core-$pid" -i pstree.json
says "no image of kind CORE"
EDITOR=false code 1 image edit --gen 1 "core-$pid"
EDITOR=true code 1 image edit --gen 1 "core-$pid"
code 3 image edit --gen 1 "pages-$pid" -i new.json
code 3 image edit --gen 9 pstree -i new.json
[ "$(generations)" = 3 ] || fail "what was refused made a generation"
[ -z "$(find "${TMPDIR:-/tmp}" -maxdepth 1 -name 'snap-edit.*' -newer new.json)" ] || fail "a folder of an editor is left"
code 0 verify --data

# A dump of CRIU's own making goes through the store and comes out as it was.
mkdir dump && cp "$golden"/sleeping/*.img dump/
code 0 import dump --name golden
code 0 export --name golden dump.again -q
diff -r dump dump.again || fail "the dump of criu's comes back otherwise"

# The new one needs the old one for nothing.
code 0 forget --gen 1 --allow-empty
code 0 forget --gen 2 --allow-empty
code 0 gc --max-unused 0
code 0 verify --data
restore 3 --replace
[ "$(cat "/proc/$PID/comm")" = again ] || fail "came back as $(cat "/proc/$PID/comm")"
exit 0
