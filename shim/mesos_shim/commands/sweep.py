"""One run of gc: what it does or would do, and what went wrong."""

import sys
import time
from typing import Callable

from ..containers import mount_tables
from ..errors import ShimError, one_line, reason, unexpected

MAX_SECONDS = 300.0  # for all sandboxes


class Sweep:
    """One sweep: what was cleared, what could not be."""

    def __init__(self, dry: bool, keep_sandboxes: bool = False) -> None:
        self.dry = dry
        self.keep_sandboxes = keep_sandboxes
        self.tables = mount_tables.MountTables()
        self.end = time.monotonic() + MAX_SECONDS
        self.cleared = 0
        self.failed = 0

    def clear(self, what: str, problem: "str | None") -> None:
        """Tell of one thing; `problem` says why it stays."""
        if problem is None:
            self.cleared += 1
            sys.stdout.write(f"{'would clear' if self.dry else 'cleared'} {one_line(what)}\n")
        else:
            self.failed += 1
            sys.stderr.write(f"mesos-shim: gc: {one_line(what)}: {one_line(problem)}\n")

    def attempt(self, what: str, step: Callable[..., None], *arguments: object) -> None:
        """Do one thing; whatever goes wrong in it is said of that alone."""
        try:
            step(*arguments, self)
        except OSError as error:
            self.clear(what, reason(error))
        except ShimError as error:
            self.clear(what, str(error))
        except Exception as error:
            self.clear(what, unexpected(error))
