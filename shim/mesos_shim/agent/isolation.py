"""What the agent's `--isolation` is, where its launch info leaves open which isolator asks for a mount."""

import posix

from ..system import files, proc

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
        text = files.read_start(text[len(b"file://") :], _MAX_BYTES)
    return text is not None and isolator.encode() in [name.strip() for name in text.split(b",")]


def _from_command_line() -> "bytes | None":
    # An agent's pid namespace is not that of the mounted /proc: getppid(2) would say 0.
    try:
        parent = proc.stat("self")[proc.PARENT]
        words = files.read_file(b"/proc/" + parent + b"/cmdline")
    except (OSError, IndexError):
        return None
    found = None
    for word in words.split(b"\0"):
        name, equals, value = word.partition(b"=")
        if name == b"--" + _NAME and equals:
            found = value
    return found
