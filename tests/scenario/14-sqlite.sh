#!/bin/bash
# sqlite3 with an open transaction: still locked after a restore, and commits.
. "$(dirname "$0")/lib.sh"
command -v sqlite3 >/dev/null || skip "sqlite3 is not installed"

mkdir "$W/s"
mkfifo "$W/s/commands"
say() { echo "$*" >"$W/s/commands"; }
said() { grep -qx "$1" "$W/s/out"; }

# Opened for reading and writing, the pipe has no end before .quit.
start "$W/s" bash -c 'exec sqlite3 db <>commands'
say "create table t(x);"
say "begin exclusive;"
say "with recursive n(i) as (values(1) union all select i + 1 from n where i < 5000)
	insert into t select i from n;"
say "select 'inserted';"
wait_for 10 said inserted || fail "sqlite3 does not work: $(cat "$W/s/out")"
take "$PID"
take_kill "$PID"
restore "$GEN"
sqlite3 "$W/s/db" "select count(*) from t;" 2>&1 | grep -qi lock ||
	fail "the transaction does not hold its lock after a restore"
say "select 'rows ' || count(*) from t;"
wait_for 10 said "rows 5000" || fail "the open transaction lost its rows"
say "commit;"
say ".quit"
wait_for 10 gone "$PID" || fail "sqlite3 does not end"
[ "$(sqlite3 "$W/s/db" "select count(*) from t; pragma integrity_check;" | tr '\n' ' ')" = "5000 ok " ] ||
	fail "the database is not as it was committed"
