#!/bin/bash
# restore --foreground, as a service manager uses it: the exit status is that of the restored root,
# signals sent to snap reach the root, and the store is free meanwhile.
# timeout: 120
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "needs python3"

# A root that ends as the word in the file `order` says, and writes down the signals it gets.
cat >"$W/root.py" <<'P'
import os, signal, time
def got(number, frame):
    with open("signals", "a") as f:
        f.write(signal.Signals(number).name + "\n")
    if number == signal.SIGTERM:
        os._exit(7)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT):
    signal.signal(number, got)
open("ready", "w").close()
while not os.path.exists("order"):
    time.sleep(0.02)
order = open("order").read().split()
if order[0] == "exit":
    os._exit(int(order[1]))
if order[1] != "9":
    signal.signal(int(order[1]), signal.SIG_DFL)
os.kill(os.getpid(), int(order[1]))
P
start "$W/t" python3 "$W/root.py"
wait_for 10 test -e "$W/t/ready" || fail "the root did not start"
root=$PID
take_kill "$root" --name root

# bring_back: in the background, as $front, and waits until the root runs.
bring_back() {
	rm -f "$W/t/order" "$W/t/signals"
	# A shell has its background jobs ignore SIGINT and SIGQUIT, which snap would respect.
	env --default-signal=INT,QUIT "$SNAP" restore --gen 1 --foreground >"$W/out" 2>"$W/out.err" &
	front=$!
	wait_for 10 alive "$root" && wait_for 10 grep -q . "$W/out" ||
		fail "the root is not back: $(cat "$W/out.err")"
}
# order WORDS: how the root is to end; it never sees half of them.
order() {
	echo "$1" >"$W/t/order.new"
	mv "$W/t/order.new" "$W/t/order"
}
# ended CODE: snap ends with that exit status, and the root is gone.
ended() {
	wait "$front"
	local got=$?
	[ $got = "$1" ] || fail "exit code $got instead of $1: $(cat "$W/out.err")"
	wait_for 5 gone "$root" || fail "the root is still there"
}


for status in 0 1 5 6 77 255; do
	bring_back
	[ "$(cat "$W/out")" = "$root" ] || fail "printed $(cat "$W/out")"
	[ "$(cut -d' ' -f4 "/proc/$root/stat")" = "$front" ] || fail "the root is not a child of snap"
	order "exit $status"
	ended $status
done
note "ended by signals of its own"
for number in 6 9 10; do
	bring_back
	order "kill $number"
	ended $((128 + number))
done

note "signals are passed on"
bring_back
for name in INT HUP USR1 USR2 QUIT INT; do
	: >"$W/t/signals"
	kill -$name $front
	wait_for 5 grep -q "SIG$name" "$W/t/signals" || fail "SIG$name was not passed on"
	alive $front || fail "SIG$name ended snap"
done
kill -TERM $front
ended 7
grep -q SIGTERM "$W/t/signals" || fail "SIGTERM was not passed on"
# 1 with a signal passed on is the root's 1, no interruption of snap.
bring_back
kill -INT $front
wait_for 5 grep -q SIGINT "$W/t/signals" || fail "SIGINT was not passed on"
order "exit 1"
ended 1

note "the store is free meanwhile"
bring_back
take "$root" --name root
[ "$GEN" = 2 ] || fail "generation $GEN"
"$SNAP" forget --gen 2 --quiet || fail "forget"
"$SNAP" gc --json >"$W/gc.json" || fail "gc"
[ "$(field bytes_pending "$W/gc.json")" = 0 ] || fail "gc has to wait: $(cat "$W/gc.json")"
kill -KILL $front
wait $front 2>/dev/null
sleep 0.3
alive "$root" || fail "the root went with a snap that was killed"
kill -KILL "$root"
wait_for 5 gone "$root" || fail "the root does not end"

note "as JSON"
rm -f "$W/t/order"
"$SNAP" restore --gen 1 --foreground --json >"$W/out" 2>"$W/out.err" &
front=$!
wait_for 10 alive "$root" || fail "the root is not back: $(cat "$W/out.err")"
order "exit 9"
ended 9
[ "$(field exit_status "$W/out")" = 9 ] || fail "JSON: $(cat "$W/out")"

# What snap itself has to say stays as it was.
"$SNAP" restore --gen 9 --foreground 2>"$W/out.err"
[ $? = 3 ] || fail "no such generation: not exit code 3"
exit 0
