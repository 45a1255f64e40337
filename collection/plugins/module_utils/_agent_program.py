# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""The agent that is installed on this host, by the program of its package."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess

_NAMES = ("mesos-agent", "mesos-slave")
_SECONDS = 20  # for it to print its help or its version


def find():
    """The path of the installed agent, or None."""
    path = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
    found = (shutil.which(name, path=path) for name in _NAMES)
    return next((program for program in found if program), None)


def said(program, option):
    """What it prints; None where it does not end. It and what it has started end with the call."""
    with subprocess.Popen(  # noqa: S603
        [program, option],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            return process.communicate(timeout=_SECONDS)[0].decode("utf-8", "replace")
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            return None
