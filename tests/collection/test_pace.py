"""How fast a rollout goes and what it may lose, decided by what it has recorded and at a constant price a host."""

from __future__ import annotations

from importlib import import_module

import pytest
import yaml

from ..lib.collection import PLUGINS, hostvars
from ..lib.shim import CHECKOUT

TASKS = CHECKOUT / "collection/roles/mesos_agent/tasks"
NAMES = ["canary", "a", "b", "c", "d"]


def states(**hosts):
    return hostvars(**{name: {"state": state} if state else {} for name, state in hosts.items()})


def stopped(found, allowed=0, batch=(), present=NAMES):
    function = import_module(f"{PLUGINS}.filter.rollout_stopped").rollout_stopped
    return function(NAMES, found, present, allowed, batch)


def pace(**variables):
    function = import_module(f"{PLUGINS}.filter.rollout_pace").rollout_pace
    return function({f"mesos_agent_rollout_{name}": value for name, value in variables.items()})


def summary(names, found):
    return import_module(f"{PLUGINS}.filter.rollout_summary").rollout_summary(names, found)


def test_nothing_stops_a_rollout_that_has_just_begun():
    assert stopped(states(**dict.fromkeys(NAMES, ""))) == []
    assert stopped(states(), batch=["canary"]) == []


@pytest.mark.parametrize("state", ["begun", "failed", "unreachable"])
def test_a_lost_host_stops_a_rollout_that_may_lose_none(state):
    """One that has begun and recorded no end has died in the middle."""
    assert stopped(states(canary="done", a=state), batch=["b"]) == ["a"]


def test_so_many_hosts_may_be_lost_and_no_more():
    one = states(canary="done", a="failed", b="done")
    two = states(canary="done", a="failed", b="unreachable")
    assert stopped(one, 1, ["c"]) == [] and stopped(two, 2, ["c"]) == []
    assert stopped(two, 1, ["c"]) == ["a", "b"]
    assert stopped(one, 1, ["c"], present=["canary", "a", "c", "d"]) == ["a", "b"]  # b has left the play


def test_a_refused_host_stops_it_however_many_may_be_lost():
    assert stopped(states(canary="", b="refused"), 99) == ["b"]


def test_a_wave_that_nobody_has_confirmed_stops_all_others():
    assert stopped(states(canary="done", a="not confirmed"), 99, ["b"]) == ["a"]


def test_nothing_begins_after_hosts_of_which_none_has_come_through():
    assert stopped(states(canary="failed"), 99, ["a", "b"]) == ["canary"]
    assert stopped(states(canary="unreachable"), 99, ["a", "b"]) == ["canary"]
    assert stopped(states(canary="unreachable"), 99, ["canary", "a"]) == []  # a goes with it
    assert stopped(states(canary="unchanged", a="failed"), 99, ["b"]) == []


def test_a_host_that_waits_for_its_wave_is_not_lost_and_later_it_is():
    waiting = states(canary="done", a="passed")
    assert stopped(waiting, 0, ["a", "b"]) == []
    assert stopped(waiting, 0, ["c", "d"]) == ["a"]
    assert stopped(states(canary="passed"), 0, ["canary", "a"]) == []


@pytest.mark.parametrize(
    "waves", [[], "[]", "", 0, [0], [-1], ["-1"], ["1", "fifty"], "1,fifty", "[1", "[[1]]", True, None, [["1"]], ["0%"]]
)
def test_waves_that_are_none_are_a_problem(waves):
    (problem,) = pace(waves=waves)["problems"]
    assert problem.startswith("mesos_agent_rollout_waves is ") and "give a list of numbers and percentages" in problem


@pytest.mark.parametrize("waves", [[1, "25%", "100%"], [1], "50%", 3, ["1"], "1, 50%", "[1, 50%]", "1\n100%"])
def test_waves_are_numbers_and_percentages(waves):
    assert pace(waves=waves)["problems"] == []


def test_what_a_survey_gives_as_text_is_a_number():
    found = pace(max_failures="2", in_flight=20, bake=" 600 ", confirm="yes", change="CHG-17")
    wanted = {"max_failures": 2, "in_flight": 20, "bake": 600, "confirm": True, "change": "CHG-17", "result": ""}
    assert found == {**wanted, "problems": []}
    found = pace()
    del found["change"]
    assert found == {"max_failures": 0, "in_flight": 0, "bake": 0, "confirm": False, "result": "", "problems": []}


def test_every_change_has_an_id_of_its_own():
    ids = [pace()["change"] for _ in range(3)]
    assert len(set(ids)) == 3 and all(len(name) == 21 for name in ids), ids
    (problem,) = pace(change="a b")["problems"]
    assert problem == 'mesos_agent_rollout_change is "a b": give at most 64 letters, digits and ._-'


