"""Launches of an agent with filesystem/linux and volume/*: what it has set up is there as it says, and stays.

The launch infos are those that 1.11's isolators make (src/slave/containerizer/mesos/isolators/{filesystem,volume,
namespaces}); the directories are prepared as they prepare them.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..lib import wire
from ..lib.launch_info import BIND, MOVE, NEWNS, NEWPID, PROC, RDONLY, SHARED, bind
from ..lib.played_agent import PlayedAgent, end
from ..lib.shim import NOBODY, Shim, needs_root

pytestmark = needs_root

PRIVATE_TMP = {"type": "MESOS", "volumes": [{"host_path": "tmp", "container_path": "/tmp", "mode": "RW"}]}


@pytest.fixture
def agent(open_tmp: Path, shim: Shim) -> PlayedAgent:
    """An agent with one container, whose sandbox is nobody's."""
    found = PlayedAgent(open_tmp, shim, more={"MESOS_ISOLATION": "posix/cpu, filesystem/linux,volume/secret"})
    os.chown(found.sandbox, NOBODY, NOBODY)
    found.sandbox.chmod(0o750)
    return found


@pytest.fixture
def data(open_tmp: Path) -> Path:
    """A directory of the host's with a file in it."""
    path = open_tmp / "data"
    path.mkdir()
    path.chmod(0o755)
    (path / "file").write_text("of the host\n")
    return path


def launch(
    agent: PlayedAgent, command: str, *volumes: bytes, mounts: list[dict[str, object]], **fields: object
) -> tuple[str, str]:
    """What the command of a container with these volumes says, where the launch must succeed."""
    agent.hold(wire.container_info(*volumes) if volumes else None)
    status, out, err = end(agent.start(command, clone_namespaces=[NEWNS], mounts=mounts, **fields))
    assert (status, agent.status) == (0, "0"), err
    return out, err


@pytest.mark.parametrize("volume", [wire.volume, wire.from_host])
def test_a_host_path(agent: PlayedAgent, data: Path, volume: object) -> None:
    """Read-write, in both forms of a Volume; framework_volumes is for volumes that we do."""
    out, err = launch(agent, "cat /opt/file; touch /opt/new", volume("/opt", str(data)), mounts=[bind(data, "/opt")])
    assert (out, err) == ("of the host\n", "")
    assert (data / "new").exists()
    assert not Path("/opt/file").exists()


@pytest.mark.parametrize("volume", [wire.volume, wire.from_host])
def test_a_read_only_host_path(agent: PlayedAgent, data: Path, volume: object) -> None:
    out, err = launch(
        agent,
        "cat /opt/file; touch /opt/new || echo refused",
        volume("/opt", str(data), 2),
        mounts=[bind(data, "/opt", RDONLY)],
    )
    assert out == "of the host\nrefused\n"
    assert "Read-only file system" in err
    assert not (data / "new").exists()


def test_a_read_only_remount_keeps_what_the_source_forbids(agent: PlayedAgent, open_tmp: Path) -> None:
    """A remount sets the flags anew: without them programs of a nosuid file system would be set-uid again."""
    source = open_tmp / "safe"
    source.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nosuid,nodev,noexec", "none", source], check=True)
    try:
        out, _ = launch(
            agent,
            "grep ' /opt ' /proc/self/mountinfo",
            wire.from_host("/opt", str(source), 2),
            mounts=[bind(source, "/opt", RDONLY)],
        )
    finally:
        subprocess.run(["umount", source], check=True)
    assert set(out.split()[5].split(",")) >= {"ro", "nosuid", "nodev", "noexec"}


def test_a_file_over_a_file(agent: PlayedAgent, data: Path) -> None:
    out, _ = launch(
        agent,
        "cat /etc/hostname",
        wire.from_host("/etc/hostname", str(data / "file")),
        mounts=[bind(data / "file", "/etc/hostname")],
    )
    assert out == "of the host\n"


@pytest.mark.parametrize("mode", [1, 2])
def test_a_relative_container_path(agent: PlayedAgent, data: Path, mode: int) -> None:
    """Its mount point is in the sandbox, where the agent has made it."""
    point = agent.sandbox / "mnt/inner"
    point.mkdir(parents=True)
    out, _ = launch(
        agent,
        "cat mnt/inner/file; ! touch mnt/inner/new || echo written",
        wire.from_host("mnt/inner", str(data), mode),
        mounts=[bind(data, point, RDONLY if mode == 2 else 0)],
    )
    assert out == "of the host\n" + ("written\n" if mode == 1 else "")
    assert list(point.iterdir()) == []


