"""Generations of a host without a service: recorded, switched, taken back, and what a failure or a kill leaves."""

from __future__ import annotations

import errno
import functools
import json
import os
import shutil
from importlib import import_module

import pytest

from tests.lib.collection import PLUGINS, run_module, tree
from tests.lib.generations import Generations, killed_at

change = import_module(f"{PLUGINS}.module_utils._flag_change")
generations = import_module(f"{PLUGINS}.module_utils._generations")
effective = import_module(f"{PLUGINS}.module_utils._flag_effective")
values = import_module(f"{PLUGINS}.module_utils._flag_values")
service = import_module(f"{PLUGINS}.module_utils._agent_service")
health = import_module(f"{PLUGINS}.module_utils._agent_health")
FLAGS = import_module(f"{PLUGINS}.module_utils._flag_table").FLAGS


@pytest.fixture
def host(tmp_path):
    return Generations(tmp_path)


def test_forward_and_back(host, tmp_path):
    host.flags_dir.mkdir(parents=True)
    (host.flags_dir / "isolation.rpmnew").write_text("litter")
    (host.flags_dir / "link").symlink_to("elsewhere")
    (host.flags_dir / "gc_delay").write_text("1days")
    host.flags_dir.chmod(0o750)
    origin = tree(host.flags_dir)

    foreseen = host(check=True, flags={"gc_delay": "2days"})
    assert foreseen["changed"] and foreseen["actions"] == ["flags"] and not host.prefix.exists()
    first = host(flags={"gc_delay": "2days"}, config={"hide_work_dir": True})
    assert (first["generation"], first["before"]["generation"], first["pending"]) == (1, 0, False)
    assert first["actions"] == ["config", "flags"] and first["same_agent"]
    assert tree(host.flags_dir) == {"gc_delay": "2days\n"}
    assert not host(flags={"gc_delay": "2days"}, config={"hide_work_dir": True})["changed"]
    second = host(flags={"gc_delay": "3days"})
    assert second["generation"] == 2 and second["before"]["generation"] == 1

    back = host("restored")
    assert back["generation"] == 1 and back["changed"] and host.state["good"] == 1
    assert tree(host.flags_dir) == {"gc_delay": "2days\n"}
    # Where it came from is no place to go back to.
    assert host("restored")["generation"] == 0
    assert tree(host.flags_dir) == origin and host.flags_dir.stat().st_mode & 0o7777 == 0o750
    assert not (host.prefix / "etc/mesos-shim/config.json").exists()
    assert "no earlier generation" in host("restored")["msg"]
    assert not host("restored", required=False)["changed"]
    assert "generation 9 is not kept here; kept: 0, 1, 2" in host("restored", generation=9)["msg"]
    assert host("restored", generation=2)["changed"]
    assert tree(host.flags_dir) == {"gc_delay": "3days\n"}
    assert host.prefix.joinpath("generations").stat().st_mode & 0o777 == 0o700

    assert host("absent")["changed"]
    assert tree(host.flags_dir) == origin
    assert sorted(path.name for path in tmp_path.iterdir()) == ["etc"]
    assert not host("absent")["changed"]


def test_a_change_is_taken_back_where_it_was_made_and_nowhere_else(host):
    host(flags={"gc_delay": "1days"}, change="CHG-1")
    host(flags={"gc_delay": "2days"}, change="CHG-2")
    before = tree(host.flags_dir)
    for other in (["CHG-1"], ["CHG-3"], ["CHG-1", "CHG-3"]):
        left = host("restored", changes=other, once=True)
        assert not left["changed"] and left["generation"] == 2 and "failed" not in left, left
        assert tree(host.flags_dir) == before and host.state["good"] == 2
    assert host("restored", changes=["CHG-3", "CHG-2", "CHG-4"], once=True)["changed"]
    assert tree(host.flags_dir) == {"gc_delay": "1days\n"} and host.state["good"] == 1
    assert not host("restored", changes=["CHG-2"], once=True)["changed"]  # a second run


def test_a_change_that_was_killed_before_it_was_kept_is_taken_back_by_its_id(host, monkeypatch):
    """The state alone knows of it: no generation has been recorded yet."""
    host(flags={"gc_delay": "1days"}, change="CHG-1")

    def killed(*arguments, **more):
        raise KeyboardInterrupt

    with monkeypatch.context() as context, pytest.raises(KeyboardInterrupt):
        context.setattr(generations.Store, "record", killed)
        host(flags={"gc_delay": "2days"}, change="CHG-2")
    assert tree(host.flags_dir) == {"gc_delay": "2days\n"} and host.state["pending"] == 2
    left = host("restored", changes=["CHG-1"])
    assert not left["changed"] and left["change"] == "CHG-2"
    assert host("restored", changes=["CHG-2"])["changed"]
    assert tree(host.flags_dir) == {"gc_delay": "1days\n"}


