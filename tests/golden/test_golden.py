"""Plans and system calls are as they were: see the package. Written anew by `.venv/bin/python -m tests.golden`."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from ..lib.shim import Shim, needs_root
from .calls import Lacking
from .host import AS_NOBODY, EXPECTED, Host, fresh
from .launches import LAUNCHES, traced
from .plans import PLANS, explained

pytestmark = needs_root
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
REMEDY = "where that is meant: .venv/bin/python -m tests.golden, and commit what it changes"
ORDINARY = ("ordinary_user", "run_as_an_ordinary_user")


@pytest.fixture
def host(shim: Shim) -> Iterator[Host]:
    with fresh(shim.prefix) as found:
        yield found


def skip_without_user_namespaces(name: str) -> None:
    """An ordinary user's launch needs them."""
    if name in ORDINARY and subprocess.run([*AS_NOBODY, "unshare", "-Um", "true"], check=False).returncode:
        pytest.skip("needs user namespaces for ordinary users")


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_is_as_it_was(host: Host, name: str) -> None:
    skip_without_user_namespaces(name)
    assert explained(name, host) == json.loads((EXPECTED / f"plans/{name}.json").read_text()), REMEDY


@needs_strace
@pytest.mark.parametrize("name", LAUNCHES)
def test_the_calls_of_a_launch_are_as_they_were(host: Host, name: str) -> None:
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
    "create": ("mkdirat", False),
    "bind": ("move_mount", True),
    "record": ("openat O_CREAT", True),
    "no_new_privs": ("prctl PR_SET_NO_NEW_PRIVS", True),
    "become": ("setresuid", True),
    "exec": ("execve", True),
}


@needs_strace
@pytest.mark.parametrize("name", ["run", "run_with_everything", "run_as_an_ordinary_user", "run_supervise", "run_rm"])
def test_explain_has_the_order_of_the_launch(host: Host, name: str) -> None:
    skip_without_user_namespaces(name)
    words = ["explain" if word == "run" else word for word in LAUNCHES[name](host)]
    words.insert(words.index("explain") + 1, "--json")
    done = subprocess.run(words, cwd=host.cwd, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done
    explained_steps = [step["action"] for step in json.loads(done.stdout)["steps"]]
    calls = [line.strip() for line in (EXPECTED / f"calls/{name}.txt").read_text().splitlines()]
    # What a parent does before the launch is in a process of its own.
    launch = calls[calls.index("process 2") :] if "process 2" in calls else calls
    if "supervise" in explained_steps:
        explained_steps = explained_steps[explained_steps.index("supervise") :]
    places = []
    for action in dict.fromkeys(action for action in explained_steps if action in _DONE_BY):
        call, last = _DONE_BY[action]
        found = [place for place, seen in enumerate(launch) if seen.startswith(call)]
        assert found, f"{action}: no {call} in {name}"
        places.append((found[-1] if last else found[0], action))
    assert places == sorted(places)
    assert "exec" in explained_steps
    assert "unshare" in explained_steps


def test_nothing_is_kept_that_no_test_looks_at() -> None:
    kept = {str(path.relative_to(EXPECTED)) for path in EXPECTED.glob("*/*")}
    assert kept == {*(f"plans/{name}.json" for name in PLANS), *(f"calls/{name}.txt" for name in LAUNCHES)}
