"""A terminal that a test sits at: a program in a session of its own, typed at and read from by the master side."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .waiting import SECONDS


class Terminal:
    """The program `words` at a new terminal, which is its controlling one."""

    def __init__(self, words: list[str], cwd: Path | None = None, **streams: Any) -> None:
        self.master, slave = pty.openpty()
        self.name = os.ttyname(slave)
        self.resize(24, 80)
        self.shown = b""
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *words],
            cwd=cwd,
            **{"stdin": slave, "stdout": slave, "stderr": slave, **streams},
        )
        os.close(slave)

    def resize(self, rows: int, columns: int) -> None:
        """Give it another size; the program gets SIGWINCH."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    @property
    def modes(self) -> list[Any]:
        """Its modes, as tcgetattr(3) tells."""
        return termios.tcgetattr(self.master)

    def type(self, text: str) -> None:
        """Type it."""
        os.write(self.master, text.encode())

    def read(self, text: str, seconds: float = SECONDS) -> str:
        """What is shown up to `text` and with it, since the last time."""
        wanted = text.encode()
        deadline = time.monotonic() + seconds
        while wanted not in self.shown:
            assert select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))[0], self.shown
            try:
                data = os.read(self.master, 65536)
            except OSError:  # nobody has it open any more
                data = b""
            assert data, f"ended without {text!r}: {self.shown!r}"
            self.shown = (self.shown + data).replace(b"\r\n", b"\n")
        found, _, self.shown = self.shown.partition(wanted)
        return (found + wanted).decode()

    def rest(self, seconds: float = SECONDS) -> str:
        """What is shown until nobody has the terminal open."""
        while select.select([self.master], [], [], seconds)[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                break
            if not data:
                break
            self.shown += data
        shown, self.shown = self.shown, b""
        return shown.decode().replace("\r\n", "\n")

    def end(self) -> int:
        """Wait for the program; its exit status, as a shell says it."""
        status = self.process.wait(SECONDS)
        return status if status >= 0 else 128 - status

    def close(self) -> None:
        """Hang up."""
        if self.master >= 0:
            os.close(self.master)
            self.master = -1
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def terminal(sandbox: Path) -> Iterator[Any]:
    """Starts programs at terminals of their own, by default in the sandbox."""
    opened: list[Terminal] = []

    def start(*words: object, **keywords: Any) -> Terminal:
        keywords.setdefault("cwd", sandbox)
        opened.append(Terminal([str(word) for word in words], **keywords))
        return opened[-1]

    yield start
    for item in opened:
        item.close()
