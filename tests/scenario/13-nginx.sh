#!/bin/bash
# nginx, master and workers: serves after a take and after a restore, and reloads.
. "$(dirname "$0")/lib.sh"
command -v nginx >/dev/null || skip "nginx is not installed"

port=$(free_port)
mkdir -p "$W/n/tmp"
cat >"$W/n/conf" <<END
daemon off;
pid $W/n/nginx.pid;
worker_processes 2;
error_log $W/n/error.log;
events { worker_connections 64; }
http {
	access_log $W/n/access.log;
	client_body_temp_path $W/n/tmp; proxy_temp_path $W/n/tmp; fastcgi_temp_path $W/n/tmp;
	uwsgi_temp_path $W/n/tmp; scgi_temp_path $W/n/tmp;
	server { listen 127.0.0.1:$port; location / { return 200 "version 1"; } }
}
END
get() {
	exec 9<>"/dev/tcp/127.0.0.1/$port" || return 1
	printf 'GET / HTTP/1.0\r\n\r\n' >&9
	timeout 5 cat <&9
	exec 9>&-
}
serves() { get 2>/dev/null | grep -q "version $1"; }
workers() { wc -w <"/proc/$PID/task/$PID/children"; }

start "$W/n" nginx -c "$W/n/conf" -p "$W/n"
wait_for 10 serves 1 || fail "nginx does not answer: $(cat "$W/n/out")"
take "$PID"
serves 1 || fail "nginx does not answer after a take"
take_kill "$PID"
restore "$GEN"
[ "$(workers)" = 2 ] || fail "$(workers) workers instead of 2"
for _ in 1 2 3 4 5 6; do
	serves 1 || fail "nginx does not answer after a restore"
done
sed -i 's/version 1/version 2/' "$W/n/conf"
kill -HUP "$PID"
wait_for 10 serves 2 || fail "nginx does not reload after a restore: $(tail -n 3 "$W/n/error.log")"
# The old workers serve the old configuration until they are told to quit, a moment later.
two_workers() { [ "$(workers)" = 2 ]; }
wait_for 10 two_workers || fail "$(workers) workers instead of 2 after the reload"
take_kill "$PID"
restore "$GEN"
serves 2 || fail "nginx does not answer after the second restore"
kill -QUIT "$PID"
wait_for 10 gone "$PID" || fail "nginx does not quit"