@pytest.mark.parametrize(
    ("volume", "isolation"),
    [
        (wire.from_sandbox("/opt", "own"), "filesystem/linux"),
        # The old form is filesystem/shared's too: only the agent's flags tell.
        (wire.volume("/opt", "own"), "filesystem/linux"),
    ],
)
def test_a_sandbox_path_of_its_own_is_the_users(agent: PlayedAgent, volume: bytes, isolation: str) -> None:
    """The agent has given it to whom the sandbox belongs: nothing of it is changed."""
    agent.more["MESOS_ISOLATION"] = isolation
    own = agent.sandbox / "own"
    own.mkdir()
    os.chown(own, NOBODY, NOBODY)
    out, err = launch(agent, "echo mine > /opt/new; cat own/new", volume, mounts=[bind(own, "/opt")], user="nobody")
    assert (out, err) == ("mine\n", "")
    assert (own.stat().st_uid, own.stat().st_mode & 0o7777) == (NOBODY, 0o755)


@pytest.mark.parametrize("isolation", ["filesystem/shared", "posix/cpu", "xfilesystem/linux", ""])
def test_plain_volumes_are_the_policys_where_the_agent_does_not_say_filesystem_linux(
    agent: PlayedAgent, data: Path, isolation: str
) -> None:
    """A framework of an agent with filesystem/shared has no way to have its volumes taken for judged ones."""
    agent.more["MESOS_ISOLATION"] = isolation
    volumes = [wire.volume("/opt", str(data))]
    # filesystem/shared asks for the very same for a read-only one.
    for more in ([], [wire.volume("/srv", str(data), 2)]):
        agent.hold(wire.container_info(*volumes, *more))
        mounts = [bind(data, path) for path in ("/opt", "/srv")[: 1 + len(more)]]
        _, out, err = end(agent.start("echo started", clone_namespaces=[NEWNS], mounts=mounts))
        assert (out, agent.status) == ("", "256")
        assert "framework_volumes is 'relative'" in err


@pytest.mark.parametrize("path", ["/opt", "given"])
def test_the_parents_sandbox_path(agent: PlayedAgent, open_tmp: Path, shim: Shim, path: str) -> None:
    """How the tasks of a pod share files: nested containers, with a directory of the parent's."""
    shared = agent.sandbox / "shared"
    shared.mkdir()
    os.chown(shared, NOBODY, NOBODY)
    nested = PlayedAgent(open_tmp, shim, container="c1/n1", more=dict(agent.more))
    nested.sandbox = agent.sandbox / "containers/n1"
    nested.sandbox.mkdir(parents=True)
    os.chown(nested.sandbox, NOBODY, NOBODY)
    target = Path(path) if path.startswith("/") else nested.sandbox / path
    if target != Path("/opt"):
        target.mkdir()
    out, err = launch(
        nested,
        f"echo of the child > {path}/file; cat {path}/file",
        wire.from_sandbox(path, "shared", 2),
        mounts=[bind(shared, target)],
        user="nobody",
    )
    assert (out, err) == ("of the child\n", "")
    assert (shared / "file").read_text() == "of the child\n"


@pytest.mark.parametrize("what", ["source", "target"])
def test_no_link_in_a_sandbox_is_followed(agent: PlayedAgent, open_tmp: Path, shim: Shim, what: str) -> None:
    """The parent's tasks run while the nested one is launched, and may exchange what the agent has made."""
    shared = agent.sandbox / "shared"
    shared.mkdir()
    nested = PlayedAgent(open_tmp, shim, container="c1/n1", more=dict(agent.more))
    nested.sandbox = agent.sandbox / "containers/n1"
    point = nested.sandbox / "given"
    point.mkdir(parents=True)
    os.chown(nested.sandbox, NOBODY, NOBODY)
    (shared if what == "source" else point).rmdir()
    (shared if what == "source" else point).symlink_to("/etc")
    nested.hold(wire.container_info(wire.from_sandbox("given", "shared", 2)))
    process = nested.start("ls given", clone_namespaces=[NEWNS], mounts=[bind(shared, point)])
    _, out, err = end(process)
    assert (out, nested.status) == ("", "256")
    assert f"mounts[0].{what}: " in err
    assert "is a symbolic link, or one is on the way" in err


