"""Private directories in a base: gc and doctor. What has ended goes, what may be in use stays, and that is said."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from mesos_shim.commands import leftovers
from mesos_shim.commands.sweep import Sweep
from mesos_shim.system import proc

from ..lib.containers import Starter, alive, gc
from ..lib.launching import give, said
from ..lib.shim import NOBODY, Shim, needs_root
from ..lib.waiting import wait_until

pytestmark = needs_root
OTHER_BOOT = "0123456789abcdef"


@pytest.fixture
def base(shim: Shim, open_tmp: Path) -> Path:
    """The base of every container's private directory."""
    path = open_tmp / "base"
    path.mkdir(mode=0o755)
    (open_tmp / "covered").mkdir(mode=0o1777)
    configure(shim, path)
    return path


def configure(shim: Shim, base: Path, **keys: object) -> None:
    shim.configure(private_directories={str(base.parent / "covered"): {"base": str(base)}}, **keys)


def leave(base: Path, pid: int = 1, boot: str | None = None, namespace: int | None = None) -> Path:
    """A directory that a launch has left by a process that had this `pid`, and that start time."""
    start = proc.start_time(os.getpid())
    mark = (proc.boot_id() or "").replace("-", "")[:16] if boot is None else boot
    inode = namespace or os.stat("/proc/self/ns/pid").st_ino
    path = base / f"old@{pid}-{start}@{mark}-{inode}"
    (path / "srv/covered").mkdir(parents=True)
    (path / "srv/covered/data").write_text("data")
    (path / "srv/link").symlink_to("/etc")
    path.chmod(0o700)
    return path


def test_it_goes_with_its_record(start: Starter, shim: Shim, base: Path) -> None:
    container = start()
    container.do(f"os.makedirs('{base.parent}/covered/a/b')")
    (own,) = base.iterdir()
    assert gc(shim) == []
    assert own.exists()
    container.end()
    assert gc(shim, "--dry-run") == [f"would clear private directory {own}", "would clear record of c1"]
    assert own.exists()
    assert gc(shim) == [f"cleared private directory {own}", "cleared record of c1"]
    assert list(base.iterdir()) == []


