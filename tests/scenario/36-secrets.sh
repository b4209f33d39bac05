#!/bin/bash
# Secret memory at rest: the word in it is nowhere in the store nor in what is printed; without the
# right key nothing is taken, nothing restored, and nothing else is in the way; keys that change.
# timeout: 120
. "$(dirname "$0")/lib.sh"
grep_program=$TARGETS/../../scenario/programs/store_grep
[ -x "$grep_program" ] || fail "no $grep_program"

# spell STEP: the word of ../targets/secret_word.c
spell() {
	local i letters=ABCDEFGHIJKLMNOPQRSTUVWXYZ
	for ((i = 0; i < 26; i++)); do
		printf %s "${letters:$((i * $1 % 26)):1}"
	done
}
secret=$(spell 7)
known=$(spell 9)

# refused CODE WORD ARGS...: snap ends with CODE and says WORD; nothing of it is left running.
refused() {
	local code=$1 word=$2 rc
	shift 2
	"$SNAP" "$@" >"$W/refused.out" 2>"$W/refused.err"
	rc=$?
	[ $rc = "$code" ] || fail "snap $*: exit code $rc instead of $code: $(cat "$W/refused.err")"
	grep -q "$word" "$W/refused.err" || fail "snap $*: does not speak of $word: $(cat "$W/refused.err")"
	[ -z "$(sort "$W/refused.err" | uniq -d)" ] || fail "snap $*: says it twice: $(cat "$W/refused.err")"
	cat "$W/refused.out" "$W/refused.err" >>"$W/log"
}
# not_restored CODE WORD ARGS...: likewise, for a restore of the process that was $PID.
not_restored() {
	refused "$@"
	gone "$PID" || fail "restore was refused, and process $PID is there"
}
generations() { "$SNAP" ls --json | grep -c '"generation"'; }

start_target "$W/a" "$TARGETS/secret_word"
"$SNAP" take --verbose --pid "$PID" --name word >"$W/log" 2>&1 || fail "take: $(cat "$W/log")"
grep -q "^generation 1" "$W/log" || fail "no generation: $(cat "$W/log")"
"$SNAP" take --verbose --pid "$PID" --name word --kill >>"$W/log" 2>&1 || fail "take: $(cat "$W/log")"
wait_for 5 gone "$PID" || fail "still there"

# The key is made by itself, private, and not among the packs.
key=$(cd "$SNAP_STORE" && echo key-*)
[ "$(cd "$SNAP_STORE" && stat -c %a keys "$key" | sort -u)" = 600 ] || fail "keys: $(ls -l "$SNAP_STORE")"

# Neither as it lies there nor after decompression; the other word is found.
grep -rqF "$secret" "$SNAP_STORE" && fail "the secret is in the store as it is"
"$grep_program" "$SNAP_STORE" <<<"$known" >"$W/found" || fail "what is no secret is not found"
"$grep_program" "$SNAP_STORE" <<<"$secret" >"$W/found" && fail "the secret is in the store: $(cat "$W/found")"
"$SNAP" show --gen 2 >>"$W/log" 2>&1 || fail "show"

