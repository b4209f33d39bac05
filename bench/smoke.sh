#!/bin/bash
# The benches still run and tell what they should, with sizes that say nothing about speed.
set -eu
cd "$(dirname "$0")"
[ "$(id -u)" = 0 ] || { echo "skipped: needs root"; exit 77; }
command -v python3 >/dev/null || { echo "skipped: no python3"; exit 77; }
W=$(mktemp -d /tmp/snap-smoke.XXXXXX)
trap 'rm -rf "$W"' EXIT

# told FILE EXPRESSION: what a bench wrote as JSON makes the expression over `r` true.
told() {
	python3 -c 'import json, sys
r = json.load(open(sys.argv[1]))
assert eval(sys.argv[2]), (sys.argv[2], r)' "$W/$1" "$2"
}

./store --workload doubles --size 8 --generations 2 --peers none --folder "$W" --json "$W/doubles"
told doubles 'len(r["generations"]) == 2 and r["generations"][0]["snap"]["bytes"] > 6 << 20'
told doubles '0 < r["generations"][1]["snap"]["bytes"] < 2 << 20 and r["verify"]["json"]["pages"] > 2048'
told doubles 'r["restores"]["first"]["wall_s"] > 0 and r["limits"]["zstd_mb_s"] > 0'
told doubles 'r["gc"]["snap"]["bytes_after"] <= r["gc"]["snap"]["bytes_before"]'
if command -v redis-server redis-cli >/dev/null; then
	./store --long --size 2000 --generations 3 --rounds 3 --folder "$W" --json "$W/long"
	told long 'len(r["takes"]) == 3 and len(r["restores_s"]["3"]) == 3'
	./look --size 2000 --generations 3 --rounds 1 --folder "$W" --json "$W/look"
	told look 'r["searches"]["few places"]["all"]["json"]["places"] > 0 and r["diffs"]["far"]["pages"] > 0'
fi
./freeze --cases agreement --takes 1 --folder "$W" --json "$W/freeze"
told freeze 'r["agreement"][0]["seen_s"] > 0 and r["agreement"][0]["told_s"] > 0'
./scale --pages 20000 --each 10000 --folder "$W" --json "$W/scale"
told scale 'r["stats"]["pages"] >= 20000 and len(r["generations"]) == 2'
if command -v cc >/dev/null; then
	./files/cookies --programs libraries --libraries 5 --takes 1 --folder "$W" --json "$W/cookies"
	told cookies 'len(r["rows"]) == 5 and all(row["repeat_read_bytes"] == 0 for row in r["rows"])'
fi
./files/sparse --size 2 --repeat 1 --tools snap,tar --folder "$W" --json "$W/sparse"
told sparse 'len(r["cases"]["own"]) == 3 and all(c["snap"]["back_s"] > 0 for c in r["cases"]["own"].values())'
told sparse 'r["cases"]["own"]["huge"]["snap"]["bytes"] < 16 << 20 and r["cases"]["own"]["huge"]["snap"]["more_blocks"] == 0'
echo "the benches work"
