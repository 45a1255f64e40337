"""What a host costs a rollout whose network cable is pulled in the middle of it; real hosts over SSH."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from tests.lib.collection import clone_to, neutral_environment
from tests.lib.hosts import machines

from .bench import Bench, Row
from .rollout import PLAYBOOK

TARGET = 60
PULLED = "host-2"


def rows(bench: Bench) -> Iterator[tuple[str, Row]]:
    """The row of this module."""
    row = Row(
        "`rollout` to 3 hosts, one of whose cables is pulled as the wave begins: seconds until its end",
        "the same without",
        f"at most {TARGET} s more",
        "not measured",
        None,
    )
    with ExitStack() as stack:
        try:
            fleet = stack.enter_context(machines.start(3))
        except machines.Unavailable as error:
            row.unavailable["hosts"] = str(error)
        else:
            checkout = clone_to(bench.root / "clone-of-cable")
            _seconds(bench.root, checkout, fleet, "1days")  # the first install is more than the change of a flag
            whole = _seconds(bench.root, checkout, fleet, "2days")
            pulled = _seconds(bench.root, checkout, fleet, "3days", fleet[PULLED])
            row.found = f"**{pulled - whole:.0f} s** more ({pulled:.0f} s; {whole:.0f} s)"
            row.met = pulled - whole <= TARGET
            row.details.update(whole=round(whole, 1), pulled=round(pulled, 1))
    yield "cable", row


def _seconds(
    root: Path, checkout: Path, fleet: machines.Fleet, delay: str, without: machines.Host | None = None
) -> float:
    """How long a rollout of this gc_delay takes; a host is lost as the wave begins. Raises: RuntimeError."""
    flags = {"work_dir": "/var/lib/mesos", "gc_delay": delay}
    inventory = fleet.inventory(root / "cable.json", mesos_agent_flags=flags, mesos_agent_rollout_waves=["100%"])
    begin, said = time.perf_counter(), []
    with subprocess.Popen(
        [PLAYBOOK, "playbooks/rollout.yml", "-i", str(inventory)],
        cwd=checkout,
        env={**neutral_environment(), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        for line in process.stdout or ():
            said.append(line)
            if without is not None and line.startswith("PLAY [Activate in waves"):
                without.reachable(False)
    seconds = time.perf_counter() - begin
    if without is not None:
        without.reachable(True)
    ended = "3 hosts: 3 done" if without is None else "3 hosts: 2 done, 1 failed"
    if ended not in "".join(said):
        raise RuntimeError("".join(said)[-3000:])
    return seconds
