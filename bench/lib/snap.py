"""The snap command with one store."""
import functools
import json
import os
import time

from common import CommandFailed, allocated, build_folder, gone, measure, wait_for

PROGRAM = os.environ.get("SNAP", os.path.join(build_folder(), "cli", "snap"))


@functools.lru_cache(None)
def knows(command, option):
    """Whether this snap has an option: older ones are measured without."""
    return option in measure([PROGRAM, command, "--help"], check=False)["out"]


class Snap:
    def __init__(self, store):
        self.store = store
        self.peaks = {}  # of each command

    def run(self, command, *options, check=True):
        done = measure([PROGRAM, command, "--store", self.store, "--json", "--no-progress",
                        *options], check=check)
        peak = self.peaks.setdefault(command, {"peak_kib": 0, "peak_anon_kib": 0})
        for key in peak:
            peak[key] = max(peak[key], done[key])
        done["json"] = json.loads(done["out"]) if done["out"].startswith(("{", "[")) else None
        return done

    def sizes(self):
        return {part: allocated(os.path.join(self.store, part)) for part in ("packs", "index")}

    def take(self, pid, *options):
        """One generation, and what it added to the store."""
        before, parts = allocated(self.store), self.sizes()
        done = self.run("take", "--pid", str(pid), *options)
        after = self.sizes()
        told = done["json"]
        return {"generation": told["generation"], "frozen_s": told["frozen_ns"] / 1e9,
                "told_wall_s": told["wall_ns"] / 1e9, "wall_s": done["wall_s"],
                "cpu_s": done["cpu_s"], "peak_kib": done["peak_kib"],
                "peak_anon_kib": done["peak_anon_kib"],
                "bytes": allocated(self.store) - before,
                "bytes_packs": after["packs"] - parts["packs"],
                "bytes_index": after["index"] - parts["index"],
                "pages": told["pages_scanned"], "pages_new": told["pages_new"], "told": told,
                "load": os.getloadavg()[0]}

    def restore(self, generation, pids):
        """The old processes must have ended; their numbers may have to be waited for."""
        wait_for(f"end of {pids}", lambda: all(gone(pid) for pid in pids))
        time.sleep(0.2)
        return self.run("restore", "--gen", str(generation))

    def stats(self):
        return self.run("stats")["json"]


MAPPED_KIB = 64 << 10  # what a command may have of the index besides, mapped


def memory_allowed_kib(command, pages_new=0, pages_stored=0, kept=True):
    """The formula of docs/store-figures.md: what a command may have of its own."""
    allowed = 128 << 10
    if command == "take":  # what is kept while the target stands still, hashes, and a filter
        allowed += min(pages_new * 4, 256 << 10) if kept else 0
        allowed += min(pages_new * 16 >> 10, 32 << 10)
        if pages_stored * 12 > 32 << 20:
            allowed += min(pages_stored >> 10, 16 << 10)
    if command in ("gc", "verify"):
        allowed += 2 * pages_stored // 8 >> 10
    return allowed


def track_options(mode):
    """Options for a take that reads everything, or that may trust dirty tracking."""
    if knows("take", "--track"):
        return ["--track", mode]
    if mode not in ("none", "auto"):
        raise CommandFailed(f"this snap has no --track {mode}")
    return []
