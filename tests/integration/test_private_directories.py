"""private_directories: each container's own, whatever its ContainerInfo; in the sandbox, or in the operator's base."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ..lib.containers import Starter
from ..lib.launching import ACCESS, acl_for, give, host_mounts, info, launch, own_namespace, refused, said, tree, volume
from ..lib.shim import NOBODY, Shim, needs_root

pytestmark = needs_root


@pytest.fixture
def covered(open_tmp: Path) -> Path:
    """What the private directories cover, as /tmp is."""
    path = open_tmp / "covered"
    path.mkdir()
    path.chmod(0o1777)
    (path / "hosts").touch()
    return path


@pytest.fixture
def base(open_tmp: Path) -> Path:
    """A fast local disk."""
    path = open_tmp / "base"
    path.mkdir()
    path.chmod(0o711)
    return path


def run(shim: Shim, sandbox: Path, script: str, *options: str) -> subprocess.CompletedProcess[str]:
    """`mesos-shim run` without any ContainerInfo."""
    return shim.run("run", *options, "--", "/bin/sh", "-c", script, cwd=sandbox)


def made(base: Path, container: str) -> list[Path]:
    """The directories of that container in the base."""
    return list(base.glob(f"{container}@*"))


# In the sandbox.


def test_one_in_the_sandbox_looks_like_what_it_covers(shim: Shim, sandbox: Path, covered: Path) -> None:
    os.chown(covered, 12, 34)
    shim.configure(private_directories={str(covered): {}})
    before = host_mounts()
    (sandbox / "tmp").mkdir()  # an archive's own
    assert said(run(shim, sandbox, f"stat -c '%a %u %g' {covered}; ls {covered}; touch {covered}/mine")) == "1777 12 34"
    place = sandbox / ".private" / str(covered)[1:]
    assert os.listdir(place) == ["mine"]
    assert (place.stat().st_mode & 0o7777, place.stat().st_uid, place.stat().st_gid) == (0o1777, 12, 34)
    assert os.listdir(covered) == ["hosts"]
    assert os.listdir(sandbox / "tmp") == []
    assert host_mounts() == before
    # The next launch in this sandbox finds it again.
    assert said(run(shim, sandbox, f"ls {covered}")) == "mine"


INFOS: list[Callable[[Path], str]] = [
    lambda place: json.dumps({"type": "MESOS"}),
    lambda place: info(volume("x", place / "elsewhere")),
]


@pytest.mark.parametrize("given", INFOS, ids=["without volumes", "with another volume"])
def test_a_callers_container_info_does_not_switch_it_off(
    shim: Shim, sandbox: Path, open_tmp: Path, covered: Path, given: Callable[[Path], str]
) -> None:
    (open_tmp / "elsewhere").mkdir()
    shim.configure(
        private_directories={str(covered): {}},
        default_container_info={"type": "MESOS", "volumes": [volume("d", "/opt")]},
    )
    assert said(run(shim, sandbox, f"ls {covered}", "--container-info", given(open_tmp))) == ""
    assert said(run(shim, sandbox, f"ls {covered}")) == ""  # nor does the operator's own default
    assert said(run(shim, sandbox, f"ls {covered}", "--volume", f"x:{open_tmp}/elsewhere")) == ""


def test_a_container_info_that_names_the_same_path_wins(
    shim: Shim, sandbox: Path, open_tmp: Path, covered: Path
) -> None:
    (open_tmp / "source").mkdir()
    (open_tmp / "source/its").touch()
    shim.configure(private_directories={str(covered): {}})
    assert said(launch(shim, sandbox, [volume(open_tmp / "source", covered)], f"ls {covered}")) == "its"
    # By another name as well: what counts is where it leads.
    (open_tmp / "link").symlink_to(covered)
    shim.configure(private_directories={str(open_tmp / "link"): {}})
    assert said(launch(shim, sandbox, [volume(open_tmp / "source", covered)], f"ls {covered}")) == "its"
    assert not (sandbox / ".private").exists()


def test_volumes_above_and_below(shim: Shim, sandbox: Path, open_tmp: Path, covered: Path) -> None:
    (covered / "deep").mkdir()
    (open_tmp / "source").mkdir()
    (open_tmp / "source/its").touch()
    shim.configure(private_directories={str(covered): {}})
    below = [volume(open_tmp / "source", covered / "deep")]
    assert said(launch(shim, sandbox, below, f"ls {covered}; ls {covered}/deep")).split() == ["deep", "its"]
    # A volume above, whose source has a place for it, or is made: still private.
    script = f"ls {covered}; touch {covered}/mine"
    assert said(launch(shim, sandbox, [volume("above", open_tmp)], script)) == "deep"
    assert (sandbox / ".private" / str(covered)[1:] / "mine").exists()
    refused(launch(shim, sandbox, [volume("/usr/share", open_tmp)], script), "has no place in")


def test_two_of_them_one_in_the_other(shim: Shim, sandbox: Path, covered: Path, base: Path) -> None:
    (covered / "deep").mkdir(mode=0o755)
    os.chown(covered / "deep", 12, 34)
    for settings in ({}, {"base": str(base)}):
        shim.configure(private_directories={str(covered): settings, f"{covered}/deep": settings})
        assert said(run(shim, sandbox, f"ls {covered}; stat -c '%a %u' {covered}/deep")).split() == [
            "deep",
            "755",
            "12",
        ]


def test_work_dir_and_names_passed_through(shim: Shim, covered: Path) -> None:
    """The sandbox below it is kept, other sandboxes are hidden, what the operator lets through is there."""
    mine = covered / "mesos/slaves/S/frameworks/F/executors/E/runs/R1"
    for name in ("R1", "R2"):
        (mine.parent / name).mkdir(parents=True)
    shim.configure(private_directories={str(covered): {}}, hide_work_dir=True, pass_through=[f"{covered}/hosts"])
    script = f"ls {covered}; ls {mine.parent}; pwd; touch here"
    assert said(run(shim, mine, script)).split() == ["hosts", "mesos", "R1", str(mine)]
    assert (mine / "here").exists()


def test_a_work_dir_that_is_private_itself_is_refused(shim: Shim, open_tmp: Path) -> None:
    mine = open_tmp / "work/slaves/S/frameworks/F/executors/E/runs/R1"
    mine.mkdir(parents=True)
    shim.configure(private_directories={str(open_tmp / "work"): {}}, hide_work_dir=True)
    refused(run(shim, mine, "true"), "hide_work_dir covers already")


@pytest.mark.parametrize("settings", [{"tmpfs": {"/tmp": "1m"}}, {"tmpfs": {"//tmp/": {"size": "1m"}}}])
def test_a_tmpfs_of_the_same_path_is_refused(shim: Shim, sandbox: Path, settings: dict[str, object]) -> None:
    shim.configure(private_directories={"/tmp": {}}, **settings)
    refused(run(shim, sandbox, "true"), "private_directories['/tmp']: tmpfs names it too")


def test_it_comes_before_the_own_shm_of_an_ipc_namespace(shim: Shim, sandbox: Path) -> None:
    shim.configure(private_directories={"/dev/shm": {}}, isolation=["filesystem/shared", "namespaces/ipc"])
    assert said(run(shim, sandbox, "touch /dev/shm/mine; stat -f -c %T /dev/shm")) != "tmpfs"
    assert (sandbox / ".private/dev/shm/mine").exists()


def mounted(options: str, covered: Path, shim: Shim, sandbox: Path) -> set[str]:
    """The options of a private directory over one that is mounted with `options`."""
    look = f"findmnt -no OPTIONS {covered} | tail -n 1"  # the uppermost of both
    script = f"mount -t tmpfs -o {options} none {covered} && exec {shim.program} run -- /bin/sh -c '{look}'"
    return set(said(own_namespace(script, sandbox)).split(","))


def test_how_it_is_mounted(shim: Shim, sandbox: Path, covered: Path) -> None:
    """As what it covers: a hardened host's /tmp stays hardened. noexec as the operator says, where that is said."""
    risky = {"nosuid", "nodev", "noexec"}
    for settings, options, expected in (
        ({}, "nosuid,nodev", {"nosuid", "nodev"}),
        ({}, "nosuid,noexec", {"nosuid", "noexec"}),
        ({"noexec": True}, "nodev", {"nodev", "noexec"}),
        ({"noexec": False}, "nosuid,noexec", {"nosuid"}),
        ({}, "exec", set()),
    ):
        shim.configure(private_directories={str(covered): settings})
        assert mounted(options, covered, shim, sandbox) & risky == expected


