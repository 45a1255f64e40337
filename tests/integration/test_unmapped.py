"""Launches where root is not mapped: in a user namespace of the caller's own, a container of his or `unshare -U`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ..lib.launching import info, refused, said, volume
from ..lib.shim import CHECKOUT, Shim, needs_root

pytestmark = needs_root

# Not 65534, which is what files of users show who are not mapped.
USER, OTHER = 12345, 23456
AS_ROOT, AS_HIMSELF, IN_A_CONTAINER = "as root", "as himself", "in a container"


@pytest.fixture
def his(shim: Shim, open_tmp: Path) -> Path:
    """A sandbox of the user's, with the installed shim's records in a directory of his."""
    for name in ("state", "sandbox"):
        (open_tmp / name).mkdir()
        os.chown(open_tmp / name, USER, USER)
    (open_tmp / "roots").mkdir()
    (open_tmp / "roots/file").write_text("roots\n")
    shim.configure(state_dir=str(open_tmp / "state"))
    return open_tmp / "sandbox"


@pytest.fixture(params=[AS_ROOT, AS_HIMSELF, IN_A_CONTAINER])
def inside(request: pytest.FixtureRequest, shim: Shim) -> list[str]:
    """What a command line begins with that runs where root is not mapped."""
    return _prefix(request.param, shim)


def _prefix(kind: str, shim: Shim) -> list[str]:
    if kind == AS_ROOT:
        return ["unshare", "--user", "--map-root-user"]
    if kind == AS_HIMSELF:
        return ["unshare", "--user", "--map-current-user"]
    return [str(shim.program), "run", "--volume", "tmp:/media", "--"]


def as_user(words: list[object], cwd: Path) -> subprocess.CompletedProcess[str]:
    setpriv = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    return subprocess.run(
        [*setpriv, *map(str, words)], cwd=cwd, capture_output=True, text=True, check=False, timeout=60
    )


def test_every_command_takes_the_installed_configuration(shim: Shim, his: Path, inside: list[str]) -> None:
    roots = his.parent / "roots"
    for words in (["ps"], ["usage"], ["explain", "--volume", f"{roots}:/opt", "--", "true"], ["gc"]):
        done = as_user([*inside, shim.program, *words], his)
        assert (done.returncode, done.stderr) == (0, ""), words


def test_sources_sandboxes_and_what_goes_with_its_command(shim: Shim, his: Path, inside: list[str]) -> None:
    roots = his.parent / "roots"
    run = [*inside, shim.program, "run"]
    assert said(as_user([*run, "--volume", f"{roots}:/opt", "--", "cat", "/opt/file"], his)) == "roots"
    assert said(as_user([*run, "--sandbox", his, "--", "pwd"], his)) == str(his)
    sandbox = said(as_user([*run, "--rm", "--volume", f"{roots}:/opt", "--", "/bin/sh", "-c", "touch x; pwd"], his))
    assert sandbox.startswith("/var/tmp/mesos-shim-")
    assert not Path(sandbox).exists()


def test_a_volume_in_memory_and_one_in_a_sandbox(shim: Shim, his: Path, inside: list[str]) -> None:
    """What covers root's cannot be given to root: it stays the caller's."""
    (his.parent / "memory").mkdir()
    shim.configure(state_dir=str(his.parent / "state"), tmpfs={str(his.parent / "memory"): "64k"})
    script = f"stat -fc %T {his.parent}/memory && touch {his.parent}/memory/x /opt/x && ls /opt"
    words = [*inside, shim.program, "run", "--volume", "opt:/opt", "--", "/bin/sh", "-c", script]
    done = as_user(words, his)
    assert (done.returncode, done.stdout.split()) == (0, ["tmpfs", "x"]), done
    assert (his / "opt").stat().st_uid == USER


def test_a_strangers_link_is_no_source(shim: Shim, his: Path, inside: list[str], open_tmp: Path) -> None:
    """It has the same owner as root's there, so where anybody can make one it is nobody's to follow."""
    place = open_tmp / "tmp"
    place.mkdir()
    place.chmod(0o1777)
    for owner in (OTHER, 0):
        link = place / f"link-{owner}"
        link.symlink_to(open_tmp / "roots")
        os.chown(link, owner, owner, follow_symlinks=False)
        done = as_user([*inside, shim.program, "run", "--volume", f"{link}:/opt", "--", "true"], his)
        refused(done, "is a symbolic link that uid 65534 could have made")


def test_a_strangers_directory_leads_nowhere_else(shim: Shim, his: Path, inside: list[str], open_tmp: Path) -> None:
    """It may be root's own in /tmp, as Mesos' work_dir was, so what is the caller's own in it can be named."""
    place = open_tmp / "tmp"
    (place / "strangers/his").mkdir(parents=True)
    (place / "strangers/link").symlink_to(open_tmp / "roots")
    place.chmod(0o1777)
    for path, owner in (("strangers", OTHER), ("strangers/link", OTHER), ("strangers/his", USER)):
        os.chown(place / path, owner, owner, follow_symlinks=False)
    run = [*inside, shim.program, "run", "--volume"]
    assert said(as_user([*run, f"{place}/strangers/his:/opt", "--", "stat", "-c", "%U", "/opt"], his)) != "nobody"
    done = as_user([*run, f"{place}/strangers/link:/opt", "--", "true"], his)
    refused(done, "is a symbolic link that uid 65534 could have made")


