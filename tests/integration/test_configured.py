"""What the operator's configuration adds to a view: hide_work_dir, pass_through, tmpfs."""

from __future__ import annotations

import fnmatch
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mesos_shim.plan import pass_through
from mesos_shim.system import walk

from ..lib import fuse
from ..lib.launching import info, launch, refused, said, volume
from ..lib.launching import words as launch_words
from ..lib.shim import CHECKOUT, NOBODY, PYTHON, Shim, needs_root

pytestmark = needs_root


def run_of(work_dir: Path, name: str) -> Path:
    """A sandbox where an agent would put it."""
    path = work_dir / f"slaves/S/frameworks/F/executors/E/runs/{name}"
    path.mkdir(parents=True)
    (path / "secret").write_text(name)
    return path


def test_hide_work_dir(shim: Shim, open_tmp: Path) -> None:
    """Threat 14: other containers' sandboxes are covered, the own one stays where it was."""
    work_dir = open_tmp / "work"
    mine, other = run_of(work_dir, "mine"), run_of(work_dir, "other")
    script = f"cat {mine}/secret; ls {other.parent}; cat {other}/secret 2>&1; touch {work_dir}/x 2>&1; touch {mine}/y"
    shim.configure()
    assert "other" in said(launch(shim, mine, [], script)).split()
    (work_dir / "x").unlink()
    shim.configure(hide_work_dir=True)
    lines = said(launch(shim, mine, [], script)).splitlines()
    assert lines[0] == "minemine"
    assert "No such file" in lines[1]
    assert "Read-only" in lines[2]
    assert (mine / "y").exists()
    assert os.listdir(work_dir) == ["slaves"]


def test_hide_work_dir_under_a_covered_path(shim: Shim, open_tmp: Path) -> None:
    """Mesos' default work_dir lies in /tmp: both are covered, the sandbox is visible at its place all the same."""
    work_dir = open_tmp / "covered/mesos"
    mine, other = run_of(work_dir, "mine"), run_of(work_dir, "other")
    shim.configure(hide_work_dir=True)
    script = f"pwd; cat {mine}/secret; ls {other} 2>&1; touch {work_dir}/x 2>&1; touch {open_tmp}/covered/z"
    lines = said(launch(shim, mine, [volume("tmp", open_tmp / "covered")], script)).splitlines()
    assert lines[0] == str(mine)
    assert lines[1].startswith("mine")
    assert "No such file" in lines[1] + lines[2]
    assert "Read-only" in lines[-1]
    assert (mine / "tmp/z").exists()


def test_a_configured_work_dir_is_hidden_from_every_sandbox(shim: Shim, sandbox: Path, open_tmp: Path) -> None:
    other = run_of(open_tmp / "work", "other")
    shim.configure(hide_work_dir=True, work_dir=str(open_tmp / "work"))
    assert said(launch(shim, sandbox, [], f"cat {other}/secret 2>/dev/null || echo hidden")) == "hidden"
    refused(launch(shim, open_tmp / "work", [], "true"), "is the work_dir itself")


def test_hide_work_dir_without_one_is_said(shim: Shim, sandbox: Path) -> None:
    shim.configure(hide_work_dir=True)
    done = launch(shim, sandbox, [], "echo ran")
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert "nothing is hidden" in done.stderr


def test_a_volume_that_uncovers_the_work_dir_is_refused(shim: Shim, open_tmp: Path) -> None:
    mine = run_of(open_tmp / "work", "mine")
    shim.configure(hide_work_dir=True)
    refused(launch(shim, mine, [volume("/usr", open_tmp / "work")], "true"), "hide_work_dir covers already")


@pytest.fixture
def covered(open_tmp: Path) -> Path:
    """A directory such as /tmp, with what programs keep there."""
    path = open_tmp / "covered"
    path.mkdir()
    path.chmod(0o1777)
    (path / ".X11-unix").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path / ".X11-unix/X0"))
    for name, uid in (("krb5cc_mine", NOBODY), ("krb5cc_roots", 0), ("krb5cc_others", 1234), ("other", NOBODY)):
        (path / name).write_text(name)
        os.chown(path / name, uid, uid)
    (path / "krb5cc_link").symlink_to("/etc/passwd")
    for name, uid in (("krb5cc_link_of_his", NOBODY), ("krb5cc_link_of_anothers", 1234)):
        (path / name).symlink_to("/etc/passwd")
        os.chown(path / name, uid, uid, follow_symlinks=False)
    os.mkfifo(path / "krb5cc_fifo")
    return path