def secrets(agent: PlayedAgent, path: str, target: Path) -> tuple[list[dict[str, object]], Path]:
    """The file operations of volume/secret for one secret, and where its value lies before them."""
    host = agent.root / "run/.secret/c1/uuid-of-value"
    host.parent.mkdir(parents=True)
    host.write_text("word\n")
    root = agent.sandbox / ".secret-uuid"
    (root / path.lstrip("/")).parent.mkdir(parents=True)
    inside = root / path.lstrip("/")
    return [
        {"operation": "MOUNT", "mount": {"flags": 0, "source": "ramfs", "target": str(root), "type": "ramfs"}},
        {"operation": "MKDIR", "mkdir": {"recursive": True, "target": str(inside.parent)}},
        {"operation": "RENAME", "rename": {"source": str(host), "target": str(inside)}},
        {"operation": "MOUNT", "mount": bind(inside, target, RDONLY)},
    ], host


@pytest.mark.parametrize("path", ["/etc/hostname", "deep/key"])
def test_a_secret(agent: PlayedAgent, path: str) -> None:
    """It is moved into memory of the container's own: on the host nothing of it is left."""
    target = Path(path) if path.startswith("/") else agent.sandbox / path
    if not path.startswith("/"):
        target.parent.mkdir()
        target.touch()
    operations, host = secrets(agent, path, target)
    out, err = launch(agent, f"cat {path}", wire.secret(path), mounts=[], file_operations=operations)
    assert (out, err) == ("word\n", "")
    assert not host.exists()
    assert list((agent.sandbox / ".secret-uuid").rglob("key")) == []


def test_a_volume_from_an_image(agent: PlayedAgent, open_tmp: Path) -> None:
    """The container's root is the host's; a provisioned image is mounted in it."""
    image = open_tmp / "work/provisioner/containers/c1/backends/copy/rootfses/r1"
    (image / "etc").mkdir(parents=True)
    (image / "etc/os-release").write_text("of the image\n")
    volume = wire.data(1, "/opt") + wire.number(3, 1) + wire.data(4, wire.number(1, 2))
    out, _ = launch(agent, "cat /opt/etc/os-release", volume, mounts=[bind(image, "/opt")])
    assert out == "of the image\n"


def test_what_is_where_it_was_needs_no_mount(agent: PlayedAgent) -> None:
    """The agent asks for none where host path and container path are one."""
    out, err = launch(agent, "ls -d /usr/share/doc", wire.from_host("/usr/share", "/usr/share"), mounts=[])
    assert (out, err) == ("/usr/share/doc\n", "")


def in_pid_namespace(process: list[str]) -> list[str]:
    """As an agent with namespaces/pid starts its helper: the /proc that it sees is still the host's."""
    return ["unshare", "--pid", "--fork", "--kill-child", "--mount", *process]


