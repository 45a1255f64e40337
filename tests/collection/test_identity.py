"""Which agent a host comes back as: its link is set aside for a new one, and put back with the generation."""

from __future__ import annotations

import functools
import os
from importlib import import_module

import pytest

from tests.lib.collection import PLUGINS, tree
from tests.lib.generations import Generations, killed_at

identity = import_module(f"{PLUGINS}.module_utils._agent_identity")
effects = import_module(f"{PLUGINS}.module_utils._flag_effects")
values = import_module(f"{PLUGINS}.module_utils._flag_values")
activate = import_module(f"{PLUGINS}.module_utils._generation_activate")
FLAGS = import_module(f"{PLUGINS}.module_utils._flag_table").FLAGS


class Registered(Generations):
    """A host whose agent has registered before the shim came."""

    def __init__(self, root):
        super().__init__(root)
        self.slaves = root / "work/meta/slaves"
        self.slaves.mkdir(parents=True)
        self.work_dir = str(root / "work")
        (self.flags_dir / "attributes").mkdir(parents=True)
        (self.flags_dir / "attributes/rack").write_text("a\n")
        (self.flags_dir / "work_dir").write_text(f"{self.work_dir}\n")
        self.register("S0")

    def register(self, name):
        """What an agent does that has no link: it makes one to its new id's directory."""
        assert not os.path.lexists(self.slaves / "latest")
        (self.slaves / name).mkdir()
        (self.slaves / "latest").symlink_to(name)

    def to(self, rack, days="1days", **args):
        flags = {"attributes": {"rack": rack}, "work_dir": self.work_dir, "gc_delay": days}
        done = self(flags=flags, allow_incompatible=["attributes"], **args)
        assert "failed" not in done, done
        return done

    @property
    def links(self):
        return {path.name: os.readlink(path) for path in self.slaves.iterdir() if path.is_symlink()}


@pytest.fixture
def host(tmp_path):
    return Registered(tmp_path)


def test_a_change_that_the_agent_recovers_from_leaves_its_link(host):
    assert "identity" not in host.to("a", "2days")["actions"]
    assert host.links == {"latest": "S0"}


def test_the_link_goes_and_comes_with_the_generations(host):
    host.to("a")
    before = tree(host.flags_dir.parent.parent)
    foreseen = host.to("b", check=True)
    assert "identity" in foreseen["actions"] and tree(host.flags_dir.parent.parent) == before
    host.to("b")
    assert host.links == {"latest.generation-0": "S0"}
    host.register("S2")
    host.to("b", "3days")
    host.to("c")
    assert host.links == {"latest.generation-0": "S0", "latest.generation-2": "S2"}
    host.register("S4")
    assert not host("restored")["same_agent"]
    assert host.links == {"latest.generation-0": "S0", "latest": "S2", "latest.generation-4": "S4"}
    assert host("restored")["same_agent"]  # generations 3 and 2 have the same one
    assert host.links["latest"] == "S2"
    host("restored")
    assert host.links == {"latest": "S0", "latest.generation-2": "S2", "latest.generation-4": "S4"}
    host("restored", generation=4)
    assert host.links == {"latest.generation-0": "S0", "latest.generation-2": "S2", "latest": "S4"}
    host("absent")
    assert host.links["latest"] == "S0" and sorted(host.links.values()) == ["S0", "S2", "S4"]


def test_an_agent_that_never_registered_anew_is_taken_back_as_it_was(host):
    host.to("a")
    host.to("b", confirm=False)
    back = host("restored", pending_only=True)
    assert back["generation"] == 1 and back["same_agent"] and host.links == {"latest": "S0"}


def test_a_link_that_an_earlier_installation_has_left_stays(host):
    (host.slaves / "latest.generation-0").symlink_to("S9")
    host.to("b")
    assert host.links == {"latest.generation-0": "S9", "latest.generation-0.2": "S0"}
    host("restored")
    assert host.links == {"latest.generation-0": "S9", "latest": "S0"}


def test_an_identity_that_the_agent_has_removed_is_not_put_back(host):
    """It removes what earlier agents have left after gc_delay; a link that leads nowhere would end it."""
    host.to("b")
    host.register("S2")
    (host.slaves / "S0").rmdir()
    host("restored")
    assert host.links == {"latest.generation-0": "S0", "latest.generation-1": "S2"}


def test_another_work_dir_has_agents_of_its_own(host, tmp_path):
    flags = {"attributes": {"rack": "b"}, "work_dir": str(tmp_path / "other")}
    host(flags=flags, allow_incompatible=["attributes", "work_dir"])
    assert host.links == {"latest": "S0"}


