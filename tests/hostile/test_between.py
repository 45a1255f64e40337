"""The attacker's step between two system calls of a launch, each at its one place (threats 3, 4, 8, 17).

What the races of test_races.py hit by chance, and what an exchange of two names (test_swaps.py) cannot express.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mesos_shim.plan import pass_through
from mesos_shim.plan.model import Facts
from mesos_shim.system.credentials import Identity

from ..lib.launching import ACCESS, acl_for, give, launch, refused, said, tree, volume, words
from ..lib.pausing import between
from ..lib.shim import NOBODY, Shim, needs_root

pytestmark = [needs_root, pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")]

OTHER = 1234


@pytest.fixture
def closed(open_tmp: Path) -> Path:
    """A directory such as /etc: root's, 0755."""
    path = open_tmp / "etc"
    path.mkdir()
    return path


@pytest.fixture
def covered(open_tmp: Path) -> Path:
    """A directory such as /tmp, and in it a file of the user's."""
    path = open_tmp / "covered"
    path.mkdir()
    path.chmod(0o1777)
    (path / "krb5cc").write_text("first\n")
    give(path / "krb5cc")
    return path


# A name that is passed through is opened anew: programs replace such files, so only owner and type are compared.


def of_another(path: Path) -> None:
    path.write_text("another's\n")
    give(path, OTHER)


def a_link(path: Path) -> None:
    path.symlink_to("/etc/passwd")
    give(path)


def a_fifo(path: Path) -> None:
    os.mkfifo(path)
    give(path)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    give(path)


def nothing(path: Path) -> None:
    assert not path.exists()


@pytest.mark.parametrize("plant", [nothing, of_another, a_link, a_fifo, a_socket])
def test_what_is_passed_through_stays_its_owners_and_of_its_kind(
    shim: Shim, sandbox: Path, covered: Path, plant: Callable[[Path], None]
) -> None:
    """What is there instead is not shown; nor does it refuse the launch, for anybody can do so at any time."""
    name = covered / "krb5cc"
    shim.configure(pass_through=[str(name)])

    def step() -> None:
        name.unlink()
        plant(name)

    program = words(shim, [volume("tmp", covered)], f"ls -A {covered}", options=("--user", "nobody"))
    done = between(program, sandbox, "unshare", 1, step)
    assert (done.returncode, done.stdout, os.listdir(sandbox / "tmp")) == (0, "", [])
    assert done.stderr.count("\n") == 1
    assert f"pass_through '{name}': stays hidden" in done.stderr


def test_a_volume_in_a_name_that_has_gone_has_no_place(shim: Shim, sandbox: Path, covered: Path) -> None:
    for path in ("tools", "tools/usr"):
        (covered / path).mkdir()
    shim.configure(pass_through=[f"{covered}/tools"])
    program = words(shim, [volume("tmp", covered), volume("/usr", covered / "tools/usr")], "true")
    done = between(program, sandbox, "unshare", 1, lambda: (covered / "tools").rename(covered / "moved"))
    refused(done, "has no mount point any more")


def test_what_is_passed_through_may_be_replaced_by_its_owner(shim: Shim, sandbox: Path, covered: Path) -> None:
    """As kinit(1) does."""
    name = covered / "krb5cc"
    shim.configure(pass_through=[str(name)])

    def step() -> None:
        name.unlink()
        name.write_text("second\n")
        give(name)

    program = words(shim, [volume("tmp", covered)], f"cat {name}", options=("--user", "nobody"))
    assert said(between(program, sandbox, "unshare", 1, step)) == "second"


