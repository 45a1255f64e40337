"""What stands against a change is found before anything changes, all of it at once."""

from __future__ import annotations

import os
from importlib import import_module

import pytest

from .conftest import PLUGINS, run_module, tree

service = import_module(f"{PLUGINS}.module_utils.agent_service")
module = import_module(f"{PLUGINS}.modules.agent_preflight")

TMP = {"type": "MESOS", "volumes": [{"container_path": "/tmp", "host_path": "tmp", "mode": "RW"}]}


def info(*volumes):
    return {
        "type": "MESOS",
        "volumes": [{"container_path": target, "host_path": source, "mode": "RW"} for target, source in volumes],
    }


@pytest.fixture
def preflight(tmp_path, monkeypatch):
    """Calls the module for a host of its own; `preflight.files` are what its init wrapper reads besides."""
    monkeypatch.setattr(module, "_NAMES", (str(tmp_path / "mesos-slave"), str(tmp_path / "mesos-agent")))
    monkeypatch.setattr(module, "_LIBRARIES", (str(tmp_path / "lib"),))

    def call(flags=None, **args):
        before = tree(tmp_path)
        given = {"flags": flags or {}, "prefix": str(tmp_path / "opt"), "environment_files": call.files, **args}
        result = run_module("agent_preflight", **given)
        assert tree(tmp_path) == before and not result.get("changed")
        return result

    call.files = [str(tmp_path / "default")]
    return call


SHARED = "filesystem/shared,posix/cpu,posix/mem"


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"isolatoin": "x"}, "flag isolatoin is unknown; did you mean isolation?"),
        ({"isolation": "posix/cpu,posix/mem,posix/cpu"}, "flag isolation names posix/cpu more than once"),
        ({"recover": "maybe"}, "flag recover: 'maybe' is not one of reconnect, cleanup"),
        ({"reconfiguration_policy": "any"}, "flag reconfiguration_policy: 'any' is not one of equal, additive"),
        ({"ip": "agent-1"}, "flag ip: 'agent-1' is not an IP address"),
        ({"gc_disk_headroom": 1.5}, "flag gc_disk_headroom: 1.5 is not between 0 and 1"),
        ({"resources": {"ports": "31000-32000"}}, "flag resources, key ports: '31000-32000' is not ranges"),
        (
            {"isolation": "posix/cpu", "work_dir": "/var/lib/mesos", "default_container_info": TMP},
            "has volumes, but isolation has no filesystem/shared: the agent refuses it",
        ),
        (
            {"isolation": SHARED, "work_dir": "/tmp/mesos", "default_container_info": TMP},
            "covers /tmp, which is above work_dir /tmp/mesos",
        ),
        # 0.21's own work_dir, where none is given.
        ({"isolation": SHARED, "default_container_info": TMP}, "above work_dir /tmp/mesos"),
        (
            {"isolation": SHARED, "work_dir": "/w", "default_container_info": info(("/srv", "a"), ("/srvfoo", "b"))},
            "has /srv and /srvfoo: the agent compares paths as strings",
        ),
        (
            {"isolation": SHARED, "work_dir": "/w", "default_container_info": info(("/srv/x", "a"), ("/srv", "b"))},
            "has /srv/x and /srv: the agent compares paths as strings",
        ),
        (
            {"isolation": SHARED, "work_dir": "/w", "default_container_info": info(("/srv", "/no/such"))},
            "host_path /no/such is not there",
        ),
    ],
)
def test_what_the_agent_would_refuse_is_refused(preflight, flags, says):
    result = preflight(flags)
    assert result["failed"] and says in result["msg"], result


@pytest.mark.parametrize(
    "flags",
    [
        {"isolation": SHARED, "work_dir": "/var/lib/mesos", "default_container_info": TMP},
        {"isolation": SHARED, "work_dir": "/tmpfoo", "default_container_info": TMP},
        {"isolation": "filesystem/linux", "work_dir": "/tmp/mesos", "default_container_info": TMP},
        {"isolation": "posix/cpu", "default_container_info": info()},
    ],
)
def test_what_the_agent_takes_is_taken(preflight, flags):
    assert not preflight(flags).get("failed")


def test_a_comparison_reports_what_a_change_would_be_refused_for(preflight, tmp_path):
    (tmp_path / "mesos-slave").mkdir()
    (tmp_path / "mesos-slave/attributes").write_text("rack:a")
    wanted = {"attributes": {"rack": "b"}}
    assert "part of the agent's identity" in preflight(wanted)["msg"]
    (change,) = preflight(wanted, compare=True, check=True)["changed_flags"]
    assert (change["name"], change["effect"]) == ("attributes", "incompatible")
    assert preflight(wanted, compare=True)["msg"] == "compare: give it in check mode only"


