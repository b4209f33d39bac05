"""Backup tools that are given a dump of each generation, as Debian has them; and CRIU, which dumps
by itself, where one that works is on PATH."""
import os
import shutil

from common import CommandFailed, allocated, log, measure


class Peer:
    name = "?"
    program = "?"
    env = {}

    def __init__(self, folder):
        self.repository = os.path.join(folder, self.name)
        self.folder = folder

    def run(self, *command, check=True, cwd=None):
        return measure([self.program, *command], check=check, env=self.env, cwd=cwd)

    def store(self, number, dump, pid):
        """One generation; figures with the bytes it added."""
        before = allocated(self.repository)
        done = self.backup(number, dump, pid)
        done["bytes"] = allocated(self.repository) - before
        return {key: done[key] for key in ("wall_s", "cpu_s", "peak_kib", "bytes", "frozen_s")
                if key in done}

    def forget(self, keep):
        """All generations but the newest, and the space given back: seconds and bytes."""
        before = allocated(self.repository)
        seconds = sum(done["wall_s"] for done in self.prune(keep))
        return {"wall_s": seconds, "bytes_before": before,
                "bytes_after": allocated(self.repository)}

    def restore(self, number):
        """Reads a generation back into files; seconds."""
        target = os.path.join(self.folder, "back-" + self.name)
        os.mkdir(target)
        try:
            return {"wall_s": self.extract(number, target)["wall_s"]}
        finally:
            shutil.rmtree(target)


class Restic(Peer):
    name = program = "restic"

    def __init__(self, folder):
        super().__init__(folder)
        self.env = {"RESTIC_PASSWORD": "bench", "RESTIC_REPOSITORY": self.repository,
                    "RESTIC_CACHE_DIR": os.path.join(folder, "cache"), "HOME": folder}
        self.run("init")

    def backup(self, number, dump, pid):
        return self.run("backup", "--quiet", ".", cwd=dump)

    def prune(self, keep):
        return [self.run("forget", "--quiet", "--keep-last", str(keep), "--prune")]

    def extract(self, number, target):
        return self.run("restore", "latest", "--target", target)


class Borg(Peer):
    name = program = "borg"

    def __init__(self, folder):
        super().__init__(folder)
        self.env = {"BORG_BASE_DIR": folder, "BORG_REPO": self.repository,
                    "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}
        self.run("init", "-e", "none", self.repository)

    def backup(self, number, dump, pid):
        return self.run("create", "-C", "zstd,1", f"::g{number}", ".", cwd=dump)

    def prune(self, keep):
        return [self.run("prune", "--keep-last", str(keep)), self.run("compact")]

    def extract(self, number, target):
        return self.run("extract", f"::g{number}", cwd=target)


class Casync(Peer):
    name = program = "casync"

    def backup(self, number, dump, pid):
        os.makedirs(self.repository, exist_ok=True)
        return self.run("make", "--without=all", f"--store={self.repository}/store.castr",
                        f"{self.repository}/g{number}.caidx", dump)

    def prune(self, keep):
        found = sorted((name for name in os.listdir(self.repository) if name.endswith(".caidx")),
                       key=lambda name: int(name[1:-6]))
        for name in found[:-keep]:
            os.unlink(os.path.join(self.repository, name))
        return [self.run("gc", f"--store={self.repository}/store.castr",
                         *(os.path.join(self.repository, name) for name in found[-keep:]))]

    def extract(self, number, target):
        return self.run("extract", f"--store={self.repository}/store.castr",
                        f"{self.repository}/g{number}.caidx", os.path.join(target, "out"))


class Criu(Peer):
    """One directory for each generation.  It does not need the dump."""
    name = program = "criu"

    def __init__(self, folder):
        super().__init__(folder)
        if self.run("check", check=False)["status"] != 0:
            raise CommandFailed("criu check fails")

    def backup(self, number, dump, pid):
        images = os.path.join(self.repository, f"g{number}")
        os.makedirs(images)
        done = self.run("dump", "--tree", str(pid), "--images-dir", images, "--leave-running",
                        "--shell-job", "--file-locks", "--ext-unix-sk", "-v1", "-o", "log",
                        "--display-stats")
        done["frozen_s"] = frozen_of(done["out"] + done["err"])
        return done

    def prune(self, keep):
        found = sorted(os.listdir(self.repository), key=lambda name: int(name[1:]))
        return [measure(["rm", "-r", *(os.path.join(self.repository, name)
                                       for name in found[:-keep])])]

    def restore(self, number):
        return None  # into a process, not files: it is not the same work


def frozen_of(text):
    for line in text.splitlines():
        if line.strip().startswith("Frozen time:"):
            return int(line.split()[2]) / 1e6
    return None


def available(folder, wanted):
    """Those of `wanted` that can be had; the others are named."""
    found = []
    for peer in (Restic, Borg, Casync, Criu):
        if peer.name not in wanted:
            continue
        if not shutil.which(peer.program):
            log(f"{peer.name} is not installed: left out")
            continue
        try:
            found.append(peer(folder))
        except CommandFailed as error:
            log(f"{peer.name} left out: {error}")
    return found
