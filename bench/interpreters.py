#!/usr/bin/python3
"""A tree of python interpreters: half of them forked from the first, half started anew.

interpreters.py COUNT ROUNDS_FOLDER MIB PART

Each imports a good part of the library and holds MIB of small objects.  SIGUSR1 to the first is
passed on to all; each then replaces one in PART of its objects and writes how often it did so to a
file named after its pid in ROUNDS_FOLDER.
"""
import asyncio, ctypes, decimal, email, http.client, json, logging, os, random, signal, sqlite3
import subprocess, sys, unittest, xml.dom.minidom


def tell(folder, done):
    path = os.path.join(folder, str(os.getpid()))
    with open(path + ".new", "w") as out:
        out.write(str(done))
    os.rename(path + ".new", path)


def live(folder, objects, part, children):
    done = 0
    while True:
        tell(folder, done)
        signal.sigwait({signal.SIGUSR1})
        done += 1
        for pid in children:
            os.kill(pid, signal.SIGUSR1)
        for _ in range(len(objects) // part):
            objects[random.randrange(len(objects))] = {"round": done, "value": random.random()}


def main():
    count, folder = int(sys.argv[1]), sys.argv[2]
    mib, part = int(sys.argv[3]), int(sys.argv[4])
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    objects = [{"id": i, "name": f"object {i}", "value": i / 7} for i in range(mib * 2700)]
    children = []
    for i in range(count - 1):
        if i % 2:
            command = [sys.executable, __file__, "1", folder, str(mib), str(part)]
            children.append(subprocess.Popen(command, stdin=subprocess.DEVNULL).pid)
            continue
        pid = os.fork()
        if pid == 0:
            random.seed(i)
            children = []
            break
        children.append(pid)
    live(folder, objects, part, children)


main()
