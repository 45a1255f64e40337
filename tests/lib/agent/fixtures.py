"""Fixtures for tests through a real Mesos agent (see fetch.py, driver.py, local.py)."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from . import fetch, local


@pytest.fixture(scope="module")
def public() -> Iterator[Path]:
    """A directory that every user can walk through, outside of /tmp: tasks have another /tmp."""
    path = Path(tempfile.mkdtemp(prefix="mesos-shim-agent-", dir="/var/tmp"))
    path.chmod(0o755)
    (path / "helpers").mkdir(mode=0o755)
    executor = path / local.EXECUTOR
    shutil.copy(local.HERE / "executor.py", executor)
    executor.chmod(0o755)
    (path / "cgroup/freezer").mkdir(parents=True)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def agent_build(public: Path) -> fetch.AgentBuild:
    """The real agent, or a skip that says why this machine cannot have it."""
    try:
        build = fetch.build()
        local.require_host(public / "cgroup/freezer")
    except fetch.Unavailable as reason:
        pytest.skip(str(reason))
    return build


@pytest.fixture(scope="module")
def start_agent(agent_build: fetch.AgentBuild, public: Path) -> Iterator[Callable[..., local.LocalAgent]]:
    """Provisions this machine through the site play and starts an agent with the flags that it wrote.

    Arguments are variables of the roles, but for `flags`, which adds to flags that every agent here has. Unless
    told otherwise its work_dir is a fresh directory right below /tmp.
    """
    agents: list[local.LocalAgent] = []
    directories: list[Path] = []

    def start(flags: dict[str, object] | None = None, **variables: Any) -> local.LocalAgent:
        work_dir = Path(tempfile.mkdtemp(prefix="mesos-", dir="/tmp"))
        directories.append(work_dir)
        work_dir.chmod(0o755)
        root = public / work_dir.name
        variables["mesos_agent_flags"] = {
            "work_dir": str(work_dir),
            "launcher_dir": str(root / "shim/launcher"),
            "launcher": "linux",
            "isolation": "posix/cpu,posix/mem",
            "hostname": "localhost",
            "cgroups_root": work_dir.name,
            "systemd_enable_support": False,  # it would make a slice on this machine, and fails without v1 cgroups
            **(flags or {}),
        }
        freezer = local.MOUNTED_FREEZER
        if not (freezer / "cgroup.procs").exists():
            freezer = public / "cgroup/freezer"
            variables["mesos_agent_flags"]["cgroups_hierarchy"] = str(freezer.parent)
        # Named, for what an agent detects by itself changes with the machine.
        variables.setdefault("mesos_agent_resources", {"cpus": "64", "mem": "65536", "disk": "1000"})
        variables["mesos_shim_helpers_dir"] = str(public / "helpers")
        variables["mesos_shim_config"] = {"state_dir": str(root / "state"), **variables.get("mesos_shim_config", {})}
        site = local.provision(root, variables)
        agent = local.LocalAgent(agent_build, site.flags_dir, public, freezer)
        agents.append(agent)
        return agent.start()

    yield start
    for agent in agents:
        agent.stop()
    for directory in directories:
        shutil.rmtree(directory)
