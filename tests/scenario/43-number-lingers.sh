#!/bin/bash
# The kernel gives a number out again only some time after its process is gone from sight: longer
# where somebody has looked at much of its /proc, as lsof does.  A restore waits for that.
# timeout: 60
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "needs python3"

# A root and a child with so many mappings that forgetting what /proc showed of them takes time.
cat >"$W/mappings.py" <<'PY'
import ctypes, mmap, os, signal, sys, time

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
fd = os.open(sys.argv[1], os.O_RDONLY)
for i in range(20000):
    if libc.mmap(None, 4096, mmap.PROT_READ, mmap.MAP_PRIVATE, fd, 0) == ctypes.c_void_p(-1).value:
        sys.exit(os.strerror(ctypes.get_errno()))
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
child = os.fork()
if child:
    open("child", "w").write(str(child))
else:
    os.setsid()  # so that it holds no number but its own
    open("ready", "w").close()
while not os.path.exists("judge"):
    time.sleep(0.02)
if child:
    os.kill(child, 0)
    open("verdict.new", "w").write("PASS")
    os.rename("verdict.new", "verdict")
PY
start_target "$W/a" python3 "$W/mappings.py" "$W/mappings.py"
root=$PID child=$(cat "$W/a/child")
take "$root"
for looked_at in "$root" "$child"; do
	n=$(ls -l "/proc/$looked_at/map_files" 2>/dev/null | wc -l)
	[ "$n" -gt 20000 ] || skip "only $n mappings are shown"
	restore "$GEN" --replace
	[ "$PID" = "$root" ] || fail "restored as $PID instead of $root"
	alive "$child" || fail "the child is not back"
done
judge "$W/a" "$PID" "after two restores"