def test_where_nothing_was_nothing_stays(host, tmp_path):
    assert host(flags={"gc_delay": "2days"})["changed"]
    assert host("absent")["changed"]
    assert list(tmp_path.iterdir()) == []


def test_another_flags_directory_is_refused(host, tmp_path):
    """Taking the host back would leave it as it is: only one directory was kept as it was before."""
    host(flags={"gc_delay": "1days"})
    before = tree(tmp_path)
    for check in (True, False):
        refused = host(check=check, path=str(tmp_path / "etc/mesos-agent"), flags={"gc_delay": "2days"})
        assert f"generations use {host.flags_dir}; set it to that" in refused["msg"]
        assert "variable mesos_agent_flags_dir" in refused["msg"]
    other = {"path": str(tmp_path / "etc/mesos-agent"), "prefix": str(host.prefix), "environment_files": []}
    found = run_module("agent_preflight_info", flags={"gc_delay": "x"}, found_already=["one thing"], **other)[
        "problems"
    ]
    assert found[0] == "one thing" and "generations use" in found[1] and "flag gc_delay" in found[2]
    assert tree(tmp_path) == before
    assert host("absent")["changed"]
    assert host(path=str(tmp_path / "etc/mesos-agent"), flags={"gc_delay": "2days"})["changed"]


def test_only_what_was_installed_is_removed(host):
    host(flags={"gc_delay": "1days"})
    (host.prefix / "bin").mkdir()
    for name in ("bin/mesos-shim", "bin/other", "other"):
        (host.prefix / name).touch()
    assert host("absent")["changed"]
    assert tree(host.prefix) == {"bin": None, "bin/other": "", "other": ""}
    for check in (True, False):
        assert not host("absent", check=check)["changed"]


def test_what_was_gone_back_to_counts_as_good_again(host):
    for days in (1, 2):
        host(flags={"gc_delay": f"{days}days"})
    host("restored")
    host("restored", generation=2)
    host(flags={"gc_delay": "3days"})
    assert host("restored")["generation"] == 2


def test_a_rollback_that_is_run_again_goes_no_further_back(host):
    for days in (1, 2, 3):
        host(flags={"gc_delay": f"{days}days"})
    assert not host("restored", once=True, reason="not well")["already"] and host.state["good"] == 2
    again = host("restored", once=True)
    assert not again["changed"] and again["already"] == "from generation 3: not well" and host.state["good"] == 2
    assert (again["generation"], again["before"], again["after"]) == (2, again["after"], again["before"])
    assert again["flags_path"] == str(host.flags_dir) and tree(host.flags_dir) == {"gc_delay": "2days\n"}
    assert host("restored", once=True, generation=1)["changed"] and host.state["good"] == 1
    host(flags={"gc_delay": "4days"})
    assert host("restored", once=True)["generation"] == 1 and tree(host.flags_dir) == {"gc_delay": "1days\n"}


class Agent:
    """A unit that is played: what was asked of it, and by which KillMode systemd would have stopped it."""

    def __init__(self, root):
        self.drop_in = root / "systemd/mesos-slave.service.d/zzz-mesos-shim.conf"
        self.calls, self.problems, self.loaded = [], [], None

    def kill_mode(self):
        return "process" if self.loaded and "KillMode=process" in self.loaded else "control-group"

    def wait(self, wanted, settings, api, service):
        self.calls.append(("well", self.drop_in.exists()))
        return health.Seen({}, self.problems)


@pytest.fixture
def agent(tmp_path, monkeypatch):
    """The unit mesos-slave."""
    agent = Agent(tmp_path)

    class Service:
        def __init__(self, run_command, unit):
            self.unit = unit

        def status(self):
            return {"enabled": True, "active": True, "pid": 0}

        def known(self):
            return True

        def reload(self):
            agent.calls.append("reload")
            agent.loaded = agent.drop_in.read_text() if agent.drop_in.exists() else None

        def restart(self):
            agent.calls.append(f"restart by {agent.kill_mode()}")

        def stop(self):
            agent.calls.append(f"stop by {agent.kill_mode()}")

        def resolved(self):
            return self

        def show(self, names):
            return {"LoadState": "loaded", "KillMode": "process", "Delegate": "yes", "PrivateTmp": "no"}

        def unlink(self, paths):
            assert not paths

        def enable(self):
            return []

    monkeypatch.setattr(service, "Service", Service)
    monkeypatch.setattr(service, "drop_in_path", lambda unit: str(agent.drop_in).replace("mesos-slave.service", unit))
    monkeypatch.setattr(health, "wait", agent.wait)
    return agent


MANAGED = {"service": "mesos-slave.service", "url": "http://127.0.0.1:9"}
BACK = ["restart by process", ("well", True), "reload"]


