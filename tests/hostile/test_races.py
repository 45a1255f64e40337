"""A user renames sources, parents and the sandbox for links and for root's directories while root launches (threats 3,
4, 6, 8, 12): nothing of root's is shown, mounted over or given away, nothing hangs, and a good part really runs."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mesos_shim.isolators import disk_du

from ..lib import wire
from ..lib.launching import give, host_mounts, info, volume
from ..lib.played_agent import PlayedAgent, end
from ..lib.shim import NOBODY, SOAK, Shim, needs_root

pytestmark = [needs_root, pytest.mark.scaled, pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")]

LAUNCHES = 2000 if SOAK else 100
MANY = 10_000 if SOAK else 100
CANARY = "root's own secret"

Racer = Callable[..., "subprocess.Popen[bytes]"]


@contextmanager
def compiled(name: str) -> Iterator[Path]:
    """The program of that name, where its user can run it."""
    path = Path("/var/tmp") / f"mesos-shim-{name}-{os.getpid()}"
    source = Path(__file__).with_name(f"{name}.c")
    subprocess.run(["gcc", "-O2", "-Wall", "-Werror", "-o", str(path), str(source)], check=True)
    try:
        yield path
    finally:
        path.unlink()


@pytest.fixture(scope="session")
def racer_program() -> Iterator[Path]:
    """The compiled racer."""
    with compiled("racer") as path:
        yield path


@pytest.fixture
def race(racer_program: Path) -> Iterator[Racer]:
    """Start a racer as the user over pairs of names; it swaps by the time this returns."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*pairs: Path) -> subprocess.Popen[bytes]:
        words = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", str(racer_program)]
        process = subprocess.Popen([*words, *map(str, pairs)], stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.read(1) == b"s"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def roots(open_tmp: Path) -> Path:
    """Root's directory with the canary in it, closed to the user, and one that is empty."""
    path = open_tmp / "roots"
    (path / "closed").mkdir(parents=True)
    (path / "closed/canary").write_text(CANARY)
    (path / "closed").chmod(0o700)
    (path / "empty").mkdir()
    return path


def his(path: Path) -> Path:
    """Make `path` a directory of the user's."""
    path.mkdir(parents=True, exist_ok=True)
    os.chown(path, NOBODY, NOBODY)
    return path


def snapshot(roots: Path) -> list[tuple[str, int, int, int, list[str]]]:
    """What must not change of root's: modes, owners, attributes, names."""
    found = []
    for path in (roots, *sorted(roots.rglob("*"))):
        status = path.lstat()
        found.append((str(path), status.st_mode, status.st_uid, status.st_gid, sorted(os.listxattr(path))))
    return found


def launches(
    shim: Shim, cwd: Path | None, volumes: list[dict[str, object]], script: str, *options: str, count: int = LAUNCHES
) -> tuple[int, list[str]]:
    """Launch again and again: how often it ran, and the distinct reasons of the refusals."""
    ran, reasons = 0, set()
    for _ in range(count):
        words = [str(shim.program), "run", *options, "--container-info", info(*volumes), "--", "/bin/sh", "-c", script]
        try:
            done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False, timeout=20)
        except FileNotFoundError:
            continue  # the sandbox was a dangling link when the test's own child entered it
        assert CANARY not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        assert "internal error" not in done.stderr, done.stderr
        if done.returncode == 0:
            ran += 1
        else:
            assert done.returncode == 125, done
            assert done.stderr.count("\n") == 1, done.stderr
            reasons.add(done.stderr.rstrip())
    return ran, sorted(reasons)


READ = "cat {0}/canary {0}/closed/canary {0}/*/canary 2>/dev/null; id -u; true"


@pytest.fixture
def target(open_tmp: Path) -> Path:
    """What the volumes cover."""
    path = open_tmp / "target"
    path.mkdir()
    path.chmod(0o1777)
    return path


def test_a_relative_source_for_a_link(shim: Shim, sandbox: Path, target: Path, roots: Path, race: Racer) -> None:
    """pam_namespace's hole: what root makes, chowns and mounts must be in the sandbox."""
    os.chown(sandbox, NOBODY, NOBODY)
    his(sandbox / "tmp")
    (sandbox / "link").symlink_to(roots / "empty")
    before = snapshot(roots)
    race(sandbox / "tmp", sandbox / "link")
    ran, reasons = launches(shim, sandbox, [volume("tmp", target)], READ.format(target), "--user", "nobody")
    assert snapshot(roots) == before
    assert ran >= LAUNCHES // 20, reasons
    assert ran < LAUNCHES  # the racer raced


