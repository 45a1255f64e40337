"""Kernels without the newer calls, or filters that forbid them: the same guarantees, or a refusal (threats 3, 13).

strace answers for the kernel: ENOSYS as an old one does, EPERM as a container's seccomp filter does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ..lib.launching import host_mounts, info, own_namespace, refused, said, volume
from ..lib.shim import NOBODY, Shim, needs_root

pytestmark = [needs_root, pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")]

CALLS = ("open_tree", "move_mount", "mount_setattr", "openat2", "fsopen", "fsmount", "close_range")
TOGETHER = [
    *([name] for name in CALLS),
    list(CALLS),
    ["mount_setattr", "openat2", "close_range"],
]  # the last: Linux 5.4


# Of a mount below a read-only volume: what it forbids besides must stay forbidden.
OPTIONS = "nosuid,nodev,noexec,noatime,nodiratime,nosymfollow"


def names(calls: object) -> str:
    """A test's name."""
    return "+".join(calls) if isinstance(calls, list) and len(calls) < len(CALLS) else "all"


def old(calls: list[str], error: str) -> list[str]:
    """The words before a program that make it believe that the kernel lacks `calls`."""
    words = ["strace", "-f", "-qqq", "-o", os.devnull, "-e", f"trace={','.join(calls)}"]
    for name in calls:
        words += ["-e", f"inject={name}:error={error}"]
    return [*words, "--"]


@pytest.fixture
def host(open_tmp: Path, shim: Shim) -> Path:
    """Something for each kind of mount: a source with a mount below it is made by the tests themselves."""
    for name in ("place/deep", "source/sub", "shm", "work/slaves/S/frameworks/F/executors/E/runs/R"):
        (open_tmp / name).mkdir(parents=True)
    (open_tmp / "place").chmod(0o1777)
    (open_tmp / "place/passed").write_text("passed\n")
    (open_tmp / "file").write_text("covered")
    (open_tmp / "mine").write_text("mine\n")
    config = {
        "state_dir": str(open_tmp / "state"),
        "hide_work_dir": True,
        "tmpfs": {str(open_tmp / "shm"): "64k"},
        "pass_through": [str(open_tmp / "place/passed")],
    }
    shim.configure(**config)
    return open_tmp


def play(shim: Shim, host: Path, words: list[str]) -> list[str]:
    """What a launch with one mount of each kind shows from inside, `words` before the program; its mounts last."""
    volumes = [
        volume("tmp", host / "place"),
        volume("deep", host / "place/deep"),
        volume(host / "source", "/opt", "RO"),
        volume(host / "mine", host / "file", "RO"),
    ]
    sandbox = host / "work/slaves/S/frameworks/F/executors/E/runs/R"
    inside = (
        f"stat -c '%a %u' {host}/place; touch {host}/place/deep/x; cat {host}/place/passed {host}/file;"
        f"touch /opt/x 2>/dev/null || echo ro; touch /opt/sub/x 2>/dev/null || echo ro below; cat /opt/sub/there;"
        f"(echo x > {host}/file) 2>/dev/null || echo ro file; pwd;"
        f"ls {host}/work/slaves; touch {host}/work/x 2>/dev/null || echo ro work; ls -d /sys/kernel;"
        "ls /proc/self/fd; cat /proc/self/mountinfo"
    )
    program = [str(shim.program), "run", "--container-info", info(*volumes), "--", "/bin/sh", "-c", inside]
    script = (
        f"mount -t tmpfs -o {OPTIONS} t {host}/source/sub && echo there > {host}/source/sub/there && cd {sandbox} && "
        + '"$@"; exit $?'
    )
    # The shell stays: without it the outer namespace would end, and a slave without a master is no slave.
    words = ["unshare", "-m", "--propagation", "shared", "/bin/sh", "-c", script, "sh", *words, *program]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line for line in done.stdout.splitlines() if " - " not in line]
    # Root, place, options, propagation without the groups' numbers, kind: of what we have mounted.
    mounts = [line.split() for line in done.stdout.splitlines() if " - " in line]
    found = [
        " ".join(
            [*words[3:6], *(word.split(":")[0] for word in words[6 : words.index("-")]), words[words.index("-") + 1]]
        )
        for words in mounts
        if words[4] == "/opt" or words[4].startswith(("/opt/", str(host)))
    ]
    return lines + sorted(found)


@pytest.mark.parametrize("error", ["ENOSYS", "EPERM"])
@pytest.mark.parametrize("calls", TOGETHER, ids=names)
def test_the_same_view(shim: Shim, host: Path, calls: list[str], error: str) -> None:
    """Relative, nested, absolute read-only with a mount below, a file, a tmpfs, a hidden work_dir, a passed name."""
    sandbox = host / "work/slaves/S/frameworks/F/executors/E/runs/R"
    expected = ["1777 0", "passed", "mine", "ro", "ro below", "there", "ro file", str(sandbox), "S", "ro work"]
    expected += ["/sys/kernel", "0", "1", "2", "3"]  # nothing left over /sys; descriptor 3 is ls's own
    by_new = play(shim, host, [])
    assert by_new[: len(expected)] == expected
    # source with the mount below it, place, deep, passed, file, shm, work, the sandbox, and the host's own below source
    assert len(by_new) - len(expected) == 10
    assert [line for line in by_new[len(expected) :] if "shared" in line] == []
    assert f"/ /opt/sub ro,{OPTIONS} tmpfs" in by_new
    (sandbox / "deep/x").unlink()
    assert play(shim, host, old(calls, error)) == by_new
    assert (sandbox / "deep/x").exists()
    assert os.listdir(host / "shm") == []