def test_a_unit_that_is_managed_only_later_is_taken_back_too(host, tmp_path, agent):
    host(flags={"gc_delay": "1days"})
    switched = host(flags={"gc_delay": "2days"}, **MANAGED)
    assert switched["restarted"] and agent.drop_in.exists()
    agent.calls.clear()
    back = host("restored", url=MANAGED["url"])
    assert (back["generation"], back["service"], back["restarted"]) == (1, "mesos-slave.service", True)
    assert agent.calls == BACK and not agent.drop_in.exists()
    assert tree(host.flags_dir) == {"gc_delay": "1days\n"}
    host(flags={"gc_delay": "2days"}, **MANAGED)
    agent.calls.clear()
    gone = host("absent", url=MANAGED["url"])
    assert gone["changed"] and gone["restarted"] and agent.calls == BACK
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("way", ["take back", "roll back", "uninstall", "uninstall a stopped one"])
def test_no_way_back_has_systemd_end_the_executors(host, agent, monkeypatch, way):
    """Without our drop-in the unit of older packages ends them with the agent."""
    if way == "uninstall a stopped one":
        status = {"enabled": False, "active": False, "pid": 0}
        monkeypatch.setattr(service.Service, "status", lambda self: status)
    host(flags={"gc_delay": "1days"}, confirm=way != "take back", **MANAGED)
    agent.calls.clear()
    state, args = ("restored", {"pending_only": True}) if way == "take back" else ("restored", {})
    done = host("absent" if way.startswith("uninstall") else state, url=MANAGED["url"], **args)
    assert done["changed"] and not agent.drop_in.exists(), done
    assert agent.calls == (["stop by process", "reload"] if "stopped" in way else BACK)


@pytest.mark.parametrize("state", ["restored", "absent"])
def test_an_agent_that_is_not_well_keeps_the_drop_in(host, agent, state):
    """It may end again at any moment, and would take its executors with it."""
    host(flags={"gc_delay": "1days"}, **MANAGED)
    agent.calls.clear()
    agent.problems = ["the unit has ended: no such isolator"]
    failed = host(state, url=MANAGED["url"])
    assert failed["failed"] and "not well: the unit has ended: no such isolator;" in failed["msg"]
    assert agent.drop_in.exists() and host.prefix.exists() and "reload" not in agent.calls
    agent.problems = []
    assert host(state, url=MANAGED["url"])["changed"] and not agent.drop_in.exists()
    assert agent.calls[-3:] == BACK


@pytest.mark.parametrize("mark", ["unit", "launcher_dir"])
def test_what_a_rollout_has_made_is_no_origin(host, agent, mark):
    """Who has lost the generations has lost what the host was before; ours is not that."""
    managed = MANAGED if mark == "unit" else {}
    flags = {"launcher_dir": str(host.prefix / "launcher")}
    host(flags=flags, **managed)
    shutil.rmtree(host.prefix / "generations")
    again = host(flags={**flags, "gc_delay": "1days"}, **managed)
    assert (again["before"]["generation"], again["generation"]) == (1, 2)
    assert host("restored", url=MANAGED["url"])["generation"] == 1 and agent.drop_in.exists() == (mark == "unit")
    assert "no earlier generation" in host("restored", url=MANAGED["url"])["msg"]
    before = tree(host.prefix.parent)
    for check in (True, False):
        refused = host("absent", check=check)
        assert f"not known, because {host.prefix}/generations/0 is gone" in refused["msg"]
        assert ("remove " + str(agent.drop_in) in refused["msg"]) == (mark == "unit")
        assert tree(host.prefix.parent) == before
    if mark == "unit":
        shutil.rmtree(host.prefix / "generations")
        (host.prefix / "releases").mkdir()
        assert "is gone" in host("absent")["msg"]
    assert host("absent", force=True)["changed"] and not (host.prefix / "generations").exists()


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    """A systemd of its own for a unit mesos-slave.service; `systemd(KillMode=…)` is what it says of it."""
    units, program = tmp_path / "units", tmp_path / "bin/systemctl"
    program.parent.mkdir()
    (units / "multi-user.target.wants").mkdir(parents=True)
    monkeypatch.setattr(service, "_UNITS_DIRECTORY", str(units))
    monkeypatch.setattr(health, "wait", lambda *arguments: health.Seen({}, []))
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")

    def says(**changed):
        found = {"Id": "mesos-slave.service", "LoadState": "loaded", "ActiveState": "active", "MainPID": "0"}
        found.update(UnitFileState="enabled", KillMode="process", Delegate="yes", PrivateTmp="no")
        (tmp_path / "shown").write_text("".join(f"{k}={v}\n" for k, v in {**found, **changed}.items()))

    program.write_text(
        f"#!/bin/sh\n"
        f'[ "$1" = show ] && exec cat {tmp_path}/shown\n'
        f'[ "$1" = enable ] && ln -s /lib/mesos-slave.service {units}/multi-user.target.wants/mesos-slave.service\n'
        f'[ "$1" = disable ] && rm -r {units}/multi-user.target.wants {units}/mesos-slave.service\n'
        f'echo "$1" >> {tmp_path}/calls\n'
    )
    program.chmod(0o755)
    every = '#!/bin/sh\nfor last; do :; done\n[ "$1" = show ] && echo "Id=$last" && echo LoadState=loaded\nexit 0\n'
    says.know_every_unit = lambda: program.write_text(every)
    says.units, says.drop_in = units, units / "mesos-slave.service.d/zzz-mesos-shim.conf"
    says.calls = lambda: (tmp_path / "calls").read_text().split() if (tmp_path / "calls").exists() else []
    says()
    return says


