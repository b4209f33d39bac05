#!/bin/bash
# Every name in the JSON of every command stands in the row of that command in docs/commands.md, and
# every name that stands there is printed.
# timeout: 120
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "needs python3"

# keys COMMAND ARGS...: runs it and adds the names in its JSON to $W/keys.COMMAND.
keys() {
	local command=$1
	"$SNAP" "$@" --json >"$W/out" 2>"$W/out.err"
	[ $? = "${want:-0}" ] || fail "snap $*: $(cat "$W/out.err")"
	python3 - "$W/out" >>"$W/keys.$command" <<-'P' || fail "snap $*: no JSON: $(cat "$W/out")"
		import json, sys
		def names(value):
		    if isinstance(value, list):
		        for one in value: names(one)
		    elif isinstance(value, dict):
		        for name, one in value.items():
		            print(name)
		            if name not in ("gc", "registers"): names(one)
		names(json.load(open(sys.argv[1])))
	P
}
# documented COMMAND: the words in the code style of its rows, those of a row they refer to included.
documented() {
	grep -E "^\| [^|]*\`$1\`[^|]* \|" "$HERE/../../docs/commands.md" | cut -d'|' -f3- |
		grep -oE '`[a-z_]+`' | tr -d '`'
}

cd "$W" || exit 1
head -c 1000 /dev/urandom >changed
"$SNAP" run --json --name web -- bash -c 'exec 3<changed 4>gone; rm gone; exec sleep 1000' >"$W/out" || fail "run"
pid=$(field pid "$W/out")
grep -oE '"[a-z_]+"' "$W/out" | tr -d '"' | grep -vx web >"$W/keys.run"
remember "$pid"
keys init --key-file "$W/key"
keys key status
keys take --name web
keys take --name web --keep-last 5
keys config --name web with-path=/nowhere
keys config --name web with-path=
keys ls
keys show --gen 1
keys stats
keys gc --keep-last 1
keys take --name web --track wp
keys take --name web --track wp --pre-dump
keys check --pid "$pid"
keys forget --gen 2
keys pin --gen 3
keys unpin --gen 3
keys check
start_target "$W/refused" "$TARGETS/../refused/traced"
want=4 keys check --pid "$PID"
cp -p "$W/changed" "$W/copy" && mv "$W/copy" "$W/changed"
keys restore --name web --replace
keys verify
gen=$("$SNAP" ls --name web | awk 'END { print $1 }')
"$SNAP" image decode --gen "$gen" "fs-$pid" | sed 's/"umask": [0-9]*/"umask": 63/' >"$W/edited.json"
"$SNAP" image edit --gen "$gen" "fs-$pid" -i "$W/edited.json" --name edited >"$W/edited" || fail "image edit"
keys show --name edited
keys mem --gen "$gen"
keys core --gen "$gen" --output "$W/core"
keys search --gen "$gen" --string E
keys inspect --gen "$gen" --all
"$SNAP" export --gen "$gen" --archive "$W/archive.tar" --quiet >"$W/out" || fail "export --archive"
keys inspect "$W/archive.tar"
keys export --gen "$gen" "$W/dump"
keys import "$W/dump" --name imported
cp -r "$HERE/../golden/criu-4.2/unix" "$W/unix" && rm "$W/unix"/pagemap-*
keys import "$W/unix" --name sockets
got=$("$SNAP" ls --name sockets | awk 'END { print $1 }')
keys inspect --gen "$got" --all
keys inspect --gen "$got" --sockets
for view in ps fds mems rss sk; do
	keys image x --gen "$gen" $view
	keys image x "$HERE/../golden/criu-4.2/unix" $view
done
keys image info --gen "$gen" --list
# Mounts are of what criu dumped of a mount namespace; only zeroes are left of its memory.
cp -r "$HERE/../golden/criu-4.2/mounts" "$W/mounts" && truncate -s 61440 "$W/mounts/pages-1.img"
keys import "$W/mounts" --name mounts
got=$("$SNAP" ls --name mounts | awk 'END { print $1 }')
keys inspect --gen "$got" --mounts
python3 -c 'import json, sys
m = {v["mountpoint"]: v for v in json.load(open(sys.argv[1]))["mounts"]}
d = m["/data"]
assert set(m) == {"/", "/data", "/proc"} and m["/proc"]["type"] == "proc", m
assert (d["type"], d["source"], d["options"][:3], d["parent"]) == ("tmpfs", "snap-data", ["ro", "nosuid", "nodev"], m["/"]["id"]), d' \
	"$W/out" || fail "mounts"
# Damage, so that it is listed.
pack=$(find "$SNAP_STORE/packs" -type f | sort | tail -n 1)
python3 -c 'import sys
data = bytearray(open(sys.argv[1], "rb").read())
data[len(data) // 2] ^= 0x40
open(sys.argv[1], "wb").write(data)' "$pack"
want=5 keys verify --data

for command in init key run take ls show stats gc forget pin unpin check restore verify inspect core mem search export import image; do
	sort -u "$W/keys.$command" >"$W/printed"
	documented $command | sort -u >"$W/documented"
	case $command in
	inspect | import) documented ls | sort -u - "$W/documented" >"$W/more" && grep -vx bytes_unique "$W/more" >"$W/documented" ;;
	show) documented take | sort -u - "$W/documented" >"$W/more" && mv "$W/more" "$W/documented" ;;
	esac
	missing=$(comm -23 "$W/printed" "$W/documented" | xargs)
	[ -z "$missing" ] || fail "$command: docs/commands.md does not tell of $missing"
	# Words that are no names, what only other options print, and for show what it says it has not.
	absent=$(comm -13 "$W/printed" "$W/documented" |
		grep -vxE 'take|gc|copy|clone|auto|not_cloned|wp|none|tracking_reason|exit_status|signal|size|renamed_to' | xargs)
	[ $command != show ] || absent=$(printf '%s\n' $absent | grep -vxE 'pids|freezing_ns|frozen_total_ns|frozen_last_ns|frozen_phases_ns|calls|files|images|memory|proc|ranges|release|scan|site|stop|capture.*|predump|number|rounds|bytes_(read|vanished|left)|clones|track.*|clone_misses|bytes_kept|files.*|bytes_files.*|data_files.*|bytes_data_files|ghost.*' | xargs)
	# These depend on what the target has.
	[ $command != inspect ] || absent=$(printf '%s\n' $absent | grep -vxE 'ls|exit_code|cloexec|counter|watches|interface|port|shutdown|protocol|local|remote|backlog|awaiting_accept|comes_back_reset|peer_(outside|fd|pid)|abstract|secret|entropy|bytes_dirty|lsm_profile|shared|slave_of|external|stack_ends|line|source|function|cgroup|path|name|size|bytes_waiting|packets_receive_queue|addresses|bytes_rootfs_diff|gateway|image|mac|networks?|pod' | xargs)
	[ $command != search ] || absent=$(printf '%s\n' $absent | grep -vxE 'path|offset|mapping|address|pid' | xargs)
	[ $command != import ] || absent=$(printf '%s\n' $absent | grep -vx ls | xargs)
	[ $command != image ] || absent=$(printf '%s\n' $absent | grep -vxE 'decode|show|info|x|ps|fds|mems|rss|sk|edit|generation|lineage|image|edit_of' | xargs)
	[ -z "$absent" ] || fail "$command: docs/commands.md tells of $absent, which was not printed"
done
exit 0
