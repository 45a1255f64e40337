"""The one exception of the shim, and how an error becomes a message: one line on stderr."""

import posix

# Exit codes of the wrapper's own failures (as env, nice, docker run and others use them).
EXIT_SHIM_FAILED = 125
EXIT_NOT_EXECUTABLE = 126
EXIT_NOT_FOUND = 127

MAX_LINE = 2000


class ShimError(Exception):
    """A launch or a command that is refused: one line that says what, where, which value and what to do.

    `exit_code` is what the program ends with: 125 for the shim's own failures (nothing was started),
    126 where the command could not be executed, 127 where it was not found.
    """

    def __init__(self, message: str, exit_code: int = EXIT_SHIM_FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def reason(error: OSError) -> str:
    """What the system said, without Python's `[Errno 2]` and without the path, which the caller names."""
    return error.strerror or str(error)


def one_line(text: str) -> str:
    """`text` with control characters escaped, so that a hostile name can neither break a log nor a terminal.

    A key of a megabyte helps nobody, so the middle of a long text is left out.
    """
    if len(text) > MAX_LINE:
        text = f"{text[: MAX_LINE - 500]}[...]{text[-500:]}"
    if text.isprintable():
        return text
    # Not by the codec of that name: that would be imported, from the task's mount namespace where we are in it already.
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def fail(name: str, message: str, status: int) -> int:
    """Say `message` as the program `name`; returns `status`. A closed stderr is no reason to fail otherwise."""
    try:
        posix.write(2, f"{name}: {one_line(message)}\n".encode("utf-8", "replace"))
    except OSError:
        pass
    return status


def unexpected(error: BaseException) -> str:
    """The message for an error that we did not foresee: its type and place, without a traceback."""
    if isinstance(error, ImportError) and not (error.name or "").startswith("mesos_shim"):
        return f"Python cannot load a part of itself: {error}; {_loading_remedy()}"
    frame = error.__traceback__
    position = ""
    while frame is not None:
        position = f"{frame.tb_frame.f_code.co_filename.rpartition('/')[2]}:{frame.tb_lineno}"
        frame = frame.tb_next
    return f"internal error, please report it: {type(error).__name__}: {error} ({position})"


def _loading_remedy() -> str:
    """An extension of Python's finds its libraries by the caller's environment, whatever the interpreter ignores."""
    for name in (b"LD_LIBRARY_PATH", b"LD_PRELOAD"):
        if posix.environ.get(name):
            variable = name.decode("ascii")
            return f"{variable} is set; unset it, and set it for the command only (-- env {variable}=... COMMAND)"
    return "stage the release again with an intact interpreter"


def warn(warnings: "list[str]") -> None:
    """Each warning on a line of its own, on stderr; a closed stderr is no reason to fail."""
    for warning in warnings:
        try:
            posix.write(2, f"mesos-shim: warning: {one_line(warning)}\n".encode("utf-8", "replace"))
        except OSError:
            return