def test_pass_through(shim: Shim, sandbox: Path, covered: Path) -> None:
    """By name or glob; only what root or the task's user owns, and no link, FIFO or device; read-only unless said.

    What is not passed stays hidden and refuses nothing: else a link of anybody's in /tmp would stop every launch.
    """
    shim.configure(
        pass_through=[f"{covered}/.X11-unix", {"path": f"{covered}/krb5cc_*", "mode": "RW"}, f"{covered}/absent"]
    )
    script = f"cd {covered}; ls -A | sort; ls .X11-unix; cat krb5cc_mine; echo new > krb5cc_mine; touch .X11-unix/x"
    done = launch(shim, sandbox, [volume("tmp", covered)], script, options=("--user", "nobody"))
    assert done.stdout.split() == [".X11-unix", "krb5cc_mine", "krb5cc_roots", "X0", "krb5cc_mine"]
    assert "Read-only" in done.stderr
    assert (covered / "krb5cc_mine").read_text() == "new\n"


def test_pass_through_is_nothing_without_a_covered_path(shim: Shim, sandbox: Path, covered: Path) -> None:
    shim.configure(pass_through=[f"{covered}/krb5cc_*"])
    script = f"cat {covered}/krb5cc_mine; grep -c {covered} /proc/self/mountinfo || :"
    assert said(launch(shim, sandbox, [], script)) == "krb5cc_mine0"


def test_a_socket_that_is_passed_through_can_be_reached(shim: Shim, sandbox: Path, open_tmp: Path) -> None:
    covered = open_tmp / "covered"
    covered.mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(covered / "socket"))
        server.listen()
        shim.configure(pass_through=[{"path": f"{covered}/socket", "mode": "RW"}])
        client = f"import socket; socket.socket(socket.AF_UNIX).connect('{covered}/socket'); print('reached')"
        done = launch(shim, sandbox, [volume("tmp", covered)], "/usr/bin/python3", "-c", client)
    assert said(done) == "reached"