# What looks into generations tells that there are secrets, and shows them only if asked by name.
# look_all OPTION...: what all those commands print and write with this, as $W/look.
look_all() {
	local at
	rm -rf "$W/look" && mkdir "$W/look"
	"$SNAP" inspect "$@" --gen 2 --all >"$W/look/inspect" 2>&1 || return 1
	"$SNAP" inspect "$@" --gen 2 --all --json >"$W/look/inspect.json" 2>&1 || return 1
	"$SNAP" search "$@" --gen 1-2 --string "$secret" >"$W/look/search" 2>&1 || return 1
	"$SNAP" search "$@" --gen 2 --regex "${secret:0:5}[A-Z]+" --json >"$W/look/search.json" 2>&1 || return 1
	"$SNAP" core "$@" --gen 2 --output "$W/look/core" >"$W/look/core.out" 2>&1 || return 1
	"$SNAP" mem "$@" --gen 2 >"$W/look/mem" 2>&1 || return 1
	at=$("$SNAP" mem --gen 2 | sed -n 's/-.*sealed.*//p' | head -n 1)
	"$SNAP" mem "$@" --gen 2 --range "$at+5000" >"$W/look/range" 2>&1 || return 1
	"$SNAP" mem "$@" --gen 2 --range "$at+5000" --raw >"$W/look/raw" 2>"$W/look/raw.out" || return 1
	"$SNAP" diff "$@" --gen 1 --gen 2 >"$W/look/diff" 2>&1 || return 1
	"$SNAP" export "$@" --gen 2 "$W/look/export" >"$W/look/export.out" 2>&1 || return 1
}
# The word without the pattern that was asked for.
letters() { grep -aqrF "$(spell 7)$(spell 7)" "$@"; }
look_all || fail "a look without secrets: $(tail -n 2 "$W"/look/*)"
letters "$W/look" && fail "a secret is shown: $(grep -arlF "$secret$secret" "$W/look")"
grep -q "0 places" "$W/look/search" || fail "$(cat "$W/look/search")"
for part in search core.out mem range raw.out diff export.out inspect; do
	grep -q "sealed" "$W/look/$part" || fail "$part does not tell of what is sealed: $(cat "$W/look/$part")"
done
look_all --reveal-secrets || fail "a look at secrets: $(tail -n 2 "$W"/look/*)"
for part in core export raw; do
	letters "$W/look/$part" || fail "with --reveal-secrets, $part has no secret"
done
[ "$(head -c ${#secret} "$W/look/raw")" = "$secret" ] || fail "mem --raw: other bytes than in the secret"
grep -q "^word pid $PID 0x.*$secret" "$W/look/search" || fail "search --reveal-secrets: $(cat "$W/look/search")"
[ "$(field places "$W/look/search.json")" -gt 0 ] || fail "search --regex --reveal-secrets"
grep -q "${secret:0:8}" "$W/look/range" || fail "mem --range: $(head -n 3 "$W/look/range")"
"$SNAP" search --reveal-secrets --gen 2 --string "$secret" --limit 9999 --json >"$W/look/all.json"
[ "$(field places "$W/look/all.json")" = $((8 * 4096 / 26 * 2)) ] ||
	fail "search --reveal-secrets: not every place of both secrets"
grep -q sealed "$W"/look/{search,core.out,mem,range,raw.out,diff,export.out} && fail "sealed, though revealed"
rm -rf "$W/look"

# Without the key: everything but secrets works, and no secret is taken or comes back.
mv "$SNAP_STORE/$key" "$W/key"
"$SNAP" verify --data >>"$W/log" 2>&1 || fail "verify without the key: $(tail -n 3 "$W/log")"
not_restored 4 key restore --gen 2
refused 4 key mem --gen 2 --reveal-secrets
refused 4 key search --gen 2 --string "$secret" --reveal-secrets
refused 4 key export --gen 2 "$W/exported" --reveal-secrets
[ ! -e "$W/exported" ] || fail "a refused export left $W/exported"
"$SNAP" core --gen 2 --output "$W/core" >>"$W/log" 2>&1 || fail "core without the key: $(tail -n 3 "$W/log")"
"$SNAP" --store "$W/other" init --key-file "$W/other.key" >>"$W/log" 2>&1 || fail "init: $(tail -n 3 "$W/log")"
not_restored 4 "not the key" restore --gen 2 --key-file "$W/other.key"
chmod 644 "$W/key"
not_restored 4 "chmod 600" restore --gen 2 --key-file "$W/key"
"$SNAP" key status 2>&1 | grep -q ": missing$" || fail "key status: $("$SNAP" key status)"
cp "$W/key" "$SNAP_STORE/$key" && chmod 644 "$SNAP_STORE/$key"
"$SNAP" key status 2>&1 | grep -q "there, but of no use" || fail "key status: $("$SNAP" key status)"
rm "$SNAP_STORE/$key"
chmod 600 "$W/key"
SNAP_WITHOUT=memfd_secret not_restored 4 memfd_secret restore --gen 2 --key-file "$W/key"
cp "$SNAP_STORE/keys" "$W/keys"
sed -i 's/^key ./key f/; s/^method store/method stone/' "$SNAP_STORE/keys"
not_restored 5 damaged restore --gen 2 --key-file "$W/key"
cp "$W/keys" "$SNAP_STORE/keys"
first=$PID
start_target "$W/b" "$TARGETS/secret_word"
before=$(cat /proc/"$PID"/maps; ls /proc/"$PID"/fd)
refused 4 key take --pid "$PID" --name other
refused 4 key take --pid "$PID" --name other --kill
[ "$(generations)" = 2 ] || fail "a refused take left a generation"
[ "$before" = "$(cat /proc/"$PID"/maps; ls /proc/"$PID"/fd)" ] || fail "a refused take changed its target"
"$SNAP" take --pid "$PID" --name other --key-file "$W/key" --quiet >>"$W/log" 2>&1 || fail "take with --key-file"
judge "$W/b" "$PID" "after a refused and another take"
PID=$first

