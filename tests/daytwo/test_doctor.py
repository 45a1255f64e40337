"""doctor: each line ok, degraded or broken, with what it means and what mends it; each by a host that is so."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from mesos_shim.commands.doctor import installation
from mesos_shim.system import cgroups

from ..lib.containers import Starter, without_psutil
from ..lib.doctor import doctor, findings, in_host
from ..lib.litter import litter
from ..lib.shim import NOBODY, PYTHON, Shim, needs_root
from ..lib.waiting import SECONDS

pytestmark = needs_root


def test_a_healthy_host_is_ok(shim: Shim) -> None:
    found = doctor(shim)
    assert {name for name, item in found.items() if item["state"] != "ok"} <= {"kernel", "namespace ids"}
    assert set(found) >= {
        *("mesos-shim", "configuration", "kernel", "namespace ids", "filesystem/shared", "user namespaces"),
        *("propagation", "namespaces/pid", "namespaces/ipc", "cgroups/cpu", "cgroups/mem", "psutil", "records"),
        *("launcher", "agent"),
    }


def test_for_people_each_line_says_its_state(shim: Shim) -> None:
    shim.configure(packaged_helper="/does/not/exist")
    done = shim.run("doctor")
    lines = done.stdout.splitlines()
    assert done.returncode == 1
    (index,) = [i for i, line in enumerate(lines) if line.startswith("broken")]
    assert lines[index].split()[1:4] == ["packaged", "helper", "packaged_helper"]
    assert lines[index + 1].strip() == "fix: install Mesos, or correct packaged_helper"
    assert all(line.split()[0] in ("ok", "degraded", "broken", "fix:") for line in lines)


def test_it_changes_nothing(shim: Shim) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    doctor(shim)
    assert not shim.state_dir.exists()
    assert Path("/proc/self/mountinfo").read_text() == before


def test_a_configuration_with_a_fault(shim: Shim) -> None:
    shim.config_path.write_text('{"isolation": "all"}')
    item = doctor(shim)["configuration"]
    assert item["state"] == "broken"
    assert "isolation: not a list of isolators" in item["message"]
    assert item["remedy"] == f"mesos-shim validate {shim.config_path}"


@pytest.mark.parametrize("mode", [0o666, 0o664])
def test_a_configuration_that_others_can_write(shim: Shim, mode: int) -> None:
    shim.config_path.chmod(mode)
    item = doctor(shim)["configuration"]
    assert (item["state"], "lets others write it; chmod go-w it" in item["message"]) == ("broken", True)
    assert item["remedy"] == f"chmod go-w {shim.config_path}"  # `validate` would find nothing wrong with it


def test_a_directory_in_which_others_can_replace_the_configuration(shim: Shim) -> None:
    shim.config_path.parent.chmod(0o777)
    try:
        item = doctor(shim)["configuration"]
    finally:
        shim.config_path.parent.chmod(0o755)
    assert item["state"] == "broken"
    assert item["remedy"] == f"chown root {shim.config_path.parent} && chmod go-w {shim.config_path.parent}"


def test_no_configuration_is_the_defaults(shim: Shim) -> None:
    shim.config_path.unlink()
    item = doctor(shim)["configuration"]
    assert (item["state"], "the defaults" in item["message"]) == ("ok", True)


def test_a_launcher_directory_without_its_helper(shim: Shim) -> None:
    link = shim.helper
    target = os.readlink(link)
    link.unlink()
    try:
        assert doctor(shim)["launcher"]["state"] == "broken"
    finally:
        link.symlink_to(target)


def test_a_launcher_link_that_leads_nowhere(shim: Shim) -> None:
    link = shim.helper.parent / "mesos-executor"
    link.symlink_to("/usr/libexec/mesos/none")
    try:
        item = doctor(shim)["launcher"]
    finally:
        link.unlink()
    assert item["state"] == "broken"
    assert item["message"] == f"{link} points to a missing file: /usr/libexec/mesos/none"


def test_a_launcher_directory_that_others_can_write(shim: Shim) -> None:
    shim.helper.parent.chmod(0o777)
    try:
        item = doctor(shim)["launcher"]
    finally:
        shim.helper.parent.chmod(0o755)
    assert (item["state"], item["remedy"][:10]) == ("broken", "chown root")


def test_a_packaged_helper_that_others_can_write(shim: Shim, open_tmp: Path) -> None:
    helper = open_tmp / "mesos-containerizer"
    helper.touch()
    helper.chmod(0o777)
    shim.configure(packaged_helper=str(helper))
    assert doctor(shim)["packaged helper"]["state"] == "broken"
    helper.chmod(0o755)
    assert doctor(shim)["packaged helper"]["state"] == "ok"


@pytest.mark.parametrize(("sealed", "state"), [(True, "broken"), (False, "ok")])
def test_launcher_sealing_is_found_in_the_build(shim: Shim, open_tmp: Path, sealed: bool, state: str) -> None:
    helper = open_tmp / "usr/libexec/mesos/mesos-containerizer"
    library = open_tmp / "usr/lib/libmesos-1.11.0.so"
    for path in (helper, library):
        path.parent.mkdir(parents=True)
        path.touch(0o755)
    library.write_bytes(os.urandom(5000) + (b"Failed to clone a sealed file '\0" if sealed else b"") + os.urandom(5000))
    shim.configure(packaged_helper=str(helper))
    found = doctor(shim)
    item = found["launcher sealing"] if sealed else found["agent"]
    assert item["state"] == state
    assert str(library) in item["message"]


# In a mount namespace of its own it maps a file of the name of Mesos' library, and it calls itself an agent.
IMPOSTOR = """
import mmap, os, subprocess, sys
path, ids = sys.argv[1], int(sys.argv[2])
subprocess.run(["mount", "-t", "tmpfs", "none", os.path.dirname(path)], check=True)
with open(path, "wb+") as file:
    file.write(b"Failed to clone a sealed file '" * 200)
    file.flush()
    content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

