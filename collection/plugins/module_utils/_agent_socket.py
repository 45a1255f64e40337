# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""Whose the other end of a connection is: the agent's, or of whoever took its port while it was down.

Anybody may listen on a port above 1023 that is free. So before a word is sent, a password among them, the kernel is
asked which process has accepted this very connection.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
import time

from ansible_collections.mesos.containerizer.plugins.module_utils import _agent_process as agent_process

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_LOCAL, _REMOTE, _STATE, _UID, _INODE = 1, 2, 3, 7, 9  # columns, Documentation/networking/proc_net_tcp.rst
_LISTEN = "0A"  # include/net/tcp_states.h
_ACCEPTED = 5  # seconds until a server has taken a connection that the kernel has made for it
_LOOKS = 0.02


class StrangerError(Exception):
    """Why this connection is not known to be the agent's, in one line."""


def accepted(sock):
    """(uid, inode) of the socket at the other end of a TCP connection of this host. Raises StrangerError."""
    here, there = sock.getsockname()[:2], sock.getpeername()[:2]
    deadline = time.monotonic() + _ACCEPTED
    while True:
        found = _other_end(_written(there), _written(here))
        if found is None:
            raise StrangerError("%s is not an address of this host, so it is unknown who answers there" % there[0])
        if found[1]:  # 0: still in the queue of the socket that listens
            return found
        if time.monotonic() > deadline:
            raise StrangerError("nothing accepts connections on port %d" % there[1])
        time.sleep(_LOOKS)


def _other_end(local, remote):
    for table in _TABLES:
        for fields in _rows(table):
            if fields[_LOCAL] in local and fields[_REMOTE] in remote:
                return int(fields[_UID]), int(fields[_INODE])
    return None


def _rows(table):
    """The columns of each socket in one of the kernel's tables."""
    try:
        with open(table, encoding="ascii") as stream:
            found = [line.split() for line in stream]
    except OSError as error:
        if table == _TABLES[0]:
            raise StrangerError("%s: %s, so it is unknown who answers" % (table, error.strerror)) from error
        return []
    return [fields for fields in found[1:] if len(fields) > _INODE]


def _written(address):
    """The ways in which the kernel writes an address: words of 32 bits in the byte order of the host."""
    host, port = address[0].partition("%")[0], address[1]
    if ":" in host:
        packed = [socket.inet_pton(socket.AF_INET6, host)]
    else:
        # A socket that listens to both has it as ::ffff:a.b.c.d.
        packed = [socket.inet_aton(host), b"\0" * 10 + b"\xff\xff" + socket.inet_aton(host)]
    return {
        "".join("%08X" % word for word in struct.unpack("=%dI" % (len(item) // 4), item)) + ":%04X" % port
        for item in packed
    }


def refuse_strangers(sock, service=None):
    """Raises StrangerError unless the agent's process has accepted this connection.

    service: the agent's unit. Without one the process must be root's, or of the user that asks.
    """
    uid, inode = accepted(sock)
    port = sock.getpeername()[1]
    if service is None:
        if uid not in (0, os.geteuid()):
            raise StrangerError(
                "port %d is answered by a process of uid %d; set mesos_agent_service to the agent's unit, or give "
                "mesos_agent_url by https" % (port, uid)
            )
        return
    main = service.status()["pid"]
    if not main:
        raise StrangerError("the unit %s is not running, and something else answers on port %d" % (service.unit, port))
    if not any(_has(pid, inode) for pid in agent_process.family(main)):
        raise StrangerError(
            "port %d is answered by a process of uid %d that does not belong to the unit %s" % (port, uid, service.unit)
        )


def _has(pid, inode):
    """Whether a process has that socket open."""
    return inode in _inodes(pid)


def _inodes(pid):
    """The sockets that a process has open, by their numbers."""
    directory = "/proc/%d/fd" % pid
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise StrangerError(
            "%s: %s, so it is unknown who answers; become root" % (directory, error.strerror)
        ) from error
    found = set()
    for name in names:
        with contextlib.suppress(OSError):
            match = re.fullmatch(r"socket:\[([0-9]+)\]", os.readlink(os.path.join(directory, name)))
            if match:
                found.add(int(match.group(1)))
    return found


def listening(pid):
    """[(address, port)] on which a process takes TCP connections. Raises StrangerError."""
    inodes, found = _inodes(pid), []
    for table in _TABLES:
        for fields in _rows(table):
            if fields[_STATE] == _LISTEN and int(fields[_INODE]) in inodes:
                host, _colon, port = fields[_LOCAL].partition(":")
                found.append((_read(host), int(port, 16)))
    return found


def _read(written):
    """The address that the kernel writes in this way; see _written."""
    words = [int(written[index : index + 8], 16) for index in range(0, len(written), 8)]
    packed = struct.pack("=%dI" % len(words), *words)
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)
