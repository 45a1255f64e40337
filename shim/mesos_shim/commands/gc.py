"""`mesos-shim gc`: clears away what containers that have ended left behind.

Nothing is deleted on the launch path: where nobody waited for a container, or its supervisor was killed, its record
stays, and perhaps its cgroups and, with --rm, its sandbox. A container counts as ended only if nothing of it runs: not
the recorded process (with its start time), nobody in its mount namespace, no descendant, no member of its cgroups; and
only where that can be told (containers/membership.py). A sandbox goes only if besides nobody holds its lock, as a
supervisor does for as long as it runs, and nobody has its working directory in it.

Every walk here is over what users may have made: it has a bound, and says so where it stops. One thing that goes wrong
is said and does not keep the others from being cleared.
"""

import collections
import os
import random
import stat
import sys
import time

from ..containers import membership, processes, record, registry, user_directory
from ..containers.counters import Counters
from ..containers.registry import Entry
from ..containers.sight import Sight, current_sight
from ..errors import ShimError, one_line, reason
from ..spec.config import Config
from ..system import cgroups, guarded_walk, mountinfo, proc, remove_tree, syscalls, walk
from . import agents_user, leftovers, options
from .sweep import MAX_SECONDS, Sweep

HELP = """\
usage: mesos-shim gc [--dry-run] [--keep-sandboxes] [--config FILE]

Removes what ended containers left behind: their records, their cgroups, their
private directories outside the sandbox, and the sandboxes of 'run --rm' whose
supervisor was killed. It does not touch containers that run, or that may run
where they are not visible from here. It follows no link and crosses no mount.

  --dry-run         only print what would be removed
  --keep-sandboxes  remove no directory, and no record that names one, because
                    removing large directories can take a long time

example: mesos-shim gc --dry-run
"""

# A record that is being written has a temporary name for a few microseconds.
_STALE_SECONDS = 60
_DEPTH = 16
_MAX_GROUPS = 100_000
_LAST = "~"  # behind every id


def main(arguments: "list[str]", config_path: str) -> int:
    """Clear; 1 if something that should have gone stays."""
    values, operands = options.parse(arguments, ("--config",), ("--dry-run", "--keep-sandboxes"), "gc")
    if options.asks_help(values, HELP):
        return 0
    options.none(operands, "gc")
    config = options.read_config(values, config_path)

    def sweep() -> int:
        return _sweep(config, Sweep("--dry-run" in values, "--keep-sandboxes" in values))

    return 1 if sweep() + agents_user.clear(config, sweep) else 0


def _sweep(config: Config, sweep: Sweep) -> int:
    """What the caller may clear; how many things failed."""
    state = record.state_dir(config.state_dir)
    directory = registry.open_directory(state)
    if directory is not None:
        try:
            _records(state, directory, sweep)
            _temporaries(directory, sweep)
        finally:
            os.close(directory)
    if record.is_among_strangers(state):
        _earlier_boots(sweep)
    if processes.LINUX:
        _groups(sweep)
        if not sweep.keep_sandboxes:
            _unrecorded(config, state, sweep)
    return sweep.failed


def _earlier_boots(sweep: Sweep) -> None:
    """Records of an ordinary user's of earlier boots, which nobody reads any more."""
    for path in user_directory.of_earlier_boots(record.OF_USER_AND_BOOT):
        sweep.attempt(f"records of an earlier boot in {path}", _earlier_boot, path)


