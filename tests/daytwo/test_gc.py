"""gc: what has ended goes, what lives stays, whatever lies in the directory of records."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from ..lib.containers import Starter, alive, any_volume, forge, gc, running
from ..lib.litter import litter
from ..lib.shim import NOBODY, Shim, needs_root
from ..lib.waiting import SECONDS, wait_until

pytestmark = needs_root


def test_nothing_is_nothing(shim: Shim) -> None:
    assert gc(shim) == []
    assert not shim.state_dir.exists()


def test_a_record_of_an_ended_container_goes(start: Starter, shim: Shim) -> None:
    container = start()
    container.end()
    assert gc(shim, "--dry-run") == ["would clear record of c1"]
    assert (shim.state_dir / "containers/c1.json").exists()
    assert gc(shim) == ["cleared record of c1"]
    assert gc(shim) == []
    assert list((shim.state_dir / "containers").iterdir()) == []


def test_a_living_container_stays(start: Starter, shim: Shim, open_tmp: Path) -> None:
    start(*any_volume(open_tmp))
    assert gc(shim) == []
    assert running(shim) == ["c1"]


def test_what_a_container_left_running_is_the_container(start: Starter, shim: Shim, open_tmp: Path) -> None:
    container = start(*any_volume(open_tmp))
    container.do("left = subprocess.Popen(['sleep', '60'], stdin=-3, stdout=-3, start_new_session=True)")
    left = int(container.do("answer = left.pid"))
    container.end()
    assert gc(shim) == []
    os.kill(left, signal.SIGKILL)
    wait_until(lambda: not alive(left), "the end of what was left")
    assert gc(shim) == ["cleared record of c1"]


def test_a_reused_pid_does_not_keep_a_record(start: Starter, shim: Shim) -> None:
    container = start()
    forge(shim, "old", start_time=container.record["start_time"] - 1)
    forge(shim, "other-boot", boot_id="00000000-0000-0000-0000-000000000000", pid=(1 << 22) + 1)
    assert gc(shim) == ["cleared record of old", "cleared record of other-boot"]
    assert running(shim) == ["c1"]


def test_a_record_that_was_replaced_meanwhile_stays(
    start: Starter, shim: Shim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next container of that name is launched between gc's look and its unlink."""
    from mesos_shim.commands import gc as module
    from mesos_shim.commands import sweep
    from mesos_shim.containers import registry

    container = start()
    path = shim.state_dir / "containers/c1.json"
    living = path.read_text()
    path.write_text(json.dumps({**json.loads(living), "start_time": 1}))
    real = registry.read_all

    def read_all(*arguments: object) -> object:
        found = real(*arguments)  # type: ignore[arg-type]
        path.write_text(living)
        return found

    monkeypatch.setattr(registry, "read_all", read_all)
    directory = os.open(path.parent, os.O_RDONLY)
    swept = sweep.Sweep(dry=False)
    module._records(str(shim.state_dir), directory, swept)
    os.close(directory)
    assert (swept.cleared, path.read_text()) == (0, living)
    assert running(shim) == [container.name]


def test_damaged_and_hostile_files_go_and_nothing_else(start: Starter, shim: Shim) -> None:
    start()
    names = litter(shim.state_dir / "containers")
    del names["c1"]
    (shim.state_dir / "containers/directory.json/in/it").mkdir(parents=True)
    (shim.state_dir / "containers/directory.json/in/link").symlink_to("/etc")
    (shim.state_dir / "containers/not-a-record").touch()
    done = shim.run("gc")
    names["directory"] = "directory.json"
    kept = {"newer.json"}
    assert done.returncode == 1
    assert {line.split()[1].rstrip(",") for line in done.stdout.splitlines() if "no record" in line} == {
        name for name in names.values() if name not in kept
    }
    assert {line.split()[2].rstrip(",") for line in done.stderr.splitlines()} == kept
    assert "a newer release wrote it" in done.stderr
    assert {path.name for path in (shim.state_dir / "containers").iterdir()} == {"c1.json", "not-a-record", *kept}
    assert Path("/etc/passwd").exists()
    assert running_with_warnings(shim) == ["c1"]


def running_with_warnings(shim: Shim) -> list[str]:
    return [item["container_id"] for item in json.loads(shim.run("ps", "--json").stdout)]


@pytest.mark.parametrize("command", [["ps", "--json"], ["usage", "--format", "json"], ["enter", "c1", "--", "true"]])
def test_hostile_files_break_no_other_command(start: Starter, shim: Shim, command: list[str]) -> None:
    start()
    litter(shim.state_dir / "containers")
    done = shim.run(*command)
    assert done.returncode == 0
    assert "internal error" not in done.stderr
    if command[0] != "enter":
        assert [item["container_id"] for item in json.loads(done.stdout)] == ["c1"]
        assert done.stderr.count("ignored: ") == 20
        assert max(map(len, done.stderr.splitlines())) < 400


