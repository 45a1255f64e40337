"""Injects one error into one system call of a launch, from outside, by strace's `inject`.

The window is everything from the first call that opens the configuration (main's first act) to the execve that
becomes the command, or the clone that starts it. strace counts the calls of one name from the start of the program, so
a launch is traced once to learn which call of the window is the how-many-eth of its name.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

# Calls that cannot fail, for which the C library has no way to report an error (their man pages say so); signals are
# blocked and let through again by the library itself, which does not look.
NEVER_FAIL = (
    "getpid",
    "getppid",
    "gettid",
    "geteuid",
    "getuid",
    "getegid",
    "getgid",
    "exit_group",
    "rt_sigprocmask",
    "rt_sigpending",
)
# The memory of the interpreter, which dies without it (CPython does not survive a failing brk): not calls of ours.
MEMORY = ("brk", "mmap", "munmap", "mprotect", "futex", "madvise")

# Imports, the dynamic loader, the account database with its own library.
_LIBRARIES = re.compile(
    r'"(/usr)?/lib/|/lib/mesos_shim|/etc/(passwd|group|nsswitch.conf|ld.so)|nscd|AF_UNIX|PR_CAPBSET'
    r'|"/", \{st_mode=[^}]*\}, 0\)'
)
_LINE = re.compile(r"^(?:\d+ +)?(\w+)\((.*)")
_ERRORS = {"openat": "EMFILE", "openat2": "EMFILE", "mkdirat": "ENOSPC", "write": "ENOSPC", "execve": "EACCES"}


@dataclass(frozen=True)
class Call:
    """The `number`-th call of `name` since the program began; `text` as strace printed it."""

    name: str
    number: int
    text: str
    library: bool = False

    def __str__(self) -> str:
        return f"{self.name}#{self.number}"

    @property
    def error(self) -> str:
        """An error that this call has on a bad day, and none that the shim knows as the kernel's lack of it."""
        return _ERRORS.get(self.name, "EIO")


def trace(words: list[str], cwd: Path, logs: Path, marker: str, inject: list[str]) -> list[Call]:
    """The calls of the program `words` from the one whose text has `marker` to the command's start, both included.

    `inject` is what strace injects besides.
    """
    log = logs / "strace.log"
    extra = [word for item in inject for word in ("-e", item)]
    command = ["strace", "-qqq", "-s", "300", "-o", str(log), *extra, "--", *words]
    subprocess.run(command, cwd=cwd, check=True, capture_output=True, timeout=60)
    counts = {"execve": -1}  # strace's own, which starts the program, is not counted
    calls: list[Call] = []
    inside = False
    files: set[str] = set()
    for line in log.read_text(errors="replace").splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        name, text = match.groups()
        counts[name] = counts.get(name, 0) + 1
        inside = inside or (name != "execve" and marker in text)
        library = _is_librarys(name, text, files)
        if inside:
            calls.append(Call(name, counts[name], text, library))
            if name == "execve" or "CLONE_VFORK" in text:
                return calls
    raise AssertionError(f"nothing is started after {marker!r}")


def _is_librarys(name: str, text: str, files: set[str]) -> bool:
    """Whether the call is one of a library's own; `files` are the descriptors that those have open."""
    first = re.split("[,)]", text, maxsplit=1)[0]
    if _LIBRARIES.search(text):
        opened = text.rpartition("= ")[2].split()[0]
        if name in ("openat", "socket") and opened.isdigit():
            files.add(opened)
        return True
    if name == "getdents64":
        files.add(first)  # a stream of readdir(3): what follows is its rewinding and its end
        return False
    if first in files and name != "close_range":
        if name == "close":
            files.remove(first)
        return True
    return False


def run(call: Call, words: list[str], cwd: Path, inject: list[str]) -> subprocess.CompletedProcess[str]:
    """The program with an error in that one call, besides what `inject` says."""
    items = [*inject, f"inject={call.name}:error={call.error}:when={call.number}"]
    extra = [word for item in items for word in ("-e", item)]
    command = ["strace", "-qqq", "-o", os.devnull, *extra, "--", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=60)
