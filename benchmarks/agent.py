"""The whole of `mesos-containerizer launch`, from its start to its end, the agent's side played as the tests do."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.lib.played_agent import PlayedAgent

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
    # Files of an earlier run: each container has an id and a runtime directory of its own, so there never are any.
    left: list[Path]

    def __call__(self) -> Sample:
        """One run, in an empty sandbox."""
        measure.empty(str(self.sandbox))
        for path in self.left:
            path.unlink(missing_ok=True)
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


def modern(bench: Bench, user: str) -> Helper:
    """By the protocol of 1.x: starts the command, waits, and writes how it ended."""
    agent = PlayedAgent(bench.root / f"agent-{user}", bench.shim)
    shutil.chown(agent.sandbox, user)
    # In memory, as the agent's default runtime_dir, /var/run/mesos.
    agent.runtime = bench.state / f"agent-{user}/containers" / agent.container
    agent.runtime.mkdir(parents=True)
    agent.hold(None)
    environment = {**agent.variables(TRUE, "{READ}", "{WRITE}", user=user), **ENVIRONMENT}
    left = [agent.runtime / "status", agent.runtime / "mesos-shim.view", bench.record(agent.container)]
    return Helper([str(bench.shim.helper), "launch"], environment, agent.sandbox, left)


def classic(bench: Bench) -> Helper:
    """By the protocol of 0.21: becomes the command."""
    agent = PlayedAgent(bench.root / "agent-021", bench.shim, "c021")
    words = [
        *(str(bench.shim.helper), "launch", f"--command={json.dumps(TRUE)}", f"--directory={agent.sandbox}"),
        *("--pipe_read={READ}", "--pipe_write={WRITE}", "--user=root"),
    ]
    return Helper(words, ENVIRONMENT, agent.sandbox, [bench.record(agent.container)])


# A start, a fork for the parent that waits in 1.x, the command: less than this a helper that forks cannot take.
FORKS = """
import posix
child = posix.fork()
if not child:
    posix.execv("/bin/true", ["true"])
posix.waitpid(child, 0)
posix._exit(0)
"""


def rows(bench: Bench) -> Iterator[tuple[str, Row]]:
    """The row of this module."""
    bench.configure(default_container_info=DEFAULT)
    try:
        floor = measure.Command([bench.python, "-ISB", "-c", FORKS])
        helpers = {"1.x": modern(bench, "root"), "1.x, a user's": modern(bench, "nobody"), "0.21": classic(bench)}
        cases = {"bare": bench.bare, **helpers, "floor": floor}
        found = measure.alternate(cases, bench.runs)
    finally:
        bench.configure()
    ratios = {name: measure.ratio(found[name], found["bare"]) for name in (*helpers, "floor")}
    yield (
        "agent",
        Row(
            "`mesos-containerizer launch`, whole",
            "bare interpreter; Mesos 0.21.2's own took 5.2x",
            "at most 1.5x",
            ", ".join(f"{name} **{ratios[name]['p25']:.2f}x** ({found[name].p25:.1f} ms)" for name in helpers)
            + f"; floor {ratios['floor']['p25']:.2f}x",
            max(ratios[name]["p25"] for name in helpers) <= 1.5,
            {"milliseconds": measure.plain(found), "ratios": ratios},
        ),
    )