def test_the_place_of_private_directories(shim: Shim, sandbox: Path, target: Path, roots: Path, race: Racer) -> None:
    """The user's own `.private`, swapped for a link: the configuration names it, no ContainerInfo."""
    os.chown(sandbox, NOBODY, NOBODY)
    place = his(sandbox / ".private")
    (sandbox / "link").symlink_to(roots / "empty")
    shim.configure(private_directories={str(target): {}})
    before = snapshot(roots)
    race(place, sandbox / "link")
    ran, reasons = launches(shim, sandbox, [], READ.format(target), "--user", "nobody")
    assert snapshot(roots) == before
    assert ran >= LAUNCHES // 20, reasons
    assert ran < LAUNCHES


def test_a_source_that_is_being_made(shim: Shim, sandbox: Path, target: Path, roots: Path, race: Racer) -> None:
    """Fresh names each time: the swap falls between mkdir and what follows it."""
    os.chown(sandbox, NOBODY, NOBODY)
    (sandbox / "link").symlink_to(roots / "empty")
    before = snapshot(roots)
    ran = 0
    for number in range(LAUNCHES // 10):
        way = his(sandbox / f"way{number}")
        racer = race(way, sandbox / "link")
        more, reasons = launches(shim, sandbox, [volume(f"way{number}/a/b", target)], "true", count=10)
        ran += more
        assert snapshot(roots) == before, reasons
        racer.kill()
        racer.wait()
        link = sandbox / "link"
        if not link.is_symlink():  # left in the middle of a swap
            link.rename(sandbox / "between")
            way.rename(link)
            (sandbox / "between").rename(way)
    assert ran >= LAUNCHES // 20


def test_another_in_the_place_of_what_was_just_made(
    shim: Shim, sandbox: Path, open_tmp: Path, roots: Path, race: Racer
) -> None:
    """Between mkdir and open: a directory of his, with his files, must not pass for a copy of root's (threat 8)."""
    closed = open_tmp / "etc"
    closed.mkdir()
    os.chown(sandbox, NOBODY, NOBODY)
    ready = his(sandbox / "ready")
    other = his(sandbox / "other")
    decoy = his(sandbox / "decoy")
    (decoy / "sudoers").write_text("ALL")
    before = snapshot(roots)
    # It swaps `made` as soon as there is one; the first pair only tells that it has begun.
    ran = 0
    for _ in range(LAUNCHES):
        racer = race(ready, other, sandbox / "made", decoy)
        done, reasons = launches(shim, sandbox, [volume("made", closed)], f'test -z "$(ls -A {closed})"', count=1)
        ran += done
        racer.kill()
        racer.wait()
        assert not [line for line in reasons if "internal" in line]
        for path in (sandbox / "made", decoy):  # whatever their names are by now
            if path.exists() and path.stat().st_uid == 0 and not (path / "sudoers").exists():
                shutil.rmtree(path, ignore_errors=True)
        found = [path for path in (sandbox / "made", decoy) if path.exists()]
        assert [path.stat().st_uid for path in found] == [NOBODY]  # his own was never given to root, nor filled
        if found != [decoy]:
            found[0].rename(decoy)
    assert snapshot(roots) == before
    assert ran >= LAUNCHES // 20


def test_the_parent_of_a_source(shim: Shim, sandbox: Path, target: Path, roots: Path, race: Racer) -> None:
    os.chown(sandbox, NOBODY, NOBODY)
    his(sandbox / "a/b")
    os.chown(sandbox / "a", NOBODY, NOBODY)
    his(sandbox / "other/b")
    os.chown(sandbox / "other", NOBODY, NOBODY)
    (sandbox / "link").symlink_to(roots)
    (roots / "b").mkdir()
    before = snapshot(roots)
    race(sandbox / "a", sandbox / "link", sandbox / "a", sandbox / "other")
    ran, reasons = launches(shim, sandbox, [volume("a/b", target)], READ.format(target), "--user", "nobody")
    assert snapshot(roots) == before
    assert ran >= LAUNCHES // 20, reasons


def test_the_sandbox(shim: Shim, open_tmp: Path, target: Path, roots: Path, race: Racer) -> None:
    """Named by a path whose last component he can swap for a link to root's directory."""
    home = his(open_tmp / "home")
    his(home / "sandbox")
    (home / "link").symlink_to(roots)
    before = snapshot(roots)
    race(home / "sandbox", home / "link")
    options = ("--sandbox", str(home / "sandbox"), "--user", "nobody")
    ran, reasons = launches(
        shim, None, [volume("tmp", target)], READ.format(target) + "; cat canary closed/canary; true", *options
    )
    assert snapshot(roots) == before
    assert ran >= LAUNCHES // 20, reasons


def test_the_sandbox_one_stands_in(shim: Shim, open_tmp: Path, target: Path, roots: Path, race: Racer) -> None:
    """Root's directory gets its name, whoever has it when the launch looks: what is made is made where one stands."""
    home = his(open_tmp / "home")
    his(home / "sandbox")
    (home / "roots").mkdir()
    (home / "roots/canary").write_text(CANARY)
    before = snapshot(roots)
    # By descriptors: the racer goes on exchanging the names.
    stands, secret = os.open(home / "sandbox", os.O_PATH), os.open(home / "roots", os.O_RDONLY)
    try:
        race(home / "sandbox", home / "roots")
        volumes = [volume("tmp", target)]
        script = READ.format(target) + "; cat canary; true"
        ran, reasons = launches(shim, Path(f"/proc/self/fd/{stands}"), volumes, script, "--user", "nobody")
        assert os.listdir(secret) == ["canary"]
    finally:
        os.close(stands)
        os.close(secret)
    assert snapshot(roots) == before
    assert ran >= LAUNCHES // 20, reasons


@pytest.mark.parametrize("what", ["source", "parent"])
def test_an_absolute_source(
    shim: Shim, sandbox: Path, open_tmp: Path, target: Path, roots: Path, race: Racer, what: str
) -> None:
    """runc CVE-2021-30465: checked as the user's directory, mounted as root's."""
    home = his(open_tmp / "home")
    his(home / "dir")
    his(home / "dir/data")
    (home / "dir/data/file").write_text("his")
    (roots / "data").mkdir()
    (roots / "data/canary").write_text(CANARY)
    if what == "source":
        (home / "dir/link").symlink_to(roots / "closed")
        pairs = (home / "dir/data", home / "dir/link")
    else:
        (home / "link").symlink_to(roots)
        pairs = (home / "dir", home / "link")
    before = snapshot(roots)
    os.chown(sandbox, NOBODY, NOBODY)
    race(*pairs)
    volumes = [volume(home / "dir/data", target)]
    ran, reasons = launches(shim, sandbox, volumes, READ.format(target))  # as root: nothing but us protects the canary
    assert snapshot(roots) == before
    assert ran >= LAUNCHES // 20, reasons


def test_a_target(shim: Shim, sandbox: Path, open_tmp: Path, roots: Path, race: Racer) -> None:
    """The volume must not appear over root's directory."""
    home = his(open_tmp / "home")
    his(home / "target")
    (home / "link").symlink_to(roots)
    before = snapshot(roots)
    race(home / "target", home / "link")
    script = f"test -e {roots}/closed/canary || echo GONE; grep ' {roots}' /proc/self/mountinfo; true"
    ran, reasons = launches(shim, sandbox, [volume("tmp", home / "target")], f'test -z "$({script})" || exit 125')
    assert snapshot(roots) == before
    assert not [reason for reason in reasons if not reason.startswith("mesos-shim: ")]
    assert ran >= LAUNCHES // 20, reasons


@pytest.fixture
def signals() -> Iterator[Callable[[str], None]]:
    """Start the signaller as a user."""
    started: list[subprocess.Popen[bytes]] = []
    with compiled("signaller") as program:

        def start(user: str) -> None:
            words = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "nice", str(program)]
            started.append(subprocess.Popen(words, stdout=subprocess.PIPE))
            assert started[0].stdout is not None
            assert started[0].stdout.read(1) == b"s"

        yield start
        for process in started:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def test_signals_at_the_helper(shim: Shim, open_tmp: Path, signals: Callable[[str], None]) -> None:
    """The task's user may end the task, by the signal of its choice, and never the helper (threat 23)."""
    user = "games"  # who has no other process on a test host
    agent = PlayedAgent(open_tmp, shim)
    agent.hold(wire.container_info(wire.volume("/tmp", "tmp")))
    shutil.chown(agent.sandbox, user)
    signals(user)
    hit = 0
    for _ in range(MANY):
        code, _, err = end(agent.start("exec sleep 1000", user=user))  # the signals end it
        assert code == 0, (code, err)  # not by a signal
        assert agent.status is not None
        assert int(agent.status) & 0x7F in (signal.SIGABRT, signal.SIGSEGV, signal.SIGSYS, signal.SIGKILL)
        hit += 1
    assert hit == MANY
    assert [path.name for path in agent.sandbox.iterdir() if "core" in path.name] == []


