"""Launches by an ordinary user: his own user namespace, uid and gid kept; the switch named where it is forbidden."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ..lib.launching import host_mounts, info, refused, said, volume
from ..lib.shim import NOBODY, Shim, needs_root

pytestmark = needs_root


@pytest.fixture
def his(shim: Shim, open_tmp: Path) -> Path:
    """A sandbox of the user's; the installed shim's records go to a directory of his."""
    state = open_tmp / "state"
    sandbox = open_tmp / "sandbox"
    for path in (state, sandbox):
        path.mkdir()
        os.chown(path, NOBODY, NOBODY)
    shim.configure(state_dir=str(state))
    return sandbox


def as_user(shim: Shim, sandbox: Path, volumes: list[dict[str, object]], script: str, *options: str):  # noqa: ANN201
    """`mesos-shim run` by the user."""
    words = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", str(shim.program), "run"]
    words += ["--container-info", info(*volumes), *options, "--", "/bin/sh", "-c", script]
    return subprocess.run(words, cwd=sandbox, capture_output=True, text=True, check=False, timeout=60)


def test_a_private_tmp_without_root(shim: Shim, his: Path) -> None:
    before = host_mounts()
    mark = f"mark-{os.getpid()}"
    done = as_user(shim, his, [volume("tmp", "/tmp")], f"id -u; id -g; stat -c '%a %u' /tmp; touch /tmp/{mark}; pwd")
    assert said(done).splitlines() == [str(NOBODY), str(NOBODY), f"1777 {NOBODY}", str(his)]
    assert (his / "tmp" / mark).stat().st_uid == NOBODY
    assert not (Path("/tmp") / mark).exists()
    assert host_mounts() == before
    assert said(as_user(shim, his, [volume("tmp", "/tmp")], "ls /tmp")) == mark


def test_everything_else_works_too(shim: Shim, his: Path, open_tmp: Path) -> None:
    """Nested, read-only, a tmpfs, a file over a file, the sandbox under a covered path."""
    (open_tmp / "one/two").mkdir(parents=True)
    (open_tmp / "file").write_text("covered")
    (open_tmp / "mine").write_text("mine\n")
    (open_tmp / "shm").mkdir()
    config = {"state_dir": str(open_tmp / "state"), "tmpfs": {str(open_tmp / "shm"): "64k"}}
    shim.configure(**config)
    volumes = [
        volume("in", open_tmp / "one/two"),
        volume("out", open_tmp / "one"),
        volume(open_tmp / "mine", open_tmp / "file", "RO"),
    ]
    script = (
        f"cat {open_tmp}/file; (echo x > {open_tmp}/file) 2>/dev/null || echo read-only;"
        f"touch {open_tmp}/one/two/x; findmnt -no FSTYPE {open_tmp}/shm; touch {open_tmp}/shm/x"
    )
    assert said(as_user(shim, his, volumes, script)).splitlines() == ["mine", "read-only", "tmpfs"]
    assert (his / "in/x").exists()
    covering = [volume("all", open_tmp)]
    shim.configure(state_dir=str(open_tmp / "state"))
    assert said(as_user(shim, his, covering, f"pwd; ls {open_tmp}")).splitlines() == [str(his), "sandbox"]


def test_no_set_id_program_gains_anything(shim: Shim, his: Path) -> None:
    assert said(as_user(shim, his, [volume("tmp", "/tmp")], "cat /proc/self/uid_map")).split() == [
        str(NOBODY),
        str(NOBODY),
        "1",
    ]


def test_only_root_launches_as_another(shim: Shim, his: Path) -> None:
    refused(as_user(shim, his, [], "true", "--user", "root"), "only root")


_IN_A_CLOSED_NAMESPACE = """
import ctypes, os, sys
to_parent, to_child = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    assert ctypes.CDLL(None).unshare(0x10000000) == 0  # CLONE_NEWUSER
    os.write(to_parent[1], b"x")
    os.read(to_child[0], 1)
    with open("/proc/sys/user/max_user_namespaces", "w") as file:
        file.write("0")
    os.setgroups([])
    os.setresgid({user}, {user}, {user})
    os.setresuid({user}, {user}, {user})
    os.execv(sys.argv[1], sys.argv[1:])
os.read(to_parent[0], 1)
for name in ("uid_map", "gid_map"):
    with open(f"/proc/{{child}}/{{name}}", "w") as file:
        file.write("0 0 70000")
os.write(to_child[1], b"x")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_the_message_names_the_switch(shim: Shim, his: Path) -> None:
    """With user.max_user_namespaces at 0, as some hosts have it: in a user namespace of our own, for nobody else."""
    program = _IN_A_CLOSED_NAMESPACE.format(user=NOBODY)
    words = [
        "/usr/bin/python3",
        "-c",
        program,
        str(shim.program),
        "run",
        "--volume",
        "tmp:/tmp",
        "--",
        "/bin/echo",
        "ran",
    ]
    done = subprocess.run(words, cwd=his, capture_output=True, text=True, check=False, timeout=60)
    refused(done, "a new mount namespace", "sysctl user.max_user_namespaces=10000 allows it")
    assert os.listdir(his) == []


