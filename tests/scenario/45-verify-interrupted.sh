#!/bin/bash
# verify --data of a store that takes a while: SIGINT and SIGTERM end it at once with 130 and 143 and
# nothing printed, and nothing is left that would make gc or a take wait.
# timeout: 180
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "needs python3"

start "$W/t" python3 -c 'import os, time
data = [os.urandom(1 << 20) for _ in range(150)]
open("ready", "w").close()
time.sleep(1000)'
wait_for 30 test -e "$W/t/ready" || fail "the program did not start"
take "$PID" --name big
first=$GEN
before=$(date +%s%N)
"$SNAP" verify --data >"$W/whole" || fail "the store is damaged: $(cat "$W/whole")"
whole_ms=$((($(date +%s%N) - before) / 1000000))
note "verify --data takes $whole_ms ms"

# The moment of the signal is spread over the whole run; runs that ended before it do not count.
hit=0
for ((i = 0; i < 40; i++)); do
	signal=INT code=130
	[ $((i % 2)) = 0 ] || signal=TERM code=143
	env --default-signal=INT "$SNAP" verify --data --json >"$W/out" 2>"$W/out.err" &
	pid=$!
	sleep "$(printf '0.%03d' $((whole_ms * i / 40 % 1000)))"
	kill -$signal $pid 2>/dev/null
	wait $pid
	got=$?
	case $got in
	0) ;;
	$code)
		hit=$((hit + 1))
		[ ! -s "$W/out" ] || fail "SIG$signal: printed $(cat "$W/out")"
		[ ! -s "$W/out.err" ] || fail "SIG$signal: said $(cat "$W/out.err")"
		;;
	*) fail "SIG$signal: exit code $got" ;;
	esac
done
note "$hit of 40 signals came while it ran"
[ $hit -ge 10 ] || fail "only $hit of 40 signals came while it ran"

take "$PID" --name big
"$SNAP" forget --gen "$first" --json >"$W/out" || fail "forget"
"$SNAP" gc --json >"$W/out" || fail "gc"
[ "$(field bytes_pending "$W/out")" = 0 ] || fail "an interrupted verify holds back gc: $(cat "$W/out")"
"$SNAP" verify --data >"$W/out" || fail "the store is damaged: $(cat "$W/out")"
exit 0
