"""Variables that name something below a covered path: what they lead to is not in the command's mount namespace."""

import posix

from ..errors import warn
from ..plan.model import BIND, MASK_WORK_DIR, TMPFS, Plan
from . import covered

# Tickets in a file or a directory; other kinds are not in the file system (krb5.conf(5), default_ccache_name).
_PREFIXES = (b"FILE:", b"DIR:")
# What shows something else in the place of the host's own.
COVERING = (BIND, TMPFS, MASK_WORK_DIR)


def check(names: "tuple[bytes, ...]", variables: "dict[bytes, bytes]", plan: Plan) -> None:
    """Warn of those of `names` that lead to nothing because of a mount of ours, and unset a TMPDIR among them.

    Without TMPDIR programs use /tmp; with one that is gone they fail. Called with the rights of the task's user: what
    they provide may be a link to what they could not look at.
    """
    gone = [name for name in names if _is_gone(variables.get(name, b""), plan)]
    if not gone:
        return
    shown = ", ".join(f"{_text(name)}={_text(variables[name])!r}" for name in gone)
    if b"TMPDIR" in gone:
        del variables[b"TMPDIR"]
        shown += " (TMPDIR is unset)"
    warn([f"{shown}: not visible to the command, because a mount covers the path; pass_through can show it"])


def path_in(value: bytes) -> "str | None":
    """The absolute path that such a variable names, None where it names none."""
    for prefix in _PREFIXES:
        if value.startswith(prefix):
            value = value[len(prefix) :]
    return _text(value) if value.startswith(b"/") else None


def _is_gone(value: bytes, plan: Plan) -> bool:
    """Whether `value` leads to nothing, below what we have covered."""
    path = path_in(value)
    if path is None:
        return False
    try:
        posix.stat(path)
        return False
    except (FileNotFoundError, NotADirectoryError):
        mount = covered.innermost(covered.leads_to(path), plan.mounts)
        return mount is not None and mount.action in COVERING
    except OSError:
        return False  # whatever it is, it is there


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")