@pytest.mark.parametrize("way", ["finish", "take back", "roll back"])
def test_a_kill_at_any_step_leaves_one_agent(tmp_path, way):
    for step in range(100):
        (tmp_path / str(step)).mkdir()
        host = Registered(tmp_path / str(step))
        host.to("a")
        if way == "roll back":
            host.to("b")
            host.register("S2")
            killed = killed_at(step, functools.partial(host, "restored", generation=1))
            assert "failed" not in host("restored", generation=1)
            assert host.links == {"latest": "S0", "latest.generation-2": "S2"}, step
        else:
            killed = killed_at(step, functools.partial(host.to, "b", confirm=False))
            if not os.path.lexists(host.slaves / "latest"):
                host.register("S2")
            registered = "S2" in host.links.values()
            if way == "finish":
                host.to("b")
                assert host.links == {"latest.generation-0": "S0"} | ({"latest": "S2"} if registered else {}), step
            else:
                host("restored", pending_only=True)
                assert host.links["latest"] == "S0", step
        if not killed:
            break
    assert step > 5


def test_running_containers_are_not_given_up_for_a_new_identity(host, monkeypatch):
    host.to("a")
    before = tree(host.flags_dir.parent.parent)
    running = {"c-1": {"pid": os.getpid(), "start_time": 0}}
    monkeypatch.setattr(activate.Activation, "ask", lambda self, service: activate.AgentBefore("S0", running))
    monkeypatch.setattr(activate, "alive", lambda containers: containers)
    flags = {"attributes": {"rack": "b"}, "work_dir": host.work_dir}
    refused = host(flags=flags, allow_incompatible=["attributes"])
    assert "under a new id, which ends the 1 containers that run (c-1): drain the host first" in refused["msg"]
    assert tree(host.flags_dir.parent.parent) == before
    host.to("a", "2days")
    host.to("b", allowed_losses=1)
    assert "latest" not in host.links


def setting(name, value):
    return None if value is None else values.checked_settings({name: value}, FLAGS)[0][name]


# By compatibility.cpp of 1.11.0.
@pytest.mark.parametrize(
    ("name", "before", "after", "adds"),
    [
        ("resources", {"cpus": 4}, {"cpus": 8}, True),
        ("resources", {"cpus": 4}, {"cpus": 2}, False),
        ("resources", {"cpus": 4}, {"cpus": 4, "x": "{a}"}, True),
        ("resources", {"cpus": 4}, {"cpus": 4, "mem": 100}, False),  # it was what the agent had found out
        ("resources", {"cpus": 4, "x": 1}, {"cpus": 4}, False),
        ("resources", {"ports": "[1-5,6-9]"}, {"ports": "[1-9]"}, True),
        ("resources", {"ports": "[1-5]"}, {"ports": "[2-5]"}, False),
        ("resources", {"x": "{a}"}, {"x": "{a,b}"}, True),
        ("resources", {"x": "{a,b}"}, {"x": "{a}"}, False),
        ("resources", {"x": "{a}"}, {"x": 1}, False),
        ("resources", "cpus(a):4", "cpus(a):8", False),  # roles are not compared here
        ("resources", None, {"cpus": 4}, False),
        ("attributes", None, {"rack": "a"}, True),
        ("attributes", {"rack": "a"}, {"rack": "a", "zone": "b"}, True),
        ("attributes", {"rack": "a"}, {"rack": "b"}, False),
        ("attributes", {"rack": "a"}, None, False),
        ("attributes", {"n": 1}, {"n": 2}, False),
        ("attributes", {"n": "[1-2]"}, {"n": "[1-3]"}, True),
        ("attributes", "rack:a;n:1", {"n": 1, "rack": "a"}, True),
        ("hostname", "a", "b", False),
        ("domain", None, {"fault_domain": {}}, True),
    ],
)
def test_what_only_adds(name, before, after, adds):
    assert identity.adds(name, setting(name, before), setting(name, after)) is adds


def test_an_agent_that_is_told_to_takes_what_only_adds(host):
    flags = {"attributes": {"rack": "a", "zone": "b"}, "work_dir": host.work_dir}
    refused = host(flags=flags)["msg"]
    assert "or set the flag reconfiguration_policy to additive" in refused
    taken = host(flags={**flags, "reconfiguration_policy": "additive"})
    assert {c["name"]: c["effect"] for c in taken["changed_flags"]} == {
        "attributes": "restart",
        "reconfiguration_policy": "restart",
    }
    assert taken["same_agent"] and host.links == {"latest": "S0"}
    other = host(flags={**flags, "attributes": {"rack": "b", "zone": "b"}, "reconfiguration_policy": "additive"})
    assert "part of the agent's identity" in other["msg"] and "or set" not in other["msg"]


def test_an_agent_before_1_5_has_no_policy():
    limits = import_module(f"{PLUGINS}.module_utils._agent_limits")
    policy = {"reconfiguration_policy": setting("reconfiguration_policy", "additive")}
    said = limits.values([(1, 4)], policy)
    assert said == ["flag reconfiguration_policy: it does not exist before Mesos 1.5, and this is 1.4"]
    assert limits.values([(1, 5)], policy) == []
