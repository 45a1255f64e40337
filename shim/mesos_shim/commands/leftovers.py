"""What gc does about private directories in a base: they go once nobody can use them any more.

Of a container with a record that is so when it has ended; of a directory of which no record tells, when it is of an
earlier boot, or when the process that it is named after has ended. In both cases nobody's mount table may show it: a
process that left the container's own mount namespace took a copy of its mounts along.
"""

import os
import re
import stat
from typing import TYPE_CHECKING, Optional

from ..containers.mount_tables import MOUNTED, NAME, MountTables
from ..containers.registry import Entry
from ..errors import ShimError, reason
from ..plan import private_bases
from ..system import proc, remove_tree
from ..system.files import trusted_uids
from ..system.walk import Missing

if TYPE_CHECKING:
    from .sweep import Sweep


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
        match = NAME.fullmatch(name)
        if match is None or _is_being_launched(match):
            continue
        problem = _unproven(match, sweep.tables)
        if problem is None:
            _remove(base, name, None, sweep)
        else:
            sweep.clear(f"private directory {base}/{name}", f"no record tells of it, and {problem}")


def _is_being_launched(match: "re.Match[str]") -> bool:
    pid, start, boot, _ = match.groups()
    ours = proc.boot_id()
    return ours is not None and private_bases.boot_mark(ours) == boot and proc.start_time(pid) == int(start)


def _unproven(match: "re.Match[str]", tables: MountTables) -> "Optional[str]":
    """What keeps us from knowing that nobody uses the directory of that name, None if we know."""
    boot, namespace = match.group(3), match.group(4)
    ours = proc.boot_id()
    if ours is None or str(proc.pid_namespace(proc.host_pid())) != namespace:
        return "it is in another pid namespace, whose processes are not visible from here"
    used = tables.user_of(match.group(0))
    # Another boot's, so none of ours can be its: but a container may be shown a boot id of its own.
    return used if private_bases.boot_mark(ours) == boot or used == MOUNTED else None


def _remove(base: str, name: str, inode: "Optional[tuple[int, int]]", sweep: "Sweep") -> bool:
    """Remove the directory `name` of `base`, if it is `inode` where that is known. Whether it is gone."""
    what = f"private directory {base}/{name}"
    try:
        found = private_bases.base(base, trusted_uids())
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
