# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""Whose the other end of a connection is: the agent's, or of whoever took its port while it was down.

Anybody may listen on a port above 1023 that is free. So before a word is sent, a password among them, the kernel is
asked which process has accepted this very connection.
"""

from __future__ import annotations

import os
import socket
import struct
import time

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_LOCAL, _REMOTE, _UID, _INODE = 1, 2, 7, 9  # columns, Documentation/networking/proc_net_tcp.rst
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
            raise StrangerError("%s is no address of this host, so nobody can tell who answers there" % there[0])
        if found[1]:  # 0: still in the queue of the socket that listens
            return found
        if time.monotonic() > deadline:
            raise StrangerError("nothing takes a connection to port %d" % there[1])
        time.sleep(_LOOKS)


def _other_end(local, remote):
    for table in _TABLES:
        try:
            with open(table, encoding="ascii") as stream:
                for line in stream:
                    fields = line.split()
                    if len(fields) > _INODE and fields[_LOCAL] in local and fields[_REMOTE] in remote:
                        return int(fields[_UID]), int(fields[_INODE])
        except OSError as error:
            if table == _TABLES[0]:
                raise StrangerError("%s: %s, so nobody can tell who answers" % (table, error.strerror)) from error
    return None


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
                "port %d is answered by a process of uid %d: name the agent's unit as mesos_agent_service, or give "
                "mesos_agent_url by https" % (port, uid)
            )
        return
    main = service.status()["pid"]
    if not main:
        raise StrangerError("the unit %s is not running, and something else answers on port %d" % (service.unit, port))
    if not any(_has(pid, inode) for pid in _agents(main)):
        raise StrangerError(
            "port %d is answered by a process of uid %d that is not of the unit %s" % (port, uid, service.unit)
        )


def _agents(main):
    """The unit's main process and, where that is a shell around the agent, those below it that are the same user's."""
    yield main
    user = _user(main)
    children = {}
    for name in os.listdir("/proc"):
        if name.isascii() and name.isdigit():
            children.setdefault(_parent(int(name)), []).append(int(name))
    waiting = list(children.get(main, ()))
    while waiting:
        pid = waiting.pop()
        waiting += children.get(pid, ())
        if user is not None and _user(pid) == user:
            yield pid


def _parent(pid):
    try:
        with open("/proc/%d/stat" % pid, "rb") as stream:
            return int(stream.read().rpartition(b")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return None


def _user(pid):
    """All uids of a process, as the kernel writes them; None where it has ended."""
    try:
        with open("/proc/%d/status" % pid, "rb") as stream:
            return next(line for line in stream if line.startswith(b"Uid:"))
    except (OSError, StopIteration):
        return None


def _has(pid, inode):
    """Whether a process has that socket open."""
    directory, wanted = "/proc/%d/fd" % pid, "socket:[%d]" % inode
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StrangerError(
            "%s: %s, so nobody can tell who answers: become root" % (directory, error.strerror)
        ) from error
    for name in names:
        try:
            if os.readlink(os.path.join(directory, name)) == wanted:
                return True
        except OSError:
            continue
    return False
