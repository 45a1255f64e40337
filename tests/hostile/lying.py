"""A FUSE file system whose answers are lies: the kernel's protocol spoken by hand (include/uapi/linux/fuse.h, 7.31).

Run as `python lying.py FD UID`: it answers on the open /dev/fuse FD. Its top says that it is UID's; everything in it
that is looked for is there, root's, 0755, an empty directory that keeps modes and attributes; except
for `tool`, a program that says who runs it.
"""

from __future__ import annotations

import os
import stat
import struct
import sys

_ENODATA, _ENOSYS = 61, 38
_PROGRAM = b"#!/bin/sh\necho PLANTED as $(id -u)\n"
_HEADER = struct.Struct("<IIQQIIII")
(_LOOKUP, _FORGET, _GETATTR, _SETATTR, _MKDIR, _OPEN, _READ, _STATFS, _RELEASE) = (1, 2, 3, 4, 9, 14, 15, 17, 18)
(_SETXATTR, _GETXATTR, _FLUSH, _INIT, _OPENDIR, _READDIR, _RELEASEDIR, _ACCESS) = (21, 22, 25, 26, 27, 28, 29, 34)
_SILENT = (_FORGET, 36, 42)  # INTERRUPT, BATCH_FORGET
_TOOL = 1 << 32  # the node of a program


class Lies:
    """What it remembers: node numbers by parent and name, attributes by node."""

    def __init__(self, uid: int) -> None:
        self.uid = uid
        self.nodes: dict[tuple[int, bytes], int] = {}
        self.modes: dict[int, int] = {}
        self.attributes: dict[tuple[int, bytes], bytes] = {}

    def answer(self, opcode: int, node: int, body: bytes) -> bytes | int:
        """The reply's body, or an errno."""
        if opcode == _INIT:
            return struct.pack("<IIIIHHIIHHI28x", 7, 31, 0, 0, 16, 12, 4096, 1, 0, 0, 0)
        if opcode in (_LOOKUP, _MKDIR):
            name = body[8 if opcode == _MKDIR else 0 :].split(b"\0")[0]
            child = self.nodes.setdefault((node, name), len(self.nodes) + 2 + (_TOOL if name == b"tool" else 0))
            return struct.pack("<QQQQII", child, 0, 0, 0, 0, 0) + self._attr(child)
        if opcode in (_GETATTR, _SETATTR):
            if opcode == _SETATTR and body[0] & 1:  # FATTR_MODE
                self.modes[node] = struct.unpack_from("<I", body, 68)[0] & 0o7777
            return struct.pack("<QII", 0, 0, 0) + self._attr(node)
        if opcode in (_OPEN, _OPENDIR):
            return struct.pack("<QII", 0, 0, 0)
        if opcode == _READ:
            start, size = struct.unpack_from("<QI", body, 8)
            return _PROGRAM[start : start + size]
        if opcode == _STATFS:
            return struct.pack("<QQQQQIIII24x", 9, 9, 9, 9, 9, 4096, 255, 4096, 0)
        if opcode == _SETXATTR:
            size = struct.unpack_from("<I", body)[0]
            name, _, value = body[8:].partition(b"\0")
            self.attributes[node, name] = value[:size]
            return b""
        if opcode == _GETXATTR:
            name = body[8:].split(b"\0")[0]
            found = self.attributes.get((node, name))
            if found is None:
                return _ENODATA
            size = struct.unpack_from("<I", body)[0]
            return found if size else struct.pack("<II", len(found), 0)
        if opcode in (_READDIR, _RELEASE, _RELEASEDIR, _FLUSH, _ACCESS):
            return b""
        return _ENOSYS

    def _attr(self, node: int) -> bytes:
        kind, size = (stat.S_IFREG, len(_PROGRAM)) if node >= _TOOL else (stat.S_IFDIR, 0)
        mode = self.modes.get(node, 0o755)
        owner = self.uid if node == 1 else 0
        return struct.pack("<6Q10I", node, size, 0, 0, 0, 0, 0, 0, 0, kind | mode, 2, owner, owner, 0, 4096, 0)


def main() -> None:
    """Answer until the file system is unmounted."""
    device, lies = int(sys.argv[1]), Lies(int(sys.argv[2]))
    while True:
        try:
            data = os.read(device, 1 << 17)
        except OSError:
            return  # ENODEV: unmounted
        length, opcode, unique, node, *_ = _HEADER.unpack_from(data)
        if opcode in _SILENT:
            continue
        found = lies.answer(opcode, node, data[_HEADER.size : length])
        body, error = (b"", -found) if isinstance(found, int) else (found, 0)
        os.write(device, struct.pack("<IiQ", 16 + len(body), error, unique) + body)


if __name__ == "__main__":
    main()
