"""The threat model names its tests and modules: each is there, and no threat is without one."""

from __future__ import annotations

import ast
import re

from ..lib.shim import CHECKOUT

TEXT = (CHECKOUT / "docs/threat-model.md").read_text(encoding="utf-8")
SECTIONS = re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]


def test_every_threat_has_defence_place_and_tests() -> None:
    *threats, last = SECTIONS
    numbers = [int(section.split(".")[0]) for section in threats]
    assert numbers == list(range(1, len(numbers) + 1))
    for section in threats:
        assert "\n- Where: `" in section, section[:60]
        assert re.search(r"\n- Tests: .*`\w+/test_\w+\.py::test_", section), section[:60]
    assert last.startswith("What is not defended")


def test_every_test_that_is_named_exists() -> None:
    named = re.findall(r"`(\w+/test_\w+\.py)::(\w+)`", TEXT)
    assert len(named) > 80
    missing = []
    for file, name in named:
        path = CHECKOUT / "tests" / file
        tree = ast.parse(path.read_text(encoding="utf-8")) if path.exists() else ast.Module([], [])
        if name not in [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
            missing.append(f"{file}::{name}")
    assert missing == []


def test_every_place_that_is_named_exists() -> None:
    missing = []
    for line in re.findall(r"^- Where: (.*?)(?=\n- |\n\n)", TEXT, flags=re.MULTILINE | re.DOTALL):
        for file, names in re.findall(r"`([\w/]+\.py)`(?:\s\(([^)]*)\))?", line):
            path = CHECKOUT / ("collection" if file.startswith(("plugins/", "roles/")) else "shim/mesos_shim") / file
            source = path.read_text(encoding="utf-8") if path.exists() else ""
            for name in ["", *re.findall(r"`([\w.]+)`", names)]:
                if not re.search(rf"\b{re.escape(name.rpartition('.')[2])}\b", source):
                    missing.append(f"{file} {name}")
    assert missing == []
