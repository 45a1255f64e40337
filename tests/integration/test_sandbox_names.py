"""A sandbox is reachable by the name that its task knows, even if a volume covers a link on the way."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from ..lib.launching import give, launch, refused, said, tree, volume
from ..lib.shim import NOBODY, Shim, needs_root

pytestmark = needs_root
RUN = "slaves/S/frameworks/F/executors/E/runs/R"


@pytest.fixture
def covered(open_tmp: Path) -> Path:
    """A directory such as /tmp."""
    path = open_tmp / "tmp"
    path.mkdir()
    path.chmod(0o1777)
    return path


@pytest.fixture
def disk(open_tmp: Path) -> Path:
    """A work_dir on a bigger disk, with one user's sandbox and another's."""
    path = open_tmp / "disk/mesos"
    for name in ("R", "other"):
        (path / RUN).with_name(name).mkdir(parents=True)
        give((path / RUN).with_name(name))
    (path / "slaves/S").chmod(0o711)
    (path / RUN / "mine").touch()
    return path


@pytest.fixture
def name(covered: Path, disk: Path) -> Path:
    """The sandbox by the name that an agent and its tasks know: through root's link in `covered`."""
    (covered / "mesos").symlink_to(disk)
    return covered / "mesos" / RUN


LOOK = "ls -1 {0}; touch {0}/written; cd {0} && pwd; ls {0}/.."


def check(output: str, name: Path, disk: Path) -> None:
    """Only the task's own sandbox lies at the name, and it is the real one."""
    assert output.splitlines() == ["mine", "private", str(name), "R"]
    assert (disk / RUN / "written").exists()


@pytest.mark.parametrize("more", [{}, {"hide_work_dir": True}])
@pytest.mark.parametrize("given", ["--sandbox", "MESOS_SANDBOX", "MESOS_DIRECTORY"])
def test_by_the_name_that_was_given(
    shim: Shim, name: Path, covered: Path, disk: Path, given: str, more: dict[str, object]
) -> None:
    shim.configure(**more)
    options = ("--user", "nobody") + (("--sandbox", str(name)) if given == "--sandbox" else ())
    variables = {**os.environ} | ({given: str(name)} if given != "--sandbox" else {})
    for _ in range(2):
        done = launch(
            shim,
            disk / RUN if given != "--sandbox" else disk,
            [volume("private", covered)],
            LOOK.format(name),
            options=options,
            env=variables,
        )
        check(said(done), name, disk)
        assert os.stat(disk / RUN / "private").st_uid == 0
        assert [path.name for path in (disk / RUN / "private").iterdir()] == ["mesos"]
        (disk / RUN / "written").unlink()
    assert (covered / "mesos").is_symlink()


def test_each_level_looks_like_what_it_stands_for(shim: Shim, name: Path, covered: Path, disk: Path) -> None:
    disk.chmod(0o750)
    below = [name.parents[2], covered / "mesos/slaves/S", covered / "mesos"]
    script = "stat -c '%a %u' " + " ".join(map(str, below))
    done = launch(shim, disk, [volume("private", covered)], script, options=("--sandbox", str(name)))
    assert said(done) == "755 0\n711 0\n750 0"


def test_a_link_to_the_link(shim: Shim, name: Path, covered: Path, disk: Path) -> None:
    """The outer one is not covered: it leads to the place of the inner one."""
    outer = covered.parent / "outer"
    outer.symlink_to(covered)
    given = outer / "mesos" / RUN
    done = launch(shim, disk, [volume("private", covered)], LOOK.format(given), options=("--sandbox", str(given)))
    check(said(done), given, disk)


def test_without_a_user(shim: Shim, name: Path, covered: Path, disk: Path) -> None:
    """An ordinary user's own launch."""
    words = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", str(shim.program), "run"]
    shim.configure(state_dir=str(disk / RUN / "state"))
    more = ["--sandbox", str(name), "--volume", f"private:{covered}", "--", "/bin/sh", "-c", f"ls {name}; pwd"]
    done = subprocess.run([*words, *more], cwd="/", capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.split()[:2] == ["mine", "private"], done
    assert done.stdout.split()[-1] == str(name)


def test_explain_shows_it(shim: Shim, name: Path, covered: Path, disk: Path) -> None:
    options = ("--json", "--sandbox", str(name), "--volume", f"private:{covered}", "--", "true")
    steps = json.loads(said(shim.run("explain", *options)))["steps"]
    [keep] = [step for step in steps if step["action"] == "keep"]
    assert (keep["source"], keep["target"], keep["inside"]) == (str(disk / RUN), str(name), str(covered))


def test_in_a_directory_of_the_hosts_nothing_is_made(shim: Shim, name: Path, covered: Path, disk: Path) -> None:
    source = covered.parent / "source"
    source.mkdir()
    before = tree(source)
    done = launch(shim, disk, [volume(source, covered)], "pwd", options=("--sandbox", str(name)))
    assert (done.returncode, done.stdout) == (0, f"{disk / RUN}\n")
    told = f"ContainerInfo.volumes[0]: covers the link through which {str(name)!r} leads to {str(disk / RUN)!r}; use a "
    assert told in done.stderr
    assert tree(source) == before


def test_a_variable_names_only_the_sandbox(shim: Shim, name: Path, covered: Path, disk: Path) -> None:
    """What leads elsewhere, or through a user's link, is not shown."""
    give(disk / RUN)
    (covered / "users").symlink_to(disk)
    give(covered / "users")
    for value in (name.with_name("other"), covered / "users" / RUN, covered / "none", "/", "relative", "/a/../b"):
        variables = {**os.environ, "MESOS_SANDBOX": str(value)}
        done = launch(shim, disk / RUN, [volume("private", covered)], f"ls -A {covered}", env=variables)
        assert said(done) == "", value


def test_what_the_user_put_in_its_place(shim: Shim, name: Path, covered: Path, disk: Path) -> None:
    """In the sandbox the task's user may have made a link of that name."""
    (disk / RUN / "private").mkdir()
    (disk / RUN / "private/mesos").symlink_to("/etc")
    give(disk / RUN / "private/mesos")
    done = launch(
        shim, disk, [volume("private", covered)], "true", options=("--sandbox", str(name), "--user", "nobody")
    )
    refused(done, "private")
    assert os.readlink(disk / RUN / "private/mesos") == "/etc"
