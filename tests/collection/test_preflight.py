"""What stands against a change is found before anything changes, all of it at once."""

from __future__ import annotations

import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module

import pytest

from mesos_shim.commands.doctor import installation
from tests.lib.collection import PLUGINS, run_module, tree
from tests.lib.shim import CHECKOUT

flag_directory = import_module(f"{PLUGINS}.module_utils._flag_directory")
service = import_module(f"{PLUGINS}.module_utils._agent_service")
module = import_module(f"{PLUGINS}.modules.agent_preflight_info")
LIBRARIES = module._LIBRARIES

TMP = {"type": "MESOS", "volumes": [{"container_path": "/tmp", "host_path": "tmp", "mode": "RW"}]}


def info(*volumes):
    return {
        "type": "MESOS",
        "volumes": [{"container_path": target, "host_path": source, "mode": "RW"} for target, source in volumes],
    }


@pytest.fixture
def preflight(tmp_path, monkeypatch):
    """Calls the module for a host of its own; `preflight.files` are what its init wrapper reads besides."""
    monkeypatch.setattr(flag_directory, "_NAMES", (str(tmp_path / "mesos-slave"), str(tmp_path / "mesos-agent")))
    monkeypatch.setattr(module, "_LIBRARIES", (str(tmp_path / "lib"),))

    def call(flags=None, **args):
        before = tree(tmp_path)
        given = {"flags": flags or {}, "prefix": str(tmp_path / "opt"), "environment_files": call.files, **args}
        result = run_module("agent_preflight_info", **given)
        assert tree(tmp_path) == before and not result.get("changed")
        return result

    call.files = [str(tmp_path / "default")]
    return call


def test_the_agents_library_is_looked_for_where_doctor_looks():
    assert installation._LIBRARIES == LIBRARIES


