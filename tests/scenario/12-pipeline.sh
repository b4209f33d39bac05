#!/bin/bash
# A shell pipeline of three commands goes on and ends with the right sum.
. "$(dirname "$0")/lib.sh"
script='i=0
while [ $i -lt 20000 ]; do
	i=$((i + 1)); echo $i
	[ $((i % 200)) = 0 ] && sleep 0.01
done | sed "s/\$/0/" | awk "{ s += \$1 } END { print s }" >sum
echo done >finished'
right=2000100000

begun() { [ -n "$(cat /proc/"$PID"/task/*/children)" ]; }
ends_right() {
	wait_for 30 test -e "$1/finished" || fail "$2: the pipeline does not end"
	[ "$(cat "$1/sum")" = $right ] || fail "$2: the sum is $(cat "$1/sum") instead of $right"
}

start "$W/a" bash -c "$script"
wait_for 5 begun
for _ in 1 2 3; do
	sleep 0.1
	take "$PID"
done
ends_right "$W/a" "after three takes"

start "$W/b" bash -c "$script"
wait_for 5 begun
for _ in 1 2 3; do
	sleep 0.1
	[ ! -e "$W/b/finished" ] || fail "it ended too early to show anything"
	take_kill "$PID"
	restore "$GEN"
done
ends_right "$W/b" "after being restored three times"