open("/proc/self/comm", "w").write("mesos-agent")
os.setgid(ids), os.setuid(ids)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("owner", [NOBODY, 0])
def test_what_a_process_calls_a_library_is_opened_only_if_it_is_one(shim: Shim, open_tmp: Path, owner: int) -> None:
    """A FIFO waits for a writer, a device may act, and anybody may call a process of theirs mesos-agent."""
    path = open_tmp / "home/libmesos-1.11.0.so"
    path.parent.mkdir()
    os.mkfifo(path)
    words = ["unshare", "-m", "--propagation", "private", PYTHON, "-c", IMPOSTOR, str(path), str(owner)]
    impostor = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert impostor.stdout.readline() == b"ready\n"
        done = shim.run("doctor", "--json", timeout=30)
    finally:
        impostor.communicate()
    found = [item for item in json.loads(done.stdout) if str(path) in item["message"]]
    assert [item for item in found if item["check"] == "launcher sealing"] == []
    assert (found == []) == (owner == NOBODY)


def test_only_a_regular_file_of_roots_is_looked_into(open_tmp: Path) -> None:
    text = b"some words"
    (open_tmp / "file").write_bytes(text)
    (open_tmp / "link").symlink_to("file")
    (open_tmp / "foreign").write_bytes(text)
    os.chown(open_tmp / "foreign", NOBODY, NOBODY)
    os.mkfifo(open_tmp / "fifo")
    assert installation._contains(open_tmp / "file", text)
    for name in ("link", "foreign", "fifo", "nothing"):
        assert not installation._contains(open_tmp / name, text)
    assert not installation._contains(Path("/dev/zero"), b"\0")


def test_an_old_agent_cannot_be_defended_against_the_environment(shim: Shim, open_tmp: Path) -> None:
    helper = open_tmp / "usr/libexec/mesos/mesos-containerizer"
    library = open_tmp / "usr/lib/libmesos-0.21.2.so"
    for path in (helper, library):
        path.parent.mkdir(parents=True)
        path.touch(0o755)
    shim.configure(packaged_helper=str(helper))
    item = doctor(shim)["agent"]
    assert (item["state"], "LD_PRELOAD" in item["message"]) == ("degraded", True)


def test_records_that_cannot_be_kept(shim: Shim) -> None:
    shim.state_dir.mkdir()
    assert doctor(shim)["records"]["state"] == "ok"
    state = shim.state_dir
    for script, words in (
        (f"mount -t tmpfs -o ro,mode=0755 none {state}", "read-only"),
        (f"mount -t tmpfs -o size=64k,mode=0755 none {state} && head -c 64k /dev/zero > {state}/fill", "full"),
    ):
        item = in_host(shim, script)["records"]
        assert item["state"] == "degraded"
        assert words in item["message"]
    shim.state_dir.chmod(0o777)
    item = doctor(shim)["records"]
    assert (item["state"], "0777" in item["message"]) == ("degraded", True)


def test_a_missing_run_directory(shim: Shim, open_tmp: Path) -> None:
    """A user under cron has none: then one of theirs and the boot's is used, unless somebody else has put it there."""
    uid = 1_000_000 + os.getpid()  # a user who has launched nothing on this host
    config = open_tmp / "config.json"
    config.write_text("{}")
    user = {"user": uid, "group": NOBODY, "extra_groups": [], "env": {"PATH": "/usr/bin:/bin"}}
    item = doctor(shim, "--config", config, **user)["records"]
    assert item["state"] == "ok"
    path = Path(item["message"].split(" ")[0])
    assert path.name.startswith(f"mesos-shim-{uid}-")
    path.mkdir()
    try:
        item = doctor(shim, "--config", config, **user)["records"]
    finally:
        path.rmdir()
    assert item["state"] == "degraded"
    assert "XDG_RUNTIME_DIR" in item["remedy"]