def test_what_systemd_says_after_the_drop_in_decides_before_any_restart(host, systemd):
    """Somebody else's drop-in came after ours, and executors ended with the agent."""
    systemd(KillMode="control-group", DropInPaths=str(systemd.drop_in))
    refused = host(flags={"gc_delay": "1days"}, **MANAGED)
    assert "the unit mesos-slave.service has KillMode=control-group, so a restart" in refused["msg"]
    assert refused["msg"].endswith("flags, release and configuration were restored")
    assert systemd.calls() == ["daemon-reload", "daemon-reload"]
    assert not systemd.drop_in.exists() and not host.flags_dir.exists() and host.state["pending"] is None


def test_the_drop_in_of_an_earlier_release_goes(host, systemd, monkeypatch):
    former = systemd.drop_in.with_name("50-mesos-shim.conf")
    with monkeypatch.context() as earlier:
        earlier.setattr(service, "DROP_IN", former.name)
        earlier.setattr(service, "FORMER_DROP_IN", "none")
        host(flags={}, **MANAGED)
    assert former.exists() and not systemd.drop_in.exists()
    foreseen = host(check=True, flags={}, **MANAGED)
    assert foreseen["actions"][0] == "unit"
    assert host(flags={}, **MANAGED)["changed"]
    assert [path.name for path in former.parent.iterdir()] == [systemd.drop_in.name]
    assert not host(flags={}, **MANAGED)["changed"]
    # A user's own of that name is theirs.
    former.write_text("[Service]\nNice=1\n")
    assert not host(flags={}, **MANAGED)["changed"]
    assert host("absent")["changed"] and [path.name for path in former.parent.iterdir()] == [former.name]


def test_what_enabling_made_is_taken_back_and_no_link_of_a_users(host, systemd):
    users = [systemd.units / "mesos-slave.service", systemd.units / "multi-user.target.wants/other.service"]
    for link in users:
        link.symlink_to("/opt/mesos-slave.service")
    systemd(UnitFileState="linked")
    made = systemd.units / "multi-user.target.wants/mesos-slave.service"
    assert "enable" in host(flags={"gc_delay": "1days"}, **MANAGED)["actions"] and made.is_symlink()
    assert host("absent")["changed"]
    assert not made.is_symlink() and [link.is_symlink() for link in users] == [True, True]
    assert "disable" not in systemd.calls() and systemd.calls().count("enable") == 1


@pytest.mark.parametrize("state", ["static", "generated", "alias", "indirect", "transient", "enabled-runtime", ""])
def test_a_unit_that_something_else_starts_is_not_enabled(host, systemd, state):
    systemd(UnitFileState=state)
    host(flags={"gc_delay": "1days"}, **MANAGED)
    host("restored", url="http://127.0.0.1:9")
    assert host("absent")["changed"]
    assert not {"enable", "disable"} & set(systemd.calls())


def test_an_alias_is_the_unit_that_it_stands_for(host, systemd):
    host(flags={"gc_delay": "1days"}, service="mesos-agent", url="http://127.0.0.1:9")
    assert systemd.drop_in.exists()
    assert not host(flags={"gc_delay": "1days"}, **MANAGED).get("failed")


def test_a_masked_unit_is_refused(host, systemd, tmp_path):
    systemd(LoadState="masked")
    before = tree(tmp_path)
    assert "is masked: systemctl unmask" in host(flags={"gc_delay": "1days"}, **MANAGED)["msg"]
    assert tree(tmp_path) == before


def test_another_unit_is_refused(host, systemd):
    host(flags={"gc_delay": "1days"}, **MANAGED)
    about = host.prefix / "generations/0/generation.json"
    known = json.loads(about.read_text())
    assert known["service"] == "mesos-slave.service"
    systemd.know_every_unit()
    refused = host(flags={"gc_delay": "2days"}, service="mesos-agent@2", url="http://127.0.0.1:9")
    assert (
        "service: mesos-agent@2.service (variable mesos_agent_service), but this host's generations use"
        in refused["msg"]
    )
    assert "a second agent of one host needs a mesos_shim_prefix of its own" in refused["msg"]


