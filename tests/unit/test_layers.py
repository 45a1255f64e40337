"""Folders show the architecture: what each wing of the shim may import, and that imports go one way.

docs/architecture.md shows the same table. `python -m tests.unit.test_layers` prints how the wings hang together.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest
from graphlib import CycleError, TopologicalSorter

from ..lib.shim import CHECKOUT, SHIM

# Each wing, from the ground up: the wings that it may import.
TABLE: dict[str, tuple[str, ...]] = {
    "errors": (),
    "system": ("errors",),
    "spec": ("errors", "system"),
    "plan": ("errors", "system", "spec"),
    "containers": ("errors", "system", "spec"),
    "isolators": ("errors", "system", "spec", "plan", "containers"),
    "launch": ("errors", "system", "spec", "plan", "containers", "isolators"),
    "agent": ("errors", "system", "spec", "plan", "containers", "isolators", "launch"),
    "usage": ("errors", "system", "containers", "isolators"),
    "commands": ("errors", "system", "spec", "plan", "containers", "isolators", "launch", "usage", "validate"),
    "bundle": ("errors",),
    "validate": ("errors", "system", "spec", "commands"),
    "release": (),
    "main": ("errors", "system", "spec", "launch", "agent", "commands"),
}
# Every module may ask for the version that the package itself holds.
PACKAGE = ""


def modules() -> dict[str, Path]:
    """The shim's modules by their names below `mesos_shim`."""
    found = {}
    for path in sorted(SHIM.rglob("*.py")):
        parts = path.relative_to(SHIM).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules of the shim that a module imports, wherever in it, for the type checker too."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (item.name.partition(".")[2] for item in node.names if item.name.split(".")[0] == "mesos_shim")
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, package)
            for item in node.names if base is not None else ():
                full = f"{base}.{item.name}".strip(".")
                yield full if full in known else str(base)


def _base(node: ast.ImportFrom, package: str) -> str | None:
    """What the statement imports from, below `mesos_shim`; None where that is not of the shim."""
    if node.level:
        above = package.split(".") if package else []
        return ".".join([*above[: len(above) - node.level + 1], *filter(None, [node.module])])
    first, _, rest = (node.module or "").partition(".")
    return rest if first == "mesos_shim" else None


@lru_cache
def house() -> dict[str, set[str]]:
    """Each module with those that it imports."""
    known = modules()
    return {name: set(imports(name, path, known)) - {name} for name, path in known.items()}


def wing(module: str) -> str:
    """The wing that a module is in."""
    return module.partition(".")[0]


def test_a_module_imports_only_what_its_wing_may() -> None:
    wrong = [
        f"{name} imports {other}"
        for name, others in house().items()
        for other in sorted(others)
        if wing(other) not in {*TABLE.get(wing(name), ()), wing(name), PACKAGE}
    ]
    assert not wrong, "see TABLE"


def test_every_wing_stands_in_the_table() -> None:
    assert {wing(name) for name in modules()} - {PACKAGE} == set(TABLE)


def test_no_import_leads_back() -> None:
    try:
        list(TopologicalSorter(house()).static_order())
    except CycleError as error:
        pytest.fail(f"a circle of imports: {error.args[1]}")


def test_the_documents_table_is_this_one() -> None:
    text = (CHECKOUT / "docs/architecture.md").read_text(encoding="utf-8")
    shown = {}
    for name, cell in re.findall(r"(?m)^\| `([a-z]+)(?:/|\.py)` \|[^|]*\| ([^|]*) \|$", text):
        shown[name] = tuple(re.findall(r"`([a-z]+)`", cell))
    assert shown == TABLE


def main() -> None:
    """Print the modules and lines of each wing, and the arrows between wings."""
    known, found = modules(), house()
    arrows = Counter(
        (wing(name), wing(other)) for name, others in found.items() for other in others if wing(other) != PACKAGE
    )
    for name in TABLE:
        inside = [path for module, path in known.items() if wing(module) == name]
        lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in inside)
        to = ", ".join(f"{other} {arrows[name, other]}" for other in TABLE if other != name and arrows[name, other])
        print(f"{name:10} {len(inside):3} modules {lines:5} lines -> {to or '-'}")
    between = sum(count for (name, other), count in arrows.items() if name != other and name)
    print(f"{len(known)} modules, {between} imports between wings, circles: 0 (or this package's tests fail)")


if __name__ == "__main__":
    main()