@pytest.mark.parametrize("value", ["two", -1, "", True, None, 1.5, "10%", "²"])
@pytest.mark.parametrize("name", ["max_failures", "in_flight", "bake"])
def test_what_is_no_number_is_a_problem_by_its_name(name, value):
    (problem,) = pace(**{name: value})["problems"]
    assert problem.startswith(f"mesos_agent_rollout_{name} is ") and "give a number" in problem


def test_changes_to_take_back_are_a_list():
    found = import_module(f"{PLUGINS}.filter.rollout_pace").rollout_pace
    assert found({"mesos_agent_rollback_change": "a, b"})["problems"] == []
    (problem,) = found({"mesos_agent_rollback_change": "[a"})["problems"]
    assert problem == 'mesos_agent_rollback_change is "[a": give the ids of changes with commas between them'


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("result.json", "give the absolute path of a file"),
        ("/", "give the absolute path of a file"),
        ("/no/such/result.json", "the controller has no directory /no/such; make it"),
    ],
)
def test_a_result_that_cannot_be_written_is_a_problem(path, why):
    assert pace(result=path)["problems"] == [f'mesos_agent_rollout_result is "{path}": {why}']


def test_a_confirmation_is_true_or_false():
    assert pace(confirm="maybe")["problems"] == ['mesos_agent_rollout_confirm is "maybe": give true or false']


def test_a_reason_is_there_once_with_the_hosts_that_it_holds_for():
    full = {"state": "refused", "why": "the disk is full"}
    lines = summary(NAMES, hostvars(canary={"state": "failed", "why": "no agent"}, a=full, b=full, c={}))
    assert lines == [
        "canary  failed: no agent",
        "a, b    refused: the disk is full",
        "c       not started",
        "d       not looked at",
        "5 hosts: 1 failed, 1 not looked at, 1 not started, 2 refused",
    ]


def test_the_summary_names_the_change_that_was_made():
    made = {"state": "done", "switched": {"changed": True, "pending": True}}
    back = {"state": "done", "switched": {"changed": True}}
    none = {"state": "unchanged", "switched": {"changed": False, "pending": False}}
    function = import_module(f"{PLUGINS}.filter.rollout_summary").rollout_summary
    said = [any("CHG-1" in line for line in function(["a"], hostvars(a=it), 0, "CHG-1")) for it in (made, back, none)]
    assert said == [True, False, False]


def going_back(change, generation=2, changed=True, chosen=False):
    places = {"before": {"generation": generation}, "after": {"generation": generation - changed}}
    return {"planned": {"changed": changed, "change": change, **places}, "chosen": chosen}


def plan(**records):
    names = list(records)
    return import_module(f"{PLUGINS}.filter.rollback_plan").rollback_plan(names, hostvars(**records))


def test_a_rollback_says_what_it_is_about_to_do():
    left = going_back("CHG-1", changed=False)
    found = plan(a=going_back("CHG-2"), b=going_back("CHG-2"), c=left, d={"state": "refused"})
    assert found == {
        "lines": ["a, b: 2 (no shim) -> 1 (no shim), takes back change CHG-2", "c: nothing to do"],
        "problem": "",
    }


def test_a_rollback_of_different_changes_is_refused_by_their_ids():
    many = {f"h{number}": going_back("CHG-1") for number in range(6)}
    assert plan(a=going_back("CHG-2"), b=going_back(None), **many)["problem"] == (
        "the hosts are in different changes, CHG-2 (a), a change without an id (b), CHG-1 (h0, h1, h2 and 3 more); say "
        "which to take back, for example with -e mesos_agent_rollback_change=CHG-2, or choose hosts with --limit"
    )
    two = plan(a=going_back("CHG-2"), b=going_back("CHG-1"))["problem"]
    assert two.startswith("the hosts are in different changes, CHG-2 (a), CHG-1 (b); ")
    chosen = plan(a=going_back("CHG-2", chosen=True), b=going_back("CHG-1", chosen=True))
    assert chosen["problem"] == "" and len(chosen["lines"]) == 2
    assert plan(a=going_back(None), b=going_back(None))["problem"] == ""  # as earlier releases have left them


@pytest.mark.parametrize(
    ("before", "after", "down"),
    [
        ("0.2.0-5f2c9e0b7a41", "0.1.0-0d9be1aa4c07", True),
        ("0.10.0-5f2c9e0b7a41", "0.9.3-0d9be1aa4c07", True),
        ("0.2.0-5f2c9e0b7a41", "0.2.0.dev1-0d9be1aa4c07", True),
        ("0.2.1-5f2c9e0b7a41", "0.2-0d9be1aa4c07", True),
        ("0.2.0.dev1-5f2c9e0b7a41", "0.2.0-0d9be1aa4c07", False),
        ("0.9.0-5f2c9e0b7a41", "0.10.0-0d9be1aa4c07", False),
        ("0.2.0-5f2c9e0b7a41", "0.2.0-0d9be1aa4c07", False),  # other contents, the same version
        (None, "0.1.0-0d9be1aa4c07", False),
        ("0.1.0-0d9be1aa4c07", None, False),
    ],
)
def test_a_downgrade_is_said(before, after, down):
    switched = {"changed": True, "before": {"generation": 1, "release": before}}
    switched["after"] = {"generation": 2, "release": after}
    (line, _total) = summary(["a"], hostvars(a={"state": "done", "switched": switched}))
    assert (", a downgrade" in line) == down, line


