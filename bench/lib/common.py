"""What all benches share: measured commands, sizes, tables, results."""
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MIB = 1 << 20


def build_folder():
    return os.environ.get("SNAP_BUILD", os.path.join(ROOT, "build"))


def tool(name):
    """One of the programs of bench/."""
    return os.path.join(build_folder(), "bench", "bench_" + name)


def end_cleanly():
    """A bench that is told to end takes its targets and folders with it."""
    def leave(number, frame):
        sys.exit(128 + number)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)


def log(text):
    print(f"[{time.strftime('%H:%M:%S')}, load {os.getloadavg()[0]:.1f}] {text}",
          file=sys.stderr, flush=True)


class CommandFailed(Exception):
    pass


def measure(command, check=True, env=None, cwd=None, nice=None):
    """Runs a command; its figures (see measure.c), `out` and `err`."""
    with tempfile.NamedTemporaryFile("r") as report:
        prefix = [tool("measure")]
        nice = os.environ.get("BENCH_NICE", "-10") if nice is None else nice
        if os.geteuid() == 0 and nice != "0":
            prefix += ["-n", nice]
        done = subprocess.run(prefix + [report.name] + [str(word) for word in command],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=cwd,
                              env=dict(os.environ, **(env or {})))
        lines = report.read().splitlines()
    if not lines or (check and done.returncode != 0):
        raise CommandFailed(f"{' '.join(map(str, command))}: status {done.returncode}: "
                            f"{done.stderr[-2000:]}")
    figures = json.loads(lines[-1])
    figures.update(out=done.stdout, err=done.stderr)
    return figures


def allocated(path):
    """Bytes on disk below a path, as du counts them."""
    total, seen = 0, set()
    for folder, _, files in os.walk(path):
        for name in files:
            with contextlib.suppress(FileNotFoundError):
                there = os.lstat(os.path.join(folder, name))
                if there.st_ino not in seen:
                    seen.add(there.st_ino)
                    total += there.st_blocks * 512
    return total


def wait_for(what, condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise CommandFailed(f"{what}: not within {seconds} s")
        time.sleep(0.02)


def gone(pid):
    return not os.path.exists(f"/proc/{pid}")


@contextlib.contextmanager
def scratch(parent):
    folder = tempfile.mkdtemp(prefix="snap-bench.", dir=parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def median(values):
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None


def table(headings, rows):
    """Aligned columns, as Markdown."""
    cells = [headings] + [["–" if c is None else str(c) for c in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headings))]
    lines = []
    for number, row in enumerate(cells):
        lines.append("| " + " | ".join(c.ljust(w) for c, w in zip(row, widths)) + " |")
        if number == 0:
            lines.append("|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


def mb(count, digits=1):
    return None if count is None else f"{count / 1e6:.{digits}f}"


def ms(seconds, digits=0):
    return None if seconds is None else f"{seconds * 1e3:.{digits}f}"


class Targets:
    """What was aimed at, and whether it was reached.  A value of None was not measured."""

    def __init__(self):
        self.rows = []

    def add(self, what, value, limit, unit="", at_least=False):
        met = None
        if value is not None:
            met = value >= limit if at_least else value <= limit
        self.rows.append({"what": what, "value": value, "limit": limit, "unit": unit,
                          "at_least": at_least, "met": met})

    def table(self):
        return table(["aim", "measured", "limit", "met"], [
            [r["what"], None if r["value"] is None else f"{r['value']:.4g} {r['unit']}",
             f"{'≥' if r['at_least'] else '≤'} {r['limit']:g} {r['unit']}",
             {True: "yes", False: "NO", None: "not measured"}[r["met"]]] for r in self.rows])


def machine():
    kernel = os.uname()
    return {"cores": os.cpu_count(), "kernel": kernel.release, "load": os.getloadavg()[0],
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def finish(result, path):
    """Results as JSON: to a file, or behind the tables."""
    result["machine_after"] = machine()
    if path:
        with open(path, "w") as out:
            json.dump(result, out, indent=1)
            out.write("\n")