def test_a_path_that_is_not_there_is_refused(shim: Shim, sandbox: Path, open_tmp: Path) -> None:
    (open_tmp / "file").touch()
    for path, words in ((open_tmp / "absent", "does not exist"), (open_tmp / "file", "not a directory")):
        shim.configure(private_directories={str(path): {}})
        refused(run(shim, sandbox, "true"), "private_directories", words)


def test_without_the_isolator_it_is_named_as_not_done(shim: Shim, sandbox: Path, open_tmp: Path) -> None:
    """And nothing of it is looked at."""
    shim.configure(private_directories={str(open_tmp / "absent"): {"base": "/nowhere"}}, isolation=["posix/cpu"])
    done = run(shim, sandbox, "echo started")
    assert (done.returncode, done.stdout) == (0, "started\n")
    assert done.stderr == (
        "mesos-shim: warning: configuration: private_directories: ignored, because filesystem/shared is not among the "
        "isolators\n"
    )


def test_a_private_etc_lends_no_rights(shim: Shim, sandbox: Path, base: Path) -> None:
    """As with any volume over what the task's user could not write; a private /tmp stays transparent."""
    give(sandbox)
    script = "grep NoNewPrivs /proc/self/status"
    for settings in ({}, {"base": str(base)}):
        shim.configure(private_directories={"/srv": settings})
        assert said(run(shim, sandbox, script, "--user", "nobody")).split() == ["NoNewPrivs:", "1"]
        shim.configure(private_directories={"/tmp": settings})
        assert said(run(shim, sandbox, script, "--user", "nobody")).split() == ["NoNewPrivs:", "0"]