def test_files_that_are_no_records_are_one_line(shim: Shim) -> None:
    litter(shim.state_dir / "containers")
    item = doctor(shim)["containers"]
    assert (item["state"], "(and 19 more)" in item["message"], item["remedy"]) == ("degraded", True, "mesos-shim gc")


def test_records_of_what_has_ended(start: Starter, shim: Shim) -> None:
    start().end()
    item = doctor(shim)["containers"]
    assert item["message"] == "1 records of containers that have ended"
    shim.run("gc")
    assert "containers" not in doctor(shim)


def test_without_psutil(shim: Shim) -> None:
    item = findings(without_psutil(shim, "doctor", "--json"))["psutil"]
    assert (item["state"], "reads /proc instead" in item["message"]) == ("degraded", True)


def test_limits_that_nobody_enforces(shim: Shim) -> None:
    shim.configure(default_limits={"mem": 64})
    item = doctor(shim)["default_limits"]
    assert (item["state"], item["remedy"]) == ("degraded", "add cgroups/mem to 'isolation'")


def test_where_no_namespace_may_be_made(shim: Shim) -> None:
    forbid = "echo 0 > /proc/sys/user/max_mnt_namespaces; echo 0 > /proc/sys/user/max_pid_namespaces"
    shim.configure(isolation=["filesystem/shared", "namespaces/pid"])
    found = in_host(shim, forbid, "-U", "-r")
    assert found["filesystem/shared"]["state"] == "broken"
    assert "launches with volumes are refused" in found["filesystem/shared"]["message"]
    assert found["namespaces/pid"]["state"] == "broken"
    shim.configure(isolation=["filesystem/shared"], on_unenforceable="usage-only")
    found = in_host(shim, forbid, "-U", "-r")
    assert found["filesystem/shared"]["state"] == "degraded"
    assert "launches are usage-only" in found["filesystem/shared"]["message"]
    assert (found["namespaces/pid"]["state"], "not configured" in found["namespaces/pid"]["message"]) == ("ok", True)


def test_where_ordinary_users_may_not_make_user_namespaces(shim: Shim) -> None:
    words = ["unshare", "-U", "-r", "sh", "-c", 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"', "sh"]
    words += [str(shim.program), "doctor", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=SECONDS)
    item = {item["check"]: item for item in json.loads(done.stdout)}["user namespaces"]
    assert (item["state"], bool(item["remedy"])) == ("degraded", True)


def test_an_interpreter_that_others_cannot_execute(open_tmp: Path) -> None:
    from mesos_shim.commands.doctor import installation

    python = open_tmp / "shut/bin/python"
    python.parent.mkdir(parents=True)
    python.touch(0o755)
    assert installation._not_for_all(python) is None
    (open_tmp / "shut").chmod(0o700)
    assert installation._not_for_all(python) == open_tmp / "shut"


@pytest.mark.parametrize(
    ("words", "why"), [(("x",), "doctor: 'x': takes no operand"), (("--bogus",), "doctor: '--bogus': unknown option")]
)
def test_wrong_arguments(shim: Shim, words: tuple[str, ...], why: str) -> None:
    done = shim.run("doctor", *words)
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith(f"mesos-shim: {why}")


def test_without_proc_each_check_says_so(shim: Shim) -> None:
    found = in_host(shim, "umount -l /proc")
    item = found["namespace ids"]
    assert (item["state"], item["remedy"]) == ("broken", "mount -t proc proc /proc")
    assert item["message"] == "check failed: No such file or directory: /proc/self/ns/mnt"
    assert found["launcher"]["state"] == "ok"


def test_a_caller_that_ignores_its_childrens_ends_gets_the_same_report(shim: Shim) -> None:
    program = (
        "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    )
    words = [PYTHON, "-c", program, str(shim.program), "doctor", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert findings(done) == doctor(shim)


def test_a_directory_of_records_that_others_can_write(shim: Shim) -> None:
    directory = shim.state_dir / "containers"
    directory.mkdir(parents=True)
    directory.chmod(0o777)
    item = doctor(shim)["containers"]
    assert (item["state"], item["remedy"]) == ("broken", f"chown root {directory} && chmod go-w {directory}")


def test_root_is_not_told_to_be_root(shim: Shim) -> None:
    shim.configure(isolation=["cgroups/cpu"])
    if cgroups.find("cpu").version != 1:
        pytest.skip("version 2 says what is not delegated")
    found = in_host(shim, f"mount -o remount,bind,ro {cgroups.find('cpu').mount}")
    assert "is not writable; mount the cgroup hierarchy writable" in found["cgroups/cpu"]["message"]
