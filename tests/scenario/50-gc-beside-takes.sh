#!/bin/bash
# Four lineages are taken in loops while gc, forget, ls and verify run in loops and a fifth one is
# restored in one.  None of them fails because of another; at the end every generation that is left
# is what was taken.
# SNAP_STRESS_SECONDS: how long, 15 by default.
# timeout: 300
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "needs python3"
seconds=${SNAP_STRESS_SECONDS:-15}
stop=$W/stop

# A target keeps a few MiB of memory in motion: some pages change a little, some altogether, some
# become what they once were.  It stands still while it is taken, so what it holds is known: at each
# step it writes the step's number and a checksum of its memory to a file, waits to be taken, goes on.
cat >"$W/target.py" <<'EOF'
import hashlib, mmap, os, random, sys, time
pages, seed = 1500, int(sys.argv[1])
memory = mmap.mmap(-1, pages * 4096)
chance = random.Random(seed)
step = 0
while True:
    for _ in range(60):
        at = chance.randrange(pages) * 4096
        kind = chance.randrange(3)
        if kind == 0:
            memory[at + 64:at + 96] = chance.randbytes(32)
        elif kind == 1:
            memory[at:at + 4096] = chance.randbytes(4096)
        else: # of one of few kinds, shared with the other lineages
            memory[at:at + 4096] = bytes([1 + chance.randrange(40)]) * 4096
    step += 1
    with open("state.new", "w") as f:
        f.write(f"{step} {hashlib.sha256(memory).hexdigest()}\n")
    os.rename("state.new", "state")
    while not os.path.exists(f"go{step}"):
        time.sleep(0.005)
    os.unlink(f"go{step}")
EOF

# What a generation holds: the checksum of its largest shared mapping.
cat >"$W/sum.py" <<'EOF'
import hashlib, mmap, sys
pid = sys.argv[1]
for line in open(f"/proc/{pid}/maps"):
    where, rights, *_ = line.split()
    first, last = (int(x, 16) for x in where.split("-"))
    if last - first == 1500 * 4096 and "s" in rights:
        with open(f"/proc/{pid}/mem", "rb") as memory:
            memory.seek(first)
            print(hashlib.sha256(memory.read(last - first)).hexdigest())
EOF

# take_loop N: takes target N at every step; "generation checksum" of each into N/taken.
take_loop() {
	local n=$1 dir=$W/t$1 pid step sum generation
	pid=$(cat "$dir/pid")
	while [ ! -e "$stop" ]; do
		wait_for 20 test -e "$dir/state" || { echo "target $n stands still" >"$W/failed.$n"; return; }
		read -r step sum <"$dir/state"
		if ! generation=$("$SNAP" take --quiet --json --pid "$pid" --name "line$n" 2>"$W/take$n.err"); then
			echo "take of target $n failed" >"$W/failed.$n"
			return
		fi
		generation=$(printf '%s' "$generation" | sed -n 's/.*"generation": *\([0-9]*\).*/\1/p')
		echo "$generation $sum" >>"$dir/taken"
		rm -f "$dir/state"
		: >"$dir/go$step"
	done
}

# loop NAME COMMAND...: until the end; every failure but "damage" of nothing is one.
loop() {
	local name=$1 code n=0
	shift
	while [ ! -e "$stop" ]; do
		"$@" >"$W/$name.out" 2>"$W/$name.err"
		code=$?
		[ $code = 0 ] || { echo "$name: exit code $code" >"$W/failed.$name"; return; }
		n=$((n + 1))
		echo $n >"$W/$name.count"
		sleep 0.05
	done
}

# Forgets a generation of its own choice; one that a gc has forgotten meanwhile is no failure.
forget_one() {
	local all
	mapfile -t all < <("$SNAP" ls --json | sed -n 's/.*"generation": *\([0-9]*\).*/\1/p')
	[ ${#all[@]} -gt 8 ] || return 0
	"$SNAP" forget --gen "${all[RANDOM % (${#all[@]} - 4)]}"
	case $? in 0 | 1 | 3) return 0 ;; *) return 1 ;; esac
}

