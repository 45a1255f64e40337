"""What a framework and an ordinary user learn of root's directories: what they can see anyway (threats 14, 33)."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from mesos_shim.commands import ps, usage
from mesos_shim.containers import record
from mesos_shim.spec import config as configuration

from ..lib import wire
from ..lib.containers import Starter
from ..lib.launching import volume
from ..lib.played_agent import PlayedAgent, end
from ..lib.shim import NOBODY, Shim, needs_root

pytestmark = needs_root

FORMS = ("absent", "file", "directory", "link", "dangling", "users", "fifo", "open", "directory/absent", "file/x")


@pytest.fixture
def secret(open_tmp: Path) -> Path:
    """Root's 0700 directory, and in it one of each kind that a message could tell apart."""
    path = open_tmp / "secret"
    (path / "directory").mkdir(parents=True)
    (path / "file").write_text("x")
    (path / "link").symlink_to("/root/.ssh/id_rsa")
    (path / "dangling").symlink_to("nowhere")
    (path / "users").mkdir()
    os.chown(path / "users", 1234, 1234)
    os.mkfifo(path / "fifo")
    (path / "open").mkdir()
    (path / "open").chmod(0o777)
    path.chmod(0o700)
    return path


@pytest.fixture
def agent(shim: Shim, open_tmp: Path) -> PlayedAgent:
    """A stand-in for an agent; what frameworks may name is up to each test."""
    return PlayedAgent(open_tmp / "agent", shim)


def told(agent: PlayedAgent, *volumes: tuple[object, object], protocol: str = "1.x") -> str:
    """What a framework's task with such volumes (source, target) is told; it must be refused."""
    os.chown(agent.sandbox, NOBODY, NOBODY)
    info = wire.container_info(*(wire.volume(str(target), str(source)) for source, target in volumes))
    if protocol == "1.x":
        agent.hold(info)
        process = agent.start("echo started", user="nobody")
    else:
        commands = " && ".join(f"mount -n --bind {source} {target}" for source, target in volumes)
        item = {"shell": True, "value": commands}
        process = agent.start_021("echo started", commands=json.dumps({"commands": [item]}), user="nobody")
    status, out, err = end(process)
    assert (status, out) == (1, ""), err
    return err


def check_alike(lines: dict[str, str], secret: Path) -> None:
    """Each message says the same, but for the name that the framework has given itself."""
    found = set()
    for form, text in lines.items():
        plain = text
        for name in (form, form.partition("/")[0]):
            plain = plain.replace(f"{secret}/{name}", "X")
        found.add(plain)
    assert len(found) == 1, lines
    assert "'X': Permission denied" in found.pop()


@pytest.mark.parametrize("protocol", ["1.x", "0.21"])
def test_of_targets(agent: PlayedAgent, secret: Path, protocol: str) -> None:
    """Under the default policy, which lets a framework name every target."""
    (agent.sandbox / "tmp").mkdir()
    source = "tmp" if protocol == "1.x" else agent.sandbox / "tmp"
    lines = {form: told(agent, (source, f"{secret}/{form}"), protocol=protocol) for form in FORMS}
    check_alike(lines, secret)


@pytest.mark.parametrize("protocol", ["1.x", "0.21"])
def test_of_sources(agent: PlayedAgent, secret: Path, protocol: str) -> None:
    """Where the operator lets frameworks name some."""
    agent.shim.configure(framework_volumes="all")
    lines = {form: told(agent, (f"{secret}/{form}", "/opt"), protocol=protocol) for form in FORMS}
    check_alike(lines, secret)


def test_of_what_lies_in_a_source(agent: PlayedAgent, open_tmp: Path) -> None:
    """The place of one volume inside another's source is looked for as the task's user, too."""
    agent.shim.configure(framework_volumes="all")
    for name in ("absent", "present"):
        (open_tmp / "target/closed" / name).mkdir(parents=True)
    (open_tmp / "source/closed/present").mkdir(parents=True)
    (open_tmp / "source/closed").chmod(0o700)
    lines = {
        name: told(agent, (open_tmp / "source", open_tmp / "target"), ("tmp", open_tmp / "target/closed" / name))
        for name in ("absent", "present")
    }
    found = {text.replace(name, "X") for name, text in lines.items()}
    assert len(found) == 1, lines
    assert "Permission denied" in found.pop()


@pytest.mark.parametrize("key", ["default_container_info", "source", "tmpfs", "work_dir"])
def test_of_the_operators_own_paths(agent: PlayedAgent, secret: Path, sandbox: Path, key: str) -> None:
    """They are root's to find; where one fails, the task is told less of it than root is."""
    path = str(secret / "link")
    volumes = [volume("tmp", path)] if key == "default_container_info" else [volume(path, "/opt")]
    info = {"type": "MESOS", "volumes": volumes}
    configured: dict[str, object] = {"default_container_info": info}
    if key == "tmpfs":
        configured = {"tmpfs": {path: "1m"}}
    elif key == "work_dir":
        configured = {"hide_work_dir": True, "work_dir": str(secret / "users/x")}
        os.chown(secret / "users", 1234, 1234)
        (secret / "users/x").mkdir()
    agent.shim.configure(**configured)
    os.chown(agent.sandbox, NOBODY, NOBODY)
    agent.hold(None)
    status, out, err = end(agent.start("echo started", user="nobody"))
    assert (status, out) == (1, "")
    assert "Permission denied; run 'mesos-shim explain' as root for the full reason" in err
    assert "symbolic" not in err
    assert "1234" not in err
    done = agent.shim.run("explain", cwd=sandbox)
    assert done.returncode == 125
    assert "Permission denied" not in done.stderr