# What the task's user can do to the place in the sandbox.


@pytest.mark.parametrize("place", [".private", "the directory"])
def test_a_link_in_its_place_is_refused(shim: Shim, sandbox: Path, open_tmp: Path, covered: Path, place: str) -> None:
    give(sandbox)
    own = sandbox / ".private"
    if place != ".private":
        own = give_all(sandbox, own / str(covered.parent)[1:]) / covered.name
    own.symlink_to("/etc")
    give(own)
    shim.configure(private_directories={str(covered): {}})
    before = tree(sandbox)
    refused(run(shim, sandbox, "true", "--user", "nobody"), "in the sandbox")
    assert tree(sandbox) == before


def give_all(sandbox: Path, path: Path) -> Path:
    path.mkdir(parents=True)
    for step in (path, *path.parents):
        if step == sandbox:
            return path
        give(step)
    raise AssertionError(path)


def test_content_of_the_users_does_not_pass_for_the_covered_ones(shim: Shim, sandbox: Path, open_tmp: Path) -> None:
    (open_tmp / "roots").mkdir()
    give(sandbox)
    own = give_all(sandbox, sandbox / ".private" / str(open_tmp)[1:] / "roots")
    (own / "planted").touch()
    shim.configure(private_directories={str(open_tmp / "roots"): {}})
    refused(run(shim, sandbox, "true", "--user", "nobody"), "already exists and is not empty")


# In a base.


