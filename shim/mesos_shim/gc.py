"""`mesos-shim gc`: clears away what containers that have ended left behind.

Nothing is deleted on the launch path: where nobody waited for a container, or its supervisor was killed, its record
stays, and perhaps its cgroups and, with --rm, its sandbox. A container counts as ended only if nothing of it runs: not
the recorded process (with its start time), nobody in its mount namespace, no descendant, no member of its cgroups; and
only where that can be told: not by who cannot see its processes, in another pid namespace.
"""

import os
import stat
import sys
import time

from . import leftovers, options, record, registry, tree
from .config import Config
from .errors import ShimError, one_line, reason
from .isolators import cgroup
from .registry import Entry
from .usage import membership, processes
from .usage.counters import Counters

HELP = """\
usage: mesos-shim gc [--dry-run] [--config FILE]

Clears what containers that have ended left behind: their records, their
cgroups, their private directories outside of the sandbox, and the sandboxes of
'run --rm' whose supervisor was killed. Never touches what runs, follows no link
and crosses no mount. What lies in a container's sandbox goes with it.

  --dry-run  only say what would be cleared

example: mesos-shim gc --dry-run
"""

# A record that is being written has a temporary name for a few microseconds.
_STALE_SECONDS = 60
_DEPTH = 16


class Sweep:
    """One sweep: what was cleared, what could not be."""

    def __init__(self, dry: bool) -> None:
        self.dry = dry
        self.tables = leftovers.MountTables()
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


def main(arguments: "list[str]", config_path: str) -> int:
    """Clear; 1 if something that should have gone stays."""
    given, operands = options.parse(arguments, ("--config",), ("--dry-run",), "gc")
    if options.asks_help(given, HELP):
        return 0
    options.none(operands, "gc")
    config = options.read_config(given, config_path)
    state = record.state_dir(config.state_dir)
    sweep = Sweep("--dry-run" in given)
    directory = registry.open_directory(state)
    if directory is not None:
        try:
            _records(state, directory, sweep)
            _temporaries(directory, sweep)
        finally:
            os.close(directory)
    if processes.LINUX:
        _groups(sweep)
        _unrecorded(config, state, sweep)
    return 1 if sweep.failed else 0


def _unrecorded(config: Config, state: str, sweep: Sweep) -> None:
    """Private directories of which no record tells, in the bases of the configuration."""
    bases = sorted({item.base for item in config.private_directories if item.base is not None})
    if not bases:
        return
    recorded = {path for entry in registry.read_all(state)[0] for path, _ in entry.private}
    for base in bases:
        leftovers.clear_unrecorded(base, recorded, sweep)


def _records(state: str, directory: int, sweep: Sweep) -> None:
    damaged: dict[str, str] = {}
    entries, _ = registry.read_all(state, damaged)
    known = Counters(state, locked=False).known(entries)
    members = membership.find(entries, processes.table(), known)
    for entry in entries:
        if members.ended(entry) and not _supervised(entry, members):
            _ended(directory, entry, sweep)
    for name, problem in damaged.items():
        _damaged(directory, name, problem, sweep)


def _damaged(directory: int, name: str, problem: str, sweep: Sweep) -> None:
    """A file that is no record: it tells nobody anything, so it goes, unless what can be read of it still runs.

    Only we can put anything into this directory. What a newer release wrote is that release's to clear.
    """
    what = f"{name}, which is no record ({problem})"
    try:
        value = registry.read_object(directory, name)[0]
        version = value.get("version")
        if isinstance(version, int) and version > record.VERSION:
            sweep.clear(what, "a newer release wrote it")
            return
        pid, start = value.get("pid"), value.get("start_time")
        if value.get("pid_namespace") not in (None, record.pid_namespace(record.host_pid())):
            sweep.clear(what, "it is of another pid namespace, whose processes are not seen from here")
            return
        if isinstance(pid, int) and 0 < pid < 1 << 31 and start is not None and record.start_time(pid) == start:
            sweep.clear(what, f"pid {pid} still runs")
            return
    except (OSError, ShimError):
        pass
    try:
        sweep.clear(what, None if sweep.dry else _unlink(directory, name))
    except FileNotFoundError:
        return
    except OSError as error:
        sweep.clear(what, reason(error))


