"""Every molecule scenario, whole: check before converge, converge, idempotence, side effects, verify."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.lib.agent import on_host as agents
from tests.lib.collection import clone_to, neutral_environment
from tests.lib.hosts import machines
from tests.lib.shim import CHECKOUT

SCENARIOS = ["default", "hostile-files", "rootless", "upgrade", "cluster"]
pytestmark = [pytest.mark.hosts, pytest.mark.agent, pytest.mark.timeout(900)]


def test_every_scenario_is_run_here():
    assert sorted(SCENARIOS) == sorted(path.parent.name for path in CHECKOUT.glob("molecule/*/molecule.yml"))


@pytest.fixture(scope="module")
def checkout():
    """A copy of the checkout, so that nobody's editing is part of a scenario."""
    root = Path("/var/tmp") / f"mesos-shim-molecule-{os.getpid()}"
    clone = clone_to(root)
    for part in ("molecule", "tests/lib", ".config"):
        shutil.copytree(CHECKOUT / part, clone / part, ignore=shutil.ignore_patterns("__pycache__"))
    (clone / "tests/__init__.py").touch()
    yield clone
    shutil.rmtree(root)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(checkout, tmp_path, scenario):
    platforms = yaml.safe_load((checkout / "molecule" / scenario / "molecule.yml").read_text())["platforms"]
    machines.reap()
    try:
        for suite in {platform["suite"] for platform in platforms}:
            machines.image(suite)
        if any(platform.get("agent") for platform in platforms):
            agents.layer()
    except machines.Unavailable as reason:
        pytest.skip(str(reason))
    env = neutral_environment("MOLECULE_")
    env.update(
        PATH=f"{Path(sys.executable).parent}:{env['PATH']}",
        NO_COLOR="1",
        FLEET_PREFIX=f"m{os.getpid()}",
        OWNER=str(os.getpid()),
        MOLECULE_EPHEMERAL_DIRECTORY=str(tmp_path / "molecule"),
    )
    command = ["molecule", "--base-config", str(checkout / ".config/molecule/config.yml"), "test", "-s", scenario]
    done = subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True, timeout=850, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    for action in ("check", "converge", "idempotence", "verify"):
        assert f"{action}: Executed: Successful" in done.stdout + done.stderr, action
