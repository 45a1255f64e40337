"""What gc does about private directories in a base: they go once nobody can use them any more.

Of a container with a record that is so when it has ended; of a directory of which no record tells, when it is of an
earlier boot, or when the process that it is named after has ended. In both cases nobody's mount table may show it: a
process that left the container's own mount namespace took a copy of its mounts along.
"""

import os
import re
import stat
from typing import TYPE_CHECKING, Optional

from ..containers import record
from ..containers.registry import Entry
from ..errors import ShimError, reason
from ..launch import private_directories
from ..system import remove_tree
from ..system.walk import Missing, trusted_uids

if TYPE_CHECKING:
    from .gc import Sweep

_NAME = re.compile(r"[^@/]+@([0-9]{1,10})-([0-9]{1,20})@([0-9a-f]{16})-([0-9]{1,20})", re.ASCII)


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
        made = _NAME.fullmatch(name)
        if made is None:
            return "no launch gives such a name"
        blind = [start for start in self._unreadable if start >= int(made.group(2))]
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
                self._look(pid, found)

    def _look(self, pid: str, found: "dict[str, str]") -> None:
        try:
            if os.geteuid() and os.stat(f"/proc/{pid}").st_uid != os.geteuid():
                return  # nobody else can be in what an ordinary user mounted
            namespace = os.readlink(f"/proc/{pid}/ns/mnt")
            if namespace not in found:
                with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
                    found[namespace] = file.read()
        except (FileNotFoundError, ProcessLookupError):
            return  # it has ended
        except OSError as error:
            if error.errno != 22:  # EINVAL: a zombie has no mount table
                start = record.start_time(pid)
                self._unreadable.append(_NOW if start is None else start)


def clear_of(entry: Entry, sweep: "Sweep") -> bool:
    """Remove the directories that the record of an ended container names. Whether none is left."""
    gone = True
    for path, inode in entry.private:
        base, _, name = path.rpartition("/")
        used = sweep.tables.user_of(name)
        if used is None:
            gone = _remove(base, name, inode, sweep) and gone
        else:
            sweep.clear(f"private directory {path}", used)
            gone = False
    return gone


def clear_unrecorded(base: str, recorded: "set[str]", sweep: "Sweep") -> None:
    """Remove what launches that were killed before their record, or an earlier boot, have left in `base`."""
    try:
        names = sorted(os.listdir(base))
    except OSError:
        return  # doctor tells of a base that is not there
    for name in names:
        if f"{base}/{name}" in recorded:
            continue
        made = _NAME.fullmatch(name)
        if made is None or _is_being_launched(made):
            continue
        problem = _unproven(made, sweep.tables)
        if problem is None:
            _remove(base, name, None, sweep)
        else:
            sweep.clear(f"private directory {base}/{name}", f"no record tells of it, and {problem}")


def _is_being_launched(made: "re.Match[str]") -> bool:
    pid, start, boot, _ = made.groups()
    ours = record.boot_id()
    return ours is not None and private_directories.boot_mark(ours) == boot and record.start_time(pid) == int(start)


def _unproven(made: "re.Match[str]", tables: MountTables) -> "Optional[str]":
    """What keeps us from knowing that nobody uses the directory of that name, None if we know."""
    boot, namespace = made.group(3), made.group(4)
    ours = record.boot_id()
    if ours is None or str(record.pid_namespace(record.host_pid())) != namespace:
        return "it is of another pid namespace, whose processes are not seen from here"
    used = tables.user_of(made.group(0))
    # Another boot's, so none of ours can be its: but a container may be shown a boot id of its own.
    return used if private_directories.boot_mark(ours) == boot or used == MOUNTED else None


def _remove(base: str, name: str, inode: "Optional[tuple[int, int]]", sweep: "Sweep") -> bool:
    """Remove the directory `name` of `base`, if it is `inode` where that is known. Whether it is gone."""
    what = f"private directory {base}/{name}"
    try:
        found = private_directories.base(base, trusted_uids())
    except Missing:
        return True
    except (ShimError, OSError) as error:
        sweep.clear(what, reason(error) if isinstance(error, OSError) else str(error))
        return False
    try:
        status = os.stat(name, dir_fd=found.fd, follow_symlinks=False)
        ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
        if not ours or inode not in (None, (status.st_dev, status.st_ino)):
            return True  # another's by now
        problem = None if sweep.dry else remove_tree.remove(found.fd, name, (status.st_dev, status.st_ino))
    except FileNotFoundError:
        return True
    except OSError as error:
        problem = reason(error)
    finally:
        os.close(found.fd)
    sweep.clear(what, problem)
    return problem is None
