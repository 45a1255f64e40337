"""`python -m benchmarks [NAME…]`: each measured beside its peers in one run; a table and bench/results/*.json."""

from __future__ import annotations

import importlib
import os
import sys

from . import bench, measure

# In the order of the table; each module has `rows(bench)`, which yields name and Row.
MODULES = ("launch", "agent", "memory", "crowd", "parallel", "usage", "start", "rollout", "cable")
# Runs of each case; a quartile of fewer moves by more than the differences that are to be seen.
RUNS = int(os.environ.get("BENCH_RUNS", "200"))
BUSY = 0.5


def main(names: list[str]) -> int:
    """Measure the modules `names`, by default all."""
    unknown = set(names) - set(MODULES)
    if unknown:
        print(f"benchmarks: no {', '.join(sorted(unknown))}; there are: {', '.join(MODULES)}", file=sys.stderr)
        return 2
    lines: list[str] = []
    with bench.bench(RUNS) as place:
        machine = measure.machine(place.python)
        print(", ".join(f"{name}: {value}" for name, value in machine.items()))
        print(f"{bench.HEADER}", flush=True)
        for name in names or MODULES:
            module = importlib.import_module(f"benchmarks.{name}")
            before = measure.load()
            for result, row in module.rows(place):
                after = measure.load()
                about = {"machine": machine, "load_before": round(before, 2), "load_after": round(after, 2)}
                bench.save(result, row, about)
                lines.append(row.line)
                print(row.line, flush=True)
                for peer, why in row.unavailable.items():
                    print(f"  ({peer}: {why})", flush=True)
                if before > BUSY:
                    print(f"  (other programs ran: load {before:.1f} at the beginning)", flush=True)
                before = after
                place.forget()
    return 0 if lines else 1


sys.exit(main(sys.argv[1:]))
