"""Paths as lists of components: pure functions, no system call.

Everything compares by component, so that `/tmp` and `/tmpfoo` are strangers (Mesos compares strings).
"""

MAX_PATH = 4095  # PATH_MAX less the NUL, limits.h
MAX_COMPONENT = 255  # NAME_MAX, limits.h


def split(path: str) -> "list[str]":
    """The components of `path` without empty ones and `.`; `..` stays, for the caller to refuse."""
    return [part for part in path.split("/") if part and part != "."]


def join(parts: "list[str]") -> str:
    """The absolute path of `parts`."""
    return "/" + "/".join(parts)


def normal(path: str) -> str:
    """An absolute path without `//`, `/.` and trailing `/`."""
    return join(split(path))


def is_below(path: str, ancestor: str) -> bool:
    """Whether the normal path `path` lies strictly below the normal path `ancestor`."""
    return path != ancestor and (ancestor == "/" or path.startswith(ancestor + "/"))


def relative(path: str, ancestor: str) -> "list[str]":
    """The components that lead from `ancestor` down to `path`, both normal."""
    return split(path[len(ancestor) :])


def fault(path: str) -> "str | None":
    """Why no path may look like `path`, or None."""
    if not path:
        return "is empty"
    if "\0" in path:
        return "has a NUL byte"
    if len(path) > MAX_PATH:
        return f"is longer than {MAX_PATH} characters"
    if ".." in path.split("/"):
        return "has a '..' component"
    if any(len(part) > MAX_COMPONENT for part in path.split("/")):
        return f"has a component longer than {MAX_COMPONENT} characters"
    return None


def fault_relative(path: str) -> "str | None":
    """Why the relative `path` may not name a directory in the sandbox, or None.

    `.` components mean nothing: Mesos' own example of a volume is `./.private/tmp`.
    """
    found = fault(path)
    if found is None and not split(path):
        return "is the sandbox itself"
    return found


def host_fault(path: str) -> "str | None":
    """Why `path` may not be a volume's source, in the sandbox where it is relative, or None."""
    if not path.startswith("/"):
        return fault_relative(path)
    found = fault(path)
    return "is the root directory" if found is None and normal(path) == "/" else found


def is_number(name: str) -> bool:
    """Whether the name is ASCII digits and nothing else: to str.isdigit() a `²`, which int() refuses, is one too."""
    return name.isascii() and name.isdigit()


def absolute_fault(path: object) -> "str | None":
    """Why `path` is no absolute path that we take, or None."""
    if not isinstance(path, str):
        return "is not a string"
    found = fault(path)
    if found is None and not path.startswith("/"):
        found = "is not absolute"
    return found