@pytest.mark.parametrize("plant", [of_another, a_fifo])
def test_what_is_passed_through_is_judged_where_it_was_opened(
    covered: Path, plant: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the first look, which refuses a link quietly, and the walk that pins the inode."""
    name = covered / "krb5cc"
    walk = pass_through.resolve

    def replaced(*arguments: object, **keywords: object) -> object:
        name.unlink()
        plant(name)
        return walk(*arguments, **keywords)

    facts = Facts(walk("/", "the sandbox", (0,)), Identity(NOBODY, NOBODY, [], switch=True))
    assert pass_through._passable(str(name), facts, (0,), []) is not None
    monkeypatch.setattr(pass_through, "resolve", replaced)
    assert pass_through._passable(str(name), facts, (0,), []) is None


# What is made, or taken, in the sandbox.


def test_a_directory_that_is_filled_while_it_is_taken_over(shim: Shim, sandbox: Path, closed: Path) -> None:
    """It was empty when it was looked at, and his until its owner was changed: his file must not lie over root's."""
    made = sandbox / "made"
    made.mkdir()
    give(made)
    before = made.stat()
    program = words(shim, [volume("made", closed)], f"ls {closed}")
    # The inherited access lists are taken off after the first look and before the owner is changed.
    done = between(program, sandbox, "fremovexattr", 1, lambda: (made / "sudoers").write_text("ALL"))
    refused(done, "was filled while the launch was being prepared")
    after = made.stat()
    assert (after.st_uid, after.st_mode) == (before.st_uid, before.st_mode)
    assert (os.listdir(made), os.listxattr(made)) == (["sudoers"], [])


def test_an_earlier_launchs_directory_that_is_filled_while_it_takes_another_mode(
    shim: Shim, sandbox: Path, covered: Path
) -> None:
    """What anybody could write is to be root's now: the mark of the first launch must not vouch for his file."""
    said(launch(shim, sandbox, [volume("made", covered)], "true"))
    covered.chmod(0o755)
    made = sandbox / "made"
    program = words(shim, [volume("made", covered)], f"ls {covered}")
    done = between(program, sandbox, "fremovexattr", 1, lambda: (made / "sudoers").write_text("ALL"))
    refused(done, "was filled while the launch was being prepared")
    assert stat.S_IMODE(made.stat().st_mode) == 0o1777


@pytest.fixture
def secret(open_tmp: Path) -> Path:
    """Root's directory, closed to everybody, in one of the user's, who can give it any name there."""
    home = open_tmp / "home"
    (home / "secret").mkdir(parents=True)
    (home / "secret").chmod(0o700)
    (home / "secret/canary").write_text("root's own secret")
    give(home)
    return home / "secret"


@pytest.mark.parametrize("source", ["way", "way/made"])
def test_what_lies_in_the_place_of_what_was_just_made_is_not_opened_up(
    shim: Shim, secret: Path, covered: Path, source: str
) -> None:
    """Owner and mode are as ours has them: what tells it is that it is not empty (threat 4)."""
    sandbox = secret.parent
    way = sandbox / "way"

    def step() -> None:
        way.rename(sandbox / "ours")
        secret.rename(way)

    done = between(words(shim, [volume(source, covered)], "true"), sandbox, "mkdirat", 1, step)
    assert (way / "canary").read_text() == "root's own secret"
    assert (stat.S_IMODE(way.stat().st_mode), os.listxattr(way)) == (0o700, [])
    assert done.returncode == (125 if source == "way" else 0)


def test_a_full_directory_on_the_way_keeps_its_mode(shim: Shim, sandbox: Path, covered: Path) -> None:
    """Without any race: only what a killed launch left bare is finished, and that is empty."""
    (sandbox / "way").mkdir(mode=0o700)
    (sandbox / "way/file").write_text("private")
    said(launch(shim, sandbox, [volume("way/made", covered)], "true"))
    assert stat.S_IMODE((sandbox / "way").stat().st_mode) == 0o700
    (sandbox / "bare").mkdir(mode=0o700)
    said(launch(shim, sandbox, [volume("bare/made", covered)], "true"))
    assert stat.S_IMODE((sandbox / "bare").stat().st_mode) == 0o755


def test_each_level_is_copied_of_what_was_judged(shim: Shim, sandbox: Path, open_tmp: Path) -> None:
    """A mirrored path takes the access lists of the directories that the target was reached through, of no others."""
    way = open_tmp / "one"
    (way / "two").mkdir(parents=True)
    for path in (way, way / "two"):
        give(path)

    def step() -> None:
        way.rename(open_tmp / "kept")
        way.mkdir()
        os.setxattr(way, ACCESS, acl_for(OTHER, 7))
        give(way)

    program = words(shim, [volume(str(way / "two").strip("/"), way / "two")], "true")
    done = between(program, sandbox, "mkdirat", 1, step)
    refused(done, f"{str(way)!r} was replaced while the launch was being prepared")
    assert os.listdir(sandbox) == []


# Two launches in one sandbox.


@pytest.mark.parametrize("call", ["fchmod", "fsetxattr"])
def test_a_failing_launch_takes_nothing_from_a_running_one(
    shim: Shim, sandbox: Path, open_tmp: Path, covered: Path, call: str
) -> None:
    """The one that made the directory fails; another has taken it before it was marked, or after, and left it empty."""
    ready, go = open_tmp / "ready", open_tmp / "go"
    os.mkfifo(ready)
    os.mkfifo(go)
    (covered / "krb5cc").unlink()
    script = f"echo > {ready}; read x < {go}; touch {covered}/x && echo written"
    running: list[subprocess.Popen[str]] = []

    def step() -> None:
        program = words(shim, [volume("made", covered)], script)
        running.append(subprocess.Popen(program, cwd=sandbox, stdout=subprocess.PIPE, text=True))
        ready.read_text()

    first = words(shim, [volume("made", covered)], "/nowhere", "x")
    done = between(first, sandbox, call, 1, step)
    assert "not found" in done.stderr
    assert (sandbox / "made").exists()
    go.write_text("\n")
    assert running[0].communicate(timeout=60)[0] == "written\n"
    assert (sandbox / "made/x").exists()


@pytest.mark.parametrize(
    ("call", "number"),
    [("openat2", 3), ("openat2", 4), ("mkdirat", 1), ("fgetxattr", 1), ("fchmod", 1), ("fsetxattr", 1)],
)
def test_two_launches_share_a_directory_wherever_they_meet(
    shim: Shim, sandbox: Path, covered: Path, call: str, number: int
) -> None:
    """Another launch makes it, or takes it, and puts something into it: neither is refused."""
    (covered / "krb5cc").unlink()
    volumes = [volume("made", covered)]
    program = words(shim, volumes, f"ls {covered}")
    if call == "fgetxattr":  # asks whose an empty directory is that was there already
        (sandbox / "made").mkdir()
    # The third and the fourth openat2 look for the directory; there is none yet.
    done = between(program, sandbox, call, number, lambda: said(launch(shim, sandbox, volumes, f"touch {covered}/x")))
    assert said(done) == "x"
    assert os.listdir(sandbox / "made") == ["x"]


# A volume's place inside another volume.


@pytest.mark.parametrize("plant", [a_link, a_fifo, Path.mkdir])
def test_the_place_of_a_file_in_a_users_source_is_a_file(
    shim: Shim, sandbox: Path, open_tmp: Path, closed: Path, plant: Callable[[Path], None]
) -> None:
    """What lies there is his to choose: nothing is mounted on a link, whatever that does (threat 3)."""
    source = open_tmp / "source"
    source.mkdir()
    plant(source / "file")
    give(source)
    (closed / "file").write_text("covered")
    (open_tmp / "mine").write_text("mine\n")
    volumes = [volume(source, closed), volume(open_tmp / "mine", closed / "file", "RO")]
    before = tree(source)
    done = launch(shim, sandbox, volumes, f"cat {closed}/file")
    if plant is a_fifo:  # what is no directory and no link can be covered by a file
        assert said(done) == "mine"
    else:
        refused(done, "was replaced in")
    assert tree(source) == before


def test_the_place_of_a_directory_in_a_users_source_stays_one(
    shim: Shim, sandbox: Path, open_tmp: Path, closed: Path
) -> None:
    """Replaced for a link after it was looked at, before anything is attached there."""
    source = open_tmp / "source"
    (source / "below").mkdir(parents=True)
    (closed / "below").mkdir()
    for path in (source, source / "below"):
        give(path)

    def step() -> None:
        (source / "below").rmdir()
        (source / "below").symlink_to("/usr")

    volumes = [volume(source, closed), volume("mine", closed / "below")]
    # The first open_tree only asks whether the kernel has it; the next copies a source, all that is made being made.
    done = between(words(shim, volumes, f"ls {closed}/below"), sandbox, "open_tree", 2, step)
    refused(done, "was replaced in")
    assert os.listdir(sandbox) == []


# The directory of records.


def his_directory(path: Path) -> None:
    path.mkdir()
    give(path)


def a_link_to_roots(path: Path) -> None:
    (path.parent.parent / "roots").mkdir(mode=0o700)
    path.symlink_to(path.parent.parent / "roots")
    give(path)


def calls_of(name: str, program: list[str], root: Path) -> int:
    """How many calls of that name a launch makes in a fresh sandbox; its record goes again."""
    log, elsewhere = root / "calls", root / "elsewhere"
    elsewhere.mkdir()
    strace = ["strace", "-qqq", "-o", str(log), "-e", f"trace={name}", "--", *program]
    subprocess.run(strace, cwd=elsewhere, check=True, capture_output=True, timeout=60)
    subprocess.run([program[0], "gc"], check=True, capture_output=True, timeout=60)
    return log.read_text().count(f"{name}(")


def look(seen: list[list[str]], directory: Path) -> None:
    """Note what is in the directory."""
    seen.append(os.listdir(directory))


def test_a_record_is_there_as_a_whole_or_not_at_all(shim: Shim, sandbox: Path, open_tmp: Path) -> None:
    """Killed while it is written, a launch leaves none; `ps` and gc read them at any time (threat 17)."""
    (open_tmp / "place").mkdir()
    containers = shim.state_dir / "containers"
    containers.mkdir(0o700, parents=True)
    seen: list[list[str]] = []
    program = words(shim, [volume("a", open_tmp / "place")], "true")
    # The last call on the file before it gets its name.
    done = between(program, sandbox, "fchmod", calls_of("fchmod", program, open_tmp), lambda: look(seen, containers))
    assert done.returncode == 0
    assert [name[:1] for name in seen[0]] == ["."]
    assert [name[:1] for name in os.listdir(containers)] == ["r"]


@pytest.mark.parametrize("plant", [his_directory, a_link_to_roots])
def test_no_record_goes_where_somebody_made_the_directory_first(
    shim: Shim, sandbox: Path, open_tmp: Path, covered: Path, plant: Callable[[Path], None]
) -> None:
    """Where the state directory lies in one such as /tmp, and was not there when it was looked for."""
    state = covered / "state"
    shim.configure(state_dir=str(state))
    (open_tmp / "place").mkdir()
    program = words(shim, [volume("a", open_tmp / "place")], "/bin/echo", "ran")
    done = between(program, sandbox, "unshare", 1, lambda: plant(state))
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert "; ps and usage will not know this container" in done.stderr
    assert os.listdir(state) == []
    assert stat.S_IMODE(state.stat().st_mode) == (0o700 if state.is_symlink() else 0o755)


def test_roots_entry_is_no_strangers_in_a_users_own_namespace(shim: Shim, sandbox: Path, covered: Path) -> None:
    """There root's and a stranger's look alike (threats 6): what is shown is what was judged before."""
    (covered / "state").mkdir()
    give(covered / "state", OTHER)
    give(sandbox, OTHER)
    name = covered / "roots"
    name.write_text("roots\n")
    shim.configure(state_dir=str(covered / "state"), pass_through=[str(name)])

    def step() -> None:
        name.unlink()
        name.write_text("a stranger's\n")
        give(name, 4321)

    as_user = ["setpriv", f"--reuid={OTHER}", f"--regid={OTHER}", "--clear-groups"]
    program = [*as_user, *words(shim, [volume("tmp", covered)], f"ls -A {covered}")]
    done = between(program, sandbox, "unshare", 1, step)
    assert (done.returncode, done.stdout) == (0, "")
    assert "stays hidden, because another user replaced it" in done.stderr
