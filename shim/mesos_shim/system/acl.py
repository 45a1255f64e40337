"""POSIX access lists as the kernel stores them (acl(5), include/uapi/linux/posix_acl_xattr.h).

Where a file has one, the group bits of its mode are the list's mask and say nothing about the group. A launch that
meets none does not import this.
"""

from .credentials import Identity

if False:  # for the type checker alone: no launch imports typing
    from typing import Callable

_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 1, 2, 4, 8, 16, 32
_WRITE = 2
_HEADER, _ENTRY = 4, 8


class Access:
    """One access list: the owner's, the group's and the others' bits, the named ones, and the mask over them."""

    __slots__ = ("group", "groups", "mask", "other", "owner", "users")

    def __init__(self, data: bytes) -> None:
        self.owner = self.group = self.other = 0
        self.mask = 7
        self.users: dict[int, int] = {}
        self.groups: dict[int, int] = {}
        for start in range(_HEADER, len(data) - _ENTRY + 1, _ENTRY):
            tag, bits = data[start], data[start + 2]  # 16 bits each, little-endian; the upper halves are 0
            number = int.from_bytes(data[start + 4 : start + 8], "little")
            if tag == _USER:
                self.users[number] = bits
            elif tag == _GROUP:
                self.groups[number] = bits
            elif tag == _USER_OBJ:
                self.owner = bits
            elif tag == _GROUP_OBJ:
                self.group = bits
            elif tag == _MASK:
                self.mask = bits
            elif tag == _OTHER:
                self.other = bits

    def lets_write(self, user: Identity, uid: int, gid: int) -> bool:
        """Whether `user` may write what belongs to `uid` and `gid`: the algorithm of acl(5)."""
        if user.uid in (0, uid):
            return user.uid == 0 or bool(self.owner & _WRITE)
        if user.uid in self.users:
            return bool(self.users[user.uid] & self.mask & _WRITE)
        gids = (user.gid, *user.groups)
        matching = [bits for number, bits in self.groups.items() if number in gids]
        if gid in gids:
            matching.append(self.group)
        if matching:
            return any(bits & self.mask & _WRITE for bits in matching)
        return bool(self.other & _WRITE)

    def strangers_write(
        self, trusted: "tuple[int, ...]", is_harmless: "Callable[[int], bool]" = lambda gid: gid == 0
    ) -> bool:
        """Whether the list lets anyone write by name who is not trusted, nor in a group that `is_harmless`."""
        if any(bits & self.mask & _WRITE for number, bits in self.users.items() if number not in trusted):
            return True
        return any(bits & self.mask & _WRITE and not is_harmless(number) for number, bits in self.groups.items())