def test_users_may_name_what_they_can_open(shim: Shim, his: Path, inside: list[str]) -> None:
    """Where others write as well: they launch with no right but their own."""
    with tempfile.TemporaryDirectory(dir="/srv") as place:  # no way through a directory such as /tmp
        Path(place, "source").mkdir()
        for mode in (0o777, 0o775, 0o755):
            os.chmod(place, mode)
            words = ["run", "--volume", f"{place}/source:/opt", "--", "true"]
            said(as_user([*inside, shim.program, *words], his))


@pytest.mark.parametrize("kind", [AS_ROOT, AS_HIMSELF])
def test_a_configuration_that_others_can_write_is_refused(shim: Shim, his: Path, kind: str, open_tmp: Path) -> None:
    config = open_tmp / "config.json"
    config.write_text("{}")
    config.chmod(0o666)
    refused(as_user([*_prefix(kind, shim), shim.program, "ps", "--config", config], his), "lets others write it")


@pytest.mark.parametrize("ids", ["0 0 70000", "0 100000 70000", "0 100000 10"])
def test_where_the_namespace_has_users_of_its_own_the_unmapped_are_strangers(ids: str, open_tmp: Path) -> None:
    """Its root launches for them, and the overflow uid may be one of them."""
    assert _stand_in(ids, open_tmp) == "False"


@pytest.mark.parametrize("ids", ["0 12345 1", "12345 12345 1", "7 12345 1"])
def test_where_it_has_none_they_may_be_root(ids: str, open_tmp: Path) -> None:
    assert _stand_in(ids, open_tmp) == "True"


# Runs the rest of its command line as uid 0 of the caller's in a user namespace of the map that comes first.
_MAPPED = """
import ctypes, os, sys
to_parent, to_child = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    assert ctypes.CDLL(None).unshare(0x10000000) == 0  # CLONE_NEWUSER
    os.write(to_parent[1], b"x")
    os.read(to_child[0], 1)
    os.execv(sys.argv[2], sys.argv[2:])
os.read(to_parent[0], 1)
for name in ("uid_map", "gid_map"):
    with open(f"/proc/{child}/{name}", "w") as file:
        file.write(sys.argv[1])
os.write(to_child[1], b"x")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def mapped(ids: str, words: list[object], cwd: Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-c", _MAPPED, ids, *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "shim")}
    return subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=60)


def _stand_in(ids: str, place: Path) -> str:
    """Whether 65534 stands for root in a user namespace of that map."""
    script = "from mesos_shim.system import unmapped; print(unmapped.stands_for_root(65534))"
    return said(mapped(ids, [sys.executable, "-c", script], place))


@pytest.fixture
def covered(shim: Shim, his: Path, open_tmp: Path) -> Path:
    """A directory such as /tmp with a directory of root's, which the configuration passes."""
    place = open_tmp / "covered"
    (place / "roots").mkdir(parents=True)
    (place / "roots/socket").write_text("roots\n")
    place.chmod(0o1777)
    shim.configure(state_dir=str(open_tmp / "state"), pass_through=[f"{place}/roots"])
    return place


def test_what_is_roots_is_passed_to_an_ordinary_user(shim: Shim, his: Path, covered: Path) -> None:
    words = [shim.program, "run", "--container-info", info(volume("tmp", covered)), "--"]
    assert said(as_user([*words, "cat", f"{covered}/roots/socket"], his)) == "roots"
    explained = as_user([shim.program, "explain", "--json", *words[2:], "true"], his)
    steps = json.loads(said(explained))["steps"]
    assert [step["target"] for step in steps if step["action"] == "pass"] == [f"{covered}/roots"]


