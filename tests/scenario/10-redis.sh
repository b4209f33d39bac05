#!/bin/bash
# redis-server with 200 MB: three generations with changes between, restored in any order, each with
# exactly its own data, serving new clients, and taken again.
# timeout: 180
. "$(dirname "$0")/lib.sh"
command -v redis-server redis-cli >/dev/null || skip "redis-server is not installed"

port=$(free_port)
cli() { timeout 30 redis-cli -s "$W/r/sock" "$@"; }
up() { [ "$(cli ping)" = PONG ]; }
digest() { cli debug digest; }

start "$W/r" redis-server --port "$port" --bind 127.0.0.1 --unixsocket "$W/r/sock" --save "" \
	--appendonly no --dir "$W/r" --enable-debug-command yes --io-threads 2
wait_for 20 up || fail "redis-server does not answer: $(cat "$W/r/out")"
first=$PID
gen=()
cli debug populate 250000 base 600 >/dev/null
for g in 1 2 3; do
	cli debug populate 2000 "change$g" 300 >/dev/null
	cli set generation $g >/dev/null
	digest >"$W/digest.$g"
	take "$PID"
	[ "$GEN" -gt "${gen[$((g - 1))]:-0}" ] || fail "generation $GEN after ${gen[*]}"
	gen[g]=$GEN # what was read ahead has numbers, too
	cp "$W/take.json" "$W/take.$g.json"
	[ "$(digest)" = "$(cat "$W/digest.$g")" ] || fail "the take changed the data of generation $g"
done
bytes=$(field bytes_logical "$W/take.1.json")
[ "$bytes" -gt 150000000 ] || fail "generation 1 has only $bytes bytes"
[ "$(field pages_new "$W/take.2.json")" -lt $((bytes / 4096 / 4)) ] ||
	fail "generation 2 stored as new most of what generation 1 holds"

bring_back() {
	kill -KILL "$PID"
	# Its number is free when all its threads have ended, and not only the first.
	wait_for 10 test ! -e "/proc/$PID" || fail "redis-server $PID does not end"
	restore "$1"
	[ "$PID" = "$first" ] || fail "came back as $PID instead of $first"
	wait_for 10 up || fail "generation $1 does not answer"
	[ "$(digest)" = "$(cat "$W/digest.$2")" ] || fail "generation $1 came back with other data"
	[ "$(timeout 10 redis-cli -p "$port" get generation)" = "$2" ] ||
		fail "generation $1 does not serve a new TCP client"
	cli set new "client of $1" >/dev/null || fail "generation $1 cannot be written to"
}
for g in 2 1 3; do
	bring_back "${gen[g]}" $g
done
cli del new >/dev/null
cli debug populate 1000 after 100 >/dev/null
digest >"$W/digest.3"
take "$PID"
again=$GEN
cli flushall >/dev/null
bring_back "$again" 3
bring_back "${gen[1]}" 1
snap_json "$W/verify.json" verify --data || fail "verify --data: $(cat "$W/verify.json.err")"
