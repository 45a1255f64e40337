"""Plays the agent's side of both launch protocols against the installed mesos-containerizer."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import wire
from .shim import Shim
from .waiting import wait_until

# The descriptors of an agent's pipe where a file is in its place.
PIPE = (7, 8)


@dataclass
class PlayedAgent:
    """An agent's directories for one container, and what it tells its helper."""

    root: Path
    shim: Shim
    container: str = "c1"
    files: dict[str, bytes] = field(default_factory=dict)
    # More variables for its helper: the agent's own, and what only some launches have.
    more: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.work_dir = self.root / "work"
        self.sandbox = self.work_dir / "slaves/S1/frameworks/F1/executors/E1/runs" / self.container.split("/")[0]
        self.sandbox.mkdir(parents=True, exist_ok=True)
        path = "/containers/".join(self.container.split("/"))
        self.runtime = self.root / "run/containers" / path
        self.runtime.mkdir(parents=True, exist_ok=True)

    @property
    def status(self) -> str | None:
        """The status file as the agent would read it."""
        path = self.runtime / "status"
        return path.read_text() if path.exists() else None

    def hold(self, info: bytes | None, container_class: int | None = None) -> None:
        """Checkpoint a ContainerConfig with the ContainerInfo `info` (encoded), as the agent does before a launch."""
        message = wire.data(3, str(self.sandbox))
        executor = wire.data(1, wire.data(1, "E1")) + wire.data(8, wire.data(1, "F1"))
        message += wire.data(8, executor)
        if info is not None:
            message += wire.data(12, info)
        if container_class is not None:
            message += wire.number(14, container_class)
        (self.runtime / "config").write_bytes(wire.checkpoint(message))

    def checkpoint(self, info: bytes | None = None) -> None:
        """Checkpoint an ExecutorInfo, with the ContainerInfo `info` (encoded), as an agent does before 1.5 too."""
        path = self.work_dir / "meta/slaves/S1/frameworks/F1/executors/E1/executor.info"
        path.parent.mkdir(parents=True, exist_ok=True)
        message = wire.data(1, wire.data(1, "E1")) + wire.data(8, wire.data(1, "F1"))
        path.write_bytes(wire.checkpoint(message + (wire.data(11, info) if info is not None else b"")))

    def start(self, command: str | dict[str, object], *, go: bool = True, **fields: object) -> subprocess.Popen[str]:
        """Start the helper by the 1.x protocol; with `go` the byte is written, else the agent is gone."""
        reading, writing = os.pipe()
        return self.spawn(["launch"], self.variables(command, reading, writing, **fields), reading, writing, go)

    def words(self, command: str | dict[str, object], **fields: object) -> list[str]:
        """The helper by the 1.x protocol with its variables, for who starts it himself; the byte is there already."""
        given = [f"{name}={value}" for name, value in self.variables(command, *PIPE, **fields).items()]
        return with_byte(self.root, "/usr/bin/env", "-i", *given, str(self.shim.helper), "launch")

    def variables(
        self, command: str | dict[str, object], reading: object, writing: object, **fields: object
    ) -> dict[str, str]:
        """What a 1.x agent says to its helper, in the environment."""
        if isinstance(command, str):
            command = {"shell": True, "value": command}
        info = {"command": command, "working_directory": str(self.sandbox), "environment": {"variables": []}, **fields}
        return {
            "PATH": "/usr/bin:/bin",
            "MESOS_CONTAINERIZER_LAUNCH_INFO": json.dumps({k: v for k, v in info.items() if v is not None}),
            "MESOS_CONTAINERIZER_PIPE_READ": str(reading),
            "MESOS_CONTAINERIZER_PIPE_WRITE": str(writing),
            "MESOS_CONTAINERIZER_RUNTIME_DIRECTORY": str(self.runtime),
            "MESOS_CONTAINERIZER_UNSHARE_NAMESPACE_MNT": "false",
            **self.more,
        }

    def start_021(
        self,
        command: str | dict[str, object],
        *,
        go: bool = True,
        environment: dict[str, str] | None = None,
        **options: str,
    ) -> subprocess.Popen[str]:
        """Start the helper by the 0.21 protocol."""
        if isinstance(command, str):
            command = {"shell": True, "value": command}
        reading, writing = os.pipe()
        arguments = {
            "command": json.dumps(command),
            "directory": str(self.sandbox),
            "pipe_read": str(reading),
            "pipe_write": str(writing),
            **options,
        }
        words = [f"--{name}={value}" for name, value in arguments.items()]
        return self.spawn(["launch", *words], {"PATH": "/usr/bin:/bin", **(environment or {})}, reading, writing, go)

    def spawn(
        self,
        arguments: list[str],
        environment: dict[str, str],
        reading: int,
        writing: int,
        go: bool,
        prefix: tuple[str, ...] = (),
    ) -> subprocess.Popen[str]:
        """Start the helper, below the words `prefix`, with an agent's pipe; with `go` the byte is there."""
        process = subprocess.Popen(
            [*prefix, str(self.shim.helper), *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(reading, writing),
            text=True,
            cwd="/",
        )
        os.close(reading)
        if go:
            os.write(writing, b"\x10")
        os.close(writing)
        return process


def with_byte(root: Path, *words: str) -> list[str]:
    """`words` with the ends of an agent's PIPE, in which the byte is that it writes once it has fetched."""
    byte = root / "byte"
    byte.write_text("x")
    reading, writing = PIPE
    return ["/bin/sh", "-c", f'exec "$@" {reading}<{byte} {writing}>/dev/null', "sh", *words]


def record(agent: PlayedAgent) -> dict[str, Any]:
    """The container's."""
    path = agent.shim.state_dir / f"containers/{agent.container.replace('/', '.')}.json"
    return dict(json.loads(path.read_text()))


def wait_until_named(agent: PlayedAgent) -> None:
    """Until the helper has put the command in its own place in the record, which it does beside the command."""
    wait_until(lambda: record(agent)["pid"] != record(agent)["supervisor"].get("pid"), "the record names the command")


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit status, stdout, stderr of a helper that is expected to end."""
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err
