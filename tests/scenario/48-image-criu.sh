#!/bin/bash
# Images a criu of this machine makes come back byte for byte; needs one on PATH.
# timeout: 120
. "$(dirname "$0")/lib.sh"
command -v criu >/dev/null || skip "no criu on PATH"

cd "$W" || exit 1
for target in threads pipes unix_sockets event_fds deleted_files; do
	[ -x "$TARGETS/$target" ] || fail "no target $target"
	mkdir "dump.$target"
	start_target "$W/$target" "$TARGETS/$target"
	criu dump -t "$PID" -D "dump.$target" --ghost-limit 10M -o log >/dev/null 2>&1 ||
		{ note "criu does not dump $target: $(grep -m1 Error "dump.$target/log")"; continue; }
	for image in "dump.$target"/*.img "dump.$target"/stats-dump; do
		"$SNAP" image decode -i "$image" -o a.json && "$SNAP" image encode -i a.json -o a.img ||
			fail "$image"
		cmp -s a.img "$image" || fail "$image does not come back"
		done=$((${done:-0} + 1))
	done
done
[ "${done:-0}" -ge 12 ] || fail "criu dumped hardly anything here"
note "$done images"
exit 0