def test_a_sandbox_that_goes_with_its_command(shim: Shim, open_tmp: Path, race: Racer) -> None:
    """--rm: what is removed is what was judged, whatever has its name by then."""
    home = his(open_tmp / "home")
    names = {home / "sandbox", home / "roots"}
    for path in names:
        path.mkdir()
    (home / "roots/precious").write_text(CANARY)
    (home / "roots").chmod(0o700)
    secret = os.open(home / "roots", os.O_RDONLY)
    give(home / "sandbox")
    race(home / "sandbox", home / "roots")
    options = ["--rm", "--sandbox", str(home / "sandbox"), "--user", "nobody"]
    ran = 0
    for _ in range(MANY):
        done = shim.run("run", *options, "--", "/bin/true", cwd="/")
        assert os.listdir(secret) == ["precious"], done.stderr
        assert "internal error" not in done.stderr, done.stderr
        assert done.returncode in (0, 125), done
        ran += done.returncode == 0
        for path in names:  # of the two names the removed one, which is either
            if not path.exists():
                # Not given by that name: the racer would have put root's in its place.
                fresh = home / "fresh"
                fresh.mkdir()
                give(fresh).rename(path)
    os.close(secret)
    assert MANY // 20 <= ran < MANY


def test_a_list_that_the_owner_puts_back(shim: Shim, sandbox: Path, open_tmp: Path) -> None:
    """An empty directory of the user's becomes root's: its access list must not be set again in between (threat 4)."""
    closed = open_tmp / "etc"
    closed.mkdir()
    give(sandbox)
    mine = sandbox / "mine"
    ran = 0
    with compiled("aclracer") as program:
        words = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", program, str(NOBODY), str(mine)]
        with subprocess.Popen(words, stdout=subprocess.PIPE) as racer:
            assert racer.stdout is not None
            assert racer.stdout.read(1) == b"s"
            for _ in range(MANY):
                mine.mkdir()
                give(mine)
                done, reasons = launches(
                    shim, sandbox, [volume("mine", closed)], f'test -z "$(ls -A {closed})"', count=1
                )
                ran += done
                assert reasons == []
                status = mine.stat()
                assert (status.st_uid, status.st_mode & 0o7777) == (0, 0o755)
                assert "system.posix_acl_access" not in os.listxattr(mine)
                mine.rmdir()
            racer.kill()
    assert ran == MANY