def test_one_in_a_base(shim: Shim, sandbox: Path, covered: Path, base: Path) -> None:
    os.chown(covered, 12, 34)
    shim.configure(private_directories={str(covered): {"base": str(base)}})
    script = f"stat -c '%a %u %g' {covered}; touch {covered}/mine"
    assert said(run(shim, sandbox, script, "--container-id", "one")) == "1777 12 34"
    (own,) = made(base, "one")
    assert (own.stat().st_mode & 0o7777, own.stat().st_uid) == (0o700, 0)
    assert os.listdir(own / str(covered)[1:]) == ["mine"]
    assert list(sandbox.iterdir()) == []


def test_containers_meet_neither_in_it_nor_through_it(shim: Shim, sandbox: Path, covered: Path, base: Path) -> None:
    """Nor do two of one name, one after the other: each has a directory that nobody had before."""
    give(sandbox)
    shim.configure(private_directories={str(covered): {"base": str(base)}})
    for _ in range(2):
        script = f"ls {covered}; ls {base}/*/ 2>/dev/null; touch {covered}/secret"
        done = run(shim, sandbox, script, "--container-id", "one", "--user", "nobody")
        assert (done.stdout, done.stderr) == ("", "")
    assert len(made(base, "one")) == 2


def test_a_supervisor_removes_it(shim: Shim, sandbox: Path, covered: Path, base: Path) -> None:
    shim.configure(private_directories={str(covered): {"base": str(base)}, "/opt": {"base": str(base)}})
    assert (
        said(run(shim, sandbox, f"mkdir -p {covered}/a/b; touch {covered}/a/b/c /opt/d; ls /opt", "--supervise")) == "d"
    )
    assert list(base.iterdir()) == []
    assert list((shim.state_dir / "containers").iterdir()) == []


def test_what_still_runs_keeps_it(start: Starter, shim: Shim, covered: Path, base: Path) -> None:
    """Of a container whose command left a process behind; gc takes it after that."""
    shim.configure(private_directories={str(covered): {"base": str(base)}})
    container = start("--supervise")
    container.do("left = subprocess.Popen(['sleep', '600'], stdin=-3, stdout=-3, stderr=-3, start_new_session=True)")
    left = int(container.do("answer = left.pid"))
    container.end()
    assert len(made(base, "c1")) == 1
    os.kill(left, 9)


def test_a_failed_launch_leaves_nothing(shim: Shim, sandbox: Path, covered: Path, base: Path) -> None:
    shim.configure(private_directories={str(covered): {"base": str(base)}})
    for options in ((), ("--supervise",)):
        done = shim.run("run", *options, "--", "/nowhere", cwd=sandbox)
        assert done.returncode == 127
        assert list(base.iterdir()) == []


def test_without_a_record_it_is_refused(shim: Shim, sandbox: Path, covered: Path, base: Path, open_tmp: Path) -> None:
    """Nobody would know of it, so nobody would remove it."""
    shim.configure(private_directories={str(covered): {"base": str(base)}}, state_dir=str(open_tmp / "no/such/state"))
    refused(run(shim, sandbox, "true"), "would never be removed")
    (open_tmp / "full/containers").mkdir(parents=True)
    shim.configure(private_directories={str(covered): {"base": str(base)}}, state_dir=str(open_tmp / "full"))
    script = f"mount -t tmpfs -o size=4k,nr_inodes=1 none {open_tmp}/full/containers && exec {shim.program} run -- true"
    refused(own_namespace(script, sandbox), "would never be removed")
    assert list(base.iterdir()) == []


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda base: base.chmod(0o777), "lets others write it"),
        (lambda base: base.chmod(0o1777), "lets others write it"),
        (lambda base: base.chmod(0o775), "lets others write it"),
        (give, "belongs to uid 65534"),
        (lambda base: os.setxattr(base, ACCESS, acl_for(NOBODY, 7)), "lets others write it"),
        (lambda base: (base.rmdir(), base.touch()), "is not a directory"),
        (Path.rmdir, "does not exist"),
        (lambda base: (base.rmdir(), base.symlink_to("/proc")), "on proc, which belongs to the kernel"),
    ],
)
def test_a_base_that_others_could_change_is_refused(
    shim: Shim, sandbox: Path, covered: Path, base: Path, spoil: Callable[[Path], object], words: str
) -> None:
    spoil(base)
    shim.configure(private_directories={str(covered): {"base": str(base)}})
    refused(run(shim, sandbox, "true"), "private_directories", words)


