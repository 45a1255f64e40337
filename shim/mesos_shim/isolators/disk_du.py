"""disk/du: how much disk a sandbox takes, as du(1) counts: allocated blocks, each inode once, one file system."""

import os
import stat

if False:  # for the type checker alone
    from ..registry import Entry
    from ..usage.statistics import Seen


def report(entry: "Entry", seen: "Seen", found: "dict[str, object]") -> None:
    """Bytes; nothing where the sandbox is gone or not ours to look into."""
    size = used(entry.sandbox)
    if size is not None:
        found["disk_used_bytes"] = size


def used(path: str) -> "int | None":
    """Bytes below `path`, None where it is not there. No link is followed and no mount entered."""
    try:
        top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    status = os.fstat(top)
    total = status.st_blocks * 512
    seen: set[int] = set()
    pending = [top]
    # The walk is by descriptors, and as wide as it is deep: a tree deeper than PATH_MAX is counted too.
    while pending:
        directory = pending.pop()
        try:
            total += _entries(directory, status.st_dev, seen, pending)
        finally:
            os.close(directory)
    return total


def _entries(directory: int, device: int, seen: "set[int]", pending: "list[int]") -> int:
    total = 0
    try:
        names = os.listdir(directory)
    except OSError:
        return 0
    for name in names:
        try:
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if status.st_dev != device:
                continue
            if stat.S_ISDIR(status.st_mode):
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                pending.append(os.open(name, flags, dir_fd=directory))
            elif status.st_nlink > 1:
                if status.st_ino in seen:
                    continue
                seen.add(status.st_ino)
            total += status.st_blocks * 512
        except OSError:
            continue  # gone meanwhile, or not ours to look into
    return total
