"""Plans and system calls are as they were: see the package. Written anew by `.venv/bin/python -m tests.golden`."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from ..lib.shim import PYTHON, Shim, needs_root
from .calls import Lacking
from .host import AS_NOBODY, EXPECTED, GoldenHost, fresh
from .launches import LAUNCHES, traced
from .plans import PLANS, explained

pytestmark = needs_root
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
REMEDY = "where that is meant: .venv/bin/python -m tests.golden, and commit what it changes"
ORDINARY = ("ordinary_user", "run_as_an_ordinary_user")


@pytest.fixture
def host(shim: Shim) -> Iterator[GoldenHost]:
    with fresh(shim.prefix) as found:
        yield found


def skip_without_user_namespaces(name: str) -> None:
    """An ordinary user's launch needs them."""
    if name in ORDINARY and subprocess.run([*AS_NOBODY, "unshare", "-Um", "true"], check=False).returncode:
        pytest.skip("needs user namespaces for ordinary users")


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_is_as_it_was(host: GoldenHost, name: str) -> None:
    skip_without_user_namespaces(name)
    assert explained(name, host) == json.loads((EXPECTED / f"plans/{name}.json").read_text()), REMEDY


@needs_strace
@pytest.mark.parametrize("name", LAUNCHES)
def test_the_calls_of_a_launch_are_as_they_were(host: GoldenHost, name: str) -> None:
    skip_without_user_namespaces(name)
    try:
        found = traced(name, host)
    except Lacking as error:
        pytest.skip(f"needs a kernel with {error}(2)")
    assert found == (EXPECTED / f"calls/{name}.txt").read_text().splitlines(), REMEDY


# What a step of `explain` is done by: the system call that shows it, and whether its last time counts, or its first.
_DONE_BY = {
    "unshare": ("unshare CLONE_NEWNS", False),
    "propagation": ("mount", False),
    "supervise": ("fork", False),
    "create": ("mkdirat", False),
    "bind": ("move_mount", True),
    "record": ("renameat", False),
    "proc": ("mount", True),
    "init": ("fork", True),
    "no_new_privs": ("prctl PR_SET_NO_NEW_PRIVS", True),
    "become": ("setresuid", True),
    "exec": ("execve", True),
}
# What shows that a program was started without a copy of the helper.
_SPAWNED = "vfork"


def whole_order(name: str) -> list[str]:
    """The calls of all processes up to the command's exec as one list: what a child does comes where it was made.

    What its parent does after that is for the time after the command's end.
    """
    processes: list[list[str]] = []
    for line in (EXPECTED / f"calls/{name}.txt").read_text().splitlines():
        if line.startswith("process "):
            processes.append([])
        else:
            processes[-1].append(line.strip())
    calls: list[str] = []
    for process in processes[:-1]:
        made = max(place for place, call in enumerate(process) if call in ("fork", _SPAWNED))
        calls += process[: made + 1]
    return calls + processes[-1]


def check_order(actions: list[str], name: str) -> None:
    """The steps are those that the calls of the launch `name` show, in that order."""
    calls = whole_order(name)
    places = []
    for action in dict.fromkeys(action for action in actions if action in _DONE_BY):
        call, last = _DONE_BY[action]
        found = [place for place, seen in enumerate(calls) if seen.startswith(call)]
        assert found, f"{action}: no {call} in {name}"
        places.append((found[-1] if last else found[0], action))
    assert places == sorted(places)
    # And none that they do not show.
    for action, call in _DONE_BY.items():
        assert action in actions or action in ("propagation", "proc", "init") or call[0] not in calls, action


# On an old kernel a bind is a mount(2), as the propagation is.
_RUNS = [name for name in LAUNCHES if name.startswith("run") and name != "run_on_an_old_kernel"]


@needs_strace
@pytest.mark.parametrize("name", _RUNS)
def test_explain_has_the_order_of_the_launch(host: GoldenHost, name: str) -> None:
    skip_without_user_namespaces(name)
    words = ["explain" if word == "run" else word for word in LAUNCHES[name](host)]
    words.insert(words.index("explain") + 1, "--json")
    done = subprocess.run(words, cwd=host.cwd, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done
    actions = [step["action"] for step in json.loads(done.stdout)["steps"]]
    check_order(actions, name)
    assert {"unshare", "exec"} <= set(actions)


# The helper, which tells the steps that it hands to one of the three starters instead of starting anything.
_TELLING = """\
#!{python} -ISBXutf8
import json, sys
sys.argv[0] = {helper!r}
sys.path.insert(0, {lib!r})
from mesos_shim.launch import order, spawn, supervisor
from mesos_shim.main import main

def tell(state, *sequences):
    actions = []
    for sequence in sequences:
        for step in sequence:
            actions += [item["action"] for item in step.describe(state)]
            if step is order.LEAVE_HOST:
                state.left_host = True
    print(json.dumps(actions))
    sys.exit()

order.become = lambda state, sequence: tell(state, sequence)
supervisor.fork = lambda state, sequence, first=(): tell(state, supervisor.before(state, (), first), sequence)
spawn.spawn = lambda state, sequence, signals, first=(): tell(state, spawn.steps(state, sequence, first))
main({config!r}, agent=True)
"""


@needs_strace
@pytest.mark.parametrize(
    "name", ["helper_1x_for_root", "helper_1x_for_nobody", "helper_021", "hand_over", "executors_call"]
)
def test_the_steps_of_the_helper_have_the_order_of_the_launch(host: GoldenHost, name: str) -> None:
    """Nobody can ask `explain` for an agent's launch: its steps are asked themselves."""
    told = host.root / "helper"
    lib = str(host.shim.prefix / "current/lib")
    config = str(host.shim.prefix / "etc/mesos-shim/config.json")
    told.write_text(_TELLING.format(python=PYTHON, helper=str(host.shim.helper), lib=lib, config=config))
    told.chmod(0o755)
    words = [word.replace(str(host.shim.helper), str(told)) for word in LAUNCHES[name](host)]
    done = subprocess.run(words, cwd=host.cwd, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == "", done
    actions = json.loads(done.stdout)
    check_order(actions, name)
    assert actions[-1] == "exec"


def test_nothing_is_kept_that_no_test_looks_at() -> None:
    kept = {str(path.relative_to(EXPECTED)) for path in EXPECTED.glob("*/*")}
    assert kept == {*(f"plans/{name}.json" for name in PLANS), *(f"calls/{name}.txt" for name in LAUNCHES)}