def test_a_base_in_a_users_directory_is_refused(shim: Shim, sandbox: Path, covered: Path, open_tmp: Path) -> None:
    home = open_tmp / "home"
    home.mkdir()
    give(home)
    (home / "base").symlink_to("/opt")
    give(home / "base")
    shim.configure(private_directories={str(covered): {"base": str(home / "base")}})
    refused(run(shim, sandbox, "true"), "symbolic link that uid 65534 could have made")
    (home / "base").unlink()
    (home / "base").mkdir()
    refused(run(shim, sandbox, "true"), "belongs to uid 0, but uid 65534 can replace it")


def test_an_ordinary_user(shim: Shim, sandbox: Path, covered: Path, open_tmp: Path) -> None:
    """In the sandbox, or in a base of their own; in root's they cannot write."""
    user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    give(sandbox)
    for name in ("state", "base"):
        (open_tmp / name).mkdir()
        give(open_tmp / name)
    (open_tmp / "roots").mkdir()

    def theirs(base: str, script: str) -> subprocess.CompletedProcess[str]:
        shim.configure(private_directories={str(covered): {"base": base}}, state_dir=str(open_tmp / "state"))
        words = [*user, str(shim.program), "run", "--supervise", "--", "/bin/sh", "-c", script]
        return subprocess.run(words, cwd=sandbox, capture_output=True, text=True, check=False, timeout=60)

    for base in ("sandbox", str(open_tmp / "base")):
        assert said(theirs(base, f"touch {covered}/mine; ls {covered}; stat -c %a {covered}")).split() == [
            "mine",
            "1777",
        ]
    assert os.listdir(covered) == ["hosts"]
    assert list((open_tmp / "base").iterdir()) == []
    refused(theirs(str(open_tmp / "roots"), "true"), "Permission denied")


def test_no_frameworks_source_reaches_a_base(shim: Shim, base: Path, covered: Path, open_tmp: Path) -> None:
    from ..lib import wire
    from ..lib.played_agent import PlayedAgent, end

    shim.configure(private_directories={str(covered): {"base": str(base)}}, framework_volumes="all")
    agent = PlayedAgent(open_tmp, shim)
    for source in (base, base.parent):
        agent.hold(wire.container_info(wire.volume("/opt", str(source))))
        status, _, err = end(agent.start("true"))
        assert status == 1
        assert "which belongs to the agent or the shim" in err


# What is told of them.


def test_explain_and_ps_tell_of_them(start: Starter, shim: Shim, sandbox: Path, covered: Path, base: Path) -> None:
    (covered / "deep").mkdir()
    shim.configure(
        private_directories={
            str(covered): {"noexec": True},
            f"{covered}/deep": {"base": str(base), "size": "64m"},
        },
        isolation=["filesystem/shared", "disk/du"],
    )
    done = shim.run("explain", "--json", "--supervise", "--container-id", "e", "--", "true", cwd=sandbox)
    plan = json.loads(said(done))
    places = str(sandbox / ".private" / str(covered)[1:])
    binds = {step["target"]: step for step in plan["steps"] if step["action"] == "bind"}
    assert (binds[str(covered)]["source"], "noexec" in binds[str(covered)]["options"]) == (places, True)
    assert binds[f"{covered}/deep"]["source"].startswith(f"{base}/e@")
    assert binds[f"{covered}/deep"]["size"] == str(64 << 20)
    (record,) = [step for step in plan["steps"] if step["action"] == "record"]
    assert record["best_effort"] is False
    assert [Path(step["target"]).parent for step in plan["steps"] if step["action"] == "remove"] == [base]
    assert list(base.iterdir()) == []
    start()
    (found,) = json.loads(said(shim.run("ps", "--json")))
    (own,) = made(base, "c1")
    deep = f"{covered}/deep"
    assert found["volumes"] == [
        {"container_path": str(covered), "host_path": places, "mode": "RW"},
        {"container_path": deep, "host_path": f"{own}{deep}", "mode": "RW"},
    ]


