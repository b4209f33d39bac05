# Sourced by every script here; bash.
#
# $W is a scratch folder, removed at the end: on a file system in memory if there is one, as nothing
# here asks a real disk to be sync.  $W/store is held against $W/ledger (ledger.h).
# Exit codes: 0 passed, 1 failed, 77 skipped with the reason.

set -u
SNAP=${SNAP:?set SNAP to the snap program to test}
LOSS=${LOSS:?set LOSS to the folder of the built programs of tests/loss}
PAGES=${LOSS_PAGES:-700}
DRIVER=$LOSS/loss_driver
PRELOAD=$LOSS/libloss_preload.so
LIMIT=$LOSS/loss_limit

fail() { echo "FAIL: $*"; exit 1; }
skip() { echo "SKIP: $*"; exit 77; }
note() { echo "-- $*"; }

room=${TMPDIR:-/tmp}
[ -w /dev/shm ] && [ "$(df --output=avail -k /dev/shm | tail -1)" -gt 1000000 ] && room=/dev/shm
W=$(mktemp -d "$room/snap-loss.XXXXXX")
export LOSS_DIR=$W/store
loss_end() {
	local rc=$?
	trap - EXIT
	if [ $rc != 0 ] && [ -n "${LOSS_KEEP:-}" ]; then
		echo "kept: $W"
	else
		rm -rf "$W"
	fi
	exit $rc
}
trap loss_end EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

# take LINEAGE SEED STEP [PAGES]: one generation
take() { "$LIMIT" 30 "$DRIVER" take "$W/store" "$W/ledger" "$1" "$2" "$3" "${4:-$PAGES}"; }
say() { "$DRIVER" say "$W/ledger" "$@"; }
snap() { "$LIMIT" 30 "$SNAP" "$@" --store "$W/store" --quiet; }
numbers() { "$LIMIT" 30 "$SNAP" ls --store "$W/store" | awk '$1 + 0 { print $1 }'; }

# may_forget, then after success did_forget: what a command that forgets has to say around itself
may_forget() { local n; before=$(numbers); for n in $before; do say forgetting "$n"; done; }
did_forget() {
	local n after
	after=" $(numbers) "
	for n in $before; do
		[[ $after == *[[:space:]]"$n"[[:space:]]* ]] || say forgotten "$n"
	done
}

# check [writable]: fails unless the store is as the ledger has it
check() {
	"$LIMIT" 60 "$DRIVER" check "$W/store" "$W/ledger" "$@" >"$W/check.out" 2>&1 && return 0
	cat "$W/check.out"
	return 1
}

# keep NAME, back NAME: puts store and ledger aside, and makes them what was put aside
keep() { rm -rf "$W/$1"; mkdir "$W/$1"; cp -a "$W/store" "$W/ledger" "$W/$1/"; }
back() { rm -rf "$W/store" "$W/ledger"; cp -a "$W/$1/." "$W/"; }

# The KiB the packs and the index take.
packs_kib() { du -sk "$W/store/packs" | cut -f1; }
index_kib() { du -k "$W/store/index/data.mdb" | cut -f1; }

# make_base: three lineages.  Of a, all generations share pages; of b, none do, so a whole pack can
# go; the second of c needs a part of the first one's pack.
make_base() {
	local step
	for step in 0 1 2 3; do take a 5 $step || fail "cannot make the store"; done
	take b 6 0 && take b 7 0 && take c 8 0 1800 && take c 8 0 300 || fail "cannot make the store"
	say forgetting 2
	snap forget --gen 2 || fail "cannot forget"
	say forgotten 2
	check || fail "the store to start from is not whole"
	keep base
}

# make_chains: a lineage most pages of which change at every take, so that gc detaches them from
# their chains of differences
make_chains() {
	local step
	for step in 0 1 2 3 4 5 6 7 8 9; do take d 1000 $step 300 || fail "cannot make the store"; done
	keep chains
}

# The commands to disturb.  Each says to the ledger what it is about to do and what it has done, and
# gives the command's exit code.  `disturb` is put before the program.
disturb=()
run_take() { "$LIMIT" 30 env "${disturb[@]}" "$DRIVER" take "$W/store" "$W/ledger" a 5 4 "$PAGES"; }
run_create() { "$LIMIT" 30 env "${disturb[@]}" "$DRIVER" take "$W/store" "$W/ledger" a 5 0 "$PAGES"; }
run_forgetting() {
	local rc
	may_forget
	"$LIMIT" 30 env "${disturb[@]}" "$SNAP" "$@" --store "$W/store" --quiet
	rc=$?
	[ $rc = 0 ] && did_forget
	return $rc
}
run_gc() { run_forgetting gc --keep-last 1; }
# Killed behind its commit, it has forgotten already, and a gc goes on.
run_forget() {
	case " $(numbers | tr '\n' ' ')" in
	*" 5 "*) run_forgetting forget --gen 5,7 ;;
	*) run_forgetting gc ;;
	esac
}
# What gc can do beyond that in this build.
run_compact() { run_forgetting gc --keep-last 1 --max-unused 0; }
run_recompress() { run_forgetting gc --keep-last 1 --recompress; }
run_detach() { run_forgetting gc --keep-last 1; }
commands=(create take gc forget detach)
"$SNAP" gc --help | grep -q -- --max-unused && commands+=(compact)
"$SNAP" gc --help | grep -q -- --recompress && commands+=(recompress)
# LOSS_COMMANDS names those to disturb, by hand.
[ -z "${LOSS_COMMANDS:-}" ] || read -ra commands <<<"$LOSS_COMMANDS"
begin_take() { back base; }
begin_compact() { back base; }
begin_recompress() { back base; }
begin_detach() { [ -d "$W/chains" ] || (rm -rf "$W/store" "$W/ledger"; make_chains); back chains; }
begin_gc() { back base; }
begin_forget() { back base; }
begin_create() { rm -rf "$W/store" "$W/ledger"; }
