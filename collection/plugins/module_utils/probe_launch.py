# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""A real launch through the installed launcher directory, as an agent makes it, by an executor that only looks."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import uuid

# For each path: what it is in the executor's view, and whether it can be written there. $@: the paths.
_LOOK = 'for path; do if [ -w "$path" ]; then w=RW; else w=RO; fi; echo "$(stat -c %d:%i "$path") $w $path"; done'
_SECONDS = 60


class ProbeError(Exception):
    """What the probe executor saw that it should not, or why there was none."""


def run(launcher_dir, volumes, work_dir):
    """Launches a probe and compares its view with `volumes`: (container path, host path, read only) in order.

    Raises ProbeError.
    """
    helper = os.path.join(launcher_dir, "mesos-containerizer")
    if not os.access(helper, os.X_OK):
        raise ProbeError("%s is not there or not executable" % helper)
    # Where the executors' sandboxes are, so that what holds for them holds for the probe.
    base = work_dir if work_dir and os.path.isdir(work_dir) else "/var/tmp"  # noqa: S108 (a private directory in it)
    home = tempfile.mkdtemp(prefix="mesos-shim-probe-", dir=base)
    try:
        said = _launch(helper, home, [volume[0] for volume in volumes])
        _compare(said, volumes, os.path.join(home, "sandbox"))
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _launch(helper, home, targets):
    """What the probe printed, a line for each path."""
    identity = "probe-%s" % uuid.uuid4()
    sandbox = os.path.join(home, "sandbox")
    runtime = os.path.join(home, "run", "containers", identity)
    os.mkdir(sandbox, 0o755)
    os.makedirs(runtime, 0o700)
    info = {
        "command": {"shell": False, "value": "/bin/sh", "arguments": ["sh", "-c", _LOOK, "sh"] + targets},
        "working_directory": sandbox,
        "environment": {"variables": [{"name": "MESOS_SANDBOX", "type": "VALUE", "value": sandbox}]},
    }
    reading, writing = os.pipe()
    os.write(writing, b"\0")  # the agent's word to go on
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "MESOS_CONTAINERIZER_LAUNCH_INFO": json.dumps(info),
        "MESOS_CONTAINERIZER_PIPE_READ": str(reading),
        "MESOS_CONTAINERIZER_PIPE_WRITE": str(writing),
        "MESOS_CONTAINERIZER_RUNTIME_DIRECTORY": runtime,
    }
    try:
        process = subprocess.Popen(  # noqa: S603
            [helper, "launch"],
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(reading, writing),
            start_new_session=True,
        )
    except OSError as error:
        raise ProbeError("%s cannot be run: %s" % (helper, error.strerror)) from error
    finally:
        os.close(reading)
        os.close(writing)
    try:
        out, err = process.communicate(timeout=_SECONDS)
    except subprocess.TimeoutExpired as error:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise ProbeError("the probe executor did not end within %d seconds" % _SECONDS) from error
    status = _status(runtime)
    if process.returncode != 0 or status != "0":
        said = " ".join(err.decode("utf-8", "replace").split()) or "it said nothing"
        raise ProbeError("a probe launch ended with %s, status %s: %s" % (process.returncode, status, said[-500:]))
    return out.decode("utf-8", "surrogateescape").splitlines()


def _status(runtime):
    try:
        with open(os.path.join(runtime, "status"), encoding="ascii") as stream:
            return stream.read()
    except (OSError, ValueError):
        return "none"


def _compare(said, volumes, sandbox):
    if len(said) != len(volumes):
        raise ProbeError("the probe executor said %d lines for %d volumes" % (len(said), len(volumes)))
    for line, (target, source, read_only) in zip(said, volumes):
        seen, writable = (line.split(" ") + [""])[:2]
        wanted = source if source.startswith("/") else os.path.join(sandbox, source)
        try:
            found = os.stat(wanted)
        except FileNotFoundError as error:
            raise ProbeError("%s, its own %s, was not made: it is not isolated" % (wanted, target)) from error
        if seen != "%d:%d" % (found.st_dev, found.st_ino):
            raise ProbeError("the probe executor saw another %s than its own: it is not isolated" % target)
        if read_only and writable != "RO":
            raise ProbeError("the probe executor could write to %s, which is read-only" % target)