def test_a_second_flags_directory_is_refused_under_the_lock(host, tmp_path, monkeypatch):
    """Two first runs at once: neither knew of the other when it began."""
    lock = generations.Store.lock
    begun = []

    def meanwhile(store):
        if not begun:
            begun.append(True)
            assert host(path=str(tmp_path / "etc/mesos-agent"), flags={"gc_delay": "9days"})["changed"]
        return lock(store)

    monkeypatch.setattr(generations.Store, "lock", meanwhile)
    refused = host(flags={"gc_delay": "1days"})
    assert f"generations use {tmp_path}/etc/mesos-agent; set it to that" in refused["msg"]
    assert not host.flags_dir.exists() and host.state["good"] == 1


@pytest.fixture
def other(tmp_path):
    """A second installation on the machine of `host`, for the same flags directory."""
    other = Generations(tmp_path)
    other.prefix = tmp_path / 'an "other"'
    return other


def launcher(installation):
    return {"launcher_dir": f"{installation.prefix}/launcher"}


def preflight(installation, **args):
    """What preflight says of other installations."""
    args = {"path": str(installation.flags_dir), "prefix": str(installation.prefix), "environment_files": [], **args}
    said = run_module("agent_preflight_info", flags=launcher(installation), **args)
    return [line for line in said.get("problems", []) if "the installation in" in line]


UNIT, DIRECTORY = "the unit mesos-slave.service", "the flags directory {path}"


@pytest.mark.parametrize(("what", "taken"), [("unit", UNIT), ("flags", DIRECTORY), ("both", f"{UNIT} and {DIRECTORY}")])
def test_what_another_installation_manages_is_refused_until_it_is_gone(host, other, systemd, tmp_path, what, taken):
    args = {} if what == "flags" else MANAGED
    taken = taken.format(path=host.flags_dir)
    if what == "unit":
        other.flags_dir = tmp_path / "etc/mesos-agent"
    assert host(flags=launcher(host), **args)["changed"]
    before = tree(tmp_path)
    for check in (True, False):
        said = other(check=check, flags=launcher(other), **args)
        assert said["failed"] and said["msg"] == (
            f"mesos_shim_prefix {other.prefix}: the installation in {host.prefix} manages {taken}; give this one its "
            "own (mesos_agent_service, mesos_agent_flags_dir), or run the playbook uninstall with "
            f"mesos_shim_prefix={host.prefix} first"
        )
        assert preflight(other, **args) == [said["msg"]]
    assert preflight(host, **args) == [] and tree(tmp_path) == before
    assert host(flags={"gc_delay": "2days", **launcher(host)}, **args)["changed"]
    assert host("absent", url=MANAGED["url"])["changed"]
    assert other(flags=launcher(other), **args)["changed"]


def test_a_flags_directory_that_names_no_launcher_is_known_by_the_unit_of_its_agent(host, other, systemd):
    systemd.know_every_unit()
    host(flags={}, **MANAGED)
    args = {**MANAGED, "service": "mesos-agent@2"}
    said = other(flags=launcher(other), **args)["msg"]
    assert f"the installation in {host.prefix} manages the flags directory {host.flags_dir};" in said
    assert preflight(other, **args) == [said]


def test_who_went_back_takes_nothing_from_who_came_after(host, other, systemd, tmp_path):
    host(flags=launcher(host), **MANAGED)
    assert host("restored", url=MANAGED["url"])["generation"] == 0
    assert other(flags=launcher(other), **MANAGED)["changed"]
    before = tree(tmp_path)
    for said in (
        host(flags=launcher(host), **MANAGED),
        host("restored", generation=1, url=MANAGED["url"]),
        host("restored", True, generation=1, url=MANAGED["url"]),
        host("absent", url=MANAGED["url"]),
        host("absent", force=True, url=MANAGED["url"]),
    ):
        assert f"mesos_shim_prefix {host.prefix}: the installation in {other.prefix} manages the unit" in said["msg"]
    assert tree(tmp_path) == before
    assert other("absent", url=MANAGED["url"])["changed"] and host("absent", url=MANAGED["url"])["changed"]
    assert not host.flags_dir.exists() and not systemd.drop_in.exists()


def test_another_installation_of_which_nothing_is_left_stops_nobody(host, other, systemd):
    host(flags=launcher(host), **MANAGED)
    shutil.rmtree(host.prefix)
    assert other(flags=launcher(other), **MANAGED)["changed"]
    assert service.drop_ins() == {str(systemd.drop_in): str(other.prefix)}


