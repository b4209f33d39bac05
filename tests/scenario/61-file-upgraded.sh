#!/bin/bash
# A rollback after the program and its C library were upgraded: refused by default, done from the stored
# copies with --files=stored, and the process that runs on them can be taken and restored in turn.
# timeout: 90
. "$(dirname "$0")/lib.sh"
command -v cc >/dev/null || command -v gcc >/dev/null || skip "needs a C compiler"
CC=$(command -v cc || command -v gcc)

# A prefix of its own: loader, C library, a library with a function whose answer tells the version.
P=$W/prefix
mkdir -p "$P/lib" "$P/bin"
loader=$(readlink -f /lib64/ld-linux-x86-64.so.2)
libc=$(ldd /bin/bash | sed -n 's/.*libc\.so\.6 => \([^ ]*\).*/\1/p')
[ -e "$loader" ] && [ -e "$libc" ] || skip "needs the GNU C library"
cp "$loader" "$P/lib/ld.so"
cp "$(readlink -f "$libc")" "$P/lib/libc.so.6"

# build VERSION: program and library of that version.
build() {
	cat >"$W/lib.c" <<-C
		static const char table[1 << 16] = { [40000] = $1 };
		int answer(int i);
		int answer(int i) { return table[i]; }
	C
	cat >"$W/main.c" <<-'C'
		#include <stdio.h>
		#include <string.h>
		#include <time.h>
		#include <unistd.h>
		int answer(int i);
		/* Touches a page of the library for the first time when it is asked to. */
		int main(void)
		{
			char line[64];
			setvbuf(stdout, NULL, _IOLBF, 0);
			puts("ready");
			while (fgets(line, sizeof(line), stdin)) {
				time_t t = 0;
				struct tm *tm = gmtime(&t);
				printf("answer %d in %d as VERSION\n", answer(40000), tm->tm_year + 1900);
			}
			return 0;
		}
	C
	sed -i "s/VERSION/$1/" "$W/main.c"
	# Renamed into place, as package managers do.
	$CC -shared -fPIC -O1 -o "$P/lib/new" "$W/lib.c" && mv "$P/lib/new" "$P/lib/libanswer.so" &&
		$CC -O1 -Wl,--build-id -Wl,--dynamic-linker="$P/lib/ld.so" -Wl,-rpath,"$P/lib" -o "$P/bin/new" \
			"$W/main.c" -L"$P/lib" -lanswer && mv "$P/bin/new" "$P/bin/program" || fail "cannot build version $1"
}
build 1
mkdir "$W/a" && mkfifo "$W/a/in"
# ask EXPECTED: the process answers, with what it had mapped and what it then touches for the first time.
ask() {
	local n
	n=$(wc -l <"$W/a/out")
	echo x >"$W/a/in"
	wait_for 5 eval "[ \$(wc -l <'$W/a/out') -gt $n ]" || fail "$1: no answer"
	[ "$(tail -n 1 "$W/a/out")" = "$1" ] || fail "$1: $(tail -n 1 "$W/a/out")"
}
start "$W/a" bash -c 'exec '"$P"'/bin/program <>in'
wait_for 5 grep -q ready "$W/a/out" || fail "the program does not run: $(cat "$W/a/out")"
grep -q "$P/lib/libc.so.6" "/proc/$PID/maps" || fail "the program does not use its own C library"
take_kill "$PID"
[ "$(field files_stored "$W/take.json")" -ge 4 ] || fail "not stored: $(cat "$W/take.json")"
old=$GEN

# The upgrade: other builds of all four.
build 2
cp "$P/lib/libc.so.6" "$P/lib/new" && printf 'upgraded' >>"$P/lib/new" && printf 'X' |
	dd of="$P/lib/new" bs=1 seek=200000 conv=notrunc status=none && mv "$P/lib/new" "$P/lib/libc.so.6"
rm "$P/lib/ld.so"

snap_json "$W/restore.json" restore --gen "$old"
[ $? = 4 ] || fail "restored onto an upgraded C library"
for f in lib/libc.so.6 lib/ld.so lib/libanswer.so bin/program; do
	grep -q "$P/$f: " "$W/restore.json.err" || fail "$f is not named: $(cat "$W/restore.json.err")"
done
grep -q '"build-id"' "$W/restore.json" && grep -q '"missing"' "$W/restore.json" || fail "how is not told: $(cat "$W/restore.json")"
snap_json "$W/restore.json" restore --gen "$old" --files=ignore
[ $? = 4 ] || fail "a missing loader was ignored"

# checked WHEN: all four are the old ones, under their paths.
checked() {
	ask "answer 1 in 1970 as 1"
	for f in lib/libc.so.6 lib/ld.so lib/libanswer.so bin/program; do
		grep -q "$P/$f" "/proc/$PID/maps" || fail "$1: $f is not in maps: $(cat "/proc/$PID/maps")"
	done
	case "$(readlink "/proc/$PID/exe")" in
	"$P/bin/program"*) ;;
	*) fail "$1: exe is $(readlink "/proc/$PID/exe")" ;;
	esac
}
restore "$old" --files=stored
checked "restored from stored copies"
# Taken again, running and ended, with its copies; restored as it is, whatever is on disk.
take "$PID"
checked "taken while it runs on stored copies"
take_kill "$PID"
restore "$GEN"
checked "a restored copy, restored"
kill -9 "$PID"
wait_for 5 gone "$PID"
# The first one still works, and twice; its output is where it was then.
echo ready >"$W/a/out"
restore "$old" --files=stored
checked "restored from stored copies again"
[ -z "$(find "$P" -newer "$P/bin/program" -type f -name '*snap*')" ] || fail "something was left on disk"
