"""The question between two waves, answered at a terminal and where there is none."""

from __future__ import annotations

import contextlib
import json
import subprocess
import termios

import pytest

from tests.lib.collection import LocalFleet, summary
from tests.lib.shim import CHECKOUT
from tests.lib.terminals import Terminal
from tests.lib.waiting import wait_until

pytestmark = pytest.mark.timeout(600)

PACE = {"mesos_agent_rollout_confirm": True, "mesos_agent_rollout_waves": [1]}
SECONDS = 200  # a wave has several tasks, and other tests run beside this one
QUESTION = "The next wave is %s. Answer yes to begin it"
NOBODY = "nobody has answered yes at a terminal; run it again to go on"


@pytest.fixture
def command(fleet: LocalFleet) -> list[str]:
    """A rollout over three hosts, a wave each."""
    hosts = [fleet.host(name) for name in "abc"]
    done = fleet.site(dict.fromkeys(hosts, PACE))
    assert done.code == 0, done.text
    inventory = fleet.root / "inventory.json"
    known = json.loads(inventory.read_text())
    for variables in known["mesos_agents"]["hosts"].values():
        variables["mesos_agent_flags"]["gc_delay"] = "2days"
    inventory.write_text(json.dumps(known))
    program = str(CHECKOUT / ".venv/bin/ansible-playbook")
    return ["env", "ANSIBLE_NOCOLOR=1", program, "playbooks/rollout.yml", "-i", str(inventory)]


def answer_question(terminal: Terminal, answer: str) -> None:
    """Ansible reads from a raw terminal, and throws away what was typed until it begins to."""

    def raw() -> bool:
        return not terminal.modes[3] & termios.ICANON

    wait_until(raw, "the question's raw terminal", SECONDS)
    for _ in range(10):
        terminal.type(answer + "\r")
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: not raw(), "the answer was read", 5)
            return
    raise AssertionError("no answer is read")


def at_a_terminal(fleet: LocalFleet, command: list[str], *answers: tuple[str, str]) -> tuple[int, dict[str, str], str]:
    """(exit status, {host: state}, what was shown after the last question), with each question's answer."""
    terminal = Terminal(command, cwd=fleet.checkout)
    try:
        for wave, answer in answers:
            terminal.read(QUESTION % wave, SECONDS)
            answer_question(terminal, answer)
        shown = terminal.rest(SECONDS)
        return terminal.end(), {name: state for name, (state, _) in summary(shown, "abc").items()}, shown
    finally:
        terminal.close()


def test_yes_begins_the_next_wave(fleet, command):
    code, states, shown = at_a_terminal(fleet, command, ("b", "yes"), ("c", "YES"))
    assert code == 0 and states == dict.fromkeys("abc", "done"), shown


@pytest.mark.parametrize("answer", ["no", "", "y"])
def test_any_other_answer_stops_the_rollout_for_good(fleet, command, answer):
    """It is not asked again before the third wave, and whoever waits for it knows that it is not done."""
    code, states, shown = at_a_terminal(fleet, command, ("b", answer))
    assert code != 0 and states == {"a": "done", "b": "not confirmed", "c": "not started"}, shown
    assert QUESTION % "c" not in shown and "stopped by b" in shown


def test_without_a_terminal_it_stops_and_says_so_in_a_line(fleet, command):
    done = subprocess.run(
        command,
        cwd=fleet.checkout,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        start_new_session=True,
    )
    found = summary(done.stdout, "abc")
    assert done.returncode != 0 and {name: state for name, (state, _) in found.items()} == {
        "a": "done",
        "b": "not confirmed",
        "c": "not started",
    }, done.stdout
    assert found["b"][1] == f": {NOBODY}"
