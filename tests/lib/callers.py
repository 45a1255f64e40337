"""Every caller of `mesos-containerizer launch`, release by release: the words and variables that it gives.

Read off src/slave/containerizer/mesos/containerizer.cpp and src/launcher/executor.cpp (posix/executor.cpp before 1.4)
of each release's last patch; those of 0.21.2 and 1.11.0 were recorded beside the genuine programs besides.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from .played_agent import PlayedAgent

# What an agent's own environment holds, and a framework's.
PLAIN = {"PATH": "/usr/bin:/bin"}


@dataclass(frozen=True)
class Asked:
    """What is to be launched: CommandInfo, the user, and the command's variables."""

    command: dict[str, object]
    user: str | None = None
    variables: tuple[tuple[str, str], ...] = ()

    def environment(self) -> dict[str, object]:
        """In the form of ContainerLaunchInfo."""
        return {"variables": [{"name": name, "value": value, "type": "VALUE"} for name, value in self.variables]}


Words = tuple[list[str], dict[str, str]]


def _flags(**values: object) -> list[str]:
    return [f"--{name}={value}" for name, value in values.items() if value is not None]


def _agent_0x(name: str, helps: bool) -> Callable[[PlayedAgent, Asked, int, int], Words]:
    """0.21 to 0.28: arguments; the environment is the framework's."""

    def words(agent: PlayedAgent, asked: Asked, reading: int, writing: int) -> Words:
        flags = _flags(
            command=json.dumps(asked.command),
            commands='{"commands":[]}',
            **{name: agent.sandbox},
            help="false" if helps else None,
            pipe_read=reading,
            pipe_write=writing,
            user=asked.user,
        )
        return flags, {**PLAIN, **dict(asked.variables)}

    return words


def _agent_10(agent: PlayedAgent, asked: Asked, reading: int, writing: int) -> Words:
    flags = _flags(
        command=json.dumps(asked.command),
        help="false",
        pipe_read=reading,
        pipe_write=writing,
        pre_exec_commands="[]",
        unshare_namespace_mnt="false",
        user=asked.user,
        working_directory=agent.sandbox,
    )
    return flags, {**PLAIN, **dict(asked.variables)}


def _agent_11(agent: PlayedAgent, asked: Asked, reading: int, writing: int) -> Words:
    """The environment is the agent's; the command's is one variable of it."""
    flags, _ = _agent_10(agent, asked, reading, writing)
    variables = json.dumps(dict(asked.variables))
    return [*flags, f"--runtime_directory={agent.runtime}"], {**PLAIN, "MESOS_CONTAINERIZER_ENVIRONMENT": variables}


def _agent_12(agent: PlayedAgent, asked: Asked, reading: int, writing: int) -> Words:
    """1.2 to 1.11: variables alone."""
    given = agent.variables(asked.command, reading, writing, user=asked.user, environment=asked.environment())
    return [], given


# First release of each kind of an agent's call, and whether the agent reads a status file.
AGENTS: dict[str, tuple[Callable[[PlayedAgent, Asked, int, int], Words], bool]] = {
    "0.21": (_agent_0x("directory", False), False),
    "0.23": (_agent_0x("directory", True), False),
    "0.28": (_agent_0x("sandbox", True), False),
    "1.0": (_agent_10, False),
    "1.1": (_agent_11, True),
    "1.2": (_agent_12, True),
}


def _executor_10(asked: Asked) -> Words:
    """1.0 and 1.1: its own environment is the command's; it is the user already."""
    flags = _flags(command=json.dumps(asked.command), help="false", unshare_namespace_mnt="false", user=asked.user)
    return flags, {**PLAIN, **dict(asked.variables)}


def _executor_12(asked: Asked) -> Words:
    """1.2 to 1.11."""
    info: dict[str, object] = {"command": asked.command, "environment": asked.environment()}
    if asked.user is not None:
        info["user"] = asked.user
    return _flags(help="false", launch_info=json.dumps(info), unshare_namespace_mnt="false"), PLAIN


EXECUTORS: dict[str, Callable[[Asked], Words]] = {"1.0": _executor_10, "1.2": _executor_12}


def call_of_agent(
    agent: PlayedAgent, release: str, asked: Asked, *prefix: str, go: bool = True
) -> tuple[int, str, str, str | None]:
    """Launch as the agent of `release` does, below the words `prefix`: how it ended, as the agent learns it."""
    words, has_status = AGENTS[release]
    reading, writing = os.pipe()
    flags, environment = words(agent, asked, reading, writing)
    process = agent.spawn(["launch", *flags], environment, reading, writing, go, prefix)
    out, err = process.communicate(timeout=60)
    if not has_status:
        return process.returncode, out, err, None
    assert agent.status is not None
    raw = int(agent.status)
    return -raw if os.WIFSIGNALED(raw) else os.WEXITSTATUS(raw), out, err, agent.status


def words_of_executor(agent: PlayedAgent, release: str, asked: Asked) -> list[str]:
    """The words of mesos-executor's call, for who makes it himself."""
    flags, _ = EXECUTORS[release](asked)
    return [str(agent.shim.helper), "launch", *flags]


def call_of_executor(agent: PlayedAgent, release: str, asked: Asked, *prefix: str) -> subprocess.CompletedProcess[str]:
    """Launch as the mesos-executor of `release` does, in the agent's sandbox."""
    return subprocess.run(
        [*prefix, *words_of_executor(agent, release, asked)],
        env=EXECUTORS[release](asked)[1],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=agent.sandbox,
    )
