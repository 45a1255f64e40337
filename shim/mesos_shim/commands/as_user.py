"""Asks a question with another user's rights, for what it is about lies where that user can put anything.

The process that asks is a copy of this one that becomes the user for good and executes nothing. So it stays out of the
user's reach (ptrace(2), core(5): its ids have changed), and it has nothing of root's to lose: no terminal, no
descriptor but the pipe, no session keyring. The user can stop or end it, like any process of theirs: then there is no
answer, and that is said.
"""

import fcntl
import json
import os
import resource
import select
import signal
import sys
import time
from typing import Callable

from ..errors import ShimError, reason, unexpected
from ..launch import execute
from ..system import syscalls
from ..system.credentials import Identity

_MOST_BYTES = 16 << 20
_CHUNK = 65536
_SECONDS_TO_DIE = 5.0


def ask(user: Identity, question: "Callable[[], object]", seconds: float) -> object:
    """What `question` returns, as JSON has it: a stranger's words. Raises ShimError where no answer comes in time."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # of a caller who ignores it nobody can wait for a child
    parent = os.getpid()
    try:
        reading, writing = os.pipe()
        child = os.fork()
    except OSError as error:
        raise ShimError(f"no process to ask with: {reason(error)}") from None
    if not child:
        _answer(user, question, writing, parent)
    os.close(writing)
    try:
        said = _read(reading, seconds)
    finally:
        os.close(reading)
        _end(child)
    try:
        answer = json.loads(said, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise ShimError("unreadable answer" if said else "who was to answer has been ended") from None
    if not isinstance(answer, dict) or "answer" not in answer:
        raise ShimError(str(answer.get("error")) if isinstance(answer, dict) else "unreadable answer")
    return answer["answer"]


def _end(child: int) -> None:
    """One that waits for a file system of the user's, who need not answer (FUSE), ends no sooner than that does."""
    os.kill(child, signal.SIGKILL)  # not reaped yet, so the number is its own
    end = time.monotonic() + _SECONDS_TO_DIE
    while os.waitpid(child, os.WNOHANG) == (0, 0) and time.monotonic() < end:
        time.sleep(0.001)


def _refuse(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _read(fd: int, seconds: float) -> bytes:
    end = time.monotonic() + seconds
    chunks: list[bytes] = []
    size = 0
    while True:
        if not select.select([fd], [], [], max(0.0, end - time.monotonic()))[0]:
            raise ShimError(f"no answer within {seconds:g} seconds")
        chunk = os.read(fd, _CHUNK)
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)
        size += len(chunk)
        if size > _MOST_BYTES:
            raise ShimError(f"an answer of more than {_MOST_BYTES} bytes")


def _answer(user: Identity, question: "Callable[[], object]", writing: int, parent: int) -> None:
    """In the copy: never returns."""
    try:
        try:
            writing = fcntl.fcntl(writing, fcntl.F_DUPFD, 3)  # a caller may have closed what is below
            _leave_behind(user, writing, parent)
            said: object = {"answer": question()}
        except OSError as error:
            said = {"error": reason(error)}
        except ShimError as error:
            said = {"error": str(error)}
        except Exception as error:
            said = {"error": unexpected(error)}
        data = json.dumps(said).encode("ascii")
        while data:
            data = data[os.write(writing, data) :]
    finally:
        os._exit(0)


def _leave_behind(user: Identity, writing: int, parent: int) -> None:
    """What is root's: session, descriptors, keyring, core, ids. Raises OSError, ShimError."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    execute.close_others([writing])
    execute.leave_session_keyring()
    # The user can end it with any signal, and some systemd-coredump let them read the core (CVE-2022-4415, -2025-4598).
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    execute.become(user)
    if sys.platform == "linux":  # gc may be ended by who waits for it, as by the agent's unit
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            raise ShimError("nobody waits for the answer")
