#!/bin/sh
# pages.sh SNAP VERSION DATE COMMANDS.md FOLDER: makes snap.1 and a page for each command, in FOLDER.
set -eu
snap=$1 version=$2 date=$3 document=$4 folder=$5
here=$(dirname "$0")

page() {
	awk -v command="$1" -v summary="$2" -v version="$version" -v date="$date" -f "$here/page.awk" \
		"$folder/help" "$document" $3
}

"$snap" --help >"$folder/help.all"
sed -n '/^commands:/,/^$/s/^  \([a-z]*\)  *\(.*\)/\1 \2/p' "$folder/help.all" |
	while read -r command summary; do
		"$snap" "$command" --help >"$folder/help"
		page "$command" "$summary" "" >"$folder/snap-$command.1"
	done
mv "$folder/help.all" "$folder/help"
page "" "snapshots of running processes" "$here/more.roff" >"$folder/snap.1"
rm "$folder/help"
