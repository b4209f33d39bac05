#!/bin/bash
# manual.sh SNAP CMAKE BUILD: the manual as it is installed has a page for each command, each page has
# every option of --help, what it is made of is all there, and nothing in it is wrong troff.
set -u
snap=$1 cmake=$2 build=$3
fail() { echo "FAIL: $*"; exit 1; }
command -v mandoc >/dev/null || { echo "SKIP: needs mandoc"; exit 77; }

folder=$(mktemp -d /tmp/snap-manual.XXXXXX)
trap 'rm -rf "$folder"' EXIT
"$cmake" --install "$build" --prefix "$folder" >"$folder/log" 2>&1 || fail "install: $(cat "$folder/log")"
[ -x "$folder/bin/snap" ] || fail "no program was installed"
pages=$folder/share/man/man1

# check NAME HELP...: the page NAME, against what that command prints.
check() {
	local page=$pages/$1.1 option
	shift
	[ -s "$page" ] || fail "there is no page $page"
	mandoc -T lint -W warning "$page" || fail "$page: see above"
	mandoc -T ascii "$page" | sed 's/.\x08//g' >"$folder/text"
	"$@" >"$folder/help" || fail "$*"
	for option in $(grep -oE '^ {2,6}(-[a-zA-Z], )?--[a-z-]+' "$folder/help"); do
		grep -qE -- "^ +(-[a-zA-Z], )?${option%,}([ ,]|$)" "$folder/text" ||
			grep -qE -- "^ +${option%,}, --" "$folder/text" || fail "$page: without ${option%,}"
	done
	for section in NAME SYNOPSIS DESCRIPTION "EXIT STATUS"; do
		grep -qx "$section" "$folder/text" || fail "$page: without a section $section"
	done
}

check snap "$snap" --help
commands=$(sed -n '/^commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' "$folder/help")
[ "$(echo "$commands" | wc -w)" -ge 12 ] || fail "--help lists only: $commands"
for command in $commands; do
	grep -q "snap-$command(1)" <(mandoc -T ascii "$pages/snap.1" | sed 's/.\x08//g') ||
		fail "snap(1) does not name snap-$command(1)"
	check "snap-$command" "$snap" "$command" --help
	grep -qx JSON "$folder/text" || fail "snap-$command(1) does not tell its JSON"
	# Behind what --help says, there is what docs/commands.md says.
	[ "$(sed -n '/^DESCRIPTION/,/^OPTIONS/p' "$folder/text" | grep -c '^$')" -ge 2 ] ||
		fail "snap-$command(1): docs/commands.md has nothing about it"
done
[ "$(find "$pages" -type f | wc -l)" = $(($(echo "$commands" | wc -w) + 1)) ] ||
	fail "other files were installed: $(ls "$pages")"
exit 0