@pytest.mark.parametrize(
    ("path", "value", "switch"),
    [
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
        ("/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces"),
        ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "AppArmor"),
    ],
)
def test_each_switch_has_its_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, path: str, value: str, switch: str
) -> None:
    from mesos_shim.launch import namespace_remedies as remedies

    file = tmp_path / "switch"
    file.write_text(value + "\n")
    rows = tuple((str(file) if row[0] == path else str(tmp_path / "absent"), *row[1:]) for row in remedies._SWITCHES)
    monkeypatch.setattr(remedies, "_SWITCHES", rows)
    assert switch in remedies.user_namespace_switch()


# Root of a user namespace in which one mount namespace is, and no other may be or `maximum` are.
_AT_A_LIMIT = """
import ctypes, os, sys
to_parent, to_child = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    assert ctypes.CDLL(None).unshare(0x10020000) == 0  # CLONE_NEWUSER, CLONE_NEWNS
    os.write(to_parent[1], b"x")
    os.read(to_child[0], 1)
    with open("/proc/sys/user/max_mnt_namespaces", "w") as file:
        file.write("{maximum}")
    os.execv(sys.argv[1], sys.argv[1:])
os.read(to_parent[0], 1)
for name in ("uid_map", "gid_map"):
    with open(f"/proc/{{child}}/{{name}}", "w") as file:
        file.write("0 0 70000")
os.write(to_child[1], b"x")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize(
    ("maximum", "remedy"),
    [
        (0, "sysctl user.max_mnt_namespaces=10000 allows it"),
        (1, "the limit of namespaces is reached; raise sysctl user.max_mnt_namespaces, unless"),
    ],
)
def test_a_limit_of_namespaces_is_named(shim: Shim, sandbox: Path, maximum: int, remedy: str) -> None:
    """unshare(2) says ENOSPC of it, which no seccomp filter would."""
    program = ["/usr/bin/python3", "-c", _AT_A_LIMIT.format(maximum=maximum), str(shim.program)]
    for command in ("run", "explain"):
        words = [*program, command, "--volume", "tmp:/tmp", "--", "/bin/echo", "ran"]
        done = subprocess.run(words, cwd=sandbox, capture_output=True, text=True, check=False, timeout=60)
        assert "seccomp" not in refused(done, "a new mount namespace: No space left on device", remedy)
    done = subprocess.run([*program, "doctor"], cwd=sandbox, capture_output=True, text=True, check=False, timeout=60)
    assert remedy in done.stdout


def test_root_without_its_capability_is_told_so(shim: Shim, sandbox: Path) -> None:
    bounded = ["setpriv", "--bounding-set=-sys_admin", str(shim.program)]
    for isolation, what in (("filesystem/shared", "mount"), ("filesystem/shared,namespaces/pid", "pid")):
        words = [*bounded, "run", "--isolation", isolation, "--volume", "tmp:/tmp", "--", "/bin/echo", "ran"]
        done = subprocess.run(words, cwd=sandbox, capture_output=True, text=True, check=False, timeout=60)
        says = refused(done, f"a new {what} namespace: Operation not permitted; root has no CAP_SYS_ADMIN here")
        assert "or launch as an ordinary user, who does not need it" in says
    done = subprocess.run([*bounded, "doctor"], cwd=sandbox, capture_output=True, text=True, check=False, timeout=60)
    assert "root has no CAP_SYS_ADMIN here" in done.stdout
    user = ["setpriv", "--bounding-set=-sys_admin", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    os.chown(sandbox, NOBODY, NOBODY)
    shim.configure(state_dir=str(sandbox / "state"))
    words = [*user, str(shim.program), "run", "--volume", "tmp:/tmp", "--", "ls", "/tmp"]
    done = subprocess.run(words, cwd=sandbox, capture_output=True, text=True, check=False, timeout=60)
    assert said(done) == ""


def test_root_with_its_capability_is_told_of_filters(shim: Shim, sandbox: Path) -> None:
    filtered = ["strace", "-f", "-qqq", "-o", "/dev/null", "-e", "trace=unshare", "-e", "inject=unshare:error=EPERM"]
    words = [*filtered, str(shim.program), "run", "--volume", "tmp:/tmp", "--", "/bin/echo", "ran"]
    done = subprocess.run(words, cwd=sandbox, capture_output=True, text=True, check=False, timeout=60)
    refused(done, "a seccomp filter or a security module forbids it")


def test_nothing_is_said_of_namespaces_without_volumes(shim: Shim, his: Path) -> None:
    assert said(as_user(shim, his, [], "readlink /proc/self/ns/mnt")) == os.readlink("/proc/self/ns/mnt")


def test_usage_only_where_it_was_chosen(shim: Shim, his: Path) -> None:
    """Threat 18: a refused namespace is no silent half; strace plays the kernel that forbids it."""
    words = ["strace", "-f", "-qqq", "-o", "/dev/null", "-e", "trace=unshare", "-e", "inject=unshare:error=EPERM"]
    command = [str(shim.program), "run", "--volume", "tmp:/tmp"]
    for option, ran in (("refuse", False), ("usage-only", True)):
        done = subprocess.run(
            [*words, "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *command]
            + ["--on-unenforceable", option, "--", "/bin/echo", "ran"],
            cwd=his,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.stdout == "ran\n", done.returncode == 0) == (ran, ran)
        assert ("warning: usage-only: " in done.stderr) == ran
        assert "new mount namespace: Operation not permitted" in done.stderr
    assert os.listdir(his) == []


LENT = ("--inh-caps", "+net_bind_service,+chown")
AMBIENT = (*LENT, "--ambient-caps", "+net_bind_service")


def with_capabilities(shim: Shim, sandbox: Path, lent: tuple[str, ...], *words: str):  # noqa: ANN201
    """A command of the shim's by the user, with capabilities of the caller's, as a unit gives them."""
    user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *lent, str(shim.program)]
    return subprocess.run([*user, *words], cwd=sandbox, capture_output=True, text=True, check=False, timeout=60)


def test_ambient_capabilities_that_end_are_named(shim: Shim, his: Path) -> None:
    """AmbientCapabilities= of a unit: the command has them without a volume, and not in a user namespace."""
    warning = (
        "mesos-shim: warning: the command does not get the caller's ambient capabilities CAP_NET_BIND_SERVICE: "
        "a launch without root needs a user namespace, which ends them\n"
    )
    ambient = "grep CapAmb: /proc/self/status"
    private = ("--volume", "tmp:/tmp", "--", "/bin/sh", "-c", ambient)
    kept = with_capabilities(shim, his, AMBIENT, "run", "--", "/bin/sh", "-c", ambient)
    assert said(kept).split() == ["CapAmb:", f"{1 << 10:016x}"]
    taken = with_capabilities(shim, his, AMBIENT, "run", *private)
    assert (taken.stdout.split(), taken.stderr) == (["CapAmb:", "0" * 16], warning)
    assert "net_bind_service" in with_capabilities(shim, his, AMBIENT, "explain", *private).stdout.lower()
    assert said(with_capabilities(shim, his, LENT, "run", *private)).split() == ["CapAmb:", "0" * 16]


def test_capabilities_of_a_newer_kernel_have_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    from mesos_shim.plan import ambient

    monkeypatch.setattr(ambient.other_syscalls, "has_ambient", lambda number: number != 1)
    assert ambient.held(0b111 | 1 << 40 | 1 << 41) == [
        "CAP_CHOWN",
        "CAP_DAC_READ_SEARCH",
        "CAP_CHECKPOINT_RESTORE",
        "capability 41",
    ]


_KEYRING = "import ctypes; print(ctypes.CDLL(None).syscall({number}, 0, -4, 1))"  # the user keyring's number


def test_what_a_user_namespace_takes_away(shim: Shim, his: Path, open_tmp: Path) -> None:
    """Each row of the table in docs/schedulers.md, without a volume and with one."""
    from mesos_shim.system import syscalls

    second, program, file = NOBODY - 1, open_tmp / "id", his / "file"
    shutil.copy("/usr/bin/id", program)
    program.chmod(0o4755)
    file.touch()
    os.chown(file, NOBODY, NOBODY)
    keyring = _KEYRING.format(number=syscalls._keyctl(os.uname().machine, sys.maxsize > 2**32))
    looks = {
        "archive": "tar -cf - /etc/passwd 2>/dev/null | tar --numeric-owner -tvf - | cut -d ' ' -f 2",
        "group": f"chgrp {second} file 2>/dev/null && echo changed || echo refused",
        "set-user-ID": f"{program} -u",
        "keyring": f"/usr/bin/python3 -c '{keyring}'",
    }
    user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", f"--groups={second}", str(shim.program), "run"]
    found = []
    for options in ((), ("--volume", "tmp:/tmp")):
        words = [*user, *options, "--", "/bin/sh", "-c", "; ".join(looks.values())]
        done = subprocess.run(words, cwd=his, capture_output=True, text=True, check=False, timeout=60)
        found.append(dict(zip(looks, said(done).splitlines())))
    outside, inside = found
    assert inside.pop("keyring") != outside.pop("keyring")
    assert outside == {"archive": "0/0", "group": "changed", "set-user-ID": "0"}
    assert inside == {"archive": f"{NOBODY}/{NOBODY}", "group": "refused", "set-user-ID": str(NOBODY)}