def test_an_installation_by_another_name_is_the_same_one(host, systemd, tmp_path):
    host(flags=launcher(host), **MANAGED)
    (tmp_path / "link").symlink_to(host.prefix)
    renamed = Generations(tmp_path)
    renamed.prefix = tmp_path / "link"
    assert not renamed(flags=launcher(host), **MANAGED).get("failed")


def test_an_agent_may_use_the_launcher_of_another_installation(host, other, tmp_path):
    host(flags=launcher(host))
    other.flags_dir = tmp_path / "etc/mesos-agent"
    for days in (1, 2):
        assert other(flags={"gc_delay": f"{days}days", **launcher(host)})["changed"]


def test_what_another_installation_took_meanwhile_is_refused_under_the_lock(host, other, systemd, monkeypatch):
    """Two first runs at once: neither knew of the other when it began."""
    lock = generations.Store.lock
    begun = []

    def meanwhile(store):
        if not begun:
            begun.append(True)
            assert other(flags=launcher(other), **MANAGED)["changed"]
        return lock(store)

    monkeypatch.setattr(generations.Store, "lock", meanwhile)
    said = host(flags=launcher(host), **MANAGED)
    assert f"the installation in {other.prefix} manages {UNIT} and" in said["msg"]
    assert not (host.prefix / "generations/state.json").exists()
    assert service.drop_ins() == {str(systemd.drop_in): str(other.prefix)}
    assert not host("restored", pending_only=True, required=False)["changed"]


def test_an_uninstallation_that_another_one_was_faster_than_changes_nothing(host, systemd, tmp_path, monkeypatch):
    host(flags=launcher(host), **MANAGED)
    lock = generations.Store.lock
    begun = []

    def meanwhile(store):
        if not begun:
            begun.append(True)
            assert host("absent", url=MANAGED["url"])["changed"]
        return lock(store)

    monkeypatch.setattr(generations.Store, "lock", meanwhile)
    said = host("absent", url=MANAGED["url"])
    assert begun and not said.get("failed"), said
    assert not host.flags_dir.exists() and not host.prefix.exists()


def test_pending_is_finished_or_taken_back(host):
    host(flags={"gc_delay": "1days"})
    pending = host(flags={"gc_delay": "2days"}, confirm=False)
    assert pending["pending"] and host.state["pending"] == 2 and host.state["good"] == 1
    again = host(flags={"gc_delay": "2days"}, confirm=False)
    assert again["changed"] and "resume" in again["actions"] and again["generation"] == 2
    assert host("confirmed")["generation"] == 2 and host.state == {**host.state, "good": 2, "pending": None}
    host(flags={"gc_delay": "3days"}, confirm=False)
    back = host("restored", pending_only=True, reason="the gate said no")
    assert back["changed"] and back["generation"] == 2 and tree(host.flags_dir) == {"gc_delay": "2days\n"}
    about = json.loads((host.prefix / "generations/3/generation.json").read_text())
    assert about["failed"] == "the gate said no"
    assert not host("restored", pending_only=True)["changed"]
    # A number is never given twice.
    assert host(flags={"gc_delay": "4days"})["generation"] == 4


def test_what_somebody_changed_by_hand_can_be_gone_back_to(host):
    host(flags={"gc_delay": "1days"})
    (host.flags_dir / "gc_delay").write_text("9days")
    result = host(flags={"gc_delay": "2days"})
    assert (result["before"]["generation"], result["generation"]) == (2, 3)
    host("restored")
    assert tree(host.flags_dir) == {"gc_delay": "9days"}


def test_old_generations_go(host):
    for days in range(1, 8):
        host(flags={"gc_delay": f"{days}days"}, keep=2)
    kept = sorted(name for name in os.listdir(host.prefix / "generations") if name.isdigit())
    assert kept == ["0", "6", "7"]


@pytest.mark.parametrize("at", ["flags", "record"])
def test_a_failure_in_the_middle_puts_everything_back(host, monkeypatch, at):
    host(flags={"gc_delay": "1days"}, config={})
    before, state = tree(host.flags_dir), host.state

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")

    with monkeypatch.context() as patch:
        if at == "flags":
            patch.setattr(change.FlagChange, "make", full)
        else:
            patch.setattr(generations.Store, "record", full)
        failed = host(flags={"gc_delay": "2days"}, config={"hide_work_dir": True})
    assert failed["failed"]
    wanted = (
        "somewhere: No space left on device: free some space there (df -h, df -i), then run it "
        "again; flags, release and"
    )
    assert failed["msg"] == wanted + " configuration were restored"
    assert tree(host.flags_dir) == before
    assert (host.prefix / "etc/mesos-shim/config.json").read_text() == "{}\n"
    assert {**host.state, "last": 0} == {**state, "last": 0, "restarted": False}
    assert host(flags={"gc_delay": "2days"})["changed"]


