"""Records of an ordinary user without a login session: a directory of his and the boot's."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesos_shim.system.proc import boot_id

from ..lib.launching import said
from ..lib.shim import Shim, needs_root
from ..lib.waiting import wait_until

pytestmark = needs_root

USER, OTHER = 12346, 23457
PLACE = Path(f"/var/tmp/mesos-shim-{USER}-{str(boot_id()).replace('-', '')[:16]}")
RUN = Path(f"/run/user/{USER}")


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield
    for path in (PLACE, RUN):
        if path.is_symlink() or path.is_file():
            path.unlink()
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def his(open_tmp: Path) -> Path:
    """A sandbox of the user's, beside a configuration without a state_dir."""
    (open_tmp / "config.json").write_text("{}")
    path = open_tmp / "sandbox"
    path.mkdir()
    os.chown(path, USER, USER)
    return path


class As:
    """The user's commands; `variables` are his environment."""

    def __init__(self, shim: Shim, sandbox: Path) -> None:
        self.shim = shim
        self.sandbox = sandbox
        self.before: list[str] = []
        self.variables = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}

    def words(self, command: str, *more: object) -> list[str]:
        config = ["--config", str(self.sandbox.parent / "config.json")]
        setpriv = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *self.before]
        return [*setpriv, str(self.shim.program), command, *config, *map(str, more)]

    def __call__(self, command: str, *more: object) -> subprocess.CompletedProcess[str]:
        words = self.words(command, *more)
        return subprocess.run(
            words, cwd=self.sandbox, env=self.variables, capture_output=True, text=True, check=False, timeout=60
        )

    @contextlib.contextmanager
    def running(self) -> Iterator[subprocess.Popen[str]]:
        words = self.words("run", "--container-id", "c1", "--", "sleep", "60")
        with subprocess.Popen(
            words, cwd=self.sandbox, env=self.variables, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                comm = Path(f"/proc/{process.pid}/comm")
                wait_until(lambda: comm.read_text() == "sleep\n", "the command runs")
                yield process
            finally:
                process.send_signal(signal.SIGKILL)
                assert process.communicate()[1] == ""

    def knows(self) -> bool:
        """Whether `ps` and `usage` show the container."""
        shown = {command: "c1 " in self(command).stdout for command in ("ps", "usage")}
        assert len(set(shown.values())) == 1, shown
        return shown["ps"]


@pytest.fixture
def user(shim: Shim, his: Path) -> As:
    return As(shim, his)


def session() -> None:
    """A login of the user's, as pam_systemd(8) makes it."""
    RUN.mkdir(parents=True)
    RUN.chmod(0o700)
    os.chown(RUN, USER, USER)


def test_every_command_knows_what_runs_without_a_session(user: As) -> None:
    with user.running():
        assert user.knows()
        assert said(user("enter", "c1", "--", "id", "-u")) == str(USER)
        assert (PLACE.stat().st_mode & 0o7777, PLACE.stat().st_uid) == (0o700, USER)
    assert said(user("gc")) == "cleared record of c1"
    assert not user.knows()


def test_who_logs_in_later_sees_it_too(user: As) -> None:
    with user.running():
        session()
        user.variables["XDG_RUNTIME_DIR"] = str(RUN)
        assert user.knows()


def test_records_outlive_the_session(user: As) -> None:
    """What was started in it may run on, and its run directory goes (logind.conf(5), KillUserProcesses=no)."""
    session()
    user.variables["XDG_RUNTIME_DIR"] = str(RUN)
    with user.running():
        assert user.knows()
        shutil.rmtree(RUN)
        assert user.knows()


def test_records_of_an_earlier_release_are_known(user: As) -> None:
    """They are in the login's directory, until that goes."""
    session()
    place = RUN / "mesos-shim"
    place.mkdir(mode=0o700)
    os.chown(place, USER, USER)
    with user.running():
        assert (user.knows(), (place / "containers/c1.json").exists(), PLACE.exists()) == (True, True, False)
        shutil.rmtree(RUN)
        assert not user.knows()
    with user.running():
        session()
        place.mkdir(mode=0o700)
        os.chown(place, USER, USER)
        assert user.knows()


def test_the_session_is_used_where_a_stranger_has_the_name(user: As) -> None:
    session()
    PLACE.write_text("")
    os.chown(PLACE, OTHER, OTHER)
    with user.running():
        assert user.knows()
        assert (RUN / "mesos-shim/containers/c1.json").exists()


def test_records_are_not_cleared_by_their_age(user: As, open_tmp: Path) -> None:
    """By systemd-tmpfiles(8), which clears /var/tmp on most hosts."""
    if shutil.which("systemd-tmpfiles") is None:
        pytest.skip("needs systemd-tmpfiles")
    with user.running():
        (PLACE / "containers/other").touch()
        (open_tmp / "clean.conf").write_text(f"d {PLACE} 0700 {USER} {USER} 1us\n")
        subprocess.run(["systemd-tmpfiles", "--clean", str(open_tmp / "clean.conf")], check=True)
        assert os.listdir(PLACE / "containers") == ["c1.json"]
        assert user.knows()


@pytest.mark.parametrize("given", ["/run/user/0", "/does/not/exist", "relative", "", "/run"])
def test_a_run_directory_that_is_not_his_is_not_used(user: As, given: str) -> None:
    """su(1) leaves another's behind, a logout one that is gone."""
    user.variables["XDG_RUNTIME_DIR"] = given
    with user.running():
        assert user.knows()
        assert PLACE.exists()


def test_one_that_he_has_chosen_is_used(user: As, open_tmp: Path) -> None:
    chosen = open_tmp / "chosen"
    chosen.mkdir()
    os.chown(chosen, USER, USER)
    user.variables["XDG_RUNTIME_DIR"] = str(chosen)
    with user.running():
        assert user.knows()
        assert (chosen / "mesos-shim/containers/c1.json").exists()


def test_what_a_stranger_puts_there_is_not_used(user: As, his: Path) -> None:
    """Each launch says so, as where there is no place at all; nothing of the user's own is touched."""
    own = his / "containers"
    own.mkdir(mode=0o755)
    os.chown(own, USER, USER)
    for make in (lambda: PLACE.mkdir(mode=0o777), lambda: PLACE.symlink_to(his), lambda: PLACE.write_text("")):
        make()
        os.chown(PLACE, OTHER, OTHER, follow_symlinks=False)
        done = user("run", "--", "true")
        assert (done.returncode, done.stderr.count("no record in")) == (0, 1), done
        assert (own.stat().st_mode & 0o777, os.listdir(own)) == (0o755, [])
        shutil.rmtree(PLACE) if PLACE.is_dir() and not PLACE.is_symlink() else PLACE.unlink()


def test_a_link_that_comes_meanwhile_is_not_followed(his: Path) -> None:
    from mesos_shim.containers import counters, record, registry

    (his / "containers").mkdir(mode=0o755)
    (his / "usage.json").write_text("his own")
    PLACE.symlink_to(his)
    os.chown(PLACE, OTHER, OTHER, follow_symlinks=False)
    with pytest.raises(OSError):
        record.open_place(str(PLACE))
    with pytest.raises(registry.ShimError):
        registry.open_directory(str(PLACE))
    counters.Counters(str(PLACE)).save()
    assert sorted(os.listdir(his)) == ["containers", "usage.json"]


def test_root_by_its_number_alone_is_the_user(user: As) -> None:
    with user.running():
        user.before = ["unshare", "--user", "--map-root-user"]
        assert user.knows()


def test_records_of_earlier_boots_go(user: As) -> None:
    earlier = [Path(f"/var/tmp/mesos-shim-{USER}-0123456789abcde{digit}") for digit in "01"]
    try:
        for path, owner in zip(earlier, (USER, OTHER)):
            (path / "containers").mkdir(parents=True)
            os.chown(path / "containers", owner, owner)
            os.chown(path, owner, owner)
        assert said(user("gc")) == f"cleared records of an earlier boot in {earlier[0]}"
        assert [path.exists() for path in earlier] == [False, True]
    finally:
        for path in earlier:
            shutil.rmtree(path, ignore_errors=True)
