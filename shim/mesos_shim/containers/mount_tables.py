"""Who has a directory mounted: every mount table that can be read here."""

import errno
import os
import re
from typing import Optional

from ..system import proc, unmapped

# Private directories in a base are called so (plan/private_bases.py).
NAME = re.compile(r"[^@/]+@([0-9]{1,10})-([0-9]{1,20})@([0-9a-f]{16})-([0-9]{1,20})", re.ASCII)
_NOW = 1 << 63  # later than any start
MOUNTED = "somebody still has it mounted"


class MountTables:
    """Every mount table that can be read here, read when it is first asked for."""

    def __init__(self) -> None:
        self._texts: Optional[list[str]] = None
        # When the processes were started that do not let us look: root may be kept out by a security module.
        self._unreadable: list[int] = []

    def user_of(self, name: str) -> "Optional[str]":
        """Why the directory called `name`, which is no other's name, may be in use; None if nobody has it mounted.

        Who is older than the process that it is named after is no descendant of it.
        """
        if self._texts is None:
            self._texts = self._read()
        if any(name in text for text in self._texts):
            return MOUNTED
        match = NAME.fullmatch(name)
        if match is None:
            return "no launch gives such a name"
        blind = [start for start in self._unreadable if start >= int(match.group(2))]
        return f"{len(blind)} processes do not show whether they have it mounted" if blind else None

    def _read(self) -> "list[str]":
        found: dict[str, str] = {}
        looked: set[str] = set()
        while True:  # until nobody is left who was started meanwhile
            new = {name for name in os.listdir("/proc") if name.isascii() and name.isdigit()} - looked
            if not new:
                return list(found.values())
            looked |= new
            for pid in new:
                self._read_table(pid, found)

    def _read_table(self, pid: str, found: "dict[str, str]") -> None:
        try:
            if os.stat(f"/proc/{pid}").st_uid != os.geteuid() and unmapped.is_ordinary():
                return  # nobody else can be in what an ordinary user mounted
            namespace = os.readlink(f"/proc/{pid}/ns/mnt")
            if namespace not in found:
                with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
                    found[namespace] = file.read()
        except (FileNotFoundError, ProcessLookupError):
            return  # it has ended
        except OSError as error:
            if error.errno != errno.EINVAL:  # a zombie has no mount table
                start = proc.start_time(pid)
                self._unreadable.append(_NOW if start is None else start)
