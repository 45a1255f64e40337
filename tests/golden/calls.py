"""The system calls that matter of a program and of what it starts, by strace: names alone, in their order.

What an interpreter, a loader and a C library do by themselves is not among them: they only read.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

NAMES = """
openat openat2 unshare setns mount umount2 open_tree move_mount mount_setattr fsopen fsconfig fsmount
mkdir mkdirat mknod mknodat symlink symlinkat rename renameat renameat2 unlink unlinkat rmdir
chown fchown fchownat chmod fchmod fchmodat setxattr fsetxattr removexattr fremovexattr flock
setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups capset prctl keyctl
chdir fchdir chroot pivot_root setsid setrlimit prlimit64 close_range kill
clone clone3 fork vfork wait4 waitid execve execveat
"""
# Of a call that does many things, the first argument says which.
_BY_ARGUMENT = ("unshare", "prctl", "keyctl")
# What imports, the account database and the loader do by those names: they read files, capabilities and limits.
_READS = re.compile(r"openat\((?!.*O_CREAT)|prctl\(PR_CAPBSET_READ|prlimit64\(\w+, \w+, NULL")
# One act by several names: which of them a C library uses is its own choice, by version and by architecture.
_SAME = {
    "rename": "renameat",
    "renameat2": "renameat",
    "mkdir": "mkdirat",
    "unlink": "unlinkat",
    "rmdir": "unlinkat",
    "execveat": "execve",
}
_FORKS = ("clone", "clone3", "fork", "vfork")

_CALL = re.compile(r"(\w+)\((.*)")
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>")
_UNFINISHED = " <unfinished ...>"
_LACKING = "= -1 ENOSYS (Function not implemented)"


class Lacking(Exception):
    """This kernel has no such call."""


def trace(words: list[str], programs: tuple[str, ...], cwd: Path, log: Path, inject: list[str]) -> list[str]:
    """The calls of `words` once it has become one of `programs`: of each process, up to its command or its end.

    Processes come in the order in which they are made, each below a line of its own.
    """
    names = ",".join(f"?{name}" for name in NAMES.split())  # not every architecture has all of them
    extra = [word for item in (f"trace={names}", *inject) for word in ("-e", item)]
    command = ["strace", "-f", "-qqq", "-s", "300", "-o", str(log), *extra, "--", *words]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done
    lines = []
    for number, calls in enumerate(_processes(log.read_text(errors="replace"), programs).values(), 1):
        lines += [f"process {number}", *(f"  {call}" for call in calls)]
    return lines


def _processes(text: str, programs: tuple[str, ...]) -> dict[str, list[str]]:
    """The folded names of each process, by pid; what is there before it starts, and after the command, is not."""
    found: dict[str, list[str]] = {}
    over: set[str] = set()
    for pid, call in _whole(text):
        match = _CALL.match(call)
        if match is None or pid in over or _READS.match(call):
            continue
        if not found:
            if call.startswith(tuple(f'execve("{program}"' for program in programs)):
                found[pid] = []
            continue
        if call.endswith(_LACKING):
            raise Lacking(match[1])
        calls = found.setdefault(pid, [])
        name = _name(*match.groups())
        _append(calls, name)
        if name == "execve" and call.endswith("= 0"):
            over.add(pid)
    return found


def _append(calls: list[str], name: str) -> None:
    """Add it, and fold: what is done for each level of a path, or for each mount, is there once."""
    calls.append(name)
    for length in range(1, 1 + len(calls) // 2):
        if calls[-length:] == calls[-2 * length : -length]:
            del calls[-length:]


def _whole(text: str) -> list[tuple[str, str]]:
    """The calls by pid, in the order in which they begin; strace cuts a line where another process is between."""
    calls: list[tuple[str, str]] = []
    cut: dict[str, int] = {}
    for line in text.splitlines():
        pid, rest = line.split(maxsplit=1)
        resumed = _RESUMED.match(rest)
        if resumed:
            place = cut.pop(pid)
            calls[place] = (pid, calls[place][1] + rest[resumed.end() :])
            continue
        if rest.endswith(_UNFINISHED):
            cut[pid] = len(calls)
            rest = rest[: -len(_UNFINISHED)]
        calls.append((pid, rest))
    return calls


def _name(name: str, arguments: str) -> str:
    if name in _FORKS:
        return "vfork" if name == "vfork" or "CLONE_VFORK" in arguments else "fork"
    if name in _BY_ARGUMENT:
        return f"{name} {re.split('[,)]', arguments, maxsplit=1)[0]}"
    return "openat O_CREAT" if name == "openat" else _SAME.get(name, name)
