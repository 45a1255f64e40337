"""Two runs at once are one run and one refusal: the claim of a run on its hosts."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.lib.collection import (
    PLUGINS,
    LocalFleet,
    LocalHost,
    Playbook,
    neutral_environment,
    run_module,
    summary,
    tree,
)
from tests.lib.shim import CHECKOUT
from tests.lib.waiting import wait_until

pytestmark = pytest.mark.timeout(600)

claims = import_module(f"{PLUGINS}.plugin_utils._claims")
run_claim = import_module(f"{PLUGINS}.module_utils._run_claim")
generations = import_module(f"{PLUGINS}.module_utils._generations")

SILENT = {"mesos_agent_url": "http://127.0.0.1:9", "mesos_agent_gate_timeout": 0}  # no agent: the gate fails


class Run:
    """A run of ansible-playbook of its own, which can be held before a module on one of its hosts."""

    def __init__(self, root: Path, checkout: Path, hosts: list[LocalHost], number: int) -> None:
        self.home, self.checkout, self.hosts = root / f"run-{number}", checkout, hosts
        self.process: subprocess.Popen[str] | None = None
        for host in hosts:
            (self.home / host.root.name).mkdir(parents=True)
            shutil.copy(Path(__file__).with_name("held_python.py"), self.home / host.root.name / "python3")

    def hold(self, host: LocalHost, module: str) -> None:
        (self.home / host.root.name / "hold").write_text(module)

    def go_on(self, host: LocalHost | None = None) -> None:
        for hold in self.home.glob(f"{host.root.name if host else '*'}/hold"):
            hold.unlink()

    def begin(self, playbook: str, *arguments: str, inside: tuple[str, ...] = (), **variables: Any) -> Run:
        known = {
            host.root.name: {
                **host.variables,
                "ansible_python_interpreter": str(self.home / host.root.name / "python3"),
                **variables,
            }
            for host in self.hosts
        }
        inventory = self.home / "inventory.json"
        inventory.write_text(json.dumps({"mesos_agents": {"hosts": known}}))
        env = neutral_environment()
        command = [str(CHECKOUT / ".venv/bin/ansible-playbook"), f"playbooks/{playbook}.yml", "-i", str(inventory)]
        self.process = subprocess.Popen(
            [*inside, *command, *arguments],
            cwd=self.checkout,
            env={**env, "ANSIBLE_NOCOLOR": "1", "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        return self

    def wait_held(self, host: LocalHost) -> Run:
        wait_until((self.home / host.root.name / "reached").exists, f"{host.root.name} is held")
        return self

    def end(self) -> Playbook:
        assert self.process is not None
        out = self.process.communicate(timeout=400)[0]
        # A warning is folded to the width of the terminal.
        return Playbook(subprocess.CompletedProcess([], self.process.returncode, out, ""))

    def play(self, playbook: str, *arguments: str, **variables: Any) -> Playbook:
        return self.begin(playbook, *arguments, **variables).end()

    def kill(self) -> None:
        """As by kill -9 of the controller; what it has started on a host goes on."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.go_on()


@pytest.fixture
def hosts(fleet: LocalFleet) -> list[LocalHost]:
    """Two hosts, installed."""
    found = [fleet.host("a"), fleet.host("b")]
    done = fleet.site({host: {} for host in found})
    assert done.code == 0, done.text
    return found


@pytest.fixture
def run(fleet: LocalFleet, public_dir: Path) -> Iterator[Any]:
    """Makes runs: run(host, …)."""
    runs: list[Run] = []

    def make(*hosts: LocalHost) -> Run:
        runs.append(Run(public_dir, fleet.checkout, list(hosts), len(runs)))
        return runs[-1]

    yield make
    for item in runs:
        item.go_on()
        if item.process is not None and item.process.poll() is None:
            item.process.kill()
            item.process.wait()


def claim(host: LocalHost) -> dict[str, Any] | None:
    path = host.prefix / "generations/claim.json"
    return json.loads(path.read_text()) if path.exists() else None


def state(host: LocalHost) -> dict[str, Any]:
    return json.loads((host.prefix / "generations/state.json").read_text())


def flag(host: LocalHost) -> str | None:
    path = host.root / "etc/mesos-slave/gc_delay"
    return path.read_text().strip() if path.exists() else None


def delay(host: LocalHost, days: int) -> dict[str, Any]:
    return {"mesos_agent_flags": {**host.variables["mesos_agent_flags"], "gc_delay": f"{days}days"}}


