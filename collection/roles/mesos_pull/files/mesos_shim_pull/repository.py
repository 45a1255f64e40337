# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""The checkout of the change, and what this host remembers."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
from collections.abc import Iterator

from .config import Config
from .text import PullError, one_line

GIT_SECONDS = 600


class Repository:
    """The checkout of the change, and beside it the change that was applied last.

    Other hosts know that too, from ZooKeeper. But a host that was installed anew has applied nothing, whatever they
    know.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self.path = os.path.join(config.directory, "checkout")
        self._note = os.path.join(config.directory, "applied")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory of the checkout, which two runs on one host must not share."""
        os.makedirs(self._config.directory, mode=0o700, exist_ok=True)
        directory = os.open(self._config.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            try:
                fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise PullError(f"{self._config.directory}: another run is under way on this host") from None
            yield
        finally:
            os.close(directory)

    def applied(self) -> str:
        """The change that this host has applied last; empty if there was none."""
        try:
            with open(self._note, encoding="ascii", errors="replace") as file:
                return file.read().strip()
        except FileNotFoundError:
            return ""

    def note_applied(self, change: str) -> None:
        """Remember it, also after a power cut."""
        with open(f"{self._note}.new", "w", encoding="ascii") as file:
            file.write(f"{change}\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(f"{self._note}.new", self._note)

    def fetch(self) -> str:
        """Get the newest commit, and return its name."""
        if not os.path.isdir(os.path.join(self.path, ".git")):
            os.makedirs(self.path, mode=0o700, exist_ok=True)
            self._git("init", "--quiet")
        # A value that starts with a dash would be an option.
        self._git("fetch", "--quiet", "--force", "--end-of-options", self._config.url, self._config.version)
        return self._git("rev-parse", "--verify", "FETCH_HEAD^{commit}")

    def check_out(self, commit: str) -> None:
        """Have exactly the files of the commit."""
        self._git("checkout", "--quiet", "--force", "--detach", commit)
        self._git("clean", "--quiet", "-ffdx")

    def is_later(self, commit: str, earlier: str) -> bool:
        """Whether `commit` was made on top of `earlier`; False too if this host does not know `earlier`."""
        return self._run("merge-base", "--is-ancestor", earlier, commit).returncode == 0

    def _git(self, *arguments: str) -> str:
        done = self._run(*arguments)
        if done.returncode != 0:
            raise PullError(f"git {arguments[0]} of {self._config.version!r}: {one_line(done.stderr)}")
        return done.stdout.strip()

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["git", "-C", self.path, "-c", "core.hooksPath=/dev/null", *arguments]
        try:
            return subprocess.run(
                command,
                env={**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=GIT_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PullError(f"git {arguments[0]}: {error}") from None
