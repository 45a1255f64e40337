"""The whole of `mesos-containerizer launch`, from its start to its end, the agent's side played as the tests do."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.protocol.drive import Agent

from . import measure
from .bench import Bench, Row
from .measure import ENVIRONMENT, Sample

DEFAULT = {"type": "MESOS", "volumes": [{"container_path": "/tmp", "host_path": "tmp", "mode": "RW"}]}
TRUE = {"shell": False, "value": "/bin/true", "arguments": ["true"]}


@dataclass(frozen=True)
class Helper:
    """A start of the helper, with the agent's byte in the pipe already: what is timed is the helper's own."""

    words: list[str]
    environment: Mapping[str, str]
    sandbox: Path

    def __call__(self) -> Sample:
        """One run, in an empty sandbox."""
        measure.empty(str(self.sandbox))
        reading, writing = os.pipe()
        try:
            os.write(writing, b"\0")
            os.set_inheritable(reading, True)
            os.set_inheritable(writing, True)
            ends = {"READ": str(reading), "WRITE": str(writing)}
            words = [word.format(**ends) if word.startswith("--pipe") else word for word in self.words]
            environment = {
                name: value.format(**ends) if "_PIPE_" in name else value for name, value in self.environment.items()
            }
            return measure.timed(words, environment, "/")
        finally:
            os.close(reading)
            os.close(writing)


def modern(bench: Bench) -> Helper:
    """By the protocol of 1.x: forks the command, waits, and writes how it ended."""
    agent = Agent(bench.root / "agent", bench.shim)
    agent.hold(None)
    info = {"command": TRUE, "working_directory": str(agent.sandbox), "environment": {"variables": []}, "user": "root"}
    environment = {
        **ENVIRONMENT,
        "MESOS_CONTAINERIZER_LAUNCH_INFO": json.dumps(info),
        "MESOS_CONTAINERIZER_PIPE_READ": "{READ}",
        "MESOS_CONTAINERIZER_PIPE_WRITE": "{WRITE}",
        "MESOS_CONTAINERIZER_RUNTIME_DIRECTORY": str(agent.runtime),
    }
    return Helper([str(bench.shim.helper), "launch"], environment, agent.sandbox)


def classic(bench: Bench) -> Helper:
    """By the protocol of 0.21: becomes the command."""
    agent = Agent(bench.root / "agent-021", bench.shim)
    words = [
        *(str(bench.shim.helper), "launch", f"--command={json.dumps(TRUE)}", f"--directory={agent.sandbox}"),
        *("--pipe_read={READ}", "--pipe_write={WRITE}", "--user=root"),
    ]
    return Helper(words, ENVIRONMENT, agent.sandbox)


def rows(bench: Bench) -> Iterator[tuple[str, Row]]:
    """The row of this module."""
    bench.configure(default_container_info=DEFAULT)
    try:
        found = measure.alternate({"bare": bench.bare, "1.x": modern(bench), "0.21": classic(bench)}, bench.runs)
    finally:
        bench.configure()
    ratios = {name: measure.ratio(found[name], found["bare"]) for name in ("1.x", "0.21")}
    yield (
        "agent",
        Row(
            "`mesos-containerizer launch`, whole",
            "bare interpreter; Mesos 0.21.2's own took 5.2x",
            "at most 1.5x",
            f"1.x **{ratios['1.x']['p25']:.2f}x** ({found['1.x'].p25:.1f} ms), 0.21 **{ratios['0.21']['p25']:.2f}x**",
            max(values["p25"] for values in ratios.values()) <= 1.5,
            {"milliseconds": measure.plain(found), "ratios": ratios},
        ),
    )