def states(done: Playbook) -> dict[str, str]:
    return {name: how for name, (how, _) in summary(done.text, "ab").items()}


# --- whole runs


def test_two_rollouts_that_meet_are_one_rollout_and_one_refusal(hosts, run):
    """Each has claimed one host and comes to the other's: the later one gives way, and has switched nothing."""
    a, b = hosts
    first, second = run(a, b), run(b, a)
    for one, days in ((first, 1), (second, 2)):  # both have looked at both hosts before either claims one
        one.hold(a, "shim_release")
        one.hold(b, "shim_release")
        one.begin("rollout", **delay(a, days)).wait_held(a).wait_held(b)
    first.go_on(a)
    second.go_on(b)
    wait_until(lambda: claim(a) and claim(b), "each has claimed a host")
    assert claim(a)["pid"] == first.process.pid and claim(b)["pid"] == second.process.pid
    first.go_on()  # it meets the later one's claim, and waits
    second.go_on()
    refused, done = second.end(), first.end()
    assert done.code == 0 and states(done) == {"a": "done", "b": "done"}, done.text
    assert refused.code != 0 and states(refused) == {"a": "refused", "b": "not started"}, refused.text
    assert f"process {first.process.pid}, since 20" in refused.text and "which is still at work" in refused.text
    assert [flag(host) for host in hosts] == ["1days"] * 2
    assert [claim(host) for host in hosts] == [None, None]
    assert [state(host)["good"] for host in hosts] == [2, 2]


def test_a_living_runs_host_is_refused_by_every_playbook_that_would_change_it(hosts, run):
    """Its pending generation is no stopped run's."""
    a, b = hosts
    busy = run(a, b)
    busy.hold(a, "agent_gate")
    slow = {**SILENT, "mesos_agent_gate_timeout": 600}
    busy.begin("rollout", "-e", "mesos_agent_rollout_change=CHG-7", **delay(a, 1), **slow).wait_held(a)
    assert claim(a)["id"] == "CHG-7" and oct((a.prefix / "generations/claim.json").stat().st_mode) == "0o100600"
    before = [tree(host.root) for host in hosts]
    assert state(a)["pending"] == 2
    others = [run(a, b).begin(name, **delay(a, 2)) for name in ("rollout", "site", "rollback", "uninstall")]
    for done in [other.end() for other in others]:
        assert done.code != 0, done.text
        assert "claimed by the run CHG-7 (" in done.text and "which is still at work" in done.text, done.text
    assert [tree(host.root) for host in hosts] == before
    verified = run(a, b).play("verify", **delay(a, 1))
    assert "claimed" not in verified.text, verified.text
    assert state(a)["pending"] == 2 and claim(a)["pid"] == busy.process.pid


def test_a_killed_runs_claim_is_taken_over_and_that_is_said(hosts, run):
    a, b = hosts
    killed = run(a, b)
    killed.hold(a, "agent_gate")
    killed.begin("rollout", **delay(a, 1), **SILENT).wait_held(a)
    pid, name = killed.process.pid, claim(a)["id"]
    killed.kill()
    assert claim(a) and claim(b) and state(a)["pending"] == 2
    done = run(a, b).play("rollout", **delay(a, 1))
    assert done.code == 0 and states(done) == {"a": "done", "b": "done"}, done.text
    said = " ".join(done.text.split())
    for host in "ab":
        assert f"{host}: took over from the run {name} (" in said and f"process {pid}" in said, done.text
    assert [claim(host) for host in hosts] == [None, None] and [state(host)["good"] for host in hosts] == [2, 2]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a process namespace stands for another controller")
def test_another_controllers_claim_is_taken_over_by_its_id_alone(hosts, run):
    a, b = hosts
    other = run(a, b)
    other.hold(a, "agent_gate")
    elsewhere = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
    other.begin("rollout", inside=elsewhere, **delay(a, 1), **SILENT).wait_held(a)
    name = claim(a)["id"]
    before = [tree(host.root) for host in hosts]

    def refused(*arguments):
        done = run(a, b).play("rollout", *arguments, **delay(a, 2))
        assert done.code != 0 and states(done) == {"a": "refused", "b": "refused"}, done.text
        line = f"if it is not, take over with -e mesos_agent_rollout_take_over={name}"
        assert "nobody can tell whether that is still at work" in done.text and line in done.text, done.text
        assert [tree(host.root) for host in hosts] == before

    refused()
    other.kill()
    refused("-e", "mesos_agent_rollout_take_over=CHG-1")
    done = run(a, b).play("rollout", "-e", f"mesos_agent_rollout_take_over={name}", **delay(a, 2))
    assert done.code == 0 and states(done) == {"a": "done", "b": "done"}, done.text
    assert " ".join(done.text.split()).count(f"took over from the run {name} (") == 2, done.text
    assert [flag(host) for host in hosts] == ["2days"] * 2 and [claim(host) for host in hosts] == [None, None]