def test_everything_is_said_at_once(preflight, tmp_path):
    (tmp_path / "default").write_text("export LOGS=/var/log/mesos\n#IP=1.2.3.4\nMESOS_NO_STRICT=1\nMESOS_PORT=1\n")
    flags = {"log_dir": "/x", "strict": True, "recover": "no", "ip": "10.0.0.1"}
    result = preflight(
        flags, default_container_info=info(("/no/such/path", "tmp")), python="/no/such", free_bytes=1 << 60
    )
    said = result["problems"]
    assert len(said) == 6, said
    for what in (
        "flag recover",
        "default sets LOGS, of which the init wrapper makes another --log_dir",
        "default sets MESOS_NO_STRICT, and mesos_agent_flags sets strict",
        "mesos_agent_default_container_info: this host has no container_path /no/such/path",
        "mesos_shim_python /no/such cannot be executed",
        "opt: ",
        "kB free",
    ):
        assert any(what in problem for problem in said), (what, said)
    assert "MESOS_PORT: that flag is not managed here" in result["_warnings"]


def test_a_full_file_system_of_the_flags_is_named(preflight, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_FLAGS_BYTES", 1 << 60)
    said = preflight()["msg"]
    assert f"mesos_agent_flags_dir {tmp_path}/mesos-slave: the file system of {tmp_path} has " in said
    assert "kB are needed: make room there" in said


def test_a_container_path_may_come_from_another_volume(preflight):
    inner = info(("/srv", "srv"), ("/srv/no/such/below", "below"))
    assert not preflight(default_container_info=inner).get("failed")


def test_the_launcher_directory_to_come_keeps_the_executor(preflight, tmp_path):
    """Of an agent that ran with the packaged helpers; the links are made after the preflight."""
    flags, helpers = tmp_path / "mesos-slave", tmp_path / "libexec"
    for directory in (flags, helpers):
        directory.mkdir()
    (helpers / "mesos-executor").touch()
    (flags / "launcher_dir").write_text(str(helpers))
    ours = {"launcher_dir": str(tmp_path / "opt/launcher")}
    (change,) = preflight(ours, helpers_dir=str(helpers))["changed_flags"]
    assert change["effect"] == "restart"
    other = tmp_path / "other"
    other.mkdir()
    (other / "mesos-executor").touch()
    assert "mesos-executor would have another real path" in preflight(ours, helpers_dir=str(other))["msg"]
    assert "another real path" in preflight({"launcher_dir": str(tmp_path / "elsewhere")})["msg"]


def test_the_directory_is_found_by_either_name(preflight, tmp_path):
    slave, agent = tmp_path / "mesos-slave", tmp_path / "mesos-agent"
    assert preflight()["path"] == str(slave)
    agent.mkdir()
    assert preflight()["path"] == str(agent)
    slave.mkdir()
    (slave / "master").write_text("x")
    assert preflight({"master": "x"})["path"] == str(slave)
    (agent / "master").write_text("x")
    assert "both" in preflight({"master": "x"})["msg"]
    assert preflight({"master": "x"}, path=str(slave))["path"] == str(slave)


def test_a_sealed_launcher_is_found(preflight, tmp_path):
    assert not service.sealed_launcher(os.getpid())
    fd = os.memfd_create("/usr/libexec/mesos/mesos-containerizer")
    try:
        assert service.sealed_launcher(os.getpid())
    finally:
        os.close(fd)
    (tmp_path / "lib").mkdir()
    library = tmp_path / "lib/libmesos-1.11.0.so"
    library.write_bytes(b"\0" * 5000 + b"nothing of it" + b"\0" * 5000)
    assert not preflight().get("failed")
    library.write_bytes(b"\0" * 5000 + b"Failed to clone a sealed file '" + b"\0" * 5000)
    assert f"{library} was built with launcher sealing" in preflight()["msg"]


def test_a_unit_by_the_other_name_is_named(preflight, tmp_path, monkeypatch):
    fake = tmp_path / "bin/systemctl"
    fake.parent.mkdir()
    fake.write_text(
        '#!/bin/sh\ncase "$*" in *mesos-slave.service) echo LoadState=loaded;; *) echo LoadState=not-found;; esac\n'
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    said = preflight(service="mesos-agent")["msg"]
    assert "there is no unit mesos-agent.service; this host's agent is mesos-slave" in said
    assert not preflight(service="mesos-slave").get("failed")
