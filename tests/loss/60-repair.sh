#!/bin/bash
# verify --repair: a damaged index is made anew with every generation, pin and name; killed at any
# point, it goes through the next time; what is lost of pages is named, and stored again by the next
# take that sees it.
# timeout: 240
. "$(dirname "$0")/lib.sh"

PAGES=300
repair() { "$LIMIT" 60 "$SNAP" verify --repair --store "$W/store" --no-progress >"$W/out" 2>&1; }
list() { "$LIMIT" 30 "$SNAP" ls --store "$W/store" | cut -c 1-60; }
damage_index() { dd if=/dev/zero of="$W/store/index/data.mdb" bs=4096 seek="$1" count=1 conv=notrunc status=none; }

# mended WHAT: the index is made anew, and nothing is missing
mended() {
	repair || { cat "$W/out"; fail "$1: not repaired"; }
	check writable || fail "$1: repaired, and not as the ledger has it"
	[ "$(list)" = "$before" ] || { list; fail "$1: the list of generations was $before"; }
}

make_base
snap pin --gen 3 || fail "cannot pin"
keep base
before=$(list)
pages=$(($(stat -c %s "$W/store/index/data.mdb") / 4096))
made=0
for ((page = 0; page < pages; page++)); do
	back base
	damage_index $page
	mended "page $page of the index zeroed"
	grep -q "made anew" "$W/out" && made=$((made + 1))
done
[ $made -ge 5 ] || fail "only $made of $pages damages made a new index"
note "$made of $pages zeroed pages of the index made a new one"

back base
rm "$W/store/index/data.mdb"
mended "the index removed"
run_gc || fail "gc after a repair"
run_take || fail "take after a repair"
check writable || fail "a repaired store, used, is not as the ledger has it"

note "packs that were compacted"
back base
may_forget
snap gc --keep-last 2 --recompress || fail "cannot recompress"
did_forget
keep compacted
before=$(list)
rm "$W/store/index/data.mdb"
mended "the index of a compacted store removed"

note "killed"
for ((n = 1; n < 400; n++)); do
	back compacted
	rm "$W/store/index/data.mdb"
	# In a shell of its own, which keeps to itself what killed its child.
	(LD_PRELOAD=$PRELOAD LOSS_CLASS=files LOSS_ERROR=kill LOSS_AT=$n repair) 2>/dev/null && break
	mended "the repair killed in call $n"
done
[ $n -gt 10 ] && [ $n -lt 400 ] || fail "the repair was killed at $n points"
note "killed at $((n - 1)) points"

note "a writer keeps a repair away, and without a copy there is none"
back base
exec 9<"$W/store/index"
flock -s 9
damage_index 1
damage_index 0
repair
[ $? = 6 ] || fail "a repair beside a writer: $(cat "$W/out")"
exec 9<&-
rm "$W/store/index-copy"
repair
[ $? = 5 ] && grep -q "no copy" "$W/out" || fail "a repair without a copy: $(cat "$W/out")"

note "lost pages"
back base
pack=$(ls -S "$W"/store/packs/* | tail -n +2 | head -1)
dd if=/dev/urandom of="$pack" bs=512 seek=200 count=1 conv=notrunc status=none
repair
[ $? = 5 ] || fail "damage of a page: $(cat "$W/out")"
grep -qE 'given up: generation [0-9]+, object pages-100, address 0x[0-9a-f]+ to 0x[0-9a-f]+ \([0-9]+ page' "$W/out" ||
	{ cat "$W/out"; fail "what is given up is not named"; }
damaged=$(grep -oE 'given up: generation [0-9]+' "$W/out" | grep -oE '[0-9]+$' | sort -n | uniq | tail -1)
note "generations up to $damaged have lost something"
# All lineages once more, as they were last.
take a 5 3 && take b 6 0 && take b 7 0 && take c 8 0 300 || fail "cannot take again"
for number in $(numbers); do
	[ "$number" -le 8 ] && continue
	"$LIMIT" 30 "$SNAP" verify --gen "$number" --data --store "$W/store" >"$W/out" 2>&1 ||
		{ cat "$W/out"; fail "generation $number, taken after the damage, is not whole"; }
done
[ -e "$W/store/damaged" ] || fail "the damage is not noted"
may_forget
snap forget --gen 1-8 --allow-empty 2>/dev/null || snap unpin --gen 3 && snap forget --gen 1-8 --allow-empty ||
	fail "cannot forget what is damaged"
did_forget
repair || { cat "$W/out"; fail "damage is left though all damaged generations are forgotten"; }
[ ! -e "$W/store/damaged" ] || fail "damage is still noted"
check writable || fail "at the end not as the ledger has it"