def test_a_run_that_has_lost_its_claim_switches_nothing(hosts, run):
    """Somebody has named it as ended, and it had only stood still."""
    a, b = hosts
    slow = run(a, b)
    slow.hold(a, "agent_generation")
    slow.begin("rollout", **delay(a, 1)).wait_held(a)
    name = claim(a)["id"]
    done = run(a, b).play("rollout", "-e", f"mesos_agent_rollout_take_over={name}", **delay(a, 2))
    assert done.code == 0, done.text
    slow.go_on()
    done = slow.end()
    assert states(done) == {"a": "failed", "b": "not started"}, done.text
    assert "another run has taken over this host and ended meanwhile; nothing was changed" in done.text
    assert [flag(host) for host in hosts] == ["2days"] * 2 and [state(host)["good"] for host in hosts] == [2, 2]


def test_a_host_that_a_rollout_does_not_go_on_with_is_claimed_no_more(hosts, run):
    a, b = hosts
    done = run(a, b).play("rollout", **{**delay(a, 1), "mesos_shim_config": {"isolation": "no list"}})
    assert set(states(done).values()) == {"refused"} and [claim(host) for host in hosts] == [None, None], done.text
    full = run(a, b)
    done = full.play("rollout", **delay(a, 1), **SILENT)
    assert states(done) == {"a": "failed", "b": "not started"}, done.text
    assert [claim(host) for host in hosts] == [None, None]


def test_one_machine_under_two_names_is_refused_before_anything_is_switched(fleet):
    """Else both would be between switch and gate, and the second one's generation would lie upon the first one's."""
    a, b = fleet.host("a"), fleet.host("b")
    done, ended = fleet.rollout({a: {}, b: {**a.variables, **delay(a, 2)}})
    assert done.code != 0 and sorted(how for how, _ in ended.values()) == ["not started", "refused"], done.text
    assert re.search("this host is in the inventory twice, as (a and as b|b and as a): keep one of them", done.text)
    assert not Path(a.variables["mesos_agent_flags_dir"]).exists() and claim(a) is None


def test_what_site_has_made_is_one_change_on_all_hosts(hosts):
    made = [json.loads((host.prefix / "generations/1/generation.json").read_text()) for host in hosts]
    (name,) = {about["change"] for about in made}
    assert re.fullmatch("[0-9]{8}T[0-9]{6}Z-[0-9a-f]{4}", name)


def test_check_mode_claims_nothing(hosts, run):
    before = [tree(host.root) for host in hosts]
    checking = run(*hosts)
    checking.hold(hosts[0], "agent_generation")
    checking.begin("rollout", "--check", **delay(hosts[0], 1)).wait_held(hosts[0])
    assert [tree(host.root) for host in hosts] == before
    checking.go_on()
    assert states(checking.end()) == {"a": "would change", "b": "would change"}
    assert [tree(host.root) for host in hosts] == before


def test_on_a_new_host_a_refusal_leaves_nothing_of_a_claim(fleet, run):
    host = fleet.host("a")
    done = run(host).play("rollout", mesos_shim_config={"isolation": "no list"})
    assert states(done) == {"a": "refused"}, done.text
    assert list(host.root.iterdir()) == []


# --- one host


def me(**changed: object) -> dict[str, Any]:
    return {**claims.this_run("CHG-1", "a"), **changed}


@pytest.fixture
def place(tmp_path):
    """Calls a module on a prefix of its own for the run `by`."""

    def call(module, by=None, check=False, **args):
        return run_module(module, check, prefix=str(tmp_path / "opt"), run=by or me(), **args)

    call.flags = {"path": str(tmp_path / "etc/mesos-slave"), "flags": {"gc_delay": "2days"}}
    call.claim = tmp_path / "opt/generations/claim.json"
    return call


OTHER = {"pid": 1, "start": 7, "id": "CHG-2"}


