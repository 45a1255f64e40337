"""Says why a command is not found in the mount namespace of its container, where the mount namespace is the reason."""

from ..errors import EXIT_NOT_FOUND, ShimError
from ..plan import model
from ..system import files, paths
from . import covered

if False:  # for the type checker alone: no launch imports typing
    from typing import Sequence

# What shows the host's own files at a place that something else covers.
_HOSTS_OWN = (model.EXPOSE_SANDBOX, model.PASS_THROUGH)
_LONGEST_LINE = 256  # of `#!` (execve(2))


def explain(name: str, candidates: "list[bytes]", mounts: "Sequence[model.Mount]") -> ShimError:
    """The error for the command `name`, which is at none of these places."""
    for candidate in candidates:
        if files.exists(candidate):  # then the kernel speaks of what is to run it
            interpreter = _interpreter(candidate)
            why = "" if interpreter is None else _why_covered(interpreter, mounts)
            what = "that its '#!' or its ELF header names" if interpreter is None else repr(interpreter)
            return ShimError(f"command {name!r}: its interpreter {what} is not found{why}", EXIT_NOT_FOUND)
    for candidate in candidates:
        why = _why_covered(candidate.decode("utf-8", "surrogateescape"), mounts)
        if why:
            return ShimError(f"command {name!r}: not found{why}", EXIT_NOT_FOUND)
    return ShimError(f"command {name!r}: not found", EXIT_NOT_FOUND)


def _interpreter(path: bytes) -> "str | None":
    """What a script names in its first line; None for any other file."""
    line = (files.read_start(path, _LONGEST_LINE) or b"").partition(b"\n")[0]
    words = line[2:].split()
    return words[0].decode("utf-8", "surrogateescape") if line.startswith(b"#!") and words else None


def _why_covered(path: str, mounts: "Sequence[model.Mount]") -> str:
    """What is in the place of the host's directory that `path` lies in, of two such mounts the inner one."""
    there = covered.leads_to(path) if path.startswith("/") else path
    inner = covered.innermost(there, mounts)
    if inner is None or inner.action in _HOSTS_OWN:
        return ""
    if there != paths.normal(path):
        return f"; {path!r} leads to {there!r} below {inner.target!r}, which is covered by {inner.what}"
    return f"; {path!r} lies below {inner.target!r}, which is covered by {inner.what}"
