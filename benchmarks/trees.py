"""What one would write with psutil alone, to have something beside `mesos-shim usage`: `trees.py trees|pass < pids`.

Prints per root process its tree's number of processes and threads, CPU seconds and resident memory, as JSON.
"""

from __future__ import annotations

import json
import sys

import psutil


def trees(roots: list[int]) -> dict[int, list[float]]:
    """The plain way: ask for each container's tree."""
    found = {}
    for root in roots:
        try:
            first = psutil.Process(root)
            members = [first, *first.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
        found[root] = total([m for m in members if m.is_running()])
    return found


def one_pass(roots: list[int]) -> dict[int, list[float]]:
    """With more thought: all processes once, then down the tree."""
    children: dict[int, list[psutil.Process]] = {}
    known = {}
    for process in psutil.process_iter(["ppid"]):
        known[process.pid] = process
        children.setdefault(process.info["ppid"], []).append(process)
    found = {}
    for root in roots:
        members, left = [], [known[root]] if root in known else []
        while left:
            process = left.pop()
            members.append(process)
            left += children.get(process.pid, [])
        found[root] = total(members)
    return found


def total(members: list[psutil.Process]) -> list[float]:
    """What they use together."""
    sums = [0.0] * 4
    for process in members:
        try:
            with process.oneshot():
                times = process.cpu_times()
                used = (1, process.num_threads(), times.user + times.system, process.memory_info().rss)
        except psutil.NoSuchProcess:
            continue
        sums = [one + other for one, other in zip(sums, used)]
    return sums


if __name__ == "__main__":
    ways = {"trees": trees, "pass": one_pass}
    print(json.dumps(ways[sys.argv[1]]([int(word) for word in sys.stdin.read().split()])))
