# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""The flags directory: read as the init wrapper reads it, replaced as a whole.

A new directory is made complete beside the old one and takes its place by one rename, so that neither the agent's
init wrapper nor a killed run ever sees half of it.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import errno
import os
import re
import stat

from ansible_collections.mesos.containerizer.plugins.module_utils import (
    _public_paths as public_paths,
    _run_lock as run_lock,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_values import BACKUP_NAME, FlagError, Setting

PART_FLAGS = ("attributes", "resources")
_NAMES = ("/etc/mesos-slave", "/etc/mesos-agent")
_MOST_BYTES = 1 << 20
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # include/uapi/linux/fs.h

# What a file has: content (bytes; None for a directory), permission bits, owner.
Entry = collections.namedtuple("Entry", "content mode uid gid")


UNMANAGED = None
UNMANAGED_DIRECTORY = "directory"


class State:
    """What lies in the directory: flags (name: [Setting, …], more than one where it contradicts itself), unmanaged
    (relative names of what is no flag, directories again by themselves), entries (relative name: Entry) of
    everything that is a flag, and links, the relative names of those that are symbolic links.

    The wrapper reads a link as what it leads to, so a link is a flag. We only write files.
    """

    def __init__(self):
        self.exists = False
        self.mode = self.uid = self.gid = None
        self.flags = {}
        self.unmanaged = []
        self.unmanaged_directories = []
        self.entries = {}
        self.links = set()


def find(configured):
    """The directory to own. Raises FlagError where two are in use."""
    if configured:
        return configured
    there = [path for path in _NAMES if os.path.isdir(path)]
    used = [path for path in there if os.listdir(path)]
    if len(used) > 1:
        raise FlagError("both %s and %s hold flags; set mesos_agent_flags_dir to the one in use" % _NAMES)
    # Newer packages read /etc/mesos-agent; where neither is there, the older name is what both wrappers know.
    return (used or there[-1:] or _NAMES)[0]


def read(path, known):
    """The directory's State. A path that is a link, or no directory, is refused: it is not ours to own."""
    state = State()
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return state
    if stat.S_ISLNK(found.st_mode):
        raise FlagError("path %s is a symbolic link; give the directory itself" % path)
    if not stat.S_ISDIR(found.st_mode):
        raise FlagError("path %s is not a directory" % path)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        found = os.fstat(fd)
        state.exists, state.mode, state.uid, state.gid = True, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid
        for name in sorted(os.listdir(fd)):
            _read_entry(fd, name, known, state)
    finally:
        os.close(fd)
    for flag in PART_FLAGS:
        # A directory without a key gives the agent nothing.
        kept = [s for s in state.flags.get(flag, []) if s.form != "directory" or s.value]
        if flag in state.flags:
            state.flags[flag] = kept
            if not kept:
                del state.flags[flag]
    return state


def _read_entry(fd, name, known, state):
    found = _found(fd, name, name, state)
    if stat.S_ISDIR(found.st_mode):
        if name in PART_FLAGS:
            state.entries[name] = Entry(None, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)
            state.flags.setdefault(name, []).append(Setting("directory", _read_parts(fd, name, state)))
        else:
            state.unmanaged.append(name)
            if name not in state.links:
                state.unmanaged_directories.append(name)
        return
    flag, setting = _flag_of(name)
    if not stat.S_ISREG(found.st_mode) or flag not in known:
        state.unmanaged.append(name)
        return
    entry = _read_file(fd, name)
    state.entries[name] = entry
    state.flags.setdefault(flag, []).append(setting or Setting("file", _text(entry.content)))


def _found(fd, name, relative, state):
    """What an entry is to the wrapper; a link that leads nowhere is the link itself."""
    found = os.stat(name, dir_fd=fd, follow_symlinks=False)
    if stat.S_ISLNK(found.st_mode):
        state.links.add(relative)
        with contextlib.suppress(OSError):
            return os.stat(name, dir_fd=fd)
    return found


def _flag_of(name):
    if name.startswith("?no-"):
        return name[4:], Setting("bool", False)
    if name.startswith("?"):
        return name[1:], Setting("bool", True)
    return name, None


def _read_parts(fd, name, state):
    parts = {}
    inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
    try:
        for key in sorted(os.listdir(inner)):
            relative = name + "/" + key
            found = _found(inner, key, relative, state)
            if not stat.S_ISREG(found.st_mode) or key.startswith(".") or BACKUP_NAME.search(key):
                state.unmanaged.append(relative)
                if stat.S_ISDIR(found.st_mode) and relative not in state.links:
                    state.unmanaged_directories.append(relative)
                continue
            entry = _read_file(inner, key)
            state.entries[relative] = entry
            if entry.content:  # the wrapper skips empty ones
                parts[key] = _text(entry.content)
    finally:
        os.close(inner)
    return parts


def _read_file(fd, name):
    # O_NONBLOCK: a FIFO put there since must not stop us.
    inner = os.open(name, os.O_RDONLY | os.O_NONBLOCK, dir_fd=fd)
    try:
        found = os.fstat(inner)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _MOST_BYTES:
            raise FlagError(
                "%s in the flags directory is larger than %d bytes, so it is not a flag" % (name, _MOST_BYTES)
            )
        with os.fdopen(os.dup(inner), "rb") as stream:
            content = stream.read(_MOST_BYTES)
        return Entry(content, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)
    finally:
        os.close(inner)


def printable(name):
    """A file's name as it may stand in a result, whatever its bytes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _text(content):
    return content.decode("utf-8", "backslashreplace").rstrip("\n")


def entries_of(settings, mode, uid, gid, secret):
    """{relative name: Entry} for settings; `secret(name, value)` says which files others must not read."""
    entries = {}
    for name, setting in settings.items():
        if setting.form == "bool":
            entries[("?" if setting.value else "?no-") + name] = Entry(b"", mode, uid, gid)
        elif setting.form == "file":
            kept = mode & ~0o007 if secret(name, setting.value) else mode
            entries[name] = Entry((setting.value + "\n").encode("utf-8"), kept, uid, gid)
        else:
            entries[name] = Entry(None, directory_mode(mode), uid, gid)
            for key, text in setting.value.items():
                entries[name + "/" + key] = Entry((text + "\n").encode("utf-8"), mode, uid, gid)
    return entries


def kept_entries(state, wanted, entries):
    """Without purge: {relative name: Entry | FOREIGN | FOREIGN_DIRECTORY} of what stays beside the wanted flags."""
    kept = {n: e for n, e in state.entries.items() if _flag_of(n.split("/")[0])[0] not in wanted}
    for name in [name for name in kept if name in state.links or name.split("/")[0] in state.links]:
        kept[name] = UNMANAGED  # the link stays one
    for name in [name for name in kept if "/" in name and name.split("/")[0] in state.links]:
        del kept[name]
    for name in state.unmanaged:
        top, inner = name.split("/")[0], "/" in name
        unmanaged_directory = name in state.unmanaged_directories
        holder = entries.get(top)
        if name in entries or (
            inner and top in wanted and (unmanaged_directory or holder is None or holder.content is not None)
        ):
            raise FlagError("%s is in the way of the flag %s; remove it, or purge" % (name, _flag_of(top)[0]))
        kept[name] = UNMANAGED_DIRECTORY if unmanaged_directory else UNMANAGED
    return kept


def directory_mode(mode):
    """Who may read the files may also list and enter the directory."""
    return mode | (mode & 0o444) >> 2


def equal(found, wanted):
    """Is the file as wanted? Trailing newlines are no difference: the wrapper drops them."""
    if found is None or found[1:] != wanted[1:] or (found.content is None) != (wanted.content is None):
        return False
    return found.content is None or found.content.rstrip(b"\n") == wanted.content.rstrip(b"\n")


class Replacement:
    """Puts a new set of entries in the place of a directory. Use as a context: it holds the lock of one run."""

    def __init__(self, path):
        self.parent, self.name = os.path.split(path)
        self.path = path
        # Hidden, and beside the directory, not in it: no wrapper reads it. One name, so that a killed run's
        # remainder is found and cleared by the next one.
        self.staging = "." + self.name + ".agent_flags"
        self.fd = -1
        self._locked = contextlib.ExitStack()

    def __enter__(self):
        public_paths.make(self.parent)
        self.fd = os.open(self.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._locked.enter_context(run_lock.lock(self.parent))
        except BaseException:
            os.close(self.fd)
            raise
        return self

    def __exit__(self, *unused):
        with contextlib.suppress(FileNotFoundError):
            remove_tree(self.fd, self.staging)
        os.close(self.fd)
        self._locked.close()

    def put(self, entries, kept, owner):
        """entries: what to write. kept: what is taken over as it is (see kept_entries). owner: mode, uid, gid."""
        with contextlib.suppress(FileNotFoundError):
            remove_tree(self.fd, self.staging)
        os.mkdir(self.staging, 0o700, dir_fd=self.fd)
        new = os.open(self.staging, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=self.fd)
        try:
            for relative in sorted(entries):
                _write(new, relative, entries[relative])
            # A directory cannot be linked into two places: where one must stay, what surrounds it stays too.
            whole = UNMANAGED_DIRECTORY not in kept.values()
            self._take_over(new, {n: e for n, e in kept.items() if whole or n.split("/")[0] in entries})
            _finish(new, *owner)
            if not (whole and self._exchange()):
                self._entry_by_entry(new, kept)
        finally:
            os.close(new)
        os.fsync(self.fd)

    def put_copy(self, copy):
        """What `copy(path)` makes at a path takes the directory's place."""
        with contextlib.suppress(FileNotFoundError):
            remove_tree(self.fd, self.staging)
        copy(os.path.join(self.parent, self.staging))
        if not self._exchange():
            new = os.open(self.staging, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=self.fd)
            try:
                self._entry_by_entry(new, {})
            finally:
                os.close(new)
        os.fsync(self.fd)

    def remove(self):
        """Takes the directory away: by one rename, what is in it afterwards."""
        with contextlib.suppress(FileNotFoundError):
            remove_tree(self.fd, self.staging)
        os.rename(self.name, self.staging, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        remove_tree(self.fd, self.staging)
        os.fsync(self.fd)

    def _take_over(self, new, kept):
        if not kept:
            return
        old = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            for name in sorted(kept):  # a directory before what is in it
                if isinstance(kept[name], Entry) and kept[name].content is None:
                    _write(new, name, kept[name])
                else:
                    os.link(name, name, src_dir_fd=old, dst_dir_fd=new, follow_symlinks=False)
        finally:
            os.close(old)

    def _exchange(self):
        """One rename for everything; False where this kind of file system cannot."""
        if not os.path.lexists(self.path):
            os.rename(self.staging, self.name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
            return True
        try:
            renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
        except AttributeError:  # glibc before 2.28, macOS
            return False
        if renameat2(self.fd, os.fsencode(self.staging), self.fd, os.fsencode(self.name), _RENAME_EXCHANGE) == 0:
            return True
        error = ctypes.get_errno()
        if error in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):  # EXDEV: overlayfs, a lower directory
            return False
        raise OSError(error, os.strerror(error), self.path)

    def _entry_by_entry(self, new, kept):
        """Each file still appears whole, but a kill may leave some old and some new: what goes, goes first, so that
        a flag is never set and negated."""
        old = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        trash = ".replaced"
        try:
            os.mkdir(trash, 0o700, dir_fd=new)
            tops = {relative.split("/")[0] for relative in kept}
            coming = [name for name in os.listdir(new) if name != trash]
            for name in os.listdir(old):
                found = os.stat(name, dir_fd=old, follow_symlinks=False)
                if name in tops and name not in coming:
                    continue
                if name not in coming or stat.S_ISDIR(found.st_mode):
                    os.rename(name, trash + "/" + name, src_dir_fd=old, dst_dir_fd=new)
            for name in coming:
                os.rename(name, name, src_dir_fd=new, dst_dir_fd=old)
            found = os.fstat(new)
            os.fchmod(old, stat.S_IMODE(found.st_mode))
            if (os.fstat(old).st_uid, os.fstat(old).st_gid) != (found.st_uid, found.st_gid):
                os.fchown(old, found.st_uid, found.st_gid)
            os.fsync(old)
        finally:
            os.close(old)


def leftover(path):
    """Did a killed run leave its staging directory?"""
    parent, name = os.path.split(path)
    return os.path.lexists(os.path.join(parent, "." + name + ".agent_flags"))


def _write(new, relative, entry):
    if entry.content is None:
        os.mkdir(relative, 0o700, dir_fd=new)
        inner = os.open(relative, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=new)
    else:
        inner = os.open(relative, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=new)
    try:
        if entry.content:
            left = entry.content
            while left:
                left = left[os.write(inner, left) :]
        _finish(inner, entry.mode, entry.uid, entry.gid)
    finally:
        os.close(inner)


def _finish(fd, mode, uid, gid):
    found = os.fstat(fd)
    if (found.st_uid, found.st_gid) != (uid, gid):
        os.fchown(fd, uid, gid)
    os.fchmod(fd, mode)  # after chown, which clears bits
    os.fsync(fd)


def remove_tree(parent, name):
    """Removes a name below a directory's descriptor: no link is followed, no other file system entered."""
    found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    if not stat.S_ISDIR(found.st_mode):
        os.unlink(name, dir_fd=parent)
        return
    if found.st_dev != os.fstat(parent).st_dev:
        raise OSError(errno.EXDEV, "a mount point, not removed", name)
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    try:
        for inner in os.listdir(fd):
            remove_tree(fd, inner)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=parent)


def refuse_mounts(path):
    """A mount at or below the directory would move with it, and its content be taken for ours and deleted."""
    try:
        with open("/proc/self/mountinfo", "rb") as stream:
            lines = stream.read().rstrip(b"\n").split(b"\n")  # a name may hold a carriage return
    except OSError:  # not Linux
        return
    real = os.fsencode(os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path)))
    for line in lines:
        point = re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match.group(1), 8)]), line.split(b" ")[4])
        if point == real or point.startswith(real + b"/"):
            shown = point.decode("utf-8", "backslashreplace")
            raise FlagError("path %s: %s is a mount point and cannot be replaced; unmount it" % (path, shown))
