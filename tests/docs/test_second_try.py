""".ci/test: a failed test gets a second try, and is named for it, whatever comes of that."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lib.shim import CHECKOUT

# Each test fails in its first run. What it does in its second is in its name.
SUITE = """
import os, pathlib, pytest

def first(name):
    try:
        pathlib.Path(__file__).with_name(name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True

def test_good():
    with pathlib.Path(__file__).with_name("good").open("a") as runs:
        runs.write("once")

def test_passes(): assert not first("passes")

@pytest.mark.parametrize("value", ["a/b", "c[d]"])
def test_passes_with(value): assert not first("with" + value.replace("/", ""))

def test_skips():
    assert not first("skips")
    pytest.skip("no host")

def test_fails(): assert False

@pytest.fixture
def closed():
    yield
    assert not first("teardown")

def test_teardown(closed): pass
"""


def second_try(directory: Path, suite: str, *arguments: str) -> tuple[int, dict[str, list[str]], str]:
    """The exit status, the tests under each heading, and all of the output."""
    (directory / "test_fake.py").write_text(suite)
    (directory / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, CHECKOUT / ".ci/test", *arguments],
        cwd=directory,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    sections = re.split(r"^==== ([A-Z ]+): \d+ ====\n", done.stdout, flags=re.MULTILINE)[1:]
    named = {sections[i]: sections[i + 1].split() for i in range(0, len(sections), 2)}
    return done.returncode, named, done.stdout + done.stderr


def test_each_test_is_named_under_its_heading(tmp_path: Path) -> None:
    status, named, output = second_try(tmp_path, SUITE)
    assert status == 1, output
    assert named == {
        "PASSED ONLY ON THE SECOND TRY": [
            "test_fake.py::test_passes",
            "test_fake.py::test_passes_with[a/b]",
            "test_fake.py::test_passes_with[c[d]]",
            "test_fake.py::test_teardown",
        ],
        "FAILED TWICE": ["test_fake.py::test_fails", "test_fake.py::test_skips"],
    }


def test_a_suite_that_needs_a_second_try_passes_and_says_so(tmp_path: Path) -> None:
    status, named, output = second_try(tmp_path, SUITE, "-k", "good or passes or teardown")
    assert status == 0, output
    assert list(named) == ["PASSED ONLY ON THE SECOND TRY"]
    assert (tmp_path / "good").read_text() == "once"


def test_a_skip_is_no_pass(tmp_path: Path) -> None:
    status, named, output = second_try(tmp_path, SUITE, "-k", "skips")
    assert status == 1, output
    assert named == {"FAILED TWICE": ["test_fake.py::test_skips"]}


def test_a_good_suite_runs_once(tmp_path: Path) -> None:
    status, named, output = second_try(tmp_path, SUITE, "-k", "good")
    assert (status, named, output.count("test session starts")) == (0, {}, 1)


@pytest.mark.parametrize(
    ("suite", "code"),
    [
        ("def test_fails(): assert False\ndef test_stops(): raise KeyboardInterrupt", 2),
        ("import pytest\ndef test_fails(): assert False\ndef test_stops(): pytest.exit('now', 3)", 3),
        ("import nothing_of_this_name", 2),
        ("", 5),
    ],
    ids=["interrupted", "ended", "not collected", "empty"],
)
def test_a_run_that_did_not_reach_every_test_fails_at_once(tmp_path: Path, suite: str, code: int) -> None:
    status, named, output = second_try(tmp_path, suite)
    assert (status, named, output.count("test session starts")) == (code, {}, 1), output


def test_a_run_cannot_stop_at_its_first_failure(tmp_path: Path) -> None:
    suite = SUITE + "\ndef test_last(): assert False"
    status, named, output = second_try(tmp_path, suite, "-x", "-k", "passes or last")
    assert status == 1, output
    assert named["FAILED TWICE"] == ["test_fake.py::test_last"]


# Each of the two waits for the other one: by themselves both would fail.
MEET = """
import pathlib, time

def test_meets():
    here = pathlib.Path({here!r})
    assert (here / "alone").exists()
    (here / "there-{own}").touch()
    end = time.monotonic() + 30
    while not (here / "there-{other}").exists():
        assert time.monotonic() < end
        time.sleep(0.01)

def test_{own}():
    try:
        (pathlib.Path({here!r}) / "first-{own}").touch(exist_ok=False)
    except FileExistsError:
        return
    assert False
"""
ALONE = """
import pathlib

def test_alone():
    assert not list(pathlib.Path({here!r}).glob("there-*"))
    (pathlib.Path({here!r}) / "alone").touch()
"""


def beside(directory: Path) -> None:
    """A whole suite: two folders that run at the same time, and a test before them."""
    for folder, own, other in (("collection", "one", "two"), ("hosts", "two", "one")):
        (directory / "tests" / folder).mkdir(parents=True)
        text = MEET.format(here=str(directory), own=own, other=other)
        (directory / "tests" / folder / f"test_{own}.py").write_text(text)


def test_two_groups_run_at_the_same_time_after_all_others(tmp_path: Path) -> None:
    beside(tmp_path)
    status, named, output = second_try(tmp_path, ALONE.format(here=str(tmp_path)))
    assert status == 0, output
    assert named == {
        "PASSED ONLY ON THE SECOND TRY": ["tests/collection/test_one.py::test_one", "tests/hosts/test_two.py::test_two"]
    }


@pytest.mark.parametrize("suite", ["import nothing_of_this_name", ""], ids=["not collected", "empty"])
def test_nothing_runs_beside_after_a_run_that_did_not_reach_every_test(tmp_path: Path, suite: str) -> None:
    beside(tmp_path)
    status, named, output = second_try(tmp_path, suite)
    assert (status > 1, named, output.count("test session starts")) == (True, {}, 1), output


def test_a_group_that_did_not_reach_every_test_fails_the_run(tmp_path: Path) -> None:
    beside(tmp_path)
    (tmp_path / "tests/hosts/test_broken.py").write_text("import nothing_of_this_name")
    (tmp_path / "there-two").touch()  # nobody comes to meet the other one
    status, named, output = second_try(tmp_path, "def test_good(): pass")
    assert (status, named) == (2, {}), output


def test_a_file_that_is_moved_to_the_other_group_runs_once_and_there(tmp_path: Path) -> None:
    files = ("test_alone", "tests/collection/test_one", "tests/collection/test_matrix", "tests/hosts/test_two")
    for file in files:
        path = tmp_path / f"{file}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("def test_passes(): pass\n")
    status, _, output = second_try(tmp_path, "def test_good(): pass")
    assert status == 0, output
    _, one, two = re.split(r"^==== tests/.* ====\n", output, flags=re.MULTILINE)
    for file, there in zip(files, (None, one, two, two)):
        ran = re.compile(rf"^{file}\.py \.", re.MULTILINE)
        assert len(ran.findall(output)) == 1, output
        assert there is None or ran.search(there), output


def test_what_runs_beside_is_there() -> None:
    """What has another name would run with all others, by itself."""
    namespace = runpy.run_path(str(CHECKOUT / ".ci/test"))
    assert [path for paths in namespace["BESIDE"] for path in paths if not (CHECKOUT / path).exists()] == []