SHARED = "filesystem/shared,posix/cpu,posix/mem"


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"isolatoin": "x"}, "flag isolatoin is unknown; did you mean isolation?"),
        ({"isolation": "posix/cpu,posix/mem,posix/cpu"}, "flag isolation names posix/cpu more than once"),
        ({"isolation": "posix/cpu, posix/mem"}, "flag isolation: ' posix/mem' has a space"),
        ({"containerizers": "docker, mesos"}, "flag containerizers: ' mesos' has a space"),
        ({"recover": "maybe"}, "flag recover: 'maybe' is not one of reconnect, cleanup"),
        ({"reconfiguration_policy": "any"}, "flag reconfiguration_policy: 'any' is not one of equal, additive"),
        ({"ip": "agent-1"}, "flag ip: 'agent-1' is not an IP address"),
        ({"gc_disk_headroom": 1.5}, "flag gc_disk_headroom: 1.5 is not between 0 and 1"),
        ({"resources": {"ports": "31000-32000"}}, "flag resources, key ports: '31000-32000' is not ranges"),
        (
            {"isolation": "posix/cpu", "work_dir": "/var/lib/mesos", "default_container_info": TMP},
            "has volumes, but isolation has no filesystem/shared, so the agent refuses it",
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
            "host_path /no/such does not exist",
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
    assert preflight(wanted, compare=True)["msg"] == "compare: use it only in check mode"


def test_everything_is_said_at_once(preflight, tmp_path):
    (tmp_path / "default").write_text("export LOGS=/var/log/mesos\n#IP=1.2.3.4\nMESOS_NO_STRICT=1\nMESOS_PORT=1\n")
    (tmp_path / "mesos-slave").mkdir()
    (tmp_path / "mesos-slave/attributes").write_text("rack:a")
    flags = {"log_dir": "/x", "strict": True, "recover": "no", "ip": "10.0.0.1", "gc_delay": "soon"}
    result = preflight(
        flags, default_container_info=info(("/no/such/path", "tmp")), python="/no/such", free_bytes=1 << 60
    )
    said = result["problems"]
    assert len(said) == 8, said
    for what in (
        "flag gc_delay: ",
        "a running agent may not recover from changing attributes",
        "flag recover",
        "default sets LOGS, which the init wrapper passes as a second --log_dir",
        "default sets MESOS_NO_STRICT, and mesos_agent_flags sets strict",
        "mesos_agent_default_container_info: this host has no container_path /no/such/path",
        "mesos_shim_python /no/such cannot be executed",
        "opt: ",
        "kB free",
    ):
        assert any(what in problem for problem in said), (what, said)
    assert "MESOS_PORT: that flag is not managed here" in result["_warnings"]


@pytest.mark.parametrize(
    ("name", "good", "bad", "says"),
    [
        ("gc_delay", "2days", "2days\n", "has white space or a line end around it"),
        ("port", "5052", "70000", '70000" is not a port'),
        ("fetcher_cache_size", "2GB", "2 GB", "is not a size"),
        ("strict", "true", "True", "is not true, false, 1 or 0"),
        ("logbufsecs", "3", "x", "is not a whole number"),
        ("isolation", "posix/cpu\n", None, "No such file or directory, and the agent does not start without it"),
        ("acls", "{}\n", None, "No such file or directory"),
        ("attributes", "rack:a\n", None, "No such file or directory"),
    ],
)
def test_every_flag_may_be_a_file(preflight, tmp_path, name, good, bad, says):
    """Which the agent reads as it is, so it is read here too."""
    value, path = {name: f"file://{tmp_path}/value"}, tmp_path / "value"
    path.write_text(good)
    result = preflight(value)
    assert not result.get("failed"), result
    assert [change["after"] for change in result["changed_flags"]] == list(value.values())
    path.write_text(bad) if bad else path.unlink()
    refused = preflight(value)["msg"]
    assert says in refused and f"flag {name}: " in refused and str(path) in refused
    for wrong in ("file://", "file://relative"):
        if name in ("gc_delay", "port", "fetcher_cache_size", "strict", "logbufsecs"):
            assert "is not file:// with an absolute path" in preflight({name: wrong})["msg"]


def test_a_wrapper_that_does_not_know_its_newer_word_is_named(preflight, tmp_path, monkeypatch):
    wrapper = tmp_path / "mesos-init-wrapper"
    monkeypatch.setattr(module, "_WRAPPER", str(wrapper))
    assert not preflight({"logger": False}).get("failed")
    wrapper.write_text("exec /usr/sbin/mesos-slave\n")
    assert f"flag logger: {wrapper} knows no --no-logger" in preflight({"logger": False})["msg"]
    assert not preflight({"quiet": True}).get("failed")
    wrapper.write_text('if [[ "$i" != "--no-logger" ]]\n')
    assert not preflight({"logger": False}).get("failed")


def test_a_full_file_system_of_the_flags_is_named(preflight, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_FLAGS_BYTES", 1 << 60)
    said = preflight()["msg"]
    assert f"mesos_agent_flags_dir {tmp_path}/mesos-slave: the file system of {tmp_path} has " in said
    assert "kB are needed: free some space there" in said


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


@pytest.fixture
def mesos(tmp_path, monkeypatch):
    """mesos(text): what the installed agent prints as its version."""

    def say(text: str) -> None:
        program = tmp_path / "mesos-agent"
        program.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "{text}"\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return say


@pytest.mark.parametrize(
    ("said", "isolation", "versions", "limits"),
    [
        ("mesos 1.11.0", SHARED, ["1.11"], []),
        ("mesos 1.5.3", SHARED, ["1.5"], []),
        ("mesos 1.4.3-rc2", "posix/cpu", ["1.4"], ["Mesos 1.4: the launch helper does not know the "]),
        (
            "mesos 0.21.2",
            "filesystem/shared,network/port_mapping",
            ["0.21"],
            [
                "Mesos 0.21: the launch helper does not know the ContainerInfo of a framework that does not checkpoint",
                "filesystem/shared with Mesos 0.21: ",
                "network/port_mapping with Mesos 0.21: ",
            ],
        ),
        ("mesos 0.19.1", "", ["0.19"], ["Mesos 0.19: releases before 0.21 are unknown"]),
        ("mesos 1.12.0", "", ["1.12"], ["Mesos 1.12: releases after 1.11 are unknown"]),
        # What is no version is none.
        ("mesos ²1.1", "", [], []),
        ("WARNING: 3.4 of it\nmesos 1.11.0", "", ["1.11"], []),
        ("", "", [], []),
    ],
)
def test_what_does_not_hold_with_the_agents_version_is_said(preflight, mesos, said, isolation, versions, limits):
    mesos(said)
    result = preflight({"isolation": isolation, "work_dir": "/w"} if isolation else {"work_dir": "/w"})
    assert not result.get("failed"), result
    assert result["agent_versions"] == versions
    assert len(result["limits"]) == len(limits)
    for line, begins in zip(result["limits"], limits):
        assert line.startswith(begins) and line in result["_warnings"]


def test_an_isolation_that_does_not_work_with_that_version_is_refused(preflight, mesos):
    wanted = {"isolation": "filesystem/linux,posix/cpu", "work_dir": "/w"}
    mesos("mesos 0.28.2")
    assert "flag isolation: filesystem/linux with Mesos 0.28: its script for a root shell" in preflight(wanted)["msg"]
    mesos("mesos 1.11.0")
    assert not preflight(wanted).get("failed")


@pytest.mark.parametrize(
    ("flags", "refused_by", "taken_by", "says"),
    [
        (
            {"gc_delay": "file:///proc/self/comm"},
            "0.21.2",
            "0.22.2",
            "flag gc_delay: file:// is read for flags that are JS",
        ),
        (
            {"attributes": {"addr": "h:80"}},
            "0.23.1",
            "0.24.2",
            "flag attributes: a ':' in the value of an attribute ends",
        ),
        ({"attributes": "a:1;addr:h:80"}, "0.23.1", "0.24.2", "flag attributes: a ':' in the value"),
        (
            {"resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 1}}]},
            "0.25.1",
            "0.26.1",
            "flag resources: resources cannot be JSON before Mesos 0.26, and this is 0.25",
        ),
        (
            {"resources": {"ports": "[0x10-0x20]"}},
            "0.26.1",
            "0.27.3",
            "flag resources: the ends of a range cannot be hex",
        ),
        (
            {"resources": "cpus:1;ports:[1-2, 0x10-30]"},
            "0.26.1",
            "0.27.3",
            "flag resources: the ends of a range cannot",
        ),
    ],
)
def test_what_an_older_release_does_not_understand_is_refused(preflight, mesos, flags, refused_by, taken_by, says):
    mesos(f"mesos {refused_by}")
    assert says in preflight(flags)["msg"]
    mesos(f"mesos {taken_by}")
    assert says not in preflight(flags).get("msg", "")


def test_no_release_refuses_the_plain_forms(preflight, mesos):
    mesos("mesos 0.21.2")
    plain = {
        "attributes": {"rack": "0x1-a", "zone": "[1-2]"},
        "resources": "cpus(*):1;ports:[31000-32000]",
        "acls": "{}",
    }
    plain.update(master="file:///etc/mesos/zk", gc_delay="1days")
    assert "before Mesos" not in preflight(plain).get("msg", "")


@pytest.fixture
def agent():
    """agent(path, answer): the address of an agent that answers so there, and says 404 elsewhere."""
    servers = []

    def serve(path: str, answer: bytes) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                assert self.headers["Authorization"] is None
                self.send_response(200 if self.path == path else 404)
                self.end_headers()
                self.wfile.write(answer if self.path == path else b"")

            def log_message(self, *args):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("path", "answer", "versions"),
    [
        ("/version", b'{"version": "1.3.2"}', ["1.3"]),
        ("/slave(1)/state.json", b'{"version": "0.21.2", "flags": {}}', ["0.21"]),
        # Whoever answers there is no authority: what is no version says nothing.
        ("/version", b'{"version": ["1.3.2"]}', []),
        ("/version", b'{"version": "1.3.2; rm -rf /"}', ["1.3"]),
        ("/version", b'{"version": "99999.1"}', []),
        ("/version", b"[1, 3]", []),
        ("/version", b"no JSON", []),
        ("/version", b"\xff\xfe", []),
        ("/version", b"[" * 100_000, []),
    ],
)
def test_a_running_agent_says_its_version(preflight, agent, path, answer, versions):
    url = agent(path, answer).replace("//", "//operator:secret@")  # the agent that is played refuses to be told
    assert preflight({"work_dir": "/w"}, url=url)["agent_versions"] == versions


def test_the_running_and_the_installed_version_both_count(preflight, mesos, agent):
    """A package was updated, and the next start brings the new one."""
    mesos("mesos 1.11.0")
    result = preflight({"work_dir": "/w"}, url=agent("/version", b'{"version": "0.28.2"}'))
    assert result["agent_versions"] == ["0.28", "1.11"]
    assert any(line.startswith("Mesos 0.28: ") for line in result["limits"])


def test_what_is_said_of_a_version_is_in_the_documents():
    """docs/compatibility.md names each isolator and each bound that preflight knows."""
    limits = import_module(f"{PLUGINS}.module_utils._agent_limits")
    callers = import_module(f"{PLUGINS}.module_utils._launch_callers")
    page = (CHECKOUT / "docs/compatibility.md").read_text()
    section = page.split("What a release cannot tell", 1)[1].split("\n## ", 1)[0]
    for limit in (*limits.WARNINGS, *limits.REFUSALS):
        assert limit.isolator is None or f"`{limit.isolator}`" in section, limit
        assert limit.since in ((0, 0), (1, 12)) or callers.text(limit.since) in section, limit
    table = page.split("Who calls the helper", 1)[1].split("What a release cannot tell", 1)[0]
    for row in callers.ROWS:
        first = row.versions.split()[0]
        assert f"| agent | {first}" in table, row
