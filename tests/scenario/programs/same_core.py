#!/usr/bin/python3
"""same_core.py CORE CORE: do two ELF cores hold the same memory?

Ranges may be divided in other ways, and a page of zeroes is one that is not there.  What the kernel
itself writes when a thread goes on (its processor's number, in rseq) may differ: a few bytes in as
many pages as there are threads at most.
"""
import os
import struct
import sys

PAGE = 4096
PT_LOAD = 1
PT_NOTE = 4
NT_PRSTATUS = 1
KERNEL_BYTES = 12


def program_headers(f):
    head = f.read(64)
    offset, = struct.unpack_from("<Q", head, 32)
    size, count = struct.unpack_from("<HH", head, 54)
    f.seek(offset)
    data = f.read(size * count)
    for i in range(count):
        kind, flags, start, address, _, in_file, in_memory = struct.unpack_from("<IIQQQQQ", data, i * size)
        yield kind, flags, start, address, in_file, in_memory


def count_threads(data):
    at = threads = 0
    while at + 12 <= len(data):
        name, body, kind = struct.unpack_from("<III", data, at)
        threads += kind == NT_PRSTATUS and data[at + 12:at + 16] == b"CORE"
        at += 12 + (name + 3 & ~3) + (body + 3 & ~3)
    return threads


def read_pages(f, start, length, address, pages):
    """The pages that are not zero; holes of the file are skipped."""
    at, end = start, start + length
    while at < end:
        try:
            at = max(at, os.lseek(f.fileno(), at, os.SEEK_DATA)) // PAGE * PAGE
        except OSError:
            return
        if at >= end:
            return
        hole = min(os.lseek(f.fileno(), at, os.SEEK_HOLE), end)
        data = os.pread(f.fileno(), hole - at, at)
        for i in range(0, len(data), PAGE):
            page = data[i:i + PAGE]
            if page.count(0) != len(page):
                pages[address + at + i - start] = page
        at = hole


def load(path):
    ranges, pages, threads = [], {}, 0
    with open(path, "rb") as f:
        for kind, flags, start, address, in_file, in_memory in list(program_headers(f)):
            if kind == PT_NOTE:
                threads += count_threads(os.pread(f.fileno(), in_file, start))
            if kind != PT_LOAD:
                continue
            if ranges and ranges[-1][1] == address and ranges[-1][2] == flags:
                ranges[-1] = (ranges[-1][0], address + in_memory, flags)
            else:
                ranges.append((address, address + in_memory, flags))
            read_pages(f, start, in_file, address, pages)
    return ranges, pages, threads


def main():
    (ranges_a, pages_a, threads), (ranges_b, pages_b, _) = load(sys.argv[1]), load(sys.argv[2])
    zero = bytes(PAGE)
    faults = []
    touched = 0
    for r in set(ranges_a) ^ set(ranges_b):
        faults.append("range %x-%x, rights %d: only in %s" % (*r, "the first" if r in ranges_a else "the second"))
    for address in sorted(set(pages_a) | set(pages_b)):
        a, b = pages_a.get(address, zero), pages_b.get(address, zero)
        if a == b:
            continue
        differ = sum(x != y for x, y in zip(a, b))
        touched += 1
        if differ > KERNEL_BYTES or touched > threads:
            faults.append("page %x: %d bytes differ" % (address, differ))
    if not pages_a or not threads:
        faults.append("nothing is in the first")
    print("\n".join(faults[:20]) or "%d pages, %d ranges, %d threads: the same" % (len(pages_a), len(ranges_a), threads))
    return 1 if faults else 0


sys.exit(main())
