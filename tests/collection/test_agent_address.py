"""Where an agent answers, whatever told it so, by TLS too; and one that runs and does not answer before a switch."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from tests.lib.collection import PLUGINS, run_module, tree
from tests.lib.shim import needs_linux, needs_root

api = import_module(f"{PLUGINS}.module_utils._agent_api")
baseline = import_module(f"{PLUGINS}.module_utils._agent_baseline")
service = import_module(f"{PLUGINS}.module_utils._agent_service")
versions = import_module(f"{PLUGINS}.module_utils._agent_versions")

pytestmark = [needs_linux, needs_root]
SPEAKER = Path(__file__).with_name("speaker.py")


class Unit:
    """A unit whose main process is the one that the test has started."""

    unit = "mesos-slave.service"

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def status(self) -> dict[str, object]:
        return {"enabled": True, "active": self.pid > 0, "starting": False, "pid": self.pid}


@contextlib.contextmanager
def agent(
    *words: str, command: tuple[str, ...] = (sys.executable, str(SPEAKER)), **variables: str
) -> Iterator[tuple[Unit, list[int]]]:
    """(the unit of an agent that was started so, the ports that it listens on)."""
    environment = {"PATH": os.environ["PATH"], **variables}
    with subprocess.Popen(
        [*command, *words], env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            yield Unit(process.pid), [int(port) for port in process.stdout.readline().split()]
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def params(**given: str) -> dict[str, str | None]:
    names = ("url", "url_username", "url_password", "ca_file", "client_cert", "client_key")
    return {**dict.fromkeys(names), **given}


def state(unit: Unit, **given: str) -> object:
    return api.agent(params(**given), unit).state()["id"]


@pytest.mark.parametrize("ip", ["127.0.0.1", "127.0.0.9", "0.0.0.0", "::1", "::"])
def test_the_agent_is_found_where_it_listens(ip):
    """By no flag at all: what an address file, a discovery command or an environment file say is not known here."""
    with agent(SPEAKER_IP=ip) as (unit, (port,)):
        host = {"0.0.0.0": "127.0.0.1", "::1": "[::1]", "::": "[::1]"}.get(ip, ip)
        assert api.address(unit) == f"http://{host}:{port}"
        assert state(unit) == "S1"
        assert versions.running(params(), unit) == [(1, 11)]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


@pytest.mark.parametrize("how", ["argument", "variable", "argument before variable", "neither"])
def test_of_more_than_one_port_the_agents_counts(how):
    """A module of the agent listens too; which one is the agent's says what it was started with."""
    port = free_port()
    words = [f"--port={port}"] if "argument" in how else []
    variables = {"MESOS_PORT": str(port) if how == "variable" else "1"} if "variable" in how else {}
    with agent(*words, SPEAKER_OTHERS="1", **variables) as (unit, ports):
        if how == "neither":
            with pytest.raises(api.ApiError, match=r"listens at more than one place .* give mesos_agent_url"):
                api.address(unit)
        else:
            assert ports[0] == port and api.address(unit) == f"http://127.0.0.1:{port}"


def test_the_agent_is_found_below_a_shell(tmp_path):
    """And none of what it has started is taken for it: the nearest of that name is the agent."""
    program = tmp_path / "mesos-agent"
    shutil.copy(os.path.realpath("/usr/bin/python3"), program)
    shell = ("sh", "-c", '"$@"; exit', "sh", str(program), str(SPEAKER))
    with agent(command=shell) as (unit, (port,)):
        assert api.address(unit) == f"http://127.0.0.1:{port}"


def test_an_agent_that_listens_nowhere_or_does_not_run_says_so():
    says = "the process .* of the unit .* listens at no port; give mesos_agent_url"
    with agent(command=("sh", "-c", "echo; exec sleep 100")) as (unit, _), pytest.raises(api.ApiError, match=says):
        api.address(unit)
    with pytest.raises(api.ApiError, match=r"the unit mesos-slave\.service is not running"):
        api.address(Unit(0))
    with pytest.raises(api.ApiError, match="which agent"):
        api.agent(params())


