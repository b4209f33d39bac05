#!/bin/bash
# The page of diff --html, as a browser reads it: rows of mappings, a cell for each generation shaded
# by what changed, nothing loaded from elsewhere, names of a target that are no tags.
# timeout: 120
. "$(dirname "$0")/lib.sh"
command -v chromium >/dev/null || skip "needs chromium"

start_target "$W/a" "$TARGETS/../look/look_at_me"
first=$PID
take "$first"
one=$GEN
: >"$W/a/next" && wait_for 10 test -e "$W/a/changed" || fail "the program did not go on"
take "$first"
two=$GEN
take "$first"
three=$GEN
kill -KILL "$first"
border=$(sed -n 's/^border //p' "$W/a/places")

"$SNAP" diff --gen "$one" --gen "$three" --html "$W/map.html" >"$W/out" 2>&1 || fail "diff --html: $(cat "$W/out")"
[ "$(stat -c %a "$W/map.html")" = 600 ] || fail "others may read the page"
"$SNAP" diff --gen "$one" --gen "$three" --html "$W/map.html" >"$W/out" 2>&1 && fail "a file was overwritten"
"$SNAP" diff --name no-such --html "$W/none.html" >"$W/out" 2>&1
[ $? = 3 ] && [ ! -e "$W/none.html" ] || fail "a lineage that is not there: $(cat "$W/out")"
"$SNAP" diff --name no-such >"$W/out" 2>&1
[ $? = 2 ] || fail "--name without --html: $(cat "$W/out")"
grep -Eqi '<script|<link|<img|url\(|https?:' "$W/map.html" && fail "the page needs something else"

HOME=$W timeout 60 chromium --headless --no-sandbox --disable-gpu --user-data-dir="$W/browser" --dump-dom \
	"file://$W/map.html" >"$W/dom" 2>"$W/browser.err" || fail "chromium: $(tail -n 3 "$W/browser.err")"
python3 - "$W/dom" "$border" "$one" "$two" "$three" 2>"$W/python.err" <<'EOF' ||
import re, sys
dom = open(sys.argv[1]).read()
at = int(sys.argv[2], 16)
numbers = sys.argv[3:]
table = dom[dom.index('<table class="map">'):]
table = table[:table.index("</table>")]
assert re.findall(r'<th scope="col">(\d+)</th>', table) == numbers, table
rows = []
for row in re.findall(r'<tr>(?:(?!</tr>).)*<th scope="row">(?:(?!</tr>).)*</tr>', table, re.S):
    start = int(re.search(r'<code class="dim">([0-9a-f]+) ', row).group(1), 16)
    cells = re.findall(r'<td class="(\w+)" title="generation (\d+): ([^"]*)"', row)
    assert [c[1] for c in cells] == numbers, row
    rows.append((start, cells))
# The mapping with the border is the last that begins at or before it.
start, cells = max(r for r in rows if r[0] <= at)
share = re.match(r'(\d+) of (\d+) pages changed', cells[1][2])
assert cells[0][0] == "first" and cells[1][0] == "s1" and share, cells
assert 1 <= int(share.group(1)) < 10 and int(share.group(2)) >= 1000, cells
# What a program does of itself meanwhile is a page or two.
assert cells[2][0] in ("s0", "s1") and re.match(r"\d of ", cells[2][2]), cells
assert int(re.search(r"(\d+) mappings? never changed", dom).group(1)) > 3
EOF
	fail "the page: $(tail -n 1 "$W/python.err" | cut -c1-600)"