def _earlier_boot(path: str, sweep: Sweep) -> None:
    above, _, name = path.rpartition("/")
    parent = os.open(above, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        problem = None if sweep.dry else remove_tree.remove(parent, name)
    finally:
        os.close(parent)
    sweep.clear(f"records of an earlier boot in {path}", problem)


def _unrecorded(config: Config, state: str, sweep: Sweep) -> None:
    """Private directories of which no record tells, in the bases of the configuration."""
    bases = sorted({item.base for item in config.private_directories if item.base is not None})
    if not bases or current_sight().hiding is not None:
        return
    recorded = {path for entry in registry.read_all(state)[0] for path, _ in entry.private}
    for base in bases:
        leftovers.clear_unrecorded(base, recorded, sweep)


def _records(state: str, directory: int, sweep: Sweep) -> None:
    damaged: dict[str, str] = {}
    entries, _ = registry.read_all(state, damaged)
    previous = Counters(state, locked=False).previous_members(entries)
    members = membership.find(entries, processes.table(), previous)
    ended = [entry for entry in entries if members.ended(entry) and not _supervised(entry, members)]
    # Sandboxes last, for their owners decide how long each takes; and in no order, so that nobody's come always first.
    random.shuffle(ended)
    for entry in sorted(ended, key=lambda entry: entry.container_id if entry.remove is None else _LAST):
        sweep.attempt(f"container {entry.container_id}", _ended, directory, entry)
    for warning in members.unseen():
        sys.stderr.write(f"mesos-shim: gc: {one_line(warning)}; nothing of theirs is removed\n")
    for name, problem in damaged.items():
        sweep.attempt(name, _damaged, directory, name, problem)


def _damaged(directory: int, name: str, problem: str, sweep: Sweep) -> None:
    """A file that is no record: it tells nobody anything, so it goes, unless what can be read of it may still run.

    Only we can put anything into this directory. What a newer release wrote is that release's to clear.
    """
    what = f"{name}, which is no record ({problem})"
    try:
        why = _why_kept(registry.read_loosely(directory, name))
    except (OSError, ShimError):
        why = None
    if why is None:
        try:
            why = None if sweep.dry else _unlink(directory, name)
        except FileNotFoundError:
            return
    sweep.clear(what, why)


def _why_kept(value: "dict[str, object]") -> "str | None":
    """What can be read of a file that is no record may be said of a container that runs."""
    version = value.get("version")
    if isinstance(version, int) and version > record.VERSION:
        return "a newer release wrote it"
    pid, start = value.get("pid"), value.get("start_time")
    if not isinstance(pid, int) or not 0 < pid < 1 << 31 or start is None:
        return None
    sight = current_sight()
    namespace = value.get("pid_namespace")
    if not sight.counts_pids_of(namespace if isinstance(namespace, int) else None):
        return "it is in another pid namespace, whose processes are not visible from here"
    if sight.hiding is not None:
        return sight.hiding
    found, times = proc.start_time(pid, living=True), value.get("time_namespace")
    if found == start:
        return f"pid {pid} still runs"
    if found is not None and not sight.counts_time_of(times if isinstance(times, int) else None):
        return f"pid {pid} may belong to it, but its start time was recorded in another time namespace"
    return None


def _unlink(directory: int, name: str) -> "str | None":
    """Remove whatever has that name; why it stays, or None. Raises OSError."""
    if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
        return remove_tree.remove(directory, name)
    os.unlink(name, dir_fd=directory)
    return None


def _supervised(entry: Entry, members: membership.Members) -> bool:
    """Whether a supervisor is, or may be, still there to clear up itself."""
    if entry.supervisor is None:
        return False
    pid, start = entry.supervisor
    found = members.table.get(pid)
    return found is not None and not found.zombie and found.start == start


def _ended(directory: int, entry: Entry, sweep: Sweep) -> None:
    if sweep.keep_sandboxes and (entry.private or entry.remove is not None):
        return
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
    """Remove the sandbox of a --rm, if it is still that very directory, and whether it is gone."""
    parent, _, name = entry.sandbox.rpartition("/")
    what = f"sandbox {entry.sandbox}"
    try:
        way = guarded_walk.walk(parent)
    except FileNotFoundError:
        return True
    except OSError as error:
        sweep.clear(what, reason(error))
        return False
    fd = -1
    try:
        fd = walk.step(way, name, syscalls.O_PATH)
        if not _is(fd, inode):
            return True  # another's by now
        problem = _why_in_use(fd, entry)
        if time.monotonic() > sweep.end:
            problem = f"stopped after {MAX_SECONDS:g} s; the next gc continues"
        if problem is None and not sweep.dry:
            problem = remove_tree.remove(way, name, inode)
    except FileNotFoundError:
        return True
    except OSError as error:
        problem = reason(error)
    finally:
        for each in (way, fd):
            if each >= 0:
                os.close(each)
    sweep.clear(what, problem)
    return problem is None


def _is(fd: int, inode: "tuple[int, int]") -> bool:
    status = os.fstat(fd)
    return stat.S_ISDIR(status.st_mode) and (status.st_dev, status.st_ino) == inode


def _why_in_use(directory: int, entry: Entry) -> "str | None":
    """Why the sandbox is, or may be, in use, whatever /proc shows of its container. Raises OSError."""
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        syscalls.flock(fd, syscalls.LOCK_EX | syscalls.LOCK_NB)
    except BlockingIOError:
        return "its lock is held by its supervisor or another program, so it may be in use"
    finally:
        os.close(fd)
    for pid in processes.table():
        if _works_in(pid, entry.sandbox):
            return f"pid {pid} has its working directory in it"
    return None


def _works_in(pid: int, path: str) -> bool:
    try:
        return f"{os.readlink(f'/proc/{pid}/cwd')}/".startswith(f"{path}/")
    except OSError:
        return False  # it has ended, or is another's: the container's are known by then


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
    sight = current_sight()
    if sight.hiding is not None:
        return  # who made them may be there and not be shown
    for mount in _cgroup_mounts():
        for path in _our_directories(mount, sweep):
            try:
                names = sorted(os.listdir(path))
            except OSError:
                continue
            for name in names:
                sweep.attempt(f"cgroup {path}/{name}", _group, sight, path, name)


def _group(sight: Sight, path: str, name: str, sweep: Sweep) -> None:
    maker = cgroups.maker(name)
    if maker is None:
        return
    started = proc.start_time(maker[0])
    if started == maker[1] or (started is not None and not sight.counts_time_of(None)):
        return
    group = f"{path}/{name}"
    if not cgroups.empty(group):
        return
    problem = None
    if not sweep.dry and cgroups.remove([group]):
        problem = "cannot be removed"
        if not os.access(path, os.W_OK):
            return  # another user's to clear
    sweep.clear(f"cgroup {group}", problem)


def _cgroup_mounts() -> "list[str]":
    return [mount.path for mount in mountinfo.read() if mount.kind in ("cgroup", "cgroup2")]


def _our_directories(mount: str, sweep: Sweep) -> "list[str]":
    """The directories called mesos-shim in a hierarchy, wherever launches stood when they made them."""
    found: list[str] = []
    pending, seen = collections.deque([(mount, 0)]), 0
    while pending:
        path, depth = pending.popleft()  # the nearest first: users' groups lie deeper than the host's
        try:
            names = [item.name for item in os.scandir(path) if item.is_dir(follow_symlinks=False)]
        except OSError:
            continue
        seen += len(names)
        if seen > _MAX_GROUPS:
            sweep.clear(f"cgroups below {mount}", f"there are more than {_MAX_GROUPS}: not all of them are looked at")
            return found
        for name in names:
            if name == cgroups.DIRECTORY:
                found.append(f"{path}/{name}")
            elif depth < _DEPTH:
                pending.append((f"{path}/{name}", depth + 1))
    return found
