"""Volumes in memory that isolators want beside the configuration's: neither changes the other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mesos_shim.commands import arguments
from mesos_shim.launch import planning

from ..lib.launching import own_namespace, said
from ..lib.shim import Shim, needs_root

pytestmark = needs_root


@pytest.mark.parametrize("names", ["namespaces/ipc", "filesystem/shared,namespaces/ipc", "posix/cpu"])
def test_planning_changes_nothing_of_the_configuration(tmp_path: Path, sandbox: Path, names: str) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"tmpfs": {"/mnt": "1m"}, "pass_through": ["/tmp/x"], "hide_work_dir": True}))
    words = ["--sandbox", str(sandbox), "--isolation", names, "--", "true"]
    asked = arguments.from_arguments(words, str(config))

    def values() -> tuple[object, ...]:
        given = asked.config
        return [item.container_path for item in given.tmpfs], len(given.pass_through), given.hide_work_dir

    before = values()
    planning.make_plan(asked, [])
    assert values() == before == (["/mnt"], 1, True)


def test_what_the_configuration_wants_mounted_is_not_even_looked_for_without_filesystem_shared(
    shim: Shim, sandbox: Path
) -> None:
    shim.configure(tmpfs={"/no/such/directory": "1m"}, isolation=["posix/cpu"])
    done = shim.run("run", "--", "echo", "ran", cwd=sandbox)
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert "configuration: tmpfs: ignored, because filesystem/shared is not among the isolators" in done.stderr


@pytest.mark.parametrize(("names", "size"), [("namespaces/ipc", "50%"), ("filesystem/shared,namespaces/ipc", "3m")])
def test_the_configurations_volume_goes_before_an_isolators(shim: Shim, sandbox: Path, names: str, size: str) -> None:
    shim.configure(tmpfs={"/dev/shm": "3m"}, isolation=names.split(","))
    steps = json.loads(shim.run("explain", "--json", "--", "true", cwd=sandbox).stdout)["steps"]
    assert [(step["target"], step["size"]) for step in steps if step["action"] == "tmpfs"] == [("/dev/shm", size)]


@pytest.mark.parametrize(
    ("settings", "covered", "expected"),
    [
        ({"size": "1m"}, "noexec", True),
        ({"size": "1m"}, "exec", False),
        ({"size": "1m", "noexec": False}, "noexec", False),
        ({"size": "1m", "noexec": True}, "exec", True),
        (None, "noexec", True),  # namespaces/ipc alone
        (None, "exec", False),
    ],
)
def test_a_hardened_directory_stays_hardened(
    shim: Shim, sandbox: Path, settings: dict[str, object] | None, covered: str, expected: bool
) -> None:
    """As private directories and relative volumes: noexec of what is covered, unless the configuration says so."""
    wanted = {"isolation": ["namespaces/ipc"]} if settings is None else {"tmpfs": {"/dev/shm": settings}}
    shim.configure(**wanted)
    look = f"{shim.program} run -- findmnt -no OPTIONS /dev/shm | tail -n 1"
    plan = f"{shim.program} explain --json -- true"
    done = said(own_namespace(f"mount -t tmpfs -o {covered} none /dev/shm && {look} && {plan}", sandbox))
    seen, explained = done.split("\n", 1)
    options = seen.split(",")
    assert {"nosuid", "nodev"} <= set(options)
    steps = [step for step in json.loads(explained)["steps"] if step["action"] == "tmpfs"]
    assert ("noexec" in options, [step["noexec"] for step in steps]) == (expected, [expected])