def test_a_link_to_a_good_record_is_none(start: Starter, shim: Shim, open_tmp: Path) -> None:
    """Whoever could make one could show a container that is not here."""
    container = start()
    (open_tmp / "elsewhere.json").write_text(json.dumps({**container.record, "container_id": "link"}))
    (shim.state_dir / "containers/link.json").symlink_to(open_tmp / "elsewhere.json")
    assert running_with_warnings(shim) == ["c1"]


def test_a_damaged_record_of_a_living_container_stays(start: Starter, shim: Shim) -> None:
    """What can be read of it still runs: without the record nobody would know."""
    container = start()
    path = shim.state_dir / "containers/c1.json"
    path.write_text(json.dumps({**container.record, "mode": 5}))
    done = shim.run("gc")
    assert done.returncode == 1
    assert f"pid {container.process.pid} still runs" in done.stderr
    assert path.exists()


def test_what_a_killed_writer_left_goes_after_a_while(shim: Shim) -> None:
    directory = shim.state_dir / "containers"
    directory.mkdir(parents=True)
    for name in (".a.json.123", ".b.json.124"):
        (directory / name).write_text("{")
    os.utime(directory / ".a.json.123", (1, 1))
    assert gc(shim) == ["cleared unfinished record .a.json.123"]
    assert [path.name for path in directory.iterdir()] == [".b.json.124"]


@pytest.mark.parametrize(("owner", "mode"), [(0, 0o757), (0, 0o775), (NOBODY, 0o755)])
def test_others_directories_are_refused(shim: Shim, owner: int, mode: int) -> None:
    directory = shim.state_dir / "containers"
    directory.mkdir(parents=True)
    directory.chmod(mode)
    os.chown(directory, owner, owner)
    for command in ("gc", "ps", "usage"):
        done = shim.run(command)
        assert done.returncode == 125
        assert f"owned by uid {owner}, mode {mode:04o}: others can write records there" in done.stderr


def test_anothers_record_is_not_believed(start: Starter, shim: Shim) -> None:
    """Whoever could link a file of his into the directory would say what runs here, and what may be removed."""
    start()
    record = shim.state_dir / "containers/c1.json"
    os.chown(record, NOBODY, NOBODY)
    for command in ("ps", "usage"):
        done = shim.run(command)
        assert (done.returncode, "c1" in done.stdout) == (0, False)
        assert f"{record}: ignored: belongs to uid {NOBODY}" in done.stderr
    assert shim.run("enter", "c1", "--", "true").returncode == 125


def ended_rm(start: Starter) -> tuple[Path, dict[str, object]]:
    """The sandbox of a --rm whose supervisor and command were killed, and its record."""
    container = start("--rm")
    record = container.record
    container.process.kill()
    container.process.wait(SECONDS)
    os.kill(record["pid"], signal.SIGKILL)
    wait_until(lambda: not alive(record["pid"]), "the end of the container")
    return Path(record["sandbox"]), record


def test_a_sandbox_of_rm_goes_with_all_that_is_in_it(start: Starter, shim: Shim) -> None:
    sandbox, _ = ended_rm(start)
    (sandbox / "a/b").mkdir(parents=True)
    os.mkfifo(sandbox / "a/fifo")
    (sandbox / "link").symlink_to("/etc")
    assert gc(shim) == [f"cleared sandbox {sandbox}", "cleared record of c1"]
    assert not sandbox.exists()
    assert Path("/etc/passwd").exists()


def test_a_sandbox_that_is_another_by_now_stays(start: Starter, shim: Shim) -> None:
    sandbox, _ = ended_rm(start)
    sandbox.rename(f"{sandbox}.old")
    sandbox.mkdir()
    (sandbox / "precious").touch()
    try:
        assert gc(shim) == ["cleared record of c1"]
        assert (sandbox / "precious").exists()
    finally:
        (sandbox / "precious").unlink()
        sandbox.rmdir()
        Path(f"{sandbox}.old").rmdir()


def test_a_sandbox_behind_a_link_stays(start: Starter, shim: Shim, open_tmp: Path) -> None:
    """A record's path leads through a link by now: gc follows none, not even to the right directory."""
    sandbox, record = ended_rm(start)
    (open_tmp / "link").symlink_to(sandbox.parent)
    path = shim.state_dir / "containers/c1.json"
    path.write_text(json.dumps({**record, "sandbox": f"{open_tmp}/link/{sandbox.name}"}))
    done = shim.run("gc")
    assert done.returncode == 1
    assert "Not a directory" in done.stderr or "symbolic link" in done.stderr
    assert sandbox.exists()
    path.write_text(json.dumps(record))
    gc(shim)
    assert not sandbox.exists()