# TLS.


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Path:
    """Two authorities, each with a certificate and its key, made by openssl(1): ca, agent, client; other-ca, other."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl(1) to make certificates with")
    home = tmp_path_factory.mktemp("keys")

    def openssl(*words: object) -> None:
        subprocess.run(["openssl", *map(str, words)], cwd=home, check=True, capture_output=True)

    def authority(name: str) -> None:
        new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
        openssl(*new, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")

    def certificate(name: str, by: str, host: str) -> None:
        new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        openssl(*new, "-subj", f"/CN={host}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        (home / "names").write_text(f"subjectAltName=DNS:{host}\n")
        signed = ("x509", "-req", "-days", "2", "-CA", f"{by}.pem", "-CAkey", f"{by}.key", "-CAcreateserial")
        openssl(*signed, "-extfile", "names", "-in", f"{name}.csr", "-out", f"{name}.pem")

    authority("ca")
    authority("other-ca")
    certificate("agent", "ca", "agent-1.example.com")
    certificate("local", "ca", "localhost")
    certificate("client", "ca", "operator")
    certificate("other", "other-ca", "operator")
    return home


def tls(keys: Path, certificate: str = "agent", **more: str) -> dict[str, str]:
    names = {"CERT_FILE": f"{certificate}.pem", "KEY_FILE": f"{certificate}.key", "CA_FILE": "ca.pem"}
    found = {f"LIBPROCESS_SSL_{name}": str(keys / path) for name, path in names.items()}
    return {"LIBPROCESS_SSL_ENABLED": "true", **found, **more}


def test_an_agent_with_a_private_authority_is_asked_by_tls(keys):
    """Its certificate has the name under which it registers, not the address at which this host has it."""
    with agent(**tls(keys)) as (unit, (port,)):
        assert api.address(unit) == f"https://127.0.0.1:{port}"
        assert state(unit, ca_file=str(keys / "ca.pem")) == "S1"
        assert versions.running(params(ca_file=str(keys / "ca.pem")), unit) == [(1, 11)]
        with pytest.raises(api.ApiError, match=r"certificate verify failed.*as mesos_agent_ca_file"):
            state(unit)
        with pytest.raises(api.ApiError, match="certificate verify failed"):
            state(unit, ca_file=str(keys / "other-ca.pem"))


def test_at_a_given_address_the_name_counts(keys):
    ca = {"ca_file": str(keys / "ca.pem")}
    with agent(**tls(keys)) as (unit, (port,)), pytest.raises(api.ApiError, match="certificate is not valid for 'loc"):
        state(unit, url=f"https://localhost:{port}", **ca)
    with agent(**tls(keys, "local")) as (unit, (port,)):
        assert state(unit, url=f"https://localhost:{port}", **ca) == "S1"
        assert versions.running(params(url=f"https://localhost:{port}", **ca), None) == [(1, 11)]


def test_an_agent_that_asks_for_a_certificate_is_shown_one(keys):
    ca = {"ca_file": str(keys / "ca.pem")}
    mine = {"client_cert": str(keys / "client.pem"), "client_key": str(keys / "client.key")}
    (keys / "both.pem").write_text((keys / "client.pem").read_text() + (keys / "client.key").read_text())
    with agent(**tls(keys, "local", LIBPROCESS_SSL_REQUIRE_CERT="true")) as (unit, (port,)):
        assert state(unit, **ca, **mine) == "S1"
        assert state(unit, **ca, client_cert=str(keys / "both.pem")) == "S1"
        # A master is asked in another way.
        master = api.Api(f"https://localhost:{port}", api.access(params(**ca, **mine)))
        assert master.get("/version") == {"version": "1.11.0"}
        with pytest.raises(api.ApiError, match="give mesos_agent_client_cert and mesos_agent_client_key"):
            state(unit, **ca)
        with pytest.raises(api.ApiError):
            other = {"client_cert": str(keys / "other.pem"), "client_key": str(keys / "other.key")}
            state(unit, **ca, **other)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"ca_file": "/no/such"}, "mesos_agent_ca_file: /no/such is no file that can be read on this host"),
        ({"ca_file": str(SPEAKER)}, f"mesos_agent_ca_file: {SPEAKER} holds no certificates"),
        ({"client_cert": "/no/such"}, "mesos_agent_client_cert: /no/such is no file"),
        ({"client_cert": str(SPEAKER)}, "and mesos_agent_client_key are no certificate and its key"),
        ({"client_cert": str(SPEAKER), "client_key": "/no/such"}, "mesos_agent_client_key: /no/such is no file"),
    ],
)
def test_files_that_are_none_are_named(keys, given, says):
    with agent(**tls(keys)) as (unit, _), pytest.raises(api.ApiError, match=says):
        state(unit, **given)


def test_an_agent_that_takes_both_is_asked_by_tls_where_its_authority_is_given(keys):
    both = {"LIBPROCESS_SSL_ENABLED": "true", "LIBPROCESS_SSL_SUPPORT_DOWNGRADE": "1"}
    assert not api._speaks_tls(both)
    assert api._speaks_tls(both, api.access(params(ca_file="/x")))
    assert api._speaks_tls({"SSL_ENABLED": "1"}) and not api._speaks_tls({})
    assert not api._speaks_tls({"SSL_ENABLED": "1", "LIBPROCESS_SSL_ENABLED": "0"})


def test_by_tls_too_only_the_units_own_process_is_asked(keys, monkeypatch):
    """Who has its key and took its port is not the unit."""
    with agent(**tls(keys)) as (_, (port,)), agent() as (other, _):
        monkeypatch.setattr(api, "address", lambda *_: f"https://127.0.0.1:{port}")
        with pytest.raises(api.ApiError, match=r"does not belong to the unit mesos-slave\.service; nothing was sent"):
            state(other, ca_file=str(keys / "ca.pem"))


# Before a switch.


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(baseline, "_SECONDS", 0.3)
    monkeypatch.setattr(baseline, "_INTERVAL", 0.02)


def look(unit: Unit) -> object:
    return baseline.look(api.agent(params(), unit), unit, lambda asked: asked.state()["id"])


def test_an_agent_that_runs_and_does_not_answer_has_no_baseline(quick):
    with agent() as (unit, _):
        assert look(unit) == "S1"
    assert look(Unit(0)) is None
    with agent(SPEAKER_STATUS="503") as (unit, _), pytest.raises(baseline.MuteError, match="runs and does not answer"):
        look(unit)


def test_whoever_is_not_let_in_hears_it_at_once(monkeypatch):
    monkeypatch.setattr(baseline, "_SECONDS", 600)
    with agent(SPEAKER_STATUS="401") as (unit, _), pytest.raises(baseline.MuteError, match="HTTP 401"):
        look(unit)


def test_one_that_ends_again_and_again_has_nothing_to_lose(monkeypatch):
    monkeypatch.setattr(baseline, "_SECONDS", 600)
    with agent(SPEAKER_STATUS="503") as (unit, _):
        pids = iter([unit.pid] * 4)
        monkeypatch.setattr(unit, "status", lambda: {"pid": next(pids, 1)})
        assert look(unit) is None


@pytest.fixture
def unit(monkeypatch):
    """unit(pid): the unit mesos-slave of this host has that process."""

    def of(pid: int) -> None:
        shown = {"Id": Unit.unit, "LoadState": "loaded", "ActiveState": "active" if pid else "inactive"}
        shown.update(UnitFileState="enabled", MainPID=str(pid), KillMode="process", Delegate="yes", PrivateTmp="no")
        monkeypatch.setattr(service.Service, "show", lambda self, names: shown)
        monkeypatch.setattr(service.Service, "enable", lambda self: [])
        monkeypatch.setattr(service.Service, "restart", lambda self: restarts.append(pid))

    restarts: list[int] = []
    of.restarts = restarts
    return of


def test_a_mute_agent_is_refused_before_anything_changes(quick, unit, tmp_path):
    """By the preflight and by the switch; not where nothing would be restarted, nor where it is only compared."""
    flags = tmp_path / "mesos-slave"
    flags.mkdir()
    (flags / "gc_delay").write_text("1days")
    given = {"path": str(flags), "prefix": str(tmp_path / "opt"), "service": "mesos-slave"}
    with agent(SPEAKER_STATUS="503") as (of, _):
        unit(of.pid)
        before = tree(tmp_path)
        says = "the agent of mesos-slave.service runs and does not answer"
        assert says in run_module("agent_preflight_info", flags={"gc_delay": "2days"}, **given)["msg"]
        switch = {"flags": {"gc_delay": "2days"}, "drop_in": False, "confirm": True}
        refused = run_module("agent_generation", **given, **switch)
        assert says in refused["msg"] and refused["msg"].endswith("; nothing was changed")
        assert tree(tmp_path) == before and not unit.restarts
        assert not run_module("agent_preflight_info", flags={"gc_delay": "1days"}, **given).get("failed")
        compared = run_module("agent_preflight_info", check=True, flags={"gc_delay": "2days"}, compare=True, **given)
        assert not compared.get("failed")
    with agent() as (of, _):
        unit(of.pid)
        assert not run_module("agent_preflight_info", flags={"gc_delay": "2days"}, **given).get("failed")
        assert run_module("agent_generation", **given, **switch)["agent_id"] == "S1" and unit.restarts