# With it all of it works, wherever the key lies.
SNAP_KEY_FILE=$W/key restore 2
judge "$W/a" "$PID" "after restore with the key elsewhere"

# Another key: what is stored stays readable, and the old key opens nothing.
printf 'open sesame\n' >"$W/words"
"$SNAP" key rotate --key-file "$W/key" --new-passphrase-file "$W/words" >>"$W/log" 2>&1 || fail "rotate: $(tail -n 3 "$W/log")"
rm "$W/a/judge" "$W/a/verdict"
not_restored 4 passphrase restore --gen 2 --key-file "$W/key" </dev/null
printf 'open barley\n' >"$W/wrong"
not_restored 4 "wrong passphrase" restore --gen 2 --passphrase-file "$W/wrong"
SNAP_PASSPHRASE_FILE=$W/words restore 1
take "$PID" --name word --passphrase-file "$W/words"
start_target "$W/c" "$TARGETS/secret_word"
refused 4 passphrase take --pid "$PID" --name third
judge "$W/c" "$PID" "after a take without the passphrase"
PID=$first
"$SNAP" key rotate --passphrase-fd 9 --new-key-file "$W/new.key" 9<"$W/words" >>"$W/log" 2>&1 || fail "rotate: $(tail -n 3 "$W/log")"
"$SNAP" key rotate >>"$W/log" 2>&1 || fail "rotate in place: $(tail -n 3 "$W/log")"
take_kill "$PID" --name word
restore "$GEN"
judge "$W/a" "$PID" "after three rotations"
"$SNAP" key status --json >"$W/status" || fail "key status"
[ "$(field method "$W/status")" = file ] && [ "$(field data_keys "$W/status")" = 4 ] || fail "$(cat "$W/status")"
grep -q "$(tail -n 1 "$W/new.key")" "$W/log" "$W/status" && fail "a key was printed"
[ "$(cd "$SNAP_STORE" && echo key-*)" = "key-*" ] || fail "an old key file is left: $(ls "$SNAP_STORE")"

# gc needs no key.
mv "$W/new.key" "$W/away"
"$SNAP" gc --keep-last 1 >>"$W/log" 2>&1 || fail "gc: $(tail -n 3 "$W/log")"
"$SNAP" verify --data >>"$W/log" 2>&1 || fail "verify after gc: $(tail -n 3 "$W/log")"
grep -aqF "$secret" "$W"/log "$W/core" "$W"/*.err "$W"/*.json && fail "the secret was printed"
grep -rqF "$secret" "$SNAP_STORE" && fail "the secret is in the store as it is"
"$grep_program" "$SNAP_STORE" <<<"$secret" >"$W/found" && fail "the secret is in the store: $(cat "$W/found")"
exit 0
