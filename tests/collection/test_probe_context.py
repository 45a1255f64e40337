"""Where no agent launches the probes, they run under the settings of its unit; by systemd itself in tests/hosts."""

from __future__ import annotations

import os
import subprocess
from importlib import import_module

import pytest

from tests.lib.collection import PLUGINS
from tests.lib.shim import needs_linux, needs_root

from .test_agent_unit import recorded
from .test_gate import REFUSED, gate, volumes, wrapped

context = import_module(f"{PLUGINS}.module_utils._probe_context")
container = import_module(f"{PLUGINS}.module_utils._probe_container")
unit = import_module(f"{PLUGINS}.module_utils._agent_unit")

pytestmark = [needs_linux, needs_root]


@pytest.mark.parametrize("version", ["247", "252", "257"])
def test_every_setting_that_is_in_force_is_given_on(version):
    items = context.settings(recorded(f"{version} hard"), ["/own"])
    wanted = ["CapabilityBoundingSet=cap_chown cap_setuid", "RestrictNamespaces=yes", "User=nobody", "PrivateUsers=yes"]
    wanted += ["InaccessiblePaths=-/opt", "MountFlags=slave", "ProtectSystem=strict", "ReadOnlyPaths=/var/lib"]
    wanted += ["SystemCallErrorNumber=EPERM", "ReadWritePaths=-/run/hard", "ReadWritePaths=-/own"]
    wanted += ["NoExecPaths=/", "ExecPaths=/usr /bin /lib /lib64"] if version != "247" else []
    wanted += [item for item in items if item.startswith("SystemCallFilter=~chroot ")]
    assert sorted(items) == sorted(wanted)
    # The agent's /tmp is the host's by the drop-in, and its own directories would go with the probe.
    assert not any(item.startswith(("PrivateTmp", "RuntimeDirectory")) for item in items)


def test_what_is_not_set_is_not_given_on():
    found = {**recorded("252 plain"), "SecureBits": "0", "RestrictAddressFamilies": "~", "SystemCallArchitectures": ""}
    assert [item.partition("=")[0] for item in context.settings(found, ["/own"])] == ["CapabilityBoundingSet"]


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    """A systemd that knows the unit a.service: what it is told, and what it then starts without any of it."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")

    def program(name, text):
        (directory / name).write_text(f"#!/bin/sh\n{text}\n")
        (directory / name).chmod(0o755)

    found = {**recorded("252 plain"), "Id": "a.service", "RestrictNamespaces": "mnt", "ActiveState": "active"}
    (tmp_path / "shown").write_text("".join(f"{name}={value}\n" for name, value in found.items()))
    program("systemctl", f"exec /bin/cat {tmp_path}/shown")
    start = f'echo "$@" | head -1 >> {tmp_path}/told; while [ "$1" != -- ]; do shift; done; shift; exec "$@"'
    program("systemd-run", start)
    program.directory = directory
    program.told = lambda: (tmp_path / "told").read_text() if (tmp_path / "told").exists() else ""
    return program


def run_command(words, data=None, handle_exceptions=False):
    done = subprocess.run(words, input=data, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def call(helper, open_tmp, *wanted):
    return {"helper": str(helper), "versions": [(1, 11)], "volumes": volumes(*wanted), "work_dir": str(open_tmp)}


def test_the_probes_run_in_a_unit_with_the_agents_settings(shim, open_tmp, systemd):
    context.run(run_command, "/usr/bin/python3", "a", call(shim.helper, open_tmp))
    assert "--property=RestrictNamespaces=mnt " in systemd.told()
    with pytest.raises(container.ProbeError) as failed:
        helper = wrapped(shim, open_tmp, "true", REFUSED)
        context.run(run_command, "/usr/bin/python3", "a", call(helper, open_tmp))
    assert str(failed.value).startswith(
        "under the settings of the unit a.service (RestrictNamespaces): a launch by the"
    )
    assert "broken on purpose" in str(failed.value)
    # What a view must show travels with them.
    with pytest.raises(container.ProbeError, match="its own /tmp, was not created, so it is not isolated"):
        context.run(run_command, "/usr/bin/python3", "a", call(shim.helper, open_tmp, ("/tmp", "tmp", False)))


def test_a_probe_that_cannot_even_begin_says_so(shim, open_tmp, systemd, monkeypatch):
    systemd("systemd-run", "echo Operation not permitted >&2; exit 226")
    with pytest.raises(container.ProbeError, match=r"systemd-run ended with 226: Operation not permitted"):
        context.run(run_command, "/usr/bin/python3", "a", call(shim.helper, open_tmp))
    (systemd.directory / "systemd-run").unlink()
    monkeypatch.setenv("PATH", str(systemd.directory))
    with pytest.raises(container.ProbeError, match="systemd-run cannot be run: "):
        context.run(run_command, "/usr/bin/python3", "a", call(shim.helper, open_tmp))


def test_where_there_is_no_unit_they_run_here(shim, open_tmp, systemd):
    context.run(run_command, None, None, call(shim.helper, open_tmp))
    systemd("systemctl", "echo LoadState=not-found")
    context.run(run_command, None, "b", call(shim.helper, open_tmp))
    assert systemd.told() == ""


def test_the_gate_asks_for_the_units_settings(shim, open_tmp, systemd):
    result = gate(shim, open_tmp / "none", service="a", url="http://127.0.0.1:9", timeout=0)
    assert result["failed"] and result["probe"] == "played", result
    assert "RestrictNamespaces=mnt" in systemd.told()
