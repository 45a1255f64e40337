"""What systemd says of an agent's unit is judged before anything changes; by what real systemds have printed."""

from __future__ import annotations

import os
import pwd
from importlib import import_module
from pathlib import Path

import pytest

from tests.lib.collection import PLUGINS, run_module

unit = import_module(f"{PLUGINS}.module_utils._agent_unit")
flag_directory = import_module(f"{PLUGINS}.module_utils._flag_directory")
service = import_module(f"{PLUGINS}.module_utils._agent_service")
preflight_module = import_module(f"{PLUGINS}.modules.agent_preflight_info")

RECORDED = Path(__file__).with_name("systemctl_show.txt")
PROGRAMS = ["/opt/mesos-shim", "/usr/bin/python3.11"]
DAEMON = pwd.getpwnam("daemon")
PLACES = {"/run/mesos-shim": "so nobody sees it"}


def recorded(which: str) -> dict[str, str]:
    """{property: text} of one recording, by the systemd's version and the unit."""
    block = f"\n{RECORDED.read_text().strip()}\n".split(f"\n== {which}\n", 1)[1].split("\n== ", 1)[0]
    return dict(line.split("=", 1) for line in block.splitlines())


def hardened(**changed: str) -> list[str]:
    return unit.hardened("a.service", {**recorded("252 plain"), **changed}, PROGRAMS, PLACES)


@pytest.mark.parametrize("version", ["247", "252", "257"])
def test_a_unit_of_nothing_special_can_launch(version):
    assert unit.hardened("a.service", recorded(f"{version} plain"), PROGRAMS, PLACES) == []
    assert unit.unmanageable("a.service", recorded(f"{version} plain")) is None


@pytest.mark.parametrize("version", ["247", "252", "257"])
def test_every_setting_with_which_no_launch_can_succeed_is_named(version):
    said = unit.hardened("hard.service", recorded(f"{version} hard"), PROGRAMS, PLACES)
    names = ["User=nobody", "PrivateUsers=yes", "RestrictNamespaces=yes", "CapabilityBoundingSet without CAP_SETGID"]
    # NoExecPaths is unknown to 247. /usr/bin/python3.11 is below one of ExecPaths, the shim is not.
    names += ["SystemCallFilter without mount;"] + (["NoExecPaths=/"] if version != "247" else [])
    names = [name.rstrip(";") for name in names] + ["InaccessiblePaths=-/opt", "ProtectSystem=strict"]
    if version != "247":
        names.remove("InaccessiblePaths=-/opt")  # said of the same path already
    assert len(said) == len(names), said
    for name, line in zip(names, said):
        assert line.startswith("the unit hard.service has ") and name in line, (name, line)
        assert line.endswith("systemctl cat hard.service shows where it is from")


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("RestrictNamespaces", "pid net", "RestrictNamespaces=pid net: each container needs a mount namespace"),
        ("RestrictNamespaces", "mnt pid", None),
        ("SystemCallFilter", "~reboot", None),
        ("SystemCallFilter", "~unshare:EPERM", "SystemCallFilter without unshare"),
        ("SystemCallFilter", "mount setgroups setresuid unshare", None),
        ("CapabilityBoundingSet", "", "CapabilityBoundingSet without CAP_CHOWN CAP_SETGID CAP_SETUID CAP_SYS_ADMIN"),
        ("NoExecPaths", "/opt", "NoExecPaths=/opt: no launch could execute /opt/mesos-shim; name it in ExecPaths"),
        ("NoExecPaths", "/home /optional", None),
        (
            "InaccessiblePaths",
            "/opt/mesos-shim",
            "InaccessiblePaths=/opt/mesos-shim: /opt/mesos-shim is not there for it",
        ),
        ("ProtectSystem", "full", None),
        ("ProtectSystem", "strict", "/run/mesos-shim cannot be written, so nobody sees it; name it in ReadWritePaths"),
        ("ReadOnlyPaths", '"/a b" /run', "ReadOnlyPaths="),
        ("ProtectHome", "yes", None),
        ("User", "root", None),
        (
            "User",
            "daemon",
            "User=daemon: mesos_shim_config has agent_user: root; leave it out there, or run",
        ),
        ("User", "nix-da", "User=nix-da: this host has no such account; create it"),
        ("DynamicUser", "yes", "DynamicUser=yes: its uid can be another one after a restart"),
        ("RootDirectory", "/srv/image", "RootDirectory=/srv/image: the shim is not in there"),
        ("MountFlags", "slave", None),
    ],
)
def test_a_setting_is_judged_by_what_a_launch_needs(setting, value, says):
    said = hardened(**{setting: value})
    assert len(said) == (says is not None) and (says or "") in "".join(said), said


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"User": "daemon"}, None),
        ({"User": str(DAEMON.pw_uid)}, None),
        ({"User": "nobody"}, "User=nobody: mesos_shim_config has agent_user: daemon; leave it out there"),
        ({"User": ""}, "User=root: mesos_shim_config has agent_user: daemon; leave it out there"),
        ({"User": "daemon", "DynamicUser": "yes"}, "DynamicUser=yes: "),
        # What a launch needs in a user namespace of its own is less, and more.
        ({"User": "daemon", "CapabilityBoundingSet": ""}, None),
        ({"User": "daemon", "SystemCallFilter": "~setgroups setresuid"}, None),
        (
            {"User": "daemon", "SystemCallFilter": "~unshare"},
            "without unshare: launches need it; allow @mount and unsh",
        ),
        ({"User": "daemon", "RestrictNamespaces": "mnt"}, "each container needs a user namespace; allow user"),
        ({"User": "daemon", "RestrictNamespaces": "pid"}, "a mount namespace and a user namespace; allow mnt user"),
        ({"User": "daemon", "RestrictNamespaces": "user mnt"}, None),
    ],
)
def test_an_agent_that_is_not_roots(changed, says):
    said = unit.hardened("a.service", {**recorded("252 plain"), **changed}, PROGRAMS, PLACES, DAEMON)
    assert len(said) == (says is not None) and (says or "") in "".join(said), said


