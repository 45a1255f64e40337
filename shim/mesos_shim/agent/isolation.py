"""What the agent's `--isolation` is, where its launch info leaves open which isolator asks for a mount."""

import posix

_NAME = b"isolation"
_MAX_BYTES = 1 << 16


def has(isolator: str) -> bool:
    """Whether the agent that started this process says that it uses `isolator`; False where that cannot be told.

    A flag on its command line counts before one in its environment, which it has handed to us (stout, flags.hpp).
    """
    text = _from_command_line()
    if text is None:
        text = posix.environ.get(b"MESOS_" + _NAME.upper())
    if text is not None and text.startswith(b"file://"):
        text = _content(text[len(b"file://") :])
    return text is not None and isolator.encode() in [name.strip() for name in text.split(b",")]


def _from_command_line() -> "bytes | None":
    # An agent's pid namespace is not that of the mounted /proc: getppid(2) would say 0.
    data = _content(b"/proc/self/stat")
    fields = (data or b"").rpartition(b")")[2].split()
    words = _content(b"/proc/" + fields[1] + b"/cmdline") if len(fields) > 1 else None
    found = None
    for word in (words or b"").split(b"\0"):
        name, equals, value = word.partition(b"=")
        if name == b"--" + _NAME and equals:
            found = value
    return found


def _content(path: bytes) -> "bytes | None":
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK)
    except OSError:
        return None
    try:
        return posix.read(fd, _MAX_BYTES)
    except OSError:
        return None
    finally:
        posix.close(fd)