def test_where_nothing_can_be_put_back_the_next_run_knows(host, monkeypatch):
    host(flags={"gc_delay": "1days"})

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")

    with monkeypatch.context() as patch:
        patch.setattr(generations, "copy_tree", full)
        failed = host(flags={"gc_delay": "2days"})
    assert "could not be restored" in failed["msg"] and host.state["pending"] == 2
    assert host("restored")["generation"] == 1 and tree(host.flags_dir) == {"gc_delay": "1days\n"}


@pytest.mark.parametrize("way", ["finish", "take back"])
def test_a_kill_at_any_step_is_finished_or_taken_back(tmp_path, way):
    """Killed before each rename, link and removal in turn, until one run comes through."""
    old = {"flags": {"gc_delay": "1days", "attributes": {"rack": "a"}}, "config": {}}
    new = {"flags": {"gc_delay": "2days", "attributes": {"rack": "a"}}, "config": {"hide_work_dir": True}}
    for step in range(100):
        root = tmp_path / str(step)
        root.mkdir()
        host = Generations(root)
        host(**old)
        before = tree(host.flags_dir)
        killed = killed_at(step, functools.partial(host, **new, confirm=False))
        # Never half of it: the wrapper reads either all of the old flags or all of the new ones.
        assert tree(host.flags_dir) in (before, {**before, "gc_delay": "2days\n"})
        if way == "finish":
            assert "failed" not in host(**new)
            assert host.state["good"] and tree(host.flags_dir)["gc_delay"] == "2days\n"
            assert "hide_work_dir" in (host.prefix / "etc/mesos-shim/config.json").read_text()
        else:
            host("restored", pending_only=True)
            assert tree(host.flags_dir) == before
            assert (host.prefix / "etc/mesos-shim/config.json").read_text() == "{}\n"
        assert host.state["pending"] is None
        assert not [name for name in os.listdir(host.flags_dir.parent) if name.startswith(".")]
        if not killed:
            break
    assert step > 5


def test_an_incompatible_change_is_refused_and_a_named_one_gives_up_the_id(host):
    host(flags={"attributes": {"rack": "a"}})
    before = tree(host.prefix.parent)
    refused = host(flags={"attributes": {"rack": "b"}})
    assert "part of the agent's identity" in refused["msg"] and tree(host.prefix.parent) == before
    assert not host(flags={"attributes": {"rack": "b"}}, allow_incompatible=["attributes"])["same_agent"]


def test_secrets_are_kept_from_others_and_from_results(host):
    secret = {"master": "zk://u:hunter2@h/m", "docker_config": {"auths": {"h": {"auth": "sesame"}}}}
    first, back = host(flags=secret), host("restored")
    for result in (first, back, host(flags=secret, url_password="opensesame")):
        assert "hunter2" not in result["_raw"] and "sesame" not in result["_raw"]


# As an agent of 1.11.0 printed it.
ACLS = {
    "permissive": False,
    "view_roles": [{"principals": {"type": "NONE"}, "roles": {"values": ["x\ny", "ü"]}}],
    "register_agents": [{"principals": {"values": ["a", 'b"c']}, "agents": {"type": "ANY"}}],
}
ACLS_TEXT = r"""permissive: false
view_roles {
  principals {
    type: NONE
  }
  roles {
    values: "x\ny"
    values: "\303\274"
  }
}
register_agents {
  principals {
    values: "a"
    values: "b\"c"
  }
  agents {
    type: ANY
  }
}
"""


@pytest.mark.parametrize(
    ("name", "value", "runs", "same"),
    [
        ("gc_delay", "60secs", "1mins", True),
        ("gc_delay", "1.5days", "36hrs", True),
        ("gc_delay", "1days", "2days", False),
        ("fetcher_cache_size", "2048MB", "2GB", True),
        ("strict", True, "true", True),
        ("strict", False, "true", False),
        ("resources", {"cpus": 4, "mem": 512}, "mem:512;cpus:4", True),
        ("default_container_info", {"type": "MESOS", "volumes": []}, '{"volumes": [], "type": "MESOS"}', True),
        ("acls", ACLS, ACLS_TEXT, True),
        ("acls", {**ACLS, "permissive": True}, ACLS_TEXT, False),
        ("acls", ACLS, ACLS_TEXT.replace("ANY", "NONE"), False),
        ("acls", ACLS, ACLS_TEXT[:-2], False),
        ("image_gc_config", {"image_disk_headroom": 0.10, "excluded_images": []}, "image_disk_headroom: 0.1\n", True),
        ("isolation", "posix/cpu", "posix/mem", False),
        ("isolation", "posix/cpu", None, False),
        ("credential", "/etc/credential", "/else", True),
    ],
)
def test_effective_flags_are_compared_by_meaning(name, value, runs, same):
    settings = {n: s for n, s in values.wanted_settings({name: value}, FLAGS).items() if s}
    running = {} if runs is None else {name: runs}
    found = effective.differences(settings, running, [])
    assert (found == []) == same
    assert effective.differences(settings, running, [name]) == []


