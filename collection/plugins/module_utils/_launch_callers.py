# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""Who calls `mesos-containerizer launch`, and how, by version of Mesos: the one table of it on a host.

Sources, in each release: the flags in src/slave/containerizer/mesos/launch.cpp; the agent's call in containerizer.cpp
beside it; mesos-executor's in src/launcher/executor.cpp and src/launcher/posix/executor.cpp.
"""

from __future__ import annotations

import collections
import json
import re

_ENVIRONMENT = "MESOS_CONTAINERIZER_"

# versions: in words; since: the first with this call; before: the first without; agent: the flags of the agent's call;
# variables: those of them that are no arguments but variables; executor: the flags of mesos-executor's call, which are
# all arguments. None: that version's mesos-executor runs a task's command by itself.
Row = collections.namedtuple("Row", ["versions", "since", "before", "agent", "variables", "executor"])

_PIPES = ("pipe_read", "pipe_write")
_OLD = ("command", "commands", "directory", *_PIPES, "user")
_ONE = ("command", "pre_exec_commands", *_PIPES, "unshare_namespace_mnt", "user", "working_directory", "help")
_INFO = ("launch_info", *_PIPES, "runtime_directory", "unshare_namespace_mnt", "help")
_TASK = ("command", "help", "unshare_namespace_mnt")
_TASK_INFO = ("launch_info", "help", "unshare_namespace_mnt")
ROWS = (
    Row("0.21 to 0.22", (0, 21), (0, 23), _OLD, (), None),
    Row("0.23 to 0.27", (0, 23), (0, 28), (*_OLD, "help"), (), None),
    Row("0.28", (0, 28), (1, 0), ("command", "commands", "sandbox", *_PIPES, "user", "help"), (), None),
    Row("1.0", (1, 0), (1, 1), _ONE, (), _TASK),
    Row("1.1", (1, 1), (1, 2), (*_ONE, "environment", "runtime_directory"), ("environment",), _TASK),
    Row("1.2 and later", (1, 2), None, _INFO, _INFO, _TASK_INFO),
)

_VERSION = re.compile(r"(?:mesos )?([0-9]{1,3})\.([0-9]{1,3})(?![0-9])")


def version(text):
    """(major, minor) of what an agent or its program says, None where that is no version."""
    found = _VERSION.match(text) if isinstance(text, str) else None
    return (int(found.group(1)), int(found.group(2))) if found else None


def text(version):
    """A version in words."""
    return "%d.%d" % version


def rows(versions):
    """The rows of these versions, (major, minor) each; all of them where none is known."""
    known = [row for row in ROWS if any(row.since <= v and (row.before is None or v < row.before) for v in versions)]
    return known or list(ROWS)


def agents_call(row, command, sandbox, runtime, pipes, user, environment):
    """(arguments, variables) of the agent's call for a container."""
    info = {"command": command, "working_directory": sandbox, "environment": variables(environment)}
    values = {
        "command": json.dumps(command),
        "commands": '{"commands":[]}',
        "directory": sandbox,
        "environment": json.dumps(environment),
        "help": "false",
        "launch_info": json.dumps(dict(info, user=user) if user else info),
        "pipe_read": str(pipes[0]),
        "pipe_write": str(pipes[1]),
        "pre_exec_commands": "[]",
        "runtime_directory": runtime,
        "sandbox": sandbox,
        "unshare_namespace_mnt": "false",
        "user": user,
        "working_directory": sandbox,
    }
    options = {flag: values[flag] for flag in row.agent if values[flag] is not None}
    arguments = {flag: value for flag, value in options.items() if flag not in row.variables}
    # Where the container's own are not among the flags they are the helper's environment.
    own = {_ENVIRONMENT + flag.upper(): options[flag] for flag in row.variables} or environment
    return ["launch"] + _arguments(arguments), own


def executors_call(row, command, environment):
    """The arguments of mesos-executor's call for a task's command, from where it is and as who it is."""
    values = {
        "command": json.dumps(command),
        "help": "false",
        "launch_info": json.dumps({"command": command, "environment": variables(environment)}),
        "unshare_namespace_mnt": "false",
    }
    return ["launch"] + _arguments({flag: values[flag] for flag in row.executor})


def writes_status(row):
    """Whether the helper itself waits, and writes how the command ended into the runtime directory."""
    return "runtime_directory" in row.agent


def _arguments(options):
    # As stout prints a map of flags: in the order of their names.
    return ["--%s=%s" % (flag, options[flag]) for flag in sorted(options)]


def variables(environment):
    """An Environment, as Mesos has it."""
    return {"variables": [{"name": name, "type": "VALUE", "value": value} for name, value in environment.items()]}