def test_a_group_of_the_users_is_not_roots(agent: PlayedAgent, open_tmp: Path) -> None:
    """Looked at as the user, judged as root: what the user's group may write is no safe way."""
    agent.shim.configure(framework_volumes="all")
    (open_tmp / "shared/data").mkdir(parents=True)
    os.chown(open_tmp / "shared", 0, NOBODY)
    (open_tmp / "shared").chmod(0o775)
    assert "lies in a directory that others can write" in told(agent, (open_tmp / "shared/data", "/opt"))


# Records


def test_records_are_their_owners(start: Starter, shim: Shim) -> None:
    """Not to read, and not to watch: inotify(7) would tell of the moment of an `enter`."""
    container = start("--user", "nobody")
    for path, mode in (("", 0o700), ("containers", 0o700), ("containers/c1.json", 0o600)):
        assert stat.S_IMODE((shim.state_dir / path).stat().st_mode) == mode
    watch = "import ctypes; l = ctypes.CDLL(None); answer = l.inotify_add_watch(l.inotify_init(), b'{}', 0xFFF)"
    assert container.do(watch.format("/var/tmp")) == "1"
    for path in (shim.state_dir / "containers", shim.state_dir):
        assert container.do(watch.format(path)) == "-1"


def test_records_of_an_earlier_release_are_closed(start: Starter, shim: Shim, open_tmp: Path) -> None:
    """By the next launch; the state directory only where its name says that it is ours alone."""
    for name, mode in (("mesos-shim", 0o700), ("shared", 0o755)):
        state = open_tmp / name
        (state / "containers").mkdir(parents=True)
        for path in (state, state / "containers"):
            path.chmod(0o755)
        shim.configure(state_dir=str(state))
        assert shim.run("run", "--", "true", cwd=open_tmp).returncode == 0
        assert stat.S_IMODE((state / "containers").stat().st_mode) == 0o700
        assert stat.S_IMODE(state.stat().st_mode) == mode


@pytest.mark.parametrize("words", [["ps"], ["usage"], ["gc"], ["enter", "c1", "--", "true"]])
def test_another_user_is_told_that_they_are_not_shown(start: Starter, shim: Shim, words: list[str]) -> None:
    start()
    done = shim.run(*words, user=NOBODY, group=NOBODY, extra_groups=[])
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr == (
        f"mesos-shim: {shim.state_dir}/containers: Permission denied: these are another user's records; "
        "run it as that user or as root\n"
    )


def test_an_ordinary_users_list_says_that_it_is_not_the_hosts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(record, "STATE_OF_ROOT", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    monkeypatch.setattr(record.posix, "geteuid", lambda: NOBODY)
    config = tmp_path / "config.json"
    config.write_text("{}")
    monkeypatch.setattr(configuration, "read", lambda *_, **__: configuration.Config())
    for command in (ps.main, usage.main):
        assert command([], str(config)) == 0
        assert capsys.readouterr().err == (
            f"mesos-shim: warning: only the containers of uid {NOBODY} are shown; root's are in {tmp_path}, "
            "and only root can read them\n"
        )


# hide_work_dir, against a task in a user namespace of its own


ATTEMPTS = {
    "umount": "umount {work}",
    "umount lazily": "umount -l {work}",
    "umount all above the sandbox": "umount {mine}; umount -R {work}",
    "bind": "mkdir -p {mine}/x; mount --bind {work} {mine}/x; cd {mine}/x",
    "rbind": "mkdir -p {mine}/x; mount --rbind {work} {mine}/x; umount -l {mine}/x; cd {mine}/x",
    "bind the parent": "mkdir -p {mine}/x; mount --bind {parent} {mine}/x; cd {mine}/x",
    "rbind the parent": "mkdir -p {mine}/x; mount --rbind {parent} {mine}/x; umount -l {mine}/x/work; cd {mine}/x",
    "move": "mkdir -p {mine}/x; mount --move {work} {mine}/x",
    "overlay": "mkdir -p {mine}/x {mine}/u {mine}/w; "
    "mount -t overlay o -o lowerdir={parent},upperdir={mine}/u,workdir={mine}/w {mine}/x; cd {mine}/x",
    "overlay of the root": "mkdir -p {mine}/x; mount -t overlay o -o lowerdir=/:{mine} {mine}/x; cd {mine}/x",
    "remount": "mount -o remount,rw,bind {work}",
    "pivot_root": "mkdir -p {mine}/x; mount --rbind / {mine}/x; cd {mine}/x; mkdir o; pivot_root . o; umount -l o",
    "above": "cd {work}/..; cd work; cd -P .",
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_hide_work_dir_holds_in_a_user_namespace(shim: Shim, open_tmp: Path, attempt: str) -> None:
    work = open_tmp / "work"
    runs = "slaves/S/frameworks/F/executors/{}/runs/R"
    mine, other = (work / runs.format(name) for name in ("mine", "other"))
    for path in (mine, other):
        path.mkdir(parents=True)
        (path / "secret").write_text("of " + path.parts[-3])
    os.chown(mine, NOBODY, NOBODY)
    shim.configure(hide_work_dir=True)
    tried = ATTEMPTS[attempt].format(work=work, mine=mine, parent=open_tmp)
    script = (
        f"{{ {tried}; }} >/dev/null 2>&1; cat {other}/secret; "
        "find / -xdev -path /proc -prune -o -path '*/other/*' -name secret -exec cat {} + 2>/dev/null; "
        f"find {open_tmp} {mine} . -path '*/other/*' -name secret -exec cat {{}} + 2>/dev/null; "
        f"cat {mine}/secret; id -u"
    )
    words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
    done = shim.run("run", "--user", "nobody", "--", *words, cwd=mine)
    assert "of other" not in done.stdout
    assert done.stdout.endswith("0\n"), done  # it was in its user namespace
    assert "of mine" in done.stdout