def test_a_file_stays_the_one_that_was_passed_and_a_directory_follows(shim: Shim, sandbox: Path, covered: Path) -> None:
    """kinit(1) replaces a ticket cache by another file (docs/schedulers.md)."""
    (covered / "krb5cc_dir").mkdir()
    caches = [covered / "krb5cc_mine", covered / "krb5cc_dir/tkt"]
    shim.configure(pass_through=[f"{covered}/krb5cc_mine", f"{covered}/krb5cc_dir"])

    def kinit(content: str) -> None:
        for path in caches:
            (covered / "new").write_text(content)
            (covered / "new").rename(path)

    kinit("old ")
    reads = "cat {} {}".format(*caches)
    words = launch_words(shim, [volume("tmp", covered)], f"{reads}; echo; read go; {reads}")
    with subprocess.Popen(words, cwd=sandbox, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "old old \n"
        kinit("new ")
        assert process.communicate("go\n", timeout=60)[0] == "old new "


# Anybody may put a name where the operator's globs look: no name there may refuse a launch.


def names(sandbox: Path, shim: Shim, covered: Path) -> tuple[list[str], str]:
    """What a launch with a private `covered` still sees there of krb5cc_*, and what it is told."""
    script = f"cd {covered}; ls -Ad krb5cc_* 2>/dev/null | sort"
    done = launch(shim, sandbox, [volume("tmp", covered)], script, options=("--user", "nobody"))
    assert done.returncode == 0, done.stderr
    return done.stdout.split(), done.stderr


def test_more_names_than_can_be_passed_stay_hidden(shim: Shim, sandbox: Path, covered: Path) -> None:
    """A user could make more than a launch has descriptors for."""
    for number in range(70):
        (covered / f"krb5cc_{number:02}").write_text("")
    shim.configure(pass_through=[f"{covered}/krb5cc_*"])
    seen, told = names(sandbox, shim, covered)
    assert seen == [f"krb5cc_{number:02}" for number in range(64)]
    assert told.count("\n") == 1
    assert "64 entries are passed already (and 7 more)" in told


def beside_fuse(shim: Shim, sandbox: Path, covered: Path, mounted: Path, *, answers_root: bool) -> str:
    """What a launch with a private `covered` is told where a user's FUSE mount that never answers is over `mounted`."""
    words = ["run", "--container-info", info(volume("tmp", covered)), "--", "/bin/ls", str(covered)]
    command = [*fuse.over(mounted, answers_root=answers_root), str(shim.program), *words]
    done = subprocess.run(command, cwd=sandbox, capture_output=True, text=True, check=False, timeout=20)
    assert (done.returncode, done.stdout.split()) == (0, ["krb5cc_roots"])
    return done.stderr


@fuse.needs_fuse
@pytest.mark.parametrize("answers_root", [True, False])
@pytest.mark.parametrize("make", [Path.mkdir, Path.touch], ids=["directory", "file"])
def test_a_users_fuse_mount_stays_hidden(
    shim: Shim, sandbox: Path, covered: Path, make: Callable[[Path], None], answers_root: bool
) -> None:
    """Nobody's launch waits for an answer that may never come."""
    make(covered / "krb5cc_0")
    os.chown(covered / "krb5cc_0", NOBODY, NOBODY)
    shim.configure(pass_through=[f"{covered}/krb5cc_*"])
    told = beside_fuse(shim, sandbox, covered, covered / "krb5cc_0", answers_root=answers_root)
    assert f"stays hidden: '{covered}/krb5cc_0': a FUSE mount, which may never answer" in told


@fuse.needs_fuse
def test_a_directory_of_a_glob_that_a_user_mounted_over_stays_hidden(shim: Shim, sandbox: Path, covered: Path) -> None:
    (covered / "sockets").mkdir()
    os.chown(covered / "sockets", NOBODY, NOBODY)
    shim.configure(pass_through=[f"{covered}/sockets/*", f"{covered}/sockets/one", f"{covered}/krb5cc_roots"])
    told = beside_fuse(shim, sandbox, covered, covered / "sockets", answers_root=True)
    assert told.count("a FUSE mount, which may never answer") == 2


# What the view does with a name that was an ordinary directory when it was found.
OPEN_PASSED = """
import sys
sys.path.insert(0, sys.argv[1])
from mesos_shim.launch import passed, state
from mesos_shim.plan import model
from mesos_shim.spec import request
from mesos_shim.system import walk
found = walk.resolve(sys.argv[2], "found", (0, %d))
found.path = sys.argv[3]
made = state.LaunchState(request.LaunchRequest(), model.finished(model.Draft("c1", found, None)))
print(passed.open_name(model.Mount(model.PASS_THROUGH, "the name", found), made), made.warnings)
"""


@fuse.needs_fuse
def test_a_fuse_mount_that_came_meanwhile_stays_hidden(covered: Path) -> None:
    for name in ("krb5cc_0", "krb5cc_1"):
        (covered / name).mkdir()
        os.chown(covered / name, NOBODY, NOBODY)
    words = ["-c", OPEN_PASSED % NOBODY, str(CHECKOUT / "shim"), str(covered / "krb5cc_1"), str(covered / "krb5cc_0")]
    command = [*fuse.over(covered / "krb5cc_0"), PYTHON, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert done.stdout == "-1 ['the name: stays hidden: a FUSE mount, which may never answer']\n", done


def test_a_million_names_are_not_looked_at(covered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any user can put as many into /tmp, and each launch would list them."""
    monkeypatch.setattr(pass_through, "MAX_NAMES", 5)
    for number in range(20):
        (covered / f"krb5cc_{number:02}").write_text("")
    looked: list[str] = []
    monkeypatch.setattr(fnmatch, "fnmatchcase", lambda name, _: looked.append(name) or True)
    hidden: list[str] = []
    where = walk.resolve(str(covered), "covered", (0,))
    found = pass_through._names(where, "krb5cc_*", hidden)
    os.close(where.fd)
    assert len(looked) == 5
    assert set(found) <= set(looked)
    assert hidden == [f"'{covered}': whatever comes after the first 5 names in it"]


def test_a_directory_that_a_user_made_a_link_stays_hidden(shim: Shim, sandbox: Path, covered: Path) -> None:
    (covered / "agent").symlink_to("/etc")
    os.chown(covered / "agent", NOBODY, NOBODY, follow_symlinks=False)
    shim.configure(pass_through=[f"{covered}/agent/*", f"{covered}/krb5cc_mine"])
    seen, told = names(sandbox, shim, covered)
    assert seen == ["krb5cc_mine"]
    assert "is a symbolic link that uid 65534 could have made" in told


def test_what_holds_the_sandbox_stays_hidden(shim: Shim, covered: Path) -> None:
    """A glob that takes the way to the sandbox in would show all others with it."""
    for name in ("mine", "other"):
        (covered / "krb5cc_work" / name).mkdir(parents=True)
    shim.configure(pass_through=[f"{covered}/krb5cc_*"])
    script = f"ls {covered}/krb5cc_work"
    done = launch(shim, covered / "krb5cc_work/mine", [volume("tmp", covered)], script)
    assert (done.returncode, done.stdout.split()) == (0, ["mine"])
    assert "the sandbox lies in it" in done.stderr


def test_tmpfs(shim: Shim, sandbox: Path, open_tmp: Path) -> None:
    shm, plain = open_tmp / "shm", open_tmp / "plain"
    for path in (shm, plain):
        path.mkdir()
    shm.chmod(0o1777)
    os.chown(plain, 12, 34)
    shim.configure(tmpfs={str(shm): {"size": "64k", "noexec": True}, str(plain): "1m"})
    script = (
        f"stat -c '%a %u %g' {shm} {plain}; findmnt -no OPTIONS {shm}; findmnt -no OPTIONS {plain};"
        f"dd if=/dev/zero of={shm}/x bs=4k count=100 2>/dev/null || echo full"
    )
    lines = said(launch(shim, sandbox, [], script)).splitlines()
    assert lines[:2] == ["1777 0 0", "755 12 34"]
    assert {"nosuid", "nodev", "noexec", "size=64k"} <= set(lines[2].split(","))
    assert {"nosuid", "nodev", "size=1024k"} <= set(lines[3].split(","))
    # Empty files take the host's memory too, beyond any size.
    assert "nr_inodes=1024" in lines[2].split(",")
    assert "noexec" not in lines[3]
    assert lines[4] == "full"
    assert (os.listdir(shm), os.listdir(plain)) == ([], [])


def test_a_container_info_wins_over_the_configured_tmpfs(shim: Shim, sandbox: Path, open_tmp: Path) -> None:
    (open_tmp / "t").mkdir()
    shim.configure(tmpfs={str(open_tmp / "t"): "1m"})
    said(launch(shim, sandbox, [volume("mine", open_tmp / "t")], f"touch {open_tmp}/t/x"))
    assert (sandbox / "mine/x").exists()


def test_volumes_inside_a_tmpfs(shim: Shim, sandbox: Path, open_tmp: Path) -> None:
    (open_tmp / "t/deep/er").mkdir(parents=True)
    (open_tmp / "t/deep").chmod(0o711)
    shim.configure(tmpfs={str(open_tmp / "t"): "1m"})
    done = launch(
        shim,
        sandbox,
        [volume("mine", open_tmp / "t/deep/er")],
        f"touch {open_tmp}/t/deep/er/x; stat -c %a {open_tmp}/t/deep",
    )
    assert said(done) == "711"
    assert (sandbox / "mine/x").exists()
    assert os.listdir(open_tmp / "t/deep/er") == []


def test_the_default_container_info_is_the_operators(shim: Shim, sandbox: Path, open_tmp: Path) -> None:
    (open_tmp / "t").mkdir()
    shim.configure(default_container_info={"type": "MESOS", "volumes": [volume("default", open_tmp / "t")]})
    said(shim.run("run", "--", "/usr/bin/touch", f"{open_tmp}/t/x", cwd=sandbox))
    assert (sandbox / "default/x").exists()
    # A launch that brings its own keeps it.
    assert said(launch(shim, sandbox, [], f"ls -A {open_tmp}/t")) == ""
