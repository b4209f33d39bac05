#!/bin/bash
# Command lines that make no sense, help, and stores that are none: exit codes and who says what.
. "$(dirname "$0")/lib.sh"

# expect CODE ARGS...: the exit code, nothing on standard output, and an explanation.
expect() {
	local code=$1 got
	shift
	"$SNAP" "$@" >"$W/out" 2>"$W/err"
	got=$?
	[ $got = "$code" ] || fail "snap $*: exit code $got instead of $code: $(cat "$W/err")"
	[ ! -s "$W/out" ] || fail "snap $*: printed $(cat "$W/out")"
	grep -q '^snap' "$W/err" || fail "snap $*: does not say what is wrong: $(cat "$W/err")"
	if [ "$code" = 2 ]; then
		grep -q '^try: snap' "$W/err" || fail "snap $*: does not point to --help"
	fi
	[ ! -e "$SNAP_STORE" ] || fail "snap $*: made a store"
}

expect 2
expect 2 nonsense
expect 2 --nonsense
expect 2 ls --nonsense
expect 2 ls operand
expect 2 -q -v ls
expect 2 --store "" ls
expect 2 ls --name a --name b
for name in "" . .. ../x -x a/b "a b" "$(printf 'a%.0s' {1..64})"; do
	expect 2 ls --name "$name"
done
expect 2 take
expect 2 take --pid
for pid in 0 -1 x 1x "" 99999999999999999999 4194305; do
	expect 2 take --pid "$pid"
done
expect 2 take --pid 5 --pid 6
expect 2 take --pid 5 --name a --name b
expect 2 take --name a --kill --stop
expect 2 take --name a --tcp sometimes
expect 2 run -- true
expect 2 run --name a
expect 2 restore
expect 2 restore --gen 1-2
expect 2 show
expect 2 pin
expect 2 pin --gen 1,2
expect 2 forget
for gen in 0 -1 x 3-2 1,,2 1- 18446744073709551616; do
	expect 2 forget --gen "$gen"
done
expect 2 gc --keep-last 0
expect 2 gc --keep-last -1
expect 2 gc --keep-within 5y
expect 2 gc --keep-within 99999999999w
expect 2 check --pid 1 --name a

# No store: everything that needs one says so and makes none.
for line in ls stats verify gc "show --gen 1" "restore --gen 1" "forget --gen 1" "pin --gen 1" \
	"take --name a" "check --name a"; do
	# shellcheck disable=SC2086
	expect 3 $line
	grep -q "$SNAP_STORE" "$W/err" || fail "snap $line: does not name the store: $(cat "$W/err")"
done
expect 3 take --pid 4194303
expect 4 take --pid $$

# A folder that is not a store is left as it is.
mkdir "$W/folder"
echo precious >"$W/folder/file"
for line in ls gc "forget --gen 1"; do
	# shellcheck disable=SC2086
	expect 3 --store "$W/folder" $line
done
# An import of nothing makes no store.
expect 3 import "$W/missing" --name nothing
[ "$(ls -A "$W/folder")" = file ] || fail "a folder that is not a store was written to"

# Help: of everything, without a store, before and after the command.
"$SNAP" --help >"$W/help" || fail "--help"
commands=$(sed -n '/^commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' "$W/help")
[ "$(echo "$commands" | wc -w)" -ge 12 ] || fail "--help lists only: $commands"
for command in $commands; do
	"$SNAP" "$command" --help >"$W/help" 2>"$W/err" || fail "$command --help"
	grep -q "^usage: snap $command" "$W/help" || fail "$command --help has no usage line"
	[ ! -s "$W/err" ] || fail "$command --help complains: $(cat "$W/err")"
	"$SNAP" --help "$command" | cmp -s - "$W/help" || fail "--help $command is not $command --help"
	[ "$(wc -L <"$W/help")" -le 100 ] || fail "$command --help is wider than 100 columns"
done
"$SNAP" --version | grep -q '^snap [0-9]' || fail "--version"
[ ! -e "$SNAP_STORE" ] || fail "help made a store"

# What is printed and does not arrive is a failure.
"$SNAP" --help >/dev/full 2>"$W/err"
[ $? = 1 ] || fail "--help to a full device: not exit code 1"
exit 0
