"""The fenced blocks of a page, and what their first line says of them.

```sh test               run on a host, as root, after the site play (or where the test says)
```sh test controller    run beside playbooks/, with .venv/bin first in PATH
```sh paper: REASON      not run, and why
```LANGUAGE file=PATH    written there before the next block is run: absolute on the host, relative on both
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple


class Block(NamedTuple):
    """One fenced block: the line it starts at, its language, the rest of its first line, its text."""

    line: int
    language: str
    mark: str
    text: str


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    found = []
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), start=1))
    for number, line in lines:
        match = re.match(r"```(\S+)\s*(.*)$", line)
        if not match:
            continue
        text = []
        for _, inner in lines:
            if inner.startswith("```"):
                break
            text.append(inner)
        found.append(Block(number, match[1], match[2].strip(), "\n".join(text) + "\n"))
    return found


def file_of(block: Block) -> str | None:
    """Where the block is to be written, if it is a file."""
    match = re.fullmatch(r"file=(\S+)", block.mark)
    return match[1] if match else None
