# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which run of a playbook this is, and whether another one still lives; module_utils/_run_claim.py is on the host."""

from __future__ import annotations

import getpass
import hashlib
import multiprocessing
import os
import socket
import time
from collections.abc import Mapping
from functools import cache
from typing import Any

# Modules that claim a host, or respect the claim of another run.
CLAIMING = frozenset(
    (
        "agent_claim_release",
        "agent_generation",
        "agent_generation_confirm",
        "agent_generation_restore",
        "agent_preflight_info",
        "shim_release",
        "shim_uninstall",
    )
)


def this_run(change: object = None, name: str = "") -> dict[str, Any]:
    """The process of ansible-playbook, as a claim names it: by the id of its change, else by one made of itself.

    name: the host's in the inventory.
    """
    parent = multiprocessing.parent_process()  # tasks are in workers of it
    run = _process(parent.pid if parent and parent.pid else os.getpid())
    return dict(run, id=str(change) if change else _id(run), name=name)


@cache
def _process(pid: int) -> dict[str, Any]:
    start = _start(pid)
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return {
        "user": user,
        "host": socket.gethostname(),
        "pid": pid,
        "start": start or 0,
        "boot": _text("/proc/sys/kernel/random/boot_id"),
        "namespace": _namespace(),
        "began": _began(start),
    }


def _id(run: Mapping[str, Any]) -> str:
    """As a rollout's, which is made of its time and four digits."""
    identity = "%(boot)s %(namespace)s %(host)s %(pid)d %(start)d" % run
    when = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(run["began"])) if run["began"] else run["host"]
    return f"{when}-{hashlib.sha256(identity.encode()).hexdigest()[:4]}"


def living(claim: Mapping[str, Any]) -> bool | None:
    """Whether the run of a claim still lives; None where it cannot be known from here."""
    mine = this_run()
    if not mine["boot"] or any(claim[key] != mine[key] for key in ("boot", "namespace")):
        return None
    try:
        os.kill(claim["pid"], 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    start = _start(claim["pid"])  # not readable with hidepid, although it is there
    return None if start is None else start == claim["start"]


def named(claim: Mapping[str, Any]) -> str:
    """A claim, for people."""
    when = time.strftime(", since %Y-%m-%dT%H:%M:%SZ", time.gmtime(claim["began"])) if claim["began"] else ""
    who, user, host = (_printable(claim[key]) for key in ("id", "user", "host"))
    return f"the run {who} ({user} on {host}, process {claim['pid']}{when})"


def refusal(claim: Mapping[str, Any], lives: bool | None) -> str:
    """Why a host is left alone, and what to do."""
    if lives:
        return f"claimed by {named(claim)}, which is still at work; wait for its end, or stop it"
    return (
        f"claimed by {named(claim)}, and from here nobody can tell whether that is still at work; "
        f"if it is not, take over with -e mesos_agent_rollout_take_over={_printable(claim['id'])}"
    )


def _printable(text: str) -> str:
    """What a host says is shown on a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text[:100])


def _start(pid: int) -> int | None:
    """When a process has started, in ticks since the boot; 0 of one that has ended, None where nobody says it."""
    fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    if len(fields) < 20:
        return None
    return 0 if fields[0] in ("Z", "X") else int(fields[19])


def _began(start: int | None) -> int:
    """The same in seconds since 1970; 0 where nobody says it."""
    lines = _text("/proc/stat").splitlines()
    boot = next((int(line.split()[1]) for line in lines if line.startswith("btime ")), 0)
    return boot + start // os.sysconf("SC_CLK_TCK") if start and boot else 0


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read().strip()
    except OSError:
        return ""
