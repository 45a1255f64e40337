"""The table of words in CONTRIBUTING.md holds for identifiers of shim and collection: old words do not come back."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from ..lib.shim import CHECKOUT

SOURCES = (CHECKOUT / "shim/mesos_shim", CHECKOUT / "collection/plugins", CHECKOUT / "collection/roles")
# What a module of the collection has returned since its first release.
PUBLIC = {"foreign_files"}


def old_words() -> set[str]:
    """The words of the table's left column that are whole words of an identifier."""
    page = (CHECKOUT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = re.search(r"^\| not \| but \|\n\|---\|---\|\n((?:\|.*\n)+)", page, re.MULTILINE)
    assert table is not None
    return set(re.findall(r"`(\w+)`", " ".join(line.split("|")[1] for line in table[1].splitlines())))


def identifiers(source: str) -> set[str]:
    """Every name that the module binds or reads: variables, attributes, parameters, functions and classes."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        for field in ("id", "attr", "arg", "name"):
            value = getattr(node, field, None)
            if isinstance(value, str):
                found.add(value)
    return found


def words(name: str) -> set[str]:
    """The words of a name, with their common endings."""
    found = set(re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()))
    return found | {word.removesuffix(ending) for word in found for ending in ("s", "d", "ed", "ing")}


def misnamed(files: list[Path]) -> list[str]:
    old = old_words()
    return sorted(
        f"{path.name}: {name}"
        for path in files
        for name in identifiers(path.read_text(encoding="utf-8"))
        if words(name) & old and name not in PUBLIC
    )


def test_no_identifier_has_an_old_word() -> None:
    assert len(old_words()) > 10
    assert misnamed([path for source in SOURCES for path in sorted(source.rglob("*.py"))]) == []


def test_an_old_word_is_found(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text("def stand_beside(judged, telling):\n    _told = judged.settled\n")
    names = {name.removeprefix("module.py: ") for name in misnamed([path])}
    assert names == {"stand_beside", "judged", "telling", "_told", "settled"}