def _unlink(directory: int, name: str) -> "str | None":
    """Remove whatever has that name; why it stays, or None. Raises OSError."""
    if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
        return tree.remove(directory, name)
    os.unlink(name, dir_fd=directory)
    return None


def _supervised(entry: Entry, members: membership.Members) -> bool:
    """Whether a supervisor is still there to clear up itself."""
    if entry.supervisor is None:
        return False
    pid, start = entry.supervisor
    found = members.table.get(pid)
    return found is not None and not found.zombie and found.start == start and entry.boot_id in (None, record.boot_id())


def _ended(directory: int, entry: Entry, sweep: Sweep) -> None:
    if not leftovers.clear_of(entry, sweep):
        return
    if entry.remove is not None and not _sandbox(entry, entry.remove, sweep):
        return  # its record says where it is: the next sweep tries again
    name = f"{entry.container_id}.json"
    problem = None
    try:
        # Another of the same name may have been launched since we looked.
        if registry.read(directory, name).same_as(entry):
            if not sweep.dry:
                os.unlink(name, dir_fd=directory)
        else:
            return
    except FileNotFoundError:
        return
    except (OSError, ShimError) as error:
        problem = reason(error) if isinstance(error, OSError) else str(error)
    sweep.clear(f"record of {entry.container_id}", problem)


def _sandbox(entry: Entry, inode: "tuple[int, int]", sweep: Sweep) -> bool:
    """Remove the sandbox of a --rm, if it is still that very directory."""
    parent, _, name = entry.sandbox.rpartition("/")
    try:
        fd = _open_way(parent)
    except FileNotFoundError:
        return True
    except OSError as error:
        sweep.clear(f"sandbox {entry.sandbox}", reason(error))
        return False
    try:
        try:
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            return True
        if not stat.S_ISDIR(status.st_mode) or (status.st_dev, status.st_ino) != inode:
            return True  # another's by now
        problem = None if sweep.dry else tree.remove(fd, name, inode)
        sweep.clear(f"sandbox {entry.sandbox}", problem)
        return problem is None
    finally:
        os.close(fd)


def _open_way(path: str) -> int:
    """The directory `path`, through no link."""
    fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for name in [part for part in path.split("/") if part]:
        try:
            child = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        finally:
            os.close(fd)
        fd = child
    return fd


def _temporaries(directory: int, sweep: Sweep) -> None:
    """Records whose writer was killed between writing and renaming."""
    for name in os.listdir(directory):
        if not name.startswith(".") or ".json." not in name:
            continue
        try:
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode) and time.time() - status.st_mtime > _STALE_SECONDS:
                if not sweep.dry:
                    os.unlink(name, dir_fd=directory)
                sweep.clear(f"unfinished record {name}", None)
        except FileNotFoundError:
            continue
        except OSError as error:
            sweep.clear(f"unfinished record {name}", reason(error))


def _groups(sweep: Sweep) -> None:
    """Groups whose maker has ended and in which nobody is: they say themselves who made them."""
    for mount in _cgroup_mounts():
        for path in _our_directories(mount):
            try:
                names = sorted(os.listdir(path))
            except OSError:
                continue
            for name in names:
                maker = cgroup.maker(name)
                if maker is None or record.start_time(maker[0]) == maker[1]:
                    continue
                group = f"{path}/{name}"
                if not cgroup.empty(group):
                    continue
                problem = None
                if not sweep.dry and cgroup.remove([group]):
                    problem = "cannot be removed"
                    if not os.access(path, os.W_OK):
                        continue  # another user's to clear
                sweep.clear(f"cgroup {group}", problem)


def _cgroup_mounts() -> "list[str]":
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            if after.split(" ")[0] in ("cgroup", "cgroup2"):
                found.append(before.split(" ")[4])
    return found


def _our_directories(mount: str) -> "list[str]":
    """The directories called mesos-shim in a hierarchy, wherever launches stood when they made them."""
    found, pending = [], [(mount, 0)]
    while pending:
        path, depth = pending.pop()
        try:
            names = [item.name for item in os.scandir(path) if item.is_dir(follow_symlinks=False)]
        except OSError:
            continue
        for name in names:
            if name == cgroup.DIRECTORY:
                found.append(f"{path}/{name}")
            elif depth < _DEPTH:
                pending.append((f"{path}/{name}", depth + 1))
    return found
