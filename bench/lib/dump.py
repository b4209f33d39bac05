"""The same memory for other tools: the pages that private writable mappings of a tree hold of their
own, one file for each process, in order of address."""
import contextlib
import os
import signal
import struct
import time

from common import wait_for

PAGE = 4096
PRESENT, SWAPPED, OF_FILE = 1 << 63, 1 << 62, 1 << 61
RUN_PAGES = 1024


def stopped(pid):
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] in "Tt"


@contextlib.contextmanager
def standing_still(pids):
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        wait_for("stop", lambda: all(stopped(pid) for pid in pids))
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def own_runs(pagemap, start, end):
    """Runs (address, bytes) of pages that are there and not a file's."""
    pagemap.seek(start // PAGE * 8)
    raw = pagemap.read((end - start) // PAGE * 8)
    first = None
    number = 0
    for number, (entry,) in enumerate(struct.iter_unpack("<Q", raw)):
        own = entry & (PRESENT | SWAPPED) and not entry & OF_FILE
        if first is not None and (not own or number - first == RUN_PAGES):
            yield start + first * PAGE, (number - first) * PAGE
            first = None
        if own and first is None:
            first = number
    if first is not None:
        yield start + first * PAGE, (len(raw) // 8 - first) * PAGE


def mappings(pid):
    with open(f"/proc/{pid}/maps") as maps:
        for line in maps:
            fields = line.split(None, 5)
            name = fields[5].strip() if len(fields) > 5 else ""
            if fields[1][3] == "p" and not name.startswith(("[vvar", "[vdso", "[vsyscall")):
                start, end = (int(word, 16) for word in fields[0].split("-"))
                yield start, end


def dump_process(pid, path):
    total = 0
    with open(f"/proc/{pid}/mem", "rb", 0) as memory, open(path, "wb") as out, \
            open(f"/proc/{pid}/pagemap", "rb", 0) as pagemap:
        for start, end in mappings(pid):
            for at, length in own_runs(pagemap, start, end):
                memory.seek(at)
                total += out.write(memory.read(length))
    return total


def dump(pids, folder):
    """Bytes written, and seconds the tree stood still."""
    os.makedirs(folder, exist_ok=True)
    begun = time.monotonic()
    with standing_still(pids):
        total = sum(dump_process(pid, os.path.join(folder, f"pages-{number}"))
                    for number, pid in enumerate(pids))
    return total, time.monotonic() - begun