def test_a_path_that_is_allowed_below_one_that_is_not():
    assert hardened(NoExecPaths="/", ExecPaths="/usr /opt/mesos-shim") == []
    assert hardened(ProtectSystem="strict", ReadWritePaths="-/run/mesos-shim") == []
    assert hardened(ProtectSystem="strict", RuntimeDirectory="other mesos-shim") == []
    (said,) = unit.hardened("a.service", {**recorded("252 plain"), "ProtectHome": "yes"}, ["/home/mesos/shim"], {})
    assert "ProtectHome=yes: /home/mesos/shim is not there for it" in said


@pytest.mark.parametrize(
    ("which", "says"),
    [
        ("247 masked", "the unit a.service is masked: systemctl unmask a.service first"),
        ("257 masked", "the unit a.service is masked: systemctl unmask a.service first"),
        ("252 bad", "cannot load the unit a.service (bad-setting): Unit bad.service has a bad unit file setting."),
        ("252 nothere", None),
        ("252 static", None),
        ("252 linked", None),
        ("252 sysv", None),
    ],
)
def test_a_unit_that_systemd_does_not_start_is_refused(which, says):
    said = unit.unmanageable("a.service", recorded(which))
    assert said is None if says is None else says in said


@pytest.fixture
def systemctl(tmp_path, monkeypatch):
    """systemctl(name): the unit is as recorded under that name; with `changed` in it."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")

    def play(which, **changed):
        lines = [f"{name}={value}\n" for name, value in {**recorded(which), **changed}.items()]
        (tmp_path / "shown").write_text("".join(lines))
        (directory / "systemctl").write_text(f'#!/bin/sh\n[ "$1" = show ] && exec cat {tmp_path}/shown\nexit 1\n')
        (directory / "systemctl").chmod(0o755)

    return play


@pytest.fixture
def preflight(tmp_path, monkeypatch):
    monkeypatch.setattr(flag_directory, "_NAMES", (str(tmp_path / "mesos-slave"), str(tmp_path / "mesos-agent")))
    monkeypatch.setattr(preflight_module, "_LIBRARIES", (str(tmp_path / "lib"),))

    def call(**args):
        given = {"flags": {}, "prefix": str(tmp_path / "opt"), "service": "a", "environment_files": [], **args}
        return run_module("agent_preflight_info", **given)

    return call


@pytest.mark.parametrize(
    ("which", "changed", "args", "says"),
    [
        ("252 masked", {}, {}, "the unit masked.service is masked"),
        ("252 plain", {}, {}, None),
        ("252 plain", {"RestrictNamespaces": "yes"}, {}, "RestrictNamespaces=yes"),
        # An alias is what it stands for.
        ("252 other-name", {"User": "mesos"}, {}, "the unit aliased.service has User=mesos"),
        ("252 plain", {}, {"service": "mesos-agent@"}, "mesos-agent@.service is a template: name an instance of it"),
        ("252 plain", {}, {"drop_in": False}, None),  # which a host that is empty by then may do
        ("252 plain", {"ProtectSystem": "strict"}, {}, "/run/mesos-shim cannot be written"),
        ("252 plain", {"ProtectSystem": "strict", "ReadWritePaths": "/s"}, {"state_dir": "/s/m"}, None),
    ],
)
def test_preflight_asks_systemd(systemctl, preflight, which, changed, args, says):
    systemctl(which, **changed)
    result = preflight(**args)
    assert bool(result.get("failed")) == (says is not None), result
    assert (says or "") in result.get("msg", "")
    deadly = args.get("drop_in") is False
    assert ("KillMode=control-group, so a restart of the agent ends its executors" in result["_warnings"]) == deadly


def test_a_drop_in_that_sorts_after_ours_and_says_otherwise_is_refused(systemctl, preflight, tmp_path):
    deadly, harmless, before = tmp_path / "zzzz late.conf", tmp_path / "zzzz-same.conf", tmp_path / "override.conf"
    deadly.write_text("[Service]\n# KillMode=process\nDelegate=yes\nKillMode = control-group\n")
    harmless.write_text("[Service]\nKillMode=process\nPrivateTmp=no\nNice=3\n")
    before.write_text("[Service]\nKillMode=control-group\n")
    paths = f'{before} "{deadly}" {harmless}'
    systemctl("252 plain", DropInPaths=paths)
    result = preflight()
    assert result["problems"] == [
        f"{deadly} sets KillMode=control-group and comes after the drop-in zzz-mesos-shim.conf of the unit "
        "plain.service: take it out there, or give the file a name that sorts before"
    ]
    systemctl("252 plain", DropInPaths=f"{before} {harmless}")
    assert not preflight().get("failed")


def test_what_systemd_says_after_the_drop_in_counts():
    found = {**recorded("252 plain"), "Delegate": "yes"}
    (said,) = unit.overruled("a.service", found)
    assert "KillMode=control-group" in said
    assert unit.overruled("a.service", {**found, "KillMode": "process"}) == []
    assert len(unit.overruled("a.service", {**found, "Delegate": "no", "PrivateTmp": "yes"})) == 3


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({"ActiveState": "activating", "SubState": "start-pre"}, "the unit a.service is still starting"),
        ({"ActiveState": "failed", "SubState": "failed"}, "the unit a.service "),
        ({"ActiveState": "active", "SubState": "running"}, "the agent does not answer"),
        ({"ActiveState": "reloading", "SubState": "reload"}, "the agent does not answer"),
    ],
)
def test_a_unit_that_only_starts_is_not_well(systemctl, tmp_path, state, says):
    """Whoever answers meanwhile: a unit may start for ever."""
    systemctl("252 crash", **state)
    given = {"path": str(tmp_path), "prefix": str(tmp_path / "opt"), "url": "http://127.0.0.1:9"}
    result = run_module("agent_gate", service="a", probe=False, timeout=0, **given)
    assert result["failed"] and says in result["msg"], result


def test_ours_is_the_last_of_the_usual_names():
    names = ["override.conf", "local.conf", "99-limits.conf", "zz-site.conf", "50-mesos-shim.conf"]
    assert sorted([*names, service.DROP_IN])[-1] == service.DROP_IN