def run(words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


def test_the_agents_pid_namespace_has_its_proc(agent: PlayedAgent) -> None:
    agent.hold(None)
    words = agent.words("ls /proc | grep -cE '^[0-9]+$'", clone_namespaces=[NEWNS, NEWPID], mounts=[PROC])
    done = run(in_pid_namespace(words))
    assert (done.returncode, done.stderr, agent.status) == (0, "", "0")
    assert int(done.stdout) < 10


def test_a_nested_container_in_its_parents_pid_namespace_has_its_proc(agent: PlayedAgent) -> None:
    """What /proc was is moved out of the way: it cannot be mounted twice on one place (MESOS-9529)."""
    agent.hold(None)
    point = agent.runtime / "mnt/host_proc"
    point.mkdir(parents=True)
    move = {"flags": MOVE, "source": "/proc", "target": str(point)}
    words = agent.words("ls /proc | grep -cE '^[0-9]+$'", clone_namespaces=[NEWNS], mounts=[move, PROC])
    done = run(in_pid_namespace(words))
    assert (done.returncode, done.stderr, agent.status) == (0, "", "0")
    assert int(done.stdout) < 10


def test_shared_memory_of_its_own(agent: PlayedAgent, open_tmp: Path) -> None:
    """namespaces/ipc with ipc_mode PRIVATE: a tmpfs of the agent's on /dev/shm."""
    shm = open_tmp / "shm"
    shm.mkdir()
    mount = {"flags": BIND, "source": str(shm), "target": "/dev/shm"}
    launch(agent, "touch /dev/shm/mine", mounts=[mount])
    assert (shm / "mine").exists()


@pytest.fixture
def disk(open_tmp: Path) -> Iterator[Path]:
    """A mount of the host's that is shared with other namespaces."""
    path = open_tmp / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", path], check=True)
    subprocess.run(["mount", "--make-private", path], check=True)
    subprocess.run(["mount", "--make-shared", path], check=True)
    (path / "inner").mkdir()
    yield path
    subprocess.run(["umount", "-R", path], check=True)


def test_a_bidirectional_volume_shares_its_mounts_with_the_host_and_nothing_else(
    agent: PlayedAgent, disk: Path
) -> None:
    """The private /tmp beside it is no mount of the host's."""
    agent.shim.configure(tmpfs={"/srv": {"size": "1m"}})
    shared = {"flags": SHARED, "target": str(disk)}
    out, err = launch(
        agent,
        "mount -t tmpfs none /opt/inner && touch /opt/inner/there; stat -f -c %T /srv",
        wire.from_host("/opt", str(disk), 1, 2),
        mounts=[shared, bind(disk, "/opt")],
    )
    assert (out, err) == ("tmpfs\n", "")
    assert (disk / "inner/there").exists()
    assert "/srv " not in Path("/proc/self/mounts").read_text()


def test_a_persistent_volume_that_comes_later(agent: PlayedAgent) -> None:
    """The agent mounts it in the sandbox while the container runs, which here is kept below a private directory."""
    work = str(agent.work_dir)
    (agent.sandbox / "later").mkdir()
    os.mkfifo(agent.sandbox / "go")
    agent.shim.configure(private_directories={"/var/tmp": {}})
    agent.hold(None)
    # As filesystem/linux makes its work_dir (linux.cpp, ensureSharedMount).
    for words in (["--bind", work, work], ["--make-private", work], ["--make-shared", work]):
        subprocess.run(["mount", *words], check=True)
    try:
        process = agent.start("echo ready; read word < go; cat later/file", clone_namespaces=[NEWNS])
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        subprocess.run(["mount", "-t", "tmpfs", "none", agent.sandbox / "later"], check=True)
        (agent.sandbox / "later/file").write_text("of the volume\n")
        (agent.sandbox / "go").write_text("now\n")
        assert end(process)[1] == "of the volume\n"
    finally:
        subprocess.run(["umount", "-R", work], check=True)


def test_nothing_of_ours_or_of_the_agents_is_mounted_below_what_is_shared(agent: PlayedAgent, disk: Path) -> None:
    shared = {"flags": SHARED, "target": str(disk)}
    agent.hold(wire.container_info(wire.from_host("/opt", str(disk), 1, 2)))
    mounts = [shared, bind("/usr/share", disk / "inner")]
    _, out, err = end(agent.start("echo started", clone_namespaces=[NEWNS], mounts=mounts))
    assert (out, agent.status) == ("", "256")
    assert "BIDIRECTIONAL" in err
    agent.shim.configure(tmpfs={str(disk / "inner"): {"size": "1m"}})
    _, out, err = end(agent.start("echo started", clone_namespaces=[NEWNS], mounts=[shared, bind(disk, "/opt")]))
    assert (out, agent.status) == ("", "256")
    assert "BIDIRECTIONAL" in err
    assert str(disk / "inner") not in Path("/proc/self/mounts").read_text()


def test_what_is_the_operators_stands_beside_what_is_the_agents(agent: PlayedAgent, data: Path, open_tmp: Path) -> None:
    """A private /tmp above the sandbox and above a volume of the agent's, which both stay visible."""
    with_tmp = Path("/tmp") / f"mesos-shim-test-{os.getpid()}"
    with_tmp.mkdir()
    try:
        agent.shim.configure(default_container_info=PRIVATE_TMP)
        out, err = launch(
            agent,
            f"cat {with_tmp}/file; ls -A /tmp; touch {with_tmp}/new || echo refused; stat -c %a /tmp",
            mounts=[bind(data, with_tmp, RDONLY)],
        )
    finally:
        with_tmp.rmdir()
    assert out.splitlines() == ["of the host", with_tmp.name, "refused", "1777"]
    assert "Read-only file system" in err


@pytest.mark.parametrize(("ours", "theirs"), [("/opt", "/opt"), ("/srv", "/srv/"), ("/usr/share/doc", "/usr/share")])
def test_where_the_agent_has_mounted_something_nothing_of_the_operators_is(
    agent: PlayedAgent, data: Path, ours: str, theirs: str
) -> None:
    (data / "doc").mkdir()
    default = {"type": "MESOS", "volumes": [{"host_path": "x", "container_path": ours, "mode": "RW"}]}
    agent.shim.configure(default_container_info=default)
    out, err = launch(agent, f"cat {theirs}/file", mounts=[bind(data, theirs)])
    assert out == "of the host\n"
    assert f"{ours!r} is left to the agent, which has mounted a volume on {theirs.rstrip('/')!r}" in err
    for key in ({"tmpfs": {ours: {"size": "1m"}}}, {"private_directories": {ours: {}}}):
        agent.shim.configure(**key)
        out, err = launch(agent, f"cat {theirs}/file", mounts=[bind(data, theirs)])
        assert out == "of the host\n"
        assert "is left to the agent" in err


def test_a_private_directory_is_there_beside_a_frameworks_volumes(agent: PlayedAgent, data: Path) -> None:
    """That is the operator's for every container, and the agent's volume below it stays visible."""
    point = Path("/var/tmp") / f"mesos-shim-test-point-{os.getpid()}"
    point.mkdir()
    try:
        agent.shim.configure(private_directories={"/var/tmp": {}})
        volume = wire.from_host(str(point), str(data), 2)
        command = f"cat {point}/file; touch /var/tmp/mine; ls /var/tmp | grep -c '^mesos-shim-test-point'"
        out, err = launch(agent, command, volume, mounts=[bind(data, point, RDONLY)])
    finally:
        point.rmdir()
    assert (out, err) == ("of the host\n1\n", "")
    assert (agent.sandbox / ".private/var/tmp/mine").exists()


def test_a_framework_that_brings_volumes_has_none_of_the_default(agent: PlayedAgent, data: Path) -> None:
    """Mesos' rule, also where the volumes are the agent's."""
    agent.shim.configure(default_container_info=PRIVATE_TMP)
    out, _ = launch(
        agent, "stat -c %d:%i /tmp", wire.from_host("/opt", str(data), 2), mounts=[bind(data, "/opt", RDONLY)]
    )
    host = os.stat("/tmp")
    assert out == f"{host.st_dev}:{host.st_ino}\n"


def test_a_volume_of_the_agents_over_what_is_roots_takes_set_uid_away(agent: PlayedAgent) -> None:
    """As ours does: a framework could feed a set-uid program its own files (threat 8)."""
    own = agent.sandbox / "own"
    own.mkdir()
    os.chown(own, NOBODY, NOBODY)
    launch_it = (agent, "grep NoNewPrivs /proc/self/status")
    out, _ = launch(*launch_it, wire.from_sandbox("/opt", "own"), mounts=[bind(own, "/opt")], user="nobody")
    assert out.split() == ["NoNewPrivs:", "1"]
    out, _ = launch(
        *launch_it, wire.from_host("/opt", "/usr/share"), mounts=[bind("/usr/share", "/opt")], user="nobody"
    )
    assert out.split() == ["NoNewPrivs:", "0"]


def test_a_volume_that_the_agent_has_not_mounted_is_ours(agent: PlayedAgent) -> None:
    """A mount namespace alone says nothing: network/cni asks for one, too."""
    out, err = launch(agent, "stat -c %a /opt", wire.volume("/opt", "own"), mounts=[])
    assert (out, err) == ("755\n", "")
    assert (agent.sandbox / "own").is_dir()


def test_without_our_filesystem_shared_the_agents_volumes_are_there(agent: PlayedAgent, data: Path) -> None:
    agent.shim.configure(isolation=["posix/cpu"])
    out, _ = launch(agent, "cat /opt/file", wire.from_host("/opt", str(data)), mounts=[bind(data, "/opt")])
    assert out == "of the host\n"
    assert not Path("/opt/file").exists()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"mounts": [{"source": "/a", "flags": BIND}]}, "mounts[0].target: required"),
        ({"mounts": [bind("/usr", "/opt/../etc")]}, "mounts[0].target: '/opt/../etc' has a '..' component"),
        ({"mounts": [bind("usr", "/opt")]}, "mounts[0].source: 'usr' is not absolute"),
        ({"mounts": [{"target": "/opt", "flags": "1"}]}, "mounts[0].flags: not a list of numbers"),
        ({"mounts": [bind("/does/not/exist", "/opt")]}, "mounting '/does/not/exist' on '/opt': No such file"),
        ({"file_operations": [{"operation": "FORMAT"}]}, "file_operations[0]: 'FORMAT' is not an operation"),
        ({"file_operations": [{"operation": "MKDIR"}]}, "file_operations[0]: 'MKDIR' is not an operation"),
        ({"file_operations": [{"operation": "MKDIR", "mkdir": {}}]}, "file_operations[0].target: required"),
    ],
)
def test_what_cannot_be_done_is_refused_by_its_name(agent: PlayedAgent, fields: dict[str, object], words: str) -> None:
    agent.hold(None)
    _, out, err = end(agent.start("echo started", clone_namespaces=[NEWNS], **fields))
    assert (out, agent.status) == ("", "256")
    assert words in err
    assert err.count("\n") == 1
    assert "internal error" not in err