def test_what_has_begun_is_claimed_until_it_is_confirmed(place):
    assert place("agent_generation", **place.flags, confirm=False)["pending"]
    assert json.loads(place.claim.read_text())["id"] == "CHG-1"
    for module, args in (
        ("agent_generation", place.flags),
        ("agent_generation_confirm", {}),
        ("agent_generation_restore", {"pending_only": True}),
        ("agent_generation_restore", {"plan": True}),
        ("agent_preflight_info", {**place.flags, "environment_files": []}),
        ("shim_uninstall", {}),
    ):
        for check in (False, True):
            refused = place(module, by=me(**OTHER), check=check, **args)
            assert refused["failed"] and refused["claimed_by"]["id"] == "CHG-1", refused
        if module in ("agent_generation", "agent_preflight_info"):  # as verify and report ask
            assert "failed" not in place(module, by=me(**OTHER), check=True, compare=True, **args)
    assert place("agent_generation_confirm")["changed"] and not place.claim.exists()


def test_a_switch_that_was_claimed_before_needs_that_claim(place):
    """Another run may have taken over and ended: what it has made is not what this one has looked at."""
    lost = place("agent_generation", **place.flags, claimed=True)
    assert "another run has taken over this host and ended meanwhile" in lost["msg"] and "claimed_by" not in lost
    assert not Path(place.flags["path"]).exists()
    assert place("agent_generation", **place.flags, claimed=True, check=True)["changed"]  # nothing is claimed there
    assert place("agent_generation", **place.flags)["changed"]


class Store:
    """A host's generations, of which `meanwhile` is done by somebody else until the lock is had."""

    def __init__(self, path: Path, meanwhile: Any) -> None:
        self.path, self._meanwhile = str(path), meanwhile
        self.state = self.read_state()

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        self._meanwhile()
        self.state = self.read_state()
        yield

    def read_state(self) -> Any:
        file = Path(self.path, "state.json")
        return json.loads(file.read_text()) if file.exists() else None


def test_who_waits_for_the_lock_looks_again_and_who_is_refused_does_not_wait(tmp_path):
    file, params = tmp_path / "claim.json", {"run": me(), "take_over": []}

    def other() -> None:
        file.write_text(json.dumps(me(**OTHER)))

    with pytest.raises(run_claim.ClaimError, match="claimed by the run CHG-2"):
        run_claim.Claim(Store(tmp_path, other), params, False).take()
    assert json.loads(file.read_text()) == me(**OTHER)

    def waited() -> None:
        raise AssertionError("its agent may take minutes to start")

    with pytest.raises(run_claim.ClaimError, match="claimed by the run CHG-2"):
        run_claim.Claim(Store(tmp_path, waited), params, False).take()
    run_claim.Claim(Store(tmp_path, lambda: None), {**params, "take_over": ["CHG-2"]}, False).take()
    mine = run_claim.Claim(Store(tmp_path, other), params, False)  # it was taken over before it could end its own
    assert mine.release() == "CHG-1" and json.loads(file.read_text()) == me(**OTHER)


@pytest.mark.parametrize("gone", [False, True])
def test_who_waits_for_a_run_that_switches_the_host_is_refused(tmp_path, monkeypatch, gone):
    """It was told of a run that would give way, and has inspected what is no longer there."""
    mine = me(began=5, start=5)
    (tmp_path / "claim.json").write_text(json.dumps(me(**{**OTHER, "began": 9, "start": 9})))

    def switched(_seconds: float) -> None:
        (tmp_path / "state.json").write_text('{"pending": 2}')
        if gone:
            (tmp_path / "claim.json").unlink()

    monkeypatch.setattr(run_claim.time, "sleep", switched)
    says = "has changed this host since it was inspected" if gone else "claimed by the run CHG-2"
    with pytest.raises(run_claim.ClaimError, match=says):
        run_claim.Claim(Store(tmp_path, lambda: None), {"run": mine, "take_over": []}, False).take(patient=True)
    assert (tmp_path / "claim.json").exists() is not gone


@pytest.mark.parametrize("key", ["host", "boot", "namespace", "pid", "start"])
def test_a_run_is_its_process_and_not_only_its_id(tmp_path, key):
    """An id may be the operator's (mesos_agent_rollout_change), and a pid comes again."""
    other = me(**{key: 7 if isinstance(me()[key], int) else "other"})
    (tmp_path / "claim.json").write_text(json.dumps(other))
    for ended in (None, me()):  # of which the controller knows that it has: that one, and no other
        params = {"run": {**me(pid=5), "ended": ended}, "take_over": []}
        mine = {"run": {**me(), "ended": ended}, "take_over": []}
        for run in (params, mine):
            claim = run_claim.Claim(Store(tmp_path, lambda: None), run, False)
            with pytest.raises(run_claim.ClaimError, match="claimed by the run CHG-1"):
                claim.take()
            assert claim.release() is None
    assert json.loads((tmp_path / "claim.json").read_text()) == other