def test_it_goes_where_the_supervisor_was_killed(start: Starter, shim: Shim, base: Path) -> None:
    container = start("--supervise")
    os.kill(container.process.pid, signal.SIGKILL)
    container.process.wait()
    assert gc(shim) == []  # the command still runs
    assert len(list(base.iterdir())) == 1
    pid = container.record["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid), "the command's end")
    assert len(gc(shim)) == 2
    assert list(base.iterdir()) == []


def test_a_process_that_left_the_view_keeps_it(start: Starter, shim: Shim, base: Path) -> None:
    """In a mount namespace of its own, an orphan: nothing says that it is the container, but its mounts do."""
    container = start()
    script = "import os, signal; print(os.getpid(), flush=True); signal.pause()"
    container.do(
        f"left = subprocess.Popen(['unshare', '-m', sys.executable, '-c', '''{script}'''], stdin=-3, stdout=-1, "
        "stderr=-3, start_new_session=True)"
    )
    left = int(container.do("answer = int(left.stdout.readline())"))
    container.end()
    done = shim.run("gc")
    assert done.returncode == 1
    assert "somebody still has it mounted" in done.stderr
    assert len(list(base.iterdir())) == 1
    os.kill(left, signal.SIGKILL)
    wait_until(lambda: not alive(left), "its end")
    assert len(gc(shim)) == 2


def test_another_of_that_name_stays(start: Starter, shim: Shim, base: Path) -> None:
    container = start()
    (own,) = base.iterdir()
    container.end()
    own.rename(base / "moved")
    own.mkdir()
    (own / "file").touch()
    give(own)
    assert gc(shim) == ["cleared record of c1"]
    assert (own / "file").exists()


def test_what_goes_is_the_very_directory_of_the_record(start: Starter, shim: Shim, base: Path) -> None:
    """The base is not the configuration's any more, so that the record alone leads there."""
    container = start()
    (own,) = base.iterdir()
    container.end()
    own.rename(base / "moved")
    own.mkdir()
    shim.configure()
    assert gc(shim) == ["cleared record of c1"]
    assert own.exists()


def test_a_base_that_others_can_write_by_now_is_not_walked(start: Starter, shim: Shim, base: Path) -> None:
    container = start()
    container.end()
    base.chmod(0o777)
    done = shim.run("gc")
    assert (done.returncode, done.stdout) == (1, "")
    assert "lets others write it" in done.stderr
    base.chmod(0o755)
    assert len(gc(shim)) == 2


def test_what_an_earlier_boot_left_goes(shim: Shim, base: Path) -> None:
    left = leave(base, boot=OTHER_BOOT)
    assert gc(shim) == [f"cleared private directory {left}"]
    assert list(base.iterdir()) == []
    assert Path("/etc/passwd").exists()


def test_what_a_killed_launch_left_goes(shim: Shim, base: Path) -> None:
    """Of this boot, without a record: the process that it is named after has ended, and nobody has it mounted."""
    left = leave(base)
    assert gc(shim) == [f"cleared private directory {left}"]


def test_what_somebody_has_mounted_stays(shim: Shim, base: Path) -> None:
    """A container whose record is in another state directory, or was lost."""
    left = leave(base)
    script = f"mount --bind {left}/srv /mnt && exec {shim.program} gc"
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no record tells of it, and somebody still has it mounted" in done.stderr
    assert (left / "srv/covered/data").exists()


def test_who_does_not_let_us_look_may_have_it_mounted(
    base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where a security module keeps root out; who is older than the launch can have nothing of it."""
    left = leave(base)
    real = os.readlink

    def readlink(path: str, *arguments: object) -> str:
        if path == f"/proc/{os.getpid()}/ns/mnt":
            raise PermissionError(errno.EACCES, "no")
        return real(path, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "readlink", readlink)
    sweep = Sweep(dry=False)
    leftovers.clear_unrecorded(str(base), set(), sweep)
    assert (sweep.failed, left.exists()) == (1, True)
    assert "1 processes do not show whether they have it mounted" in capsys.readouterr().err
    monkeypatch.setattr(proc, "start_time", lambda pid, living=False: 1)
    sweep = Sweep(dry=False)
    leftovers.clear_unrecorded(str(base), set(), sweep)
    assert (sweep.failed, left.exists()) == (0, False)


def test_what_is_being_launched_stays(shim: Shim, base: Path) -> None:
    left = leave(base, os.getpid())
    assert gc(shim) == []
    assert left.exists()


def test_what_cannot_be_told_stays(shim: Shim, base: Path) -> None:
    """Another pid namespace's, of whatever boot: each container of nspawn's shows a boot of its own."""
    for boot in (None, OTHER_BOOT):
        left = leave(base, boot=boot, namespace=12345)
        done = shim.run("gc")
        assert done.returncode == 1
        assert "in another pid namespace" in done.stderr
        assert (left / "srv/covered/data").exists()


def test_strangers_names_in_a_base_stay(shim: Shim, base: Path) -> None:
    for name in ("lost+found", "old@1-1", "@1-1@0123456789abcdef-1", "old@²-1@0123456789abcdef-4026531836"):
        (base / name).mkdir()
    (base / "file@1-1@0123456789abcdef-4026531836").touch()
    users = give(leave(base, boot=OTHER_BOOT))
    before = sorted(base.iterdir())
    assert gc(shim) == []
    assert sorted(base.iterdir()) == before
    assert users.exists()


def test_a_record_cannot_name_another_directory(start: Starter, shim: Shim, base: Path, open_tmp: Path) -> None:
    """Not even a damaged one: what goes has the name and the inode that a launch gave it."""
    container = start()
    container.end()
    precious = open_tmp / "base/precious"
    precious.mkdir()
    path = shim.state_dir / "containers/c1.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "private": [{"path": str(precious), "inode": [1, 2]}]}))
    done = shim.run("gc")
    assert (done.returncode, precious.exists()) == (1, True)
    assert "no launch gives such a name" in done.stderr


# doctor


def doctor(shim: Shim) -> list[tuple[str, str]]:
    done = shim.run("doctor", "--json")
    found = [item for item in json.loads(done.stdout) if item["check"] == "private dirs"]
    assert all(item["remedy"] for item in found if item["state"] != "ok")
    return [(item["state"], item["message"]) for item in found]


def test_doctor(shim: Shim, base: Path) -> None:
    covered = base.parent / "covered"
    assert doctor(shim) == [("ok", f"{covered}: for every container")]
    base.chmod(0o777)
    ((state, text),) = doctor(shim)
    assert state == "broken"
    assert "lets others write it" in text
    base.rmdir()
    ((state, text),) = doctor(shim)
    assert state == "broken"
    assert "does not exist" in text
    base.mkdir()
    covered.rmdir()
    ((state, text),) = doctor(shim)
    assert state == "broken"
    assert "every launch is refused" in text


def test_doctor_names_what_is_not_done(shim: Shim, base: Path, open_tmp: Path) -> None:
    configure(shim, base, isolation=["posix/cpu"])
    ((state, text),) = doctor(shim)
    assert (state, "no container gets one" in text) == ("degraded", True)
    shim.configure(private_directories={"/tmp": {"size": "1m"}})
    ((state, text),) = doctor(shim)
    assert (state, "its size is not counted" in text) == ("degraded", True)
    shim.configure(
        private_directories={"/tmp": {"base": str(base), "size": "900t"}}, isolation=["filesystem/shared", "disk/du"]
    )
    ((state, text),) = doctor(shim)
    assert (state, "are free" in text) == ("degraded", True)
    shim.configure()
    assert doctor(shim) == []


def test_an_ordinary_users_gc(shim: Shim, base: Path, open_tmp: Path) -> None:
    """Their own go; root's it cannot touch."""
    (open_tmp / "state").mkdir()
    give(open_tmp / "state")
    configure(shim, base, state_dir=str(open_tmp / "state"))
    theirs, roots = leave(base, boot=OTHER_BOOT), leave(base)
    for path in (base, theirs, *theirs.rglob("*")):
        give(path)
    words = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", str(shim.program), "gc"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert said(done) == f"cleared private directory {theirs}"
    assert roots.exists()