# restore_loop GENERATION CHECKSUM: the one of a target that has ended, over and over.
restore_loop() {
	local pid n=0
	while [ ! -e "$stop" ]; do
		if ! "$SNAP" restore --quiet --json --gen "$1" >"$W/restore5.json" 2>"$W/restore.err"; then
			echo "restore of generation $1 failed" >"$W/failed.restore"
			return
		fi
		pid=$(field root_pid "$W/restore5.json")
		[ "$(python3 "$W/sum.py" "$pid")" = "$2" ] ||
			echo "generation $1, restored beside the others, is not what was taken" >"$W/failed.restore"
		kill_tree "$pid"
		wait_for 5 gone "$pid" || echo "process $pid does not end" >"$W/failed.restore"
		[ ! -e "$W/failed.restore" ] || return
		n=$((n + 1))
		echo $n >"$W/restore.count"
	done
}

for n in 1 2 3 4 5; do
	start "$W/t$n" python3 "$W/target.py" $n
done
# The first take makes the store: one of them, before the loops.
wait_for 20 test -e "$W/t1/state" || fail "target 1 did not start"
"$SNAP" take --quiet --pid "$(cat "$W/t1/pid")" --name line1 || fail "the first take failed"
wait_for 20 test -e "$W/t5/state" || fail "target 5 did not start"
read -r _ sum5 <"$W/t5/state"
"$SNAP" take --quiet --json --kill --pid "$(cat "$W/t5/pid")" --name line5 >"$W/take5.json" ||
	fail "the take of target 5 failed"
wait_for 5 gone "$(cat "$W/t5/pid")" || fail "target 5 does not end"

note "takes, gc, forget, verify and restores for $seconds seconds"
loops=
restore_loop "$(field generation "$W/take5.json")" "$sum5" & loops="$loops $!"
for n in 1 2 3 4; do take_loop $n & loops="$loops $!"; done
loop gc "$SNAP" gc --keep-last 6 --max-unused 0 & loops="$loops $!"
loop recompress "$SNAP" gc --recompress --max-rewrite 4M & loops="$loops $!"
loop forget forget_one & loops="$loops $!"
loop verify "$SNAP" verify --data & loops="$loops $!"
sleep "$seconds"
: >"$stop"
for pid in $loops; do wait "$pid"; done
for f in "$W"/failed.*; do
	[ -e "$f" ] && fail "$(cat "$f"): $(cat "$W/${f##*failed.}.err" "$W/take${f##*failed.}.err" 2>/dev/null)"
done
for name in gc recompress forget verify; do
	[ "$(cat "$W/$name.count" 2>/dev/null || echo 0)" -ge 2 ] || fail "$name ran less than twice"
done
[ -e "$W/restore.count" ] || fail "nothing was restored"

note "$(cat "$W"/t*/taken | wc -l) takes, $(cat "$W/gc.count") gcs, $(cat "$W/verify.count") verifies, $(cat "$W/restore.count") restores"
"$SNAP" verify --data >/dev/null || fail "not whole: $("$SNAP" verify --data 2>&1 | tail -5)"
for n in 1 2 3 4; do kill_tree "$(cat "$W/t$n/pid")"; done
for n in 1 2 3 4; do wait_for 5 gone "$(cat "$W/t$n/pid")" || fail "target $n does not end"; done
checked=0
for generation in $("$SNAP" ls --json | sed -n 's/.*"generation": *\([0-9]*\).*/\1/p'); do
	expected=$(sed -n "s/^$generation //p" "$W"/t*/taken)
	[ -n "$expected" ] || continue # the first one, and that of the fifth
	restore "$generation"
	[ "$(python3 "$W/sum.py" "$PID")" = "$expected" ] || fail "generation $generation is not what was taken"
	kill_tree "$PID"
	wait_for 5 gone "$PID" || fail "process $PID does not end"
	checked=$((checked + 1))
done
[ $checked -ge 4 ] || fail "only $checked generations were left to compare"
note "$checked generations restored and compared"

# With nobody at work there is soon nothing left that a gc could give back.  What one copies may
# leave so little alive in a pack that the next one copies that too.
for _ in 1 2 3 4 5 6; do
	"$SNAP" gc --max-unused 0 --json >"$W/last.json" || fail "the last gc failed"
	[ "$(field bytes_pending "$W/last.json")" = 0 ] || fail "gc waits for nobody: $(tail -6 "$W/last.json")"
	[ "$(field bytes_freed "$W/last.json")" != 0 ] || exit 0
done
fail "gc does not come to an end: $(tail -6 "$W/last.json")"
