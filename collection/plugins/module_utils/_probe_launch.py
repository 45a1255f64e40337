# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""Plays every caller of a launch helper, as a Mesos of some version calls it: what they need is what they get."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import types
import uuid

from ansible_collections.mesos.containerizer.plugins.module_utils import (
    _launch_callers as launch_callers,
    _probe_container as probe_container,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._probe_container import ProbeError

_SECONDS = 60  # for one launch
_ORDINARY = "nobody"


def users():
    """Who launches: we ourselves as None, and where that is root an ordinary user."""
    found = [None]
    if os.geteuid() == 0:
        with contextlib.suppress(KeyError):
            found.append(pwd.getpwnam(_ORDINARY))
    return found


def run(helper, versions, volumes, work_dir, others=True):
    """Plays the callers of these versions of Mesos, of all where none is known, for root and for an ordinary user.

    Without `others` for ourselves alone.
    `volumes` are what a container without a ContainerInfo must get, as shim_configuration.expected() has them.
    Raises ProbeError by the caller.
    """
    if not os.access(helper, os.X_OK):
        raise ProbeError("%s does not exist or is not executable" % helper)
    played = {None}  # more than one row has the same call of mesos-executor's
    for row in launch_callers.rows(versions):
        for user in users() if others else [None]:
            _agents(helper, row, volumes, work_dir, user)
            for end in _ENDS if row.executor not in played else ():
                _executors(helper, row, work_dir, user, end)
        played.add(row.executor)


def answer(call):
    """What `run` finds, as JSON, in a process of its own; the call has been JSON as well."""
    named = ("container_path", "host_path", "read_only")
    volumes = [types.SimpleNamespace(**dict(zip(named, volume))) for volume in call["volumes"]]
    lists = {"versions": [tuple(item) for item in call["versions"]], "volumes": volumes}
    try:
        run(**dict(call, **lists))
    except ProbeError as error:
        return {"wrong": str(error)}
    except OSError as error:
        return {"wrong": "%s: %s" % (error.filename or "a launch", error.strerror)}
    return {"wrong": None}


@contextlib.contextmanager
def _home(work_dir, user):
    """A directory of its own with a sandbox, where the executors' are, so that what holds for them holds for it."""
    base = work_dir if work_dir and os.path.isdir(work_dir) else "/var/tmp"  # noqa: S108 (a private directory in it)
    home = tempfile.mkdtemp(prefix="mesos-shim-probe-", dir=base)
    try:
        os.chmod(home, 0o711)  # noqa: S103 (the sandbox in it may be another user's)
        sandbox = os.path.join(home, "sandbox")
        os.mkdir(sandbox, 0o755)
        if user is not None:
            os.chown(sandbox, user.pw_uid, user.pw_gid)
        yield home, sandbox
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _agents(helper, row, volumes, work_dir, user):
    """The agent's call: a container in whose view mesos-executor's is made."""
    caller = "the agent's call (Mesos %s%s)" % (row.versions, " for " + user.pw_name if user else "")
    with _home(work_dir, user) as (home, sandbox):
        runtime = os.path.join(home, "run", "containers", "probe-%s" % uuid.uuid4())
        os.makedirs(runtime, 0o700)
        command = probe_container.command(helper, row, volumes, sandbox, 0)
        reading, writing = os.pipe()
        os.write(writing, b"\0")  # the agent's word to go on
        try:
            words, variables = launch_callers.agents_call(
                row,
                command,
                sandbox,
                runtime,
                (reading, writing),
                user.pw_name if user else None,
                probe_container.environment(sandbox),
            )
            variables = dict({"PATH": os.defpath}, **variables)
            process = _start([helper] + words, variables, caller, cwd="/", pass_fds=(reading, writing))
        finally:
            os.close(reading)
            os.close(writing)
        code, unused, said = _end(process, caller)
        expected = probe_container.STATUS
        if launch_callers.writes_status(row):
            code = code or _status(runtime)
            expected <<= 8  # a raw wait status
        if code != expected:
            what = said or probe_container.errors(sandbox, probe_container.ERRORS) or "it said nothing"
            raise ProbeError("a launch by %s ended with %s instead of %d: %s" % (caller, code, expected, what))
        found = probe_container.report(sandbox) or {}
        uid = user.pw_uid if user else os.geteuid()
        try:
            probe_container.compare(found, row, volumes, sandbox, uid)
        except ProbeError as error:
            raise ProbeError("in a launch by %s: %s" % (caller, error)) from error


def _status(runtime):
    """The raw wait status that the helper has written, or what is there instead."""
    text = probe_container.read(runtime, "status")
    return int(text) if text and text.isascii() and text.isdigit() else "status file %r" % text


# How a task's command ends by the words of a shell, and what a parent sees of it.
_ENDS = (("exit 3", 3), ("kill -TERM $$", -signal.SIGTERM))


def _executors(helper, row, work_dir, user, end):
    """mesos-executor's call by itself: it becomes the command, so its end is the command's, and so is its pid."""
    shell, expected = end
    caller = "mesos-executor's call (Mesos %s%s)" % (row.versions, " as " + user.pw_name if user else "")
    with _home(work_dir, user) as (_unused, sandbox):
        variables = probe_container.environment(sandbox)
        words = launch_callers.executors_call(row, probe_container.task(shell), variables)
        become = _become(user) if user else None
        process = _start([helper] + words, variables, caller, cwd=sandbox, preexec_fn=become)
        code, out, said = _end(process, caller)
        if code != expected:
            raise ProbeError(
                "%s ended with %d instead of %d for %r: %s" % (caller, code, expected, shell, said or "it said nothing")
            )
        uid = user.pw_uid if user else os.geteuid()
        if out.split() != [str(process.pid), str(uid)]:
            wanted = "pid %d as uid %d" % (process.pid, uid)
            raise ProbeError("%s did not become its command, %s: it printed %r" % (caller, wanted, out[:200]))


def _become(user):
    def change():
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)

    return change


def _start(words, variables, caller, **options):
    try:
        return subprocess.Popen(  # noqa: S603
            words,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            **options,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ProbeError("%s cannot be made: %s: %s" % (caller, words[0], error)) from error


def _end(process, caller):
    """(exit status, standard output, standard error in one line). Raises ProbeError where it does not end."""
    try:
        out, err = process.communicate(timeout=_SECONDS)
    except subprocess.TimeoutExpired as error:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):  # who has left its session may hold on to the pipes
            process.communicate(timeout=1)
        raise ProbeError("%s did not end within %d seconds" % (caller, _SECONDS)) from error
    return process.returncode, out.decode("utf-8", "replace"), " ".join(err.decode("utf-8", "replace").split())[-500:]
