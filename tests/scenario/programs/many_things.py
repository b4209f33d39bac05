"""A Python program with threads, a child on a pipe, an open file, a timer: counts until it is judged,
then checks what it has counted."""
import os
import queue
import signal
import subprocess
import sys
import threading
import time

folder = os.getcwd()
judged = threading.Event()
work, results = queue.Queue(), queue.Queue()
ticks = 0


def verdict(text):
    with open(folder + "/verdict.part", "w") as f:
        f.write(text + "\n")
    os.rename(folder + "/verdict.part", folder + "/verdict")
    os._exit(0 if text == "PASS" else 1)


def worker():
    while (n := work.get()) is not None:
        results.put((n, n * n))


def on_alarm(signum, frame):
    global ticks
    ticks += 1


log = open("log", "w+", buffering=1)
log.write("first line\n")
child = subprocess.Popen([sys.executable, "-u", "-c",
                          "import sys\nfor l in sys.stdin: print(int(l) + 1)"],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
threads = [threading.Thread(target=worker) for _ in range(8)]
for t in threads:
    t.start()
signal.signal(signal.SIGALRM, on_alarm)
signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)


def exchange(n):
    child.stdin.write("%d\n" % n)
    return int(child.stdout.readline())


try:
    n = 0
    ready = False
    while not os.path.exists(folder + "/judge"):
        n += 1
        work.put(n)
        if exchange(n) != n + 1:
            verdict("FAIL: wrong answer of the child")
        log.write("line %d\n" % n)
        time.sleep(0.005)
        if n == 20:
            with open("ready", "w") as f:
                f.write("%d\n" % os.getpid())
    before = ticks
    deadline = time.time() + 5
    while ticks < before + 3 and time.time() < deadline:
        time.sleep(0.01)
    if ticks < before + 3:
        verdict("FAIL: the timer does not tick")
    for t in threads:
        work.put(None)
    for t in threads:
        t.join(5)
        if t.is_alive():
            verdict("FAIL: a thread does not end")
    got = dict(results.get_nowait() for _ in range(results.qsize()))
    if got != {i: i * i for i in range(1, n + 1)}:
        verdict("FAIL: results of the threads are wrong")
    child.stdin.close()
    if child.wait(5) != 0:
        verdict("FAIL: the child ended with %r" % child.returncode)
    log.seek(0)
    lines = log.read().splitlines()
    if lines != ["first line"] + ["line %d" % i for i in range(1, n + 1)]:
        verdict("FAIL: the log has %d lines after %d rounds" % (len(lines), n))
    verdict("PASS")
except Exception as e:
    verdict("FAIL: %s: %s" % (type(e).__name__, e))
