"""Groups that give nobody a right: without members, or named as trusted by the configuration.

Root's own /var/local belongs to the group staff, which has no members on most hosts. What cannot be known is not empty:
accounts of a directory service, a group that no database knows, a password by which others join, a group that users may
map into their namespaces, one that is not mapped in ours. Programs and services that root has given the group count as
root's.
"""

import errno
import grp
import pwd

from . import files, unmapped

# Those that this host alone answers, whole: of others not every account is listed.
_LOCAL = ("files", "systemd")
# The trusted ones of the configuration: names and numbers.
_trusted: "set[str | int]" = set()


def trust(names: "list[str | int]") -> None:
    """Count these groups, by name or number, as nobody's from here on: the operator trusts their members."""
    _trusted.update(names)


def gives_nobody_a_right(gid: int, trusted: "tuple[int, ...]") -> bool:
    """Whether the group `gid` has no members but the uids `trusted`, or the operator trusts them."""
    if unmapped.may_be_any_group(gid):
        return False
    try:
        entries = [entry for entry in grp.getgrall() if entry.gr_gid == gid]
        if gid in _trusted or any(entry.gr_name in _trusted for entry in entries):
            return True
        return bool(entries) and _accounts_are_local() and not _has_members(gid, entries, trusted)
    except (OSError, KeyError, ValueError):
        return False


def _has_members(gid: int, entries: "list[grp.struct_group]", trusted: "tuple[int, ...]") -> bool:
    accounts = pwd.getpwall()
    uids = {account.pw_name: account.pw_uid for account in accounts}
    members = {name for entry in entries for name in entry.gr_mem}
    for entry in entries:
        shadowed = _shadowed(entry.gr_name)
        if shadowed is None or entry.gr_passwd not in ("", "x", "*", "!"):
            return True
        members |= shadowed
    if any(uids.get(name, -1) not in trusted for name in members):
        return True
    if any(account.pw_gid == gid and account.pw_uid not in trusted for account in accounts):
        return True
    return any(first <= gid < first + count for first, count in _mapped())


def _accounts_are_local() -> bool:
    """Whether accounts and groups are this host's alone (nsswitch.conf(5))."""
    for line in _lines("/etc/nsswitch.conf"):
        database, _, services = line.partition("#")[0].partition(":")
        if database.strip() in ("passwd", "group", "initgroups", "gshadow", "subid"):
            names = [word for word in services.split() if not word.startswith("[") and not word.endswith("]")]
            if any(name not in _LOCAL for name in names):
                return False
    return True


def _shadowed(name: str) -> "set[str] | None":
    """Administrators and members of the group in gshadow(5); None if it has a password, with which others join."""
    for line in _lines("/etc/gshadow"):
        fields = line.split(":")
        if fields[0] == name:
            if len(fields) != 4 or (fields[1] and fields[1][0] not in "!*"):
                return None
            return {member for field in fields[2:] for member in field.split(",") if member}
    return set()


def _mapped() -> "list[tuple[int, int]]":
    """The numbers that users may map into a user namespace (subgid(5)): the first, and how many."""
    fields = [line.split(":") for line in _lines("/etc/subgid") if line and not line.startswith("#")]
    return [(int(first), int(count)) for _, first, count in fields]


def _lines(path: str) -> "list[str]":
    """The lines of a file of the system's; none without it. Raises OSError."""
    try:
        return files.read_file(path).decode("utf-8", "surrogateescape").splitlines()
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
        return []
