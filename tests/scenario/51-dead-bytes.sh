#!/bin/bash
# Eight generations of a target that rewrites most of its memory each time, so that the versions of
# its pages die with their generations: gc --keep-last 2 gives at least 95 % of what it calls dead
# back to the file system.
# timeout: 120
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "needs python3"

# At each step 24 MiB are written anew, 8 MiB change a little (they become differences), and of
# 8 MiB more a part is freed.
cat >"$W/target.py" <<'EOF'
import mmap, os, random, time
MIB = 1 << 20
chance = random.Random(5)
anew, little, less = (mmap.mmap(-1, n * MIB, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) for n in (24, 8, 8))
little[:] = chance.randbytes(8 * MIB)
less[:] = chance.randbytes(8 * MIB)
step = 0
while True:
    anew[:] = chance.randbytes(24 * MIB)
    for at in range(0, 8 * MIB, 8192):
        little[at:at + 16] = chance.randbytes(16)
    less.madvise(mmap.MADV_DONTNEED, step * MIB, MIB)
    step += 1
    with open("state.new", "w") as f:
        f.write(f"{step}\n")
    os.rename("state.new", "state")
    while step < 8 and not os.path.exists(f"go{step}"):
        time.sleep(0.005)
    if step == 8:
        time.sleep(1000000)
EOF
start "$W/t" python3 "$W/target.py"
pid=$(cat "$W/t/pid")
for step in 1 2 3 4 5 6 7 8; do
	wait_for 30 grep -qx $step "$W/t/state" || fail "the target does not reach step $step"
	"$SNAP" take --quiet --pid "$pid" --name anew || fail "take $step failed"
	: >"$W/t/go$step"
done
used() { sync -f "$W/store"; du -sk "$W/store" | cut -f1; }
before=$(used)
began=$(date +%s%N)
"$SNAP" gc --keep-last 2 --json >"$W/gc.json" || fail "gc failed"
took=$((($(date +%s%N) - began) / 1000000))
after=$(used)
dead=$(field bytes_dead "$W/gc.json") left=$(field bytes_dead_left "$W/gc.json")
note "$before KiB, of which $((dead / 1024)) dead; $after KiB after a gc of $took ms, $((left / 1024)) dead"
[ "$dead" -ge $((5 * 24 * 1048576)) ] || fail "only $dead bytes are called dead: six generations were forgotten"
[ $(((before - after) * 1024 * 100)) -ge $((dead * 95)) ] || fail "of $dead dead bytes $(((before - after) * 1024)) came back"
[ $((left * 100)) -le $((dead * 5)) ] || fail "of $dead dead bytes $left are left"
"$SNAP" verify --data >/dev/null || fail "not whole: $("$SNAP" verify --data 2>&1 | tail -5)"
kill_tree "$pid"
