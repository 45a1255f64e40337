"""The fenced blocks of a page, and what their first line says of them.

```sh test               run on a host, as root, after the site play (or where the test says)
```sh test controller    run beside playbooks/, with .venv/bin first in PATH
```sh test WHERE         run by the test that follows this page and this mark
```sh paper: REASON      not run, and why
```LANGUAGE file=PATH    written there before the next block is run: absolute on the host, relative on both

A test follows a page by the fixture `following`, and by nothing else: so it is known which blocks somebody follows
(`followed`, from the source), and each that was asked for must have been used when the test ends.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.lib.shim import CHECKOUT

ANY_FILE = "file="
SHELLS = ("sh", "bash", "shell", "console", "zsh")


@dataclass
class Block:
    """One fenced block: the line it starts at, its language, the rest of its first line, its text."""

    line: int
    language: str
    mark: str
    text: str
    used: bool = field(default=False, compare=False)

    def use(self) -> str:
        """The text, to be run or to be written where it says."""
        self.used = True
        return self.text

    def among(self, marks: tuple[str, ...]) -> bool:
        """Whether one of the marks is its own."""
        return self.mark in marks or (ANY_FILE in marks and self.mark.startswith(ANY_FILE))


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    found = []
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), start=1))
    for number, line in lines:
        match = re.match(r"\s*```(\S*)\s*(.*)$", line)
        if not match:
            continue
        text = []
        for _, inner in lines:
            if inner.strip() == "```":
                break
            text.append(inner)
        found.append(Block(number, match[1], match[2].strip(), "\n".join(text) + "\n"))
    return found


def file_of(block: Block) -> str | None:
    """Where the block is to be written, if it is a file."""
    match = re.fullmatch(r"file=(\S+)", block.mark)
    return match[1] if match else None


Following = Callable[..., "list[Block]"]


@pytest.fixture
def following() -> Iterator[Following]:
    """`following("docs/x.md", MARK...)`: the page's blocks of these marks, in order; all must be used by the test."""
    given: list[tuple[str, Block]] = []

    def of(page: str, *marks: str) -> list[Block]:
        found = [block for block in blocks(CHECKOUT / page) if block.among(marks)]
        assert found, f"{page} has no block of {marks}"
        given.extend((page, block) for block in found)
        return found

    yield of
    left = [f"{page}:{block.line}" for page, block in given if not block.used]
    assert not left, f"asked for and not used: {left}"


def followed(tests: Path) -> set[tuple[str, str]]:
    """Each page and mark that a test below `tests`, or a fixture that a test of its file takes, asks for."""
    found = set()
    for path in sorted(tests.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        waiting = [name for name in functions if name.startswith("test_")]
        while waiting:
            function = functions.pop(waiting.pop(), None)
            if function is None:
                continue
            waiting += [argument.arg for argument in function.args.args]
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "following":
                    page, *marks = [ast.literal_eval(argument) for argument in call.args]
                    found |= {(page, mark) for mark in marks}
    return found