def test_a_mount_in_the_sandbox_stays_and_so_does_the_record(start: Starter, shim: Shim) -> None:
    sandbox, _ = ended_rm(start)
    (sandbox / "mounted").mkdir()
    script = f"mount -t tmpfs none {sandbox}/mounted && touch {sandbox}/mounted/precious && {shim.program} gc"
    script += f"; echo $?; ls {sandbox}/mounted"
    words = ["unshare", "-m", "--propagation", "private", "sh", "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert done.stdout.splitlines()[-2:] == ["1", "precious"]
    assert "a mount" in done.stderr
    assert gc(shim) == [f"cleared sandbox {sandbox}", "cleared record of c1"]


def test_only_a_rm_is_removed(start: Starter, shim: Shim, sandbox: Path) -> None:
    container = start("--volume", "t:/opt")
    container.do("open('/opt/precious', 'w').close()")
    container.end()
    gc(shim)
    assert (sandbox / "t/precious").exists()


def test_a_supervised_container_that_is_just_ending_is_its_supervisors(start: Starter, shim: Shim) -> None:
    container = start("--supervise")
    os.kill(container.process.pid, signal.SIGSTOP)  # it cannot clear up now
    os.kill(container.record["pid"], signal.SIGKILL)
    wait_until(lambda: not alive(container.record["pid"]), "the end of the command")
    assert gc(shim) == []
    os.kill(container.process.pid, signal.SIGCONT)
    assert container.process.wait(SECONDS) == 137
    assert list((shim.state_dir / "containers").iterdir()) == []


ELSEWHERE = ("unshare", "-pf", "--mount-proc")


def from_another_pid_namespace(shim: Shim, *words: object) -> subprocess.CompletedProcess[str]:
    command = [*ELSEWHERE, shim.program, *words]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=SECONDS)


def test_what_cannot_be_seen_from_another_pid_namespace_stays(start: Starter, shim: Shim) -> None:
    """A pid means nothing there: no process with it is no sign of an end."""
    container = start()
    assert container.used["statistics"]["processes"] == 1
    (shim.state_dir / "containers/c2.json").write_text(json.dumps({**container.record, "mode": 5}))
    done = from_another_pid_namespace(shim, "gc")
    assert "cleared record" not in done.stdout
    assert "whose processes are not visible from here" in done.stderr  # of the damaged one
    (shim.state_dir / "containers/c2.json").unlink()
    for command in ("ps", "usage"):
        done = from_another_pid_namespace(shim, command)
        assert (done.returncode, "c1" in done.stdout) == (0, False)
        assert "which are not visible from here: 1" in done.stderr
    assert "c1" in json.loads((shim.state_dir / "usage.json").read_text())  # its counters are kept too
    done = from_another_pid_namespace(shim, "usage", "c1")
    assert "has ended" not in done.stderr
    done = from_another_pid_namespace(shim, "enter", "c1", "--", "true")
    assert (done.returncode, "is not visible from here" in done.stderr) == (125, True)
    done = from_another_pid_namespace(shim, "run", "--container-id", "c1", "--sandbox", shim.prefix, "--", "true")
    assert (done.returncode, "whose end is not visible from here" in done.stderr) == (125, True)
    assert running(shim) == ["c1"]


def test_a_container_of_another_pid_namespace_stays_as_long_as_that_is_in_use(shim: Shim, sandbox: Path) -> None:
    words = [*ELSEWHERE, shim.program, "run", "--container-id", "c1", "--", "sh", "-c", "echo ready; read line"]
    process = subprocess.Popen(list(map(str, words)), cwd=sandbox, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"ready\n"
        assert json.loads((shim.state_dir / "containers/c1.json").read_text())["pid"] == 1
        assert gc(shim) == []
    finally:
        process.communicate(b"\n", timeout=SECONDS)
    assert gc(shim) == ["cleared record of c1"]


def test_two_containers_with_one_first_process_live_both(start: Starter, shim: Shim) -> None:
    """`mesos-shim run` as a container's command becomes the inner one's, by exec: the same pid and start time."""
    inner = [str(shim.program), "run", "--container-id", "a-inner", "--", "sh", "-c", "echo ready; read line"]
    container = start(name="c1", command=inner)
    assert container.line() == "ready"
    assert gc(shim) == []
    assert running(shim) == ["a-inner", "c1"]
    assert shim.run("enter", "a-inner", "--", "true").returncode == 0
    # What the process of the outer one has made of its view since is nobody's to vouch for.
    assert "not in the mount namespace that it was launched in" in shim.run("enter", "c1", "--", "true").stderr
    container.end()
    assert gc(shim) == ["cleared record of a-inner", "cleared record of c1"]
