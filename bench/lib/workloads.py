"""Programs that are snapshotted: each can be started, changed, asked for its state and ended."""
import atexit
import os
import shutil
import signal
import subprocess
import sys
import time

from common import CommandFailed, gone, tool, wait_for

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def start_alone(command, cwd):
    """In a session of its own, with nothing of ours open, and as nice to others as what is
    measured.  A short-lived process in between makes it a child of init, which reaps it: a restore
    needs its number free."""
    inner = '[ "$NICE" = 0 ] || echo "$NICE" >/proc/self/autogroup; exec "$@"'
    script = f"cd \"$1\" && shift && {{ setsid sh -c '{inner}' sh \"$@\" </dev/null " \
             ">/dev/null 2>&1 & } && echo $!"
    nice = os.environ.get("BENCH_NICE", "-10") if os.geteuid() == 0 else "0"
    told = subprocess.run(["sh", "-c", script, "sh", cwd, *map(str, command)], check=True,
                          stdout=subprocess.PIPE, text=True, env=dict(os.environ, NICE=nice))
    pid = int(told.stdout)
    atexit.register(end_again, pid, start_time(pid))
    return pid


def start_time(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[19]
    except FileNotFoundError:
        return None


def end_again(pid, started):
    """What a bench that failed has left behind; not somebody else with the same number."""
    if started and start_time(pid) == started:
        left = Workload()
        left.pid = pid
        left.kill()


class Workload:
    name = "?"
    pid = None

    def pids(self):
        """The tree, root first."""
        found, todo = [], [self.pid]
        while todo:
            pid = todo.pop(0)
            found.append(pid)
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children") as children:
                    todo += map(int, children.read().split())
        return found

    def kill(self):
        """Only what was started here.  Returns the pids that were ended."""
        pids = self.pids() if not gone(self.pid) else []
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        wait_for(f"end of {self.name}", lambda: all(gone(pid) for pid in pids))
        return pids

    def check(self):
        """Something that a wrong restore would change; None if there is nothing."""
        return None


class Redis(Workload):
    """JSON values; a change rewrites one key in a hundred."""
    name = "redis"

    def __init__(self, folder, keys, changes=None):
        if not shutil.which("redis-server"):
            raise CommandFailed("redis-server is not installed")
        self.folder = os.path.join(folder, "redis")
        os.mkdir(self.folder)
        self.socket = os.path.join(self.folder, "socket")
        self.keys = keys
        self.changes = changes if changes is not None else keys // 100
        self.round = 0
        self.pid = start_alone(
            ["redis-server", "--port", "0", "--unixsocket", self.socket, "--save", "",
             "--appendonly", "no", "--dir", self.folder, "--enable-debug-command", "yes"],
            self.folder)
        wait_for("redis-server", lambda: self.cli("ping") == "PONG")
        self.load()

    def cli(self, *words):
        done = subprocess.run(["redis-cli", "-s", self.socket, *words], text=True,
                              capture_output=True, timeout=60)
        return done.stdout.strip()

    def load(self):
        values = subprocess.Popen([tool("values"), str(self.keys), str(self.round),
                                   str(self.changes)], stdout=subprocess.PIPE)
        subprocess.run(["redis-cli", "-s", self.socket, "--pipe"], stdin=values.stdout, check=True,
                       stdout=subprocess.DEVNULL)
        values.stdout.close()
        if values.wait() != 0:
            raise CommandFailed("values failed")

    def change(self):
        self.round += 1
        self.load()

    def check(self):
        return self.cli("debug", "digest")


class Signalled(Workload):
    """Changes at SIGUSR1, and tells the number of changes in one file for each process."""

    def rounds(self):
        found = []
        for name in os.listdir(self.folder):
            if not name.endswith(".new"):
                with open(os.path.join(self.folder, name)) as told:
                    text = told.read().strip()
                found.append(int(text) if text else -1)
        return found

    def all_at(self, count, number):
        return self.rounds() == [number] * count

    def change(self):
        self.round += 1
        os.kill(self.pid, signal.SIGUSR1)
        wait_for(f"change {self.round} of {self.name}",
                 lambda: self.all_at(self.count, self.round))
        time.sleep(0.1)


class Doubles(Signalled):
    """Random doubles; a change rewrites one percent, all in one place."""
    name = "doubles"

    def __init__(self, folder, mib):
        self.folder = os.path.join(folder, "doubles")
        os.mkdir(self.folder)
        self.round, self.count = 0, 1
        self.pid = start_alone([tool("doubles"), mib, os.path.join(self.folder, "rounds")],
                               self.folder)
        wait_for("doubles", lambda: self.all_at(1, 0))


class Interpreters(Signalled):
    """Many python processes, forked and fresh; a change replaces one object in PART."""
    name = "interpreters"

    def __init__(self, folder, count, mib=4, part=100):
        self.folder = os.path.join(folder, "interpreters")
        os.mkdir(self.folder)
        self.round, self.count = 0, count
        self.pid = start_alone([sys.executable, os.path.join(HERE, "interpreters.py"), count,
                                self.folder, mib, part], self.folder)
        wait_for("interpreters", lambda: self.all_at(count, 0))


class Ticks(Workload):
    """Looks at the clock without a pause; knows the longest gap since it was told to begin anew."""
    name = "ticks"

    def __init__(self, folder, mib, dirty_mib):
        self.gap = os.path.join(folder, "gap")
        self.pid = start_alone([tool("ticks"), self.gap, mib, dirty_mib], folder)
        wait_for("ticks", lambda: os.path.exists(self.gap))

    def ask(self, number):
        os.unlink(self.gap)
        os.kill(self.pid, number)
        wait_for("ticks", lambda: os.path.exists(self.gap))
        with open(self.gap) as told:
            return int(told.read()) / 1e9

    def change(self):
        self.ask(signal.SIGUSR1)

    def longest_s(self):
        return self.ask(signal.SIGUSR2)


class Crowd(Workload):
    """Many small processes that do nothing."""
    name = "crowd"

    def __init__(self, folder, count):
        self.pid = start_alone(["sh", "-c", f"i=1; while [ $i -lt {count} ]; do sleep 1000000 & "
                                "i=$((i+1)); done; wait"], folder)
        wait_for("crowd", lambda: len(self.pids()) == count)

    def change(self):
        pass