def test_a_thousand_unchanged_hosts_are_two_lines():
    names = [f"h{number}" for number in range(1000)]
    done = {"state": "unchanged", "switched": {"changed": False}, "began": 1.0}
    found = hostvars(**{name: {**done, "ended": 2 + number / 1000} for number, name in enumerate(names)})
    lines = summary(names, found)
    assert lines == [f"{', '.join(names)}  unchanged  nothing to do  1.0 to 2.0 s", "1000 hosts: 1000 unchanged"]


def test_a_checkout_is_packed_once_a_run_and_not_once_a_host(tmp_path, monkeypatch):
    releases = import_module(f"{PLUGINS}.plugin_utils._release_archive")
    packed = []

    def archives(*given):
        packed.append(given)
        return {"any": releases.Archive("0.1-abc", "abc", b"archive of %d" % len(packed))}

    monkeypatch.setattr(releases, "archives", archives)
    first, second = (releases.kept(str(tmp_path), None, None, None) for _ in range(2))
    assert first == second and first["any"].content == b"archive of 1" and first["any"].name == "0.1-abc"
    assert releases.kept(str(tmp_path), "other.tar.gz", None, None)["any"].content == b"archive of 2"
    assert packed == [(None, None, None), ("other.tar.gz", None, None)]


def plays():
    """(playbook, play) of every play on hosts of the fleet that may connect to them."""
    for path in sorted((CHECKOUT / "collection/playbooks").glob("*.yml")):
        for play in yaml.safe_load(path.read_text()):
            if play["hosts"] != "localhost" and "ansible_pipelining" in play.get("vars", {}):
                yield path.stem, play


def test_a_pulled_cable_costs_seconds_and_no_task_waits_for_ever():
    """Of a play, `timeout` is each task's; the master of a shared connection is one that these plays have made."""
    found = list(plays())
    assert {"rollout", "rollback", "site", "verify", "report", "uninstall", "usage"} <= {name for name, _ in found}
    for name, play in found:
        assert play["timeout"] == 600 or name == "report", name
        for variable, term in {"ssh_extra_args": "extra_args", "control_path_dir": "control_path_dir"}.items():
            asked = f"{{{{ lookup('mesos.containerizer.keepalive', '{term}') }}}}"
            assert play["vars"][f"ansible_{variable}"] == asked, name


def test_a_task_that_waits_longer_has_a_bound_by_what_it_waits_for():
    waiting = [t for name in ("gate", "drain") for t in yaml.safe_load((TASKS / f"{name}.yml").read_text())]
    waiting = [t for t in waiting if any("timeout" in (v if isinstance(v, dict) else {}) for v in t.values())]
    assert len(waiting) == 2 and all("| int + 120 }}" in task["timeout"] for task in waiting)


def test_what_the_operator_says_of_ssh_goes_before_the_keepalive(monkeypatch):
    """ssh_config(5): the first value counts."""
    keepalive = import_module(f"{PLUGINS}.lookup.keepalive")

    def ask(term, value):
        monkeypatch.setattr(keepalive, "option", lambda *_: (value, value is not None))
        return keepalive.LookupModule().run([term], {})

    keep = "-o ServerAliveInterval=5 -o ServerAliveCountMax=3"
    assert ask("extra_args", None) == [keep]
    assert ask("extra_args", "-o ServerAliveInterval=60") == [f"-o ServerAliveInterval=60 {keep}"]
    assert ask("control_path_dir", "/run/cp") == ["/run/cp/mesos"]


def tasks(found):
    """Every task, those in blocks too."""
    for task in found:
        yield task
        yield from tasks([*task.get("block", []), *task.get("rescue", [])])


def test_what_looks_at_all_hosts_is_asked_once_and_not_by_each():
    """Else a fleet pays for it by the square of its size."""
    looking = {}
    for path in TASKS.glob("*.yml"):
        for task in tasks(yaml.safe_load(path.read_text())):
            # What is in a block is looked at by itself.
            text = yaml.safe_dump({key: value for key, value in task.items() if key not in ("block", "rescue")})
            if "hostvars" in text or "ansible_play_hosts_all |" in text or "ansible_play_hosts_all\n" in text:
                looking[f"{path.name}: {task['name']}"] = task.get("run_once", False)
    assert looking and all(looking.values()), looking
