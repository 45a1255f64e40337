"""What an agent's isolator would have root's shell do: replaced, done by our own calls, run, or refused by name."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from ..lib import wire
from ..lib.played_agent import PIPE, PlayedAgent, end, with_byte
from ..lib.shim import Shim, needs_root

pytestmark = needs_root

# src/slave/containerizer/isolators/namespaces/pid.cpp of 0.21.2: BIND_MOUNT_MASK_DIR, BIND_MOUNT_ROOT.
PID = (
    "mount -n --bind /var/empty/mesos /var/run/mesos/pidns",
    "mount none /proc --make-private -o rec",
    "mount -n -t proc proc /proc -o nosuid,noexec,nodev",
)


@pytest.fixture
def agent(open_tmp: Path, shim: Shim) -> PlayedAgent:
    """An agent with one container."""
    return PlayedAgent(open_tmp, shim)


def shell(*values: str) -> list[dict[str, object]]:
    """Commands as an isolator gives them."""
    return [{"shell": True, "value": value} for value in values]


def launch(agent: PlayedAgent, release: str, command: str, commands: list[dict[str, object]]) -> tuple[int, str, str]:
    """Launch `command` after the isolators' `commands`: exit status of the helper, stdout, stderr."""
    if release == "0.21":
        return end(agent.start_021(command, commands=json.dumps({"commands": commands})))
    return end(agent.start(command, pre_exec_commands=commands))


RELEASES = pytest.mark.parametrize("release", ["0.21", "1.2"])


@RELEASES
def test_the_very_text_of_the_volumes_is_replaced(agent: PlayedAgent, release: str) -> None:
    """Joined as 0.21 has it, and one after the other as later releases: both volumes are ours, one read-only."""
    agent.checkpoint(wire.container_info(wire.volume("/opt", "data", mode=2), wire.volume("/srv", "more")))
    texts = [f"mount -n --bind {agent.sandbox}/data /opt", f"mount -n --bind {agent.sandbox}/more /srv"]
    given = shell(" && ".join(texts)) if release == "0.21" else shell(*texts)
    _, out, err = launch(agent, release, "touch /opt/x 2>/dev/null || echo read-only; touch /srv/y; ls /srv", given)
    assert (out, err) == ("read-only\ny\n", "")


@RELEASES
@pytest.mark.parametrize(
    "text",
    [
        "mount -n --bind {sandbox}/data /opt ",
        "mount -n --bind {sandbox}/data /opt;touch {root}/PWNED",
        "mount -n --bind {sandbox}/data /opt && mount -n --bind {sandbox}/other /srv",
        "mount -n --bind {sandbox}/other /opt",
        "touch {root}/PWNED # data",
    ],
)
def test_another_text_with_a_frameworks_words_is_refused(agent: PlayedAgent, release: str, text: str) -> None:
    """Not for how it begins: 0.21's shell ran what stood behind a ';' as root (threats 2)."""
    agent.checkpoint(wire.container_info(wire.volume("/opt", "data")))
    (agent.sandbox / "other").mkdir()
    text = text.format(sandbox=agent.sandbox, root=agent.root)
    status, out, err = launch(agent, release, "echo started", shell(text))
    assert (status, out) == (1, "")
    assert "is not run, because it contains" in err
    assert not (agent.root / "PWNED").exists()
    assert list(agent.sandbox.iterdir()) == [agent.sandbox / "other"]


def test_a_volume_in_the_script_of_filesystem_linux_is_refused(agent: PlayedAgent) -> None:
    """As 0.28.3 writes it (filesystem/linux.cpp); the role's preflight refuses that isolation for 0.24 to 0.28."""
    agent.checkpoint(wire.container_info(wire.volume("/opt", "data")))
    script = "#!/bin/sh\nset -x -e\n/usr/libexec/mesos/mesos-containerizer mount --operation=make-rslave --path=/\n"
    script += f"mount -n --rbind '{agent.sandbox}/data' '/opt'\n"
    status, out, err = launch(agent, "0.21", "echo started", shell(script))
    assert (status, out) == (1, "")
    assert "is not run, because it contains 'data'" in err