@pytest.mark.parametrize("calls", [list(CALLS)], ids=names)
def test_links_in_the_sandbox_are_refused_as_well(shim: Shim, host: Path, calls: list[str]) -> None:
    sandbox = host / "work/slaves/S/frameworks/F/executors/E/runs/R"
    (sandbox / "link").symlink_to("/etc")
    (sandbox / "way").symlink_to("/var")
    for source in ("link", "way/tmp"):
        program = [str(shim.program), "run", "--volume", f"{source}:{host}/place", "--", "/bin/true"]
        done = subprocess.run(
            [*old(calls, "ENOSYS"), *program], cwd=sandbox, capture_output=True, text=True, check=False
        )
        refused(done, "link")


@pytest.mark.parametrize("calls", [list(CALLS)], ids=names)
def test_a_mount_in_the_sandbox_is_refused_as_well(shim: Shim, host: Path, calls: list[str]) -> None:
    """RESOLVE_NO_XDEV: what is mounted on a name in the sandbox is not the sandbox's."""
    sandbox = host / "work/slaves/S/frameworks/F/executors/E/runs/R"
    (sandbox / "mounted").mkdir()
    for words in ([], old(calls, "ENOSYS")):
        program = [*words, str(shim.program), "run", "--volume", f"mounted:{host}/place", "--", "/bin/true"]
        script = f'mount -t tmpfs t {sandbox}/mounted && cd {sandbox} && exec "$@"'
        done = subprocess.run(
            ["unshare", "-m", "/bin/sh", "-c", script, "sh", *program], capture_output=True, text=True, check=False
        )
        refused(done, "is a mount of its own")


@pytest.mark.parametrize("error", ["ENOSYS", "EPERM"])
def test_without_root(shim: Shim, host: Path, error: str) -> None:
    sandbox, state = host / "his", host / "his-state"
    for path in (sandbox, state):
        path.mkdir()
        os.chown(path, NOBODY, NOBODY)
    shim.configure(state_dir=str(state), tmpfs={str(host / "shm"): "64k"})
    user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    volumes = [volume("tmp", "/tmp"), volume("/usr/share", "/opt", "RO")]
    script = "touch /tmp/x; touch /opt/x 2>/dev/null || echo ro; id -u; ls -d /sys/kernel"
    program = [str(shim.program), "run", "--container-info", info(*volumes), "--", "/bin/sh", "-c", script]
    done = subprocess.run(
        [*user, *old(list(CALLS), error), *program],
        cwd=sandbox,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["ro", str(NOBODY), "/sys/kernel"], "")
    assert (sandbox / "tmp/x").exists()


def test_a_filter_that_forbids_mounting_at_all_refuses(shim: Shim, host: Path) -> None:
    """Never a silent half: with the classic call forbidden too nothing is left, and nothing starts."""
    sandbox = host / "work/slaves/S/frameworks/F/executors/E/runs/R"
    before = (host_mounts(), sorted(os.listdir(sandbox)))
    for calls in ([*CALLS, "mount"], ["mount"], ["unshare"]):
        words = old(calls, "EPERM")
        program = [str(shim.program), "run", "--volume", f"tmp:{host}/place", "--", "/bin/echo", "started"]
        done = subprocess.run([*words, *program], cwd=sandbox, capture_output=True, text=True, check=False, timeout=60)
        refused(done)
        assert (host_mounts(), sorted(os.listdir(sandbox))) == before


def test_a_mount_that_cannot_be_made_read_only_refuses(shim: Shim, host: Path) -> None:
    """A mount hidden below another cannot be reached without mount_setattr: refused, not left writable."""
    script = (
        f"mount -t tmpfs one {host}/source/sub && mkdir {host}/source/sub/in && "
        f'mount -t tmpfs hidden {host}/source/sub/in && mount -t tmpfs two {host}/source/sub && exec "$@"'
    )
    program = [str(shim.program), "run", "--sandbox", str(host / "work/slaves/S/frameworks/F/executors/E/runs/R")]
    program += ["--volume", f"{host}/source:/opt:RO", "--", "/bin/echo", "started"]
    words = ["unshare", "-m", "/bin/sh", "-c", script, "sh"]
    done = subprocess.run([*words, *program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "started\n")
    done = subprocess.run(
        [*words, *old(["mount_setattr"], "ENOSYS"), *program], capture_output=True, text=True, check=False, timeout=60
    )
    refused(done, "cannot be reached to make it read-only")


@pytest.mark.parametrize("calls", [["mount_setattr"], list(CALLS)], ids=names)
@pytest.mark.parametrize("base", ["sandbox", "base"])
def test_private_directories_keep_their_restrictions(
    shim: Shim, sandbox: Path, open_tmp: Path, calls: list[str], base: str
) -> None:
    """What is covered is nosuid and nodev, and so is what covers it; noexec as the operator says."""
    for name in ("covered", "base"):
        (open_tmp / name).mkdir()
    where = base if base == "sandbox" else str(open_tmp / base)
    shim.configure(private_directories={f"{open_tmp}/covered": {"base": where, "noexec": True}})
    look = f"findmnt -no OPTIONS {open_tmp}/covered | tail -n 1"
    words = " ".join([*old(calls, "ENOSYS"), str(shim.program), "run", "--", "/bin/sh", "-c", f"'{look}'"])
    done = own_namespace(f"mount -t tmpfs -o nosuid,nodev none {open_tmp}/covered && exec {words}", sandbox)
    assert {"rw", "nosuid", "nodev", "noexec"} <= set(said(done).split(","))