def test_a_word_of_the_wrapper_is_no_flag_of_the_agent():
    assert effective.differences({"logger": values.Setting("bool", False)}, {}, []) == []


def test_a_flag_from_a_file_is_compared_by_what_is_in_the_file(tmp_path):
    path = tmp_path / "value"

    def found(name, runs):
        settings = values.wanted_settings({name: f"file://{path}"}, FLAGS)
        return effective.differences(settings, {name: runs}, [])

    assert len(found("isolation", "posix/cpu")) == 1  # nobody knows what was in it
    path.write_text("posix/cpu\n")
    assert found("isolation", "posix/cpu") == [] and len(found("isolation", "posix/mem")) == 1
    assert found("master", str(path)) == []  # which the agent prints as the path
    path.write_text(json.dumps(ACLS))
    assert found("acls", ACLS_TEXT) == [] and len(found("acls", "permissive: true\n")) == 1
    path.unlink()
    os.mkfifo(path)
    assert len(found("isolation", "posix/cpu")) == 1


DEFAULT = 'LOGS=/var/log/mesos\nULIMIT="-n 8192"\nexport MASTER=`cat /etc/mesos/zk`\nIP=\n'
TAKEN = "".join(
    f"# taken over by mesos.containerizer: {line}" if line.startswith(("LOGS", "export")) else line
    for line in DEFAULT.splitlines(keepends=True)
)


@pytest.fixture
def packaged(host, tmp_path):
    """A host with the variables that the packages bring, and what a call says of them."""
    path = tmp_path / "default-mesos"
    path.write_text(DEFAULT)
    path.chmod(0o640)
    os.chown(path, 0, 65534)
    host.given = {"environment_files": [str(path)], "take_over_environment": True}
    return path


DOUBLED = {"log_dir": "/var/log/agent", "master": "zk://h/m", "gc_delay": "1days"}


def test_the_packages_variables_are_taken_over_and_given_back(host, packaged):
    refused = run_module(
        "agent_preflight_info", flags=DOUBLED, prefix=str(host.prefix), **{**host.given, "take_over_environment": False}
    )
    assert "sets LOGS, which" in refused["msg"] and "or let mesos_agent_take_over_defaults do it" in refused["msg"]
    assert not run_module("agent_preflight_info", flags=DOUBLED, prefix=str(host.prefix), **host.given).get("failed")

    host(flags={"gc_delay": "1days"}, **host.given)  # nothing of it is doubled yet
    assert packaged.read_text() == DEFAULT
    foreseen = host(check=True, flags=DOUBLED, **host.given)
    assert foreseen["actions"] == ["flags", "environment"] and packaged.read_text() == DEFAULT
    assert any(part["after"] == TAKEN for part in foreseen["diff"])
    assert host(flags=DOUBLED, **host.given)["generation"] == 2
    assert packaged.read_text() == TAKEN
    found = packaged.stat()
    assert (found.st_mode & 0o777, found.st_uid, found.st_gid) == (0o640, 0, 65534)
    assert not host(flags=DOUBLED, **host.given)["changed"]
    # One step back, forward again, and away.
    assert host("restored")["generation"] == 1 and packaged.read_text() == DEFAULT
    assert host("restored", generation=2)["changed"] and packaged.read_text() == TAKEN
    assert host("absent")["changed"]
    found = packaged.stat()
    assert packaged.read_text() == DEFAULT and (found.st_mode & 0o777, found.st_gid) == (0o640, 65534)


def test_a_failed_switch_gives_the_packages_variables_back(host, packaged, monkeypatch):
    def full(*args, **kwargs):
        assert packaged.read_text() == TAKEN
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")

    monkeypatch.setattr(change.FlagChange, "make", full)
    assert "were restored" in host(flags=DOUBLED, **host.given)["msg"]
    assert packaged.read_text() == DEFAULT


@pytest.mark.parametrize("value", ['"zk://a,\\\nzk://b"', '"zk://a', "$(cat \\", "`cat"])
def test_a_variable_over_several_lines_is_left_to_people(host, packaged, value):
    text = f"LOGS=/x\nMASTER={value}\n"
    packaged.write_text(text)
    said = run_module("agent_preflight_info", flags=DOUBLED, prefix=str(host.prefix), **host.given)["problems"]
    assert [f"sets {name}, which" in problem for name, problem in zip(("LOGS", "MASTER"), said)] == [True, True]
    host(flags=DOUBLED, **host.given)
    assert packaged.read_text() == text
