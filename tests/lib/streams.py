"""The ends of pipes to a process."""

from __future__ import annotations

from typing import IO, AnyStr


def piped(stream: IO[AnyStr] | None) -> IO[AnyStr]:
    """The stream of a process that was started with subprocess.PIPE for it, which its type does not say."""
    assert stream is not None, "the process was started without a pipe there"
    return stream