def test_a_claim_that_nobody_can_read_is_respected(place):
    place("agent_generation", **place.flags)
    for text in ("{", "[]", '{"id": 5}'):
        place.claim.write_text(text)
        refused = place("agent_generation", path=place.flags["path"], flags={})
        assert refused["msg"] == f"{place.claim} is not a run's claim; remove it if no run is at work on this host"
        assert "claimed_by" not in refused and place.claim.read_text() == text


def test_a_plan_claims_the_host_and_a_failed_one_does_not(place):
    assert "no earlier generation" in place("agent_generation_restore", plan=True)["msg"] and not place.claim.exists()
    place("agent_generation", **place.flags, change="CHG-1")
    planned = place("agent_generation_restore", plan=True)
    assert planned["changed"] and planned["change"] == "CHG-1" and place.claim.exists()
    assert Path(place.flags["path"]).exists()
    assert place("agent_generation_restore")["changed"] and not place.claim.exists()
    assert not Path(place.flags["path"]).exists()


def test_a_claim_is_ended_by_its_run_or_by_its_id(place):
    place("agent_generation", **place.flags, confirm=False)
    assert place("agent_claim_release", by=me(**OTHER))["released"] is None
    foreseen = place("agent_claim_release", by=me(**OTHER), check=True, take_over=["CHG-1"])
    assert foreseen["released"] == "CHG-1" and place.claim.exists()
    assert place("agent_claim_release", by=me(**OTHER), take_over=["CHG-1"])["released"] == "CHG-1"
    assert not place.claim.exists() and not place("agent_claim_release")["changed"]
    place("agent_generation", path=place.flags["path"], flags={}, confirm=False)
    assert place("agent_claim_release")["changed"] and not place.claim.exists()


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ({"start": 5, "pid": 9}, {"start": 7, "pid": 3}),
        ({"start": 7, "pid": 3}, {"start": 7, "pid": 9}),
        ({"began": 100, "boot": "b", "start": 9}, {"began": 200, "boot": "a", "start": 1}),
        ({"began": 100, "boot": "a", "start": 9}, {"began": 100, "boot": "b", "start": 1}),
    ],
)
def test_of_two_runs_both_agree_which_began_before(earlier, later):
    def before(one, other):
        params = {"run": me(**one), "take_over": []}
        return run_claim.Claim(generations.Store("/nowhere"), params, False)._began_before(me(**other))

    assert before(earlier, later) and not before(later, earlier)
    assert not before({**earlier, "began": 0}, later) and not before(earlier, {**later, "began": 0})


# --- the controller


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)


def test_a_process_lives_while_it_is_there_and_the_one_that_it_was():
    with sleeper() as process:
        living = me(**claims._process.__wrapped__(process.pid))
        assert claims.living(living) is True
        assert claims.living({**living, "start": living["start"] - 1}) is False  # its number was given again
        process.send_signal(signal.SIGKILL)
        wait_until(lambda: Path(f"/proc/{process.pid}/stat").read_text().split()[2] == "Z", "it has ended")
        assert claims.living(living) is False  # nobody has taken its status yet
    assert claims.living(living) is False
    assert claims.living({**living, "pid": 1 << 70}) is not True


@pytest.mark.parametrize("key", ["boot", "namespace"])
def test_of_another_controllers_process_nothing_is_known(key):
    assert claims.living(me()) is True
    assert claims.living(me(**{key: "another"})) is None
    assert claims.living(me(**{key: ""})) is None


def test_a_process_that_proc_does_not_show_is_not_taken_for_dead(monkeypatch):
    """As with hidepid (proc(5))."""
    living = me(pid=1, start=5)
    text = claims._text
    monkeypatch.setattr(claims, "_text", lambda path: "" if path == "/proc/1/stat" else text(path))
    assert claims.living(living) is None


def test_a_run_without_a_change_has_an_id_of_its_own():
    first = claims.this_run()["id"]
    assert first == claims.this_run("")["id"] and len(first) == 21
    with sleeper() as process:
        assert claims._id(claims._process.__wrapped__(process.pid)) != first
        process.communicate()


def test_what_a_host_says_of_a_claim_is_shown_as_text():
    line = claims.refusal(me(id="\x1b[2J" + "x" * 500, user="a\nb"), None)
    assert line.isprintable() and len(line) < 500