@RELEASES
def test_a_text_is_refused_where_no_container_info_is_known(agent: PlayedAgent, release: str) -> None:
    """Before 1.5 and without a checkpoint nobody knows whose words it holds."""
    status, out, err = launch(agent, release, "echo started", shell(f"touch {agent.root}/PWNED"))
    assert (status, out) == (1, "")
    assert "no ContainerInfo is known" in err
    assert not (agent.root / "PWNED").exists()


@RELEASES
def test_a_text_of_another_isolator_is_run_where_it_holds_no_path_of_a_framework(
    agent: PlayedAgent, release: str
) -> None:
    """network/port_mapping's script, for one: as root, in the agent's directory, before the command."""
    agent.checkpoint(wire.container_info(wire.volume("/opt", "data")))
    place = agent.root / "place"
    _, out, err = launch(agent, release, f"cat {place}", shell(f"id -u > {place}; pwd >> {place}; echo $X >> {place}"))
    assert (out, err) == ("0\n/\n\n", "")


def test_words_without_a_shell_are_run_as_they_are(agent: PlayedAgent) -> None:
    """An argument is nobody's shell text."""
    agent.hold(None)
    command = {"shell": False, "value": "touch", "arguments": ["touch", f"{agent.root}/a;b"]}
    assert end(agent.start("echo started", pre_exec_commands=[command]))[1] == "started\n"
    assert (agent.root / "a;b").exists()


# The directories of namespaces/pid, on a host that has others below /var and /run.
_HOST = """
mount -t tmpfs none /run
mkdir -p /run/hold /run/mesos/pidns
touch /run/mesos/pidns/handle
mount --rbind /var/tmp /run/hold
mount -t tmpfs none /var
mkdir -p /var/tmp /var/empty/mesos
ln -s /run /var/run
mount --move /run/hold /var/tmp
exec "$@"
"""


def in_pid_namespace(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the helper's `words` as an agent with namespaces/pid does, on a host of its own."""
    space = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-ec", _HOST, "sh"]
    return subprocess.run(
        [*space, "unshare", "--pid", "--mount", "--fork", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("commands", [[" && ".join(PID)], list(PID)])
def test_namespaces_pid_is_done_natively(agent: PlayedAgent, known: bool, commands: list[str]) -> None:
    """It was dropped without a word where the ContainerInfo was known: a neighbour's files and variables were read."""
    if known:
        agent.checkpoint(wire.container_info(wire.volume("/opt", "data")))
    show = "echo /proc/[0-9]*; ls /var/run/mesos/pidns; cat /proc/1/comm"
    words = [
        f"--command={json.dumps({'value': show})}",
        f"--commands={json.dumps({'commands': shell(*commands)})}",
        f"--directory={agent.sandbox}",
        f"--pipe_read={PIPE[0]}",
        f"--pipe_write={PIPE[1]}",
    ]
    done = in_pid_namespace(*with_byte(agent.root, str(agent.shim.helper), "launch", *words))
    assert done.returncode == 0, done
    processes, comm = done.stdout.splitlines()
    assert processes.split()[0] == "/proc/1"
    assert len(processes.split()) <= 3  # the shell, what it runs, and an init of ours if there is one
    assert comm in ("sh", "unshare", "python3", "mesos-container")
    assert ("passes no ContainerInfo" in done.stderr) == (not known)


def test_namespaces_pid_leaves_the_host_alone(agent: PlayedAgent) -> None:
    """0.21 had the container's mounts on the host: a /proc of a namespace that has ended shows nothing.

    Without filesystem/shared, so that nothing else asks for a mount namespace of the container's own.
    """
    agent.shim.configure(isolation=["posix/cpu"])
    agent.checkpoint()
    words = [
        f"--command={json.dumps({'value': 'true'})}",
        f"--commands={json.dumps({'commands': shell(' && '.join(PID))})}",
        f"--directory={agent.sandbox}",
        f"--pipe_read={PIPE[0]}",
        f"--pipe_write={PIPE[1]}",
    ]
    helper = with_byte(agent.root, str(agent.shim.helper), "launch", *words)
    # An agent of 0.21 clones with its host's mounts shared.
    script = 'mount --make-rshared /; unshare --pid --mount --propagation unchanged --fork "$@" && test -e /proc/$$/ns'
    space = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-ec", _HOST, "sh"]
    done = subprocess.run(
        [*space, "/bin/sh", "-c", f"{script} && ls /var/run/mesos/pidns", "sh", *helper],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "handle\n"), done.stderr