def test_the_disk_of_another(open_tmp: Path, race: Racer) -> None:
    """disk/du asks again and again for a sandbox by its name, as root."""
    home = his(open_tmp / "home")
    sandbox = his(home / "sandbox")
    (open_tmp / "roots").mkdir(mode=0o700)
    (open_tmp / "roots/sandbox").mkdir()
    (open_tmp / "roots/sandbox/large").write_bytes(bytes(1 << 20))
    (home / "link").symlink_to(open_tmp / "roots/sandbox")
    status = sandbox.stat()
    race(sandbox, home / "link")
    seen = {disk_du.used(str(sandbox), (str(sandbox), (status.st_dev, status.st_ino))) for _ in range(50 * MANY)}
    assert seen == {None, status.st_blocks * 512}


def test_the_directory_of_a_debug_container(shim: Shim, open_tmp: Path, race: Racer) -> None:
    """Root enters it for the user: a link in its place must not lead where the user may not go."""
    (open_tmp / "roots/inner").mkdir(parents=True)
    (open_tmp / "roots/inner/canary").write_text(CANARY)
    (open_tmp / "roots").chmod(0o700)
    agent = PlayedAgent(open_tmp, shim)
    agent.hold(wire.container_info(wire.volume("/tmp", "tmp")))
    give(agent.sandbox)
    work = his(agent.sandbox / "work")
    (agent.sandbox / "link").symlink_to(open_tmp / "roots/inner")
    parent = agent.start("echo ready; exec sleep 100000", user="nobody")
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        debug = PlayedAgent(open_tmp, shim, container="c1/debug")
        debug.hold(None, container_class=2)
        race(work, agent.sandbox / "link")
        ran = 0
        for _ in range(MANY):
            _, out, err = end(debug.start("cat canary; pwd", user="nobody", working_directory=str(work)))
            assert CANARY not in out
            assert "internal error" not in err
            ran += out == f"{work}\n" or out == f"{agent.sandbox}/link\n"
        assert MANY // 20 <= ran < MANY
    finally:
        parent.terminate()
        end(parent)


def test_nothing_is_left_mounted() -> None:
    """After all the races above: on the host nothing of ours is mounted."""
    assert [line for line in host_mounts() if "mesos-shim-test-" in line] == []
    assert stat.S_IMODE(Path("/var/tmp").stat().st_mode) == 0o1777