def test_disk_du_counts_them(start: Starter, shim: Shim, covered: Path, base: Path) -> None:
    """Those outside of the sandbox too; one that has outgrown its size is told, and nothing stops it."""
    shim.configure(
        private_directories={str(covered): {"base": str(base), "size": "64k"}},
        isolation=["filesystem/shared", "disk/du"],
    )
    container = start()
    container.do(f"open('{covered}/big', 'wb').write(b'x' * (1 << 20))")
    done = shim.run("usage", "--format", "json")
    (found,) = json.loads(done.stdout)
    (item,) = found["statistics"]["disk_statistics"]
    assert item["limit_bytes"] == 64 << 10
    assert item["used_bytes"] >= 1 << 20
    assert found["statistics"]["disk_used_bytes"] >= item["used_bytes"]
    (own,) = made(base, "c1")
    assert item["source"] == {"type": "PATH", "path": {"root": f"{own}{covered}"}}
    assert f"c1: '{own}{covered}' takes" in done.stderr


def test_disk_du_is_not_led_to_what_is_not_the_users(
    start: Starter, shim: Shim, sandbox: Path, open_tmp: Path, covered: Path
) -> None:
    """A link of the user's on the way to the directory would have root measure another's."""
    shim.configure(private_directories={str(covered): {"size": "1m"}}, isolation=["filesystem/shared", "disk/du"])
    give(sandbox)
    (open_tmp / "closed" / str(covered)[1:]).mkdir(parents=True)
    (open_tmp / "closed").chmod(0o700)
    start()
    (found,) = json.loads(said(shim.run("usage", "--format", "json")))
    assert len(found["statistics"]["disk_statistics"]) == 1
    (sandbox / ".private").rename(sandbox / "moved")
    (sandbox / ".private").symlink_to(open_tmp / "closed")
    (found,) = json.loads(said(shim.run("usage", "--format", "json")))
    assert found["statistics"]["disk_statistics"] == []


def test_a_size_that_nobody_counts_is_said(shim: Shim, sandbox: Path, covered: Path) -> None:
    shim.configure(private_directories={str(covered): {"size": "64k"}})
    done = run(shim, sandbox, "true")
    assert done.returncode == 0
    assert "sizes are not counted, because disk/du is not among the isolators" in done.stderr


def test_a_debug_container_joins_its_parents(shim: Shim, covered: Path, open_tmp: Path, base: Path) -> None:
    from ..lib.played_agent import PlayedAgent, end

    shim.configure(private_directories={str(covered): {"base": str(base)}})
    parent = PlayedAgent(open_tmp, shim)
    parent.hold(None)
    running = parent.start(f"touch {covered}/parents; echo ready; read x < {open_tmp}/fifo")
    os.mkfifo(open_tmp / "fifo")
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    child = PlayedAgent(open_tmp, shim, "c1/check")
    child.hold(None, container_class=2)
    status, out, err = end(child.start(f"ls {covered}"))
    assert (status, out, err) == (0, "parents\n", "")
    assert [path.name.partition("@")[0] for path in base.iterdir()] == ["c1"]
    (open_tmp / "fifo").write_text("\n")
    assert end(running)[0] == 0
    assert list(base.iterdir()) == []
