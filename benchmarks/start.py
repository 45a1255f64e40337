"""How long a command takes to be there."""

from __future__ import annotations

from collections.abc import Iterator

from . import measure
from .bench import Bench, Row
from .measure import Command


def rows(bench: Bench) -> Iterator[tuple[str, Row]]:
    """The row of this module."""
    program = str(bench.shim.program)
    cases = {"bare": bench.bare, "--help": Command([program, "--help"]), "ps": Command([program, "ps"])}
    found = measure.alternate(cases, max(20, bench.runs // 4))
    ratios = {name: measure.ratio(found[name], found["bare"]) for name in ("--help", "ps")}
    yield (
        "start",
        Row(
            "start of `--help`, `ps`",
            "bare interpreter",
            "at most 4x",
            ", ".join(f"`{name}` **{values['p25']:.2f}x**" for name, values in ratios.items()),
            max(values["p25"] for values in ratios.values()) <= 4,
            {"milliseconds": measure.plain(found), "ratios": ratios},
        ),
    )