def test_it_stays_hidden_where_nobody_can_tell_whose_it_is(
    shim: Shim, his: Path, covered: Path, inside: list[str]
) -> None:
    os.chown(covered / "roots", OTHER, OTHER)
    run = [*inside, shim.program, "run"]
    done = as_user([*run, "--container-info", info(volume("tmp", covered)), "--", "ls", "-A", covered], his)
    assert (done.returncode, done.stdout) == (0, "")
    assert "stays hidden" in done.stderr
    assert "this user namespace does not show whether it belongs to root" in done.stderr
    said(as_user([*run, "--", "true"], his))  # nothing is hidden, so nothing is said


# Root of a user namespace with users of its own: a container of LXC's or of rootless podman's, whose files are mapped.
CONTAINER = "0 0 70000"


@pytest.fixture
def sandbox(shim: Shim, open_tmp: Path) -> Path:
    path = open_tmp / "sandbox"
    path.mkdir()
    os.chown(path, USER, USER)
    return path


def test_a_second_launch_in_one_sandbox_is_known_to_root_of_a_namespace(shim: Shim, sandbox: Path) -> None:
    run = [shim.program, "run", "--volume", "tmp:/tmp", "--", "/bin/sh", "-c"]
    assert said(mapped(CONTAINER, [*run, "touch /tmp/x; stat -c %u:%a /tmp"], sandbox)) == "0:1777"
    assert said(mapped(CONTAINER, [*run, "ls /tmp"], sandbox)) == "x"
    assert os.getxattr(sandbox / "tmp", "user.mesos_shim") == b"/tmp"


def test_its_mark_crosses_no_border(shim: Shim, sandbox: Path) -> None:
    """Neither to root of the host, nor from a task's user, who can set it as well."""
    run = [shim.program, "run", "--volume", "tmp:/tmp", "--", "true"]
    done = mapped(CONTAINER, [*run[:-1], "touch", "/tmp/x"], sandbox)
    assert done.returncode == 0
    refused(shim.run(*run[1:], cwd=sandbox), "already exists and is not empty")
    (sandbox / "tmp/x").unlink()
    (sandbox / "tmp").rmdir()
    (sandbox / "tmp/x").mkdir(parents=True)
    (sandbox / "tmp").chmod(0o1777)
    os.setxattr(sandbox / "tmp", "user.mesos_shim", b"/tmp")
    os.chown(sandbox / "tmp", USER, USER)
    refused(mapped(CONTAINER, run, sandbox), "from an earlier launch")


def test_a_launch_of_its_that_fails_leaves_nothing(shim: Shim, sandbox: Path) -> None:
    """What another launch uses stays, what nobody does goes."""
    (sandbox / "taken").mkdir()
    run = [shim.program, "run", "--volume", "tmp:/tmp", "--volume", "taken:/opt", "--"]
    assert mapped(CONTAINER, [*run, "/no/such/program"], sandbox).returncode == 127
    assert os.listdir(sandbox) == ["taken"]
    assert os.listxattr(sandbox / "taken") == []
    assert mapped(CONTAINER, [*run, "true"], sandbox).returncode == 0
    assert mapped(CONTAINER, [*run, "/no/such/program"], sandbox).returncode == 127
    assert sorted(os.listdir(sandbox)) == ["taken", "tmp"]


@pytest.mark.parametrize(("kind", "state"), [("ext4", "ok"), ("ramfs", "degraded")])
def test_doctor_tries_a_mark(shim: Shim, sandbox: Path, kind: str, state: str) -> None:
    """On what the sandboxes are on: here on what the tests' own directory is on, and on one without attributes."""
    shim.configure(work_dir=str(sandbox))
    words = [str(shim.program), "doctor", "--json"]
    if kind == "ramfs":
        words = ["unshare", "-m", "/bin/sh", "-c", f"mount -t ramfs none {sandbox} && exec {' '.join(words)}"]
    elif state == "ok":
        words = [sys.executable, "-c", _MAPPED, CONTAINER, *words]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    (item,) = [item for item in json.loads(done.stdout) if item["check"] == "marks"]
    assert item["state"] == state, item
    assert os.listdir(sandbox) == []
