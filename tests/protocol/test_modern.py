"""The 1.x launch protocol, with the agent's side played by the test: every field that the helper acts on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from mesos_shim.launch import wait

from ..lib import wire
from ..lib.played_agent import PlayedAgent, end
from ..lib.shim import NOBODY, Shim, needs_root

pytestmark = needs_root
PRIVATE_TMP = {"type": "MESOS", "volumes": [{"host_path": "tmp", "container_path": "/tmp", "mode": "RW"}]}


@pytest.fixture
def agent(open_tmp: Path, shim: Shim) -> PlayedAgent:
    """An agent with one container."""
    return PlayedAgent(open_tmp, shim)


def test_operators_default_applies_where_the_agent_holds_none(agent: PlayedAgent) -> None:
    """A private /tmp of mode 1777; the status file says how the command ended, the helper itself ends 0."""
    agent.shim.configure(default_container_info=PRIVATE_TMP)
    agent.hold(None)
    status, out, err = end(agent.start("touch /tmp/mine; stat -c %a /tmp; pwd; exit 5"))
    assert (status, err) == (0, "")
    assert out.split() == ["1777", str(agent.sandbox)]
    assert agent.status == str(5 << 8)
    assert (agent.sandbox / "tmp/mine").exists()
    assert not Path("/tmp/mine").exists()


def test_frameworks_own_wins_and_read_only_is_enforced(agent: PlayedAgent) -> None:
    """Its volume is there read-only, the operator's default is not."""
    agent.shim.configure(default_container_info=PRIVATE_TMP)
    agent.hold(wire.container_info(wire.volume("/opt", "data", mode=2)))
    # What the agent's own filesystem/shared asks for besides: the same volume, plainly, so writable.
    (agent.sandbox / "data").mkdir()
    plain = {"flags": 20480, "source": str(agent.sandbox / "data"), "target": "/opt"}
    status, out, _ = end(agent.start("touch /opt/x || echo read-only; stat -c %d:%i /tmp", mounts=[plain]))
    assert status == 0
    host = os.stat("/tmp")
    assert out.split() == ["read-only", f"{host.st_dev}:{host.st_ino}"]
    assert not (agent.sandbox / "data/x").exists()


def test_frameworks_absolute_source_is_refused_by_default(agent: PlayedAgent) -> None:
    """framework_volumes is 'relative' unless the operator says more (threats 19)."""
    agent.hold(wire.container_info(wire.volume("/opt", "/etc")))
    status, out, err = end(agent.start("echo started"))
    assert (status, out, agent.status) == (1, "", str(1 << 8))
    assert "framework_volumes is 'relative'" in err
    assert err.count("\n") == 1


def test_operators_words_stay_the_operators_when_the_agent_merged_them(agent: PlayedAgent) -> None:
    """The default that also stands in the agent's flag may have absolute sources."""
    agent.shim.configure(
        default_container_info={
            "type": "MESOS",
            "volumes": [{"host_path": "/usr/share", "container_path": "/opt", "mode": "RO"}],
        }
    )
    agent.hold(wire.container_info(wire.volume("/opt", "/usr/share", mode=2)))
    status, out, err = end(agent.start("ls -d /opt/doc"))
    assert (status, out, err) == (0, "/opt/doc\n", "")


def test_mounts_without_a_container_info_are_applied_as_given_and_said(agent: PlayedAgent) -> None:
    """An agent that checkpoints no config: what it asks for is done, with a warning that the mode is not known."""
    (agent.sandbox / "data").mkdir()
    plain = {"flags": 20480, "source": str(agent.sandbox / "data"), "target": "/opt"}
    status, _, err = end(agent.start("touch /opt/x", mounts=[plain]))
    assert status == 0
    assert "mode is unknown" in err
    assert (agent.sandbox / "data/x").exists()


def test_signal_death_reaches_the_agent(agent: PlayedAgent) -> None:
    """The raw wait status of a command killed by SIGKILL is 9."""
    agent.hold(None)
    assert end(agent.start("kill -9 $$"))[0] == 0
    assert agent.status == "9"


def test_signals_are_forwarded(agent: PlayedAgent) -> None:
    """SIGTERM to the helper reaches the command, whose own end is what counts."""
    agent.hold(None)
    process = agent.start("trap 'echo got; exit 7' TERM; echo ready; while :; do read -t 1 x < /dev/zero; done")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    status, out, _ = end(process)
    assert (status, out, agent.status) == (0, "got\n", str(7 << 8))


def test_agent_gone_before_the_launch(agent: PlayedAgent) -> None:
    """End of file instead of the byte: nothing starts, exit 1, and the status says so."""
    agent.hold(None)
    status, out, err = end(agent.start("echo started", go=False))
    assert (status, out, agent.status) == (1, "", str(1 << 8))
    assert "the agent closed its end of the pipe" in err


def test_the_command_ignores_no_signal(agent: PlayedAgent) -> None:
    """Neither those that CPython ignores, nor what the helper caught before."""
    agent.hold(None)
    out = end(agent.start("grep -E 'Sig(Blk|Ign)' /proc/self/status"))[1]
    _, blocked, _, ignored = out.split()
    # 32 and 33 are the C library's own: its posix_spawn(3), by which make starts programs, leaves them ignored.
    assert (int(blocked, 16), int(ignored, 16) & ~(0b11 << 31)) == (0, 0)


@pytest.mark.parametrize("number", sorted(wait.FORWARDED_FOR_AGENT))
def test_early_signal_is_written_as_such(open_tmp: Path, shim: Shim, number: int) -> None:
    """A signal while the helper waits for the agent: nothing starts, and the status is that signal's."""
    agent = PlayedAgent(open_tmp, shim)
    agent.hold(None)
    reading, writing = os.pipe()
    environment = {
        "MESOS_CONTAINERIZER_LAUNCH_INFO": json.dumps({"command": {"value": "echo started"}}),
        "MESOS_CONTAINERIZER_PIPE_READ": str(reading),
        "MESOS_CONTAINERIZER_PIPE_WRITE": str(os.dup(writing)),
        "MESOS_CONTAINERIZER_RUNTIME_DIRECTORY": str(agent.runtime),
    }
    write_end = int(environment["MESOS_CONTAINERIZER_PIPE_WRITE"])
    process = subprocess.Popen(
        [str(shim.helper), "launch"], env=environment, pass_fds=(reading, write_end), stdout=subprocess.PIPE, text=True
    )
    os.close(reading)
    os.close(write_end)
    # It has closed its copy of the write end, and so stands in read(2), once /proc says that it sleeps there.
    wchan = Path(f"/proc/{process.pid}/syscall")
    while not wchan.read_text().startswith(f"0 {hex(reading)}"):
        assert process.poll() is None
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    os.close(writing)
    assert out == ""
    assert agent.status == str(number)


def test_user_groups_environment_and_directory(agent: PlayedAgent) -> None:
    """The task gets the launch info's variables and nothing else, its user's ids and the supplementary groups."""
    agent.hold(None)
    agent.sandbox.chmod(0o755)
    variables = [{"name": "FOO", "type": "VALUE", "value": "bär"}]
    status, out, err = end(
        agent.start(
            "id -u; id -g; id -G; echo $FOO; env | grep -c MESOS_; pwd",
            user="nobody",
            environment={"variables": variables},
            supplementary_groups=[4242],
            working_directory="/usr",
        )
    )
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == str(NOBODY)
    assert "4242" in lines[2].split()
    assert lines[3:] == ["bär", "0", "/usr"]


def test_arguments_without_a_shell(agent: PlayedAgent) -> None:
    """shell: false: `value` is executed with `arguments` as its whole argv."""
    agent.hold(None)
    command = {"shell": False, "value": "/usr/bin/printf", "arguments": ["printf", "%s|", "a b", "$HOME"]}
    assert end(agent.start(command))[1] == "a b|$HOME|"


def test_limits_and_no_new_privileges(agent: PlayedAgent) -> None:
    """rlimits are set while still root; no_new_privileges as the kernel shows it."""
    agent.hold(None)
    limits = {"rlimits": [{"type": "RLMT_NOFILE", "soft": "100", "hard": 200}, {"type": "RLMT_CORE"}]}
    out = end(
        agent.start(
            "ulimit -Sn; ulimit -Hn; ulimit -c; grep NoNewPrivs /proc/self/status",
            rlimits=limits,
            no_new_privileges=True,
            user="nobody",
        )
    )[1]
    assert out.split() == ["100", "200", "unlimited", "NoNewPrivs:", "1"]


@pytest.mark.parametrize("most", [2**63 - 1, 2**64 - 1, str(2**64 - 1)])
def test_a_limit_beyond_what_the_kernel_counts_is_none(agent: PlayedAgent, most: object) -> None:
    """An agent says 'unlimited' by RLIM_INFINITY, 2^64-1, as well as by leaving the values out."""
    agent.hold(None)
    limits = {
        "rlimits": [
            {"type": "RLMT_CORE", "soft": 4096, "hard": most},
            {"type": "RLMT_DATA", "soft": most, "hard": most},
        ]
    }
    status, out, err = end(agent.start("ulimit -Sc; ulimit -Hc; ulimit -Hd", rlimits=limits))
    assert (status, out.split(), err) == (0, ["8", "unlimited", "unlimited"], "")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"soft": 100}, "RLMT_NOFILE: soft and hard go together"),
        ({"hard": 100}, "RLMT_NOFILE: soft and hard go together"),
        ({"soft": 200, "hard": 100}, "RLMT_NOFILE: soft 200, hard 100"),
        ({"soft": -1, "hard": -1}, "RLMT_NOFILE.soft: -1 is not a number"),
        ({"soft": 2**64, "hard": 2**64}, "RLMT_NOFILE.soft: 18446744073709551616 is not a number"),
        ({"soft": "9" * 5000, "hard": 1}, "is not a number"),
        ({"soft": "\u00b2", "hard": 1}, "is not a number"),
        ({"soft": True, "hard": True}, "RLMT_NOFILE.soft: True is not a number"),
    ],
)
def test_a_limit_that_is_none_is_refused_by_its_name(agent: PlayedAgent, values: dict[str, object], words: str) -> None:
    agent.hold(None)
    limits = {"rlimits": [{"type": "RLMT_NOFILE", **values}]}
    status, out, err = end(agent.start("echo started", rlimits=limits))
    assert (status, out, agent.status) == (1, "", str(1 << 8))
    assert words in err
    assert "internal error" not in err


def test_pre_exec_commands_run_as_root_and_stop_the_launch(agent: PlayedAgent) -> None:
    """They run inside the view before the user changes; one that fails ends the launch."""
    agent.shim.configure(default_container_info=PRIVATE_TMP)
    agent.hold(None)
    first = {"shell": True, "value": "id -u > /tmp/before"}
    status, out, _ = end(agent.start("cat /tmp/before", user="nobody", pre_exec_commands=[first]))
    assert (status, out) == (0, "0\n")
    status, out, err = end(agent.start("echo started", pre_exec_commands=[{"shell": True, "value": "exit 3"}]))
    assert (out, agent.status) == ("", str(1 << 8))
    assert "pre_exec_commands[0]" in err


def test_nested_container_has_its_own_or_the_default(agent: PlayedAgent, open_tmp: Path, shim: Shim) -> None:
    """Never its parent's, though the agent holds that in the same file."""
    shim.configure(default_container_info=PRIVATE_TMP)
    nested = PlayedAgent(open_tmp, shim, container="c1/n1")
    nested.hold(wire.container_info(wire.volume("/opt", "own")))
    status, out, _ = end(nested.start("stat -c %d:%i /tmp /opt"))
    assert status == 0
    host = os.stat("/tmp")
    assert out.split()[0] == f"{host.st_dev}:{host.st_ino}"
    assert out.split()[1] == "{0.st_dev}:{0.st_ino}".format(os.stat(nested.sandbox / "own"))


def test_debug_container_joins_its_parents_recorded_view(agent: PlayedAgent, open_tmp: Path, shim: Shim) -> None:
    """What the parent wrote into its private /tmp is what the DEBUG container sees."""
    shim.configure(default_container_info=PRIVATE_TMP)
    agent.hold(None)
    parent = agent.start("echo secret > /tmp/of-parent; echo ready; exec sleep 1000")
    assert parent.stdout is not None
    assert parent.stdout.readline() == "ready\n"
    debug = PlayedAgent(open_tmp, shim, container="c1/debug")
    debug.hold(None, container_class=2)
    try:
        status, out, err = end(debug.start("cat /tmp/of-parent; pwd"))
        assert (status, out, err) == (0, f"secret\n{agent.sandbox}\n", "")
    finally:
        parent.terminate()
        end(parent)
    status, out, err = end(debug.start("echo started"))
    assert (status, out) == (1, "")
    assert "the parent container c1, pid " in err
    assert "has ended" in err


def test_what_we_do_not_do_is_refused_by_its_name_without_a_packaged_helper(agent: PlayedAgent) -> None:
    """No field is dropped in silence."""
    agent.hold(None)
    for name, value in (("seccomp_profile", {"x": 1}), ("capabilities", {}), ("masked_paths", ["/proc/x"])):
        status, out, err = end(agent.start("echo started", **{name: value}))
        assert (status, out, agent.status) == (1, "", str(1 << 8))
        assert name in err
        assert "packaged_helper" in err


@pytest.mark.parametrize("name", ["effective_capabilities", "bounding_capabilities", "what_comes_next"])
def test_an_empty_message_is_a_present_one(agent: PlayedAgent, name: str) -> None:
    """No capabilities at all is not the same as nothing said of them; an empty list or null says nothing."""
    agent.hold(None)
    status, out, err = end(agent.start("echo started", **{name: {}}))
    assert (status, out, agent.status) == (1, "", str(1 << 8))
    assert f"ContainerLaunchInfo.{name}: needs the packaged" in err
    assert end(agent.start("echo started", masked_paths=[], task_environment={}))[1] == "started\n"


def test_hand_over_to_a_packaged_helper_played_by_a_script(agent: PlayedAgent, open_tmp: Path) -> None:
    """What the agent asks to be mounted is, our volumes instead of its plain ones, and the byte is there again."""
    packaged = open_tmp / "packaged"
    packaged.write_text(
        "#!/bin/sh\n"
        'test "$1" = launch || exit 9\n'
        f"printf '%s' \"$MESOS_CONTAINERIZER_LAUNCH_INFO\" > {agent.sandbox}/info\n"
        "head -c 1 < /proc/self/fd/$MESOS_CONTAINERIZER_PIPE_READ | wc -c\n"
        "stat -c %a /tmp; stat -f -c %T /srv; echo $$\n"
    )
    packaged.chmod(0o755)
    agent.shim.configure(packaged_helper=str(packaged))
    agent.hold(wire.container_info(wire.volume("/tmp", "tmp")))
    ours = {"flags": 20480, "source": str(agent.sandbox / "tmp"), "target": "/tmp"}
    other = {"flags": 0, "source": "tmpfs", "target": "/srv", "type": "tmpfs"}
    process = agent.start("true", mounts=[ours, other], clone_namespaces=[131072], seccomp_profile={"x": 1})
    status, out, err = end(process)
    assert (status, err) == (0, "")
    assert out.split() == ["1", "1777", "tmpfs", str(process.pid)]
    info = json.loads((agent.sandbox / "info").read_text())
    assert "mounts" not in info
    # Else it would have the mounts that are shared with the host made slaves of it.
    assert info["clone_namespaces"] == []
    assert info["seccomp_profile"] == {"x": 1}


@pytest.mark.parametrize(
    "mount",
    [
        {"flags": 0, "source": "tmpfs", "target": "/tmp", "type": "tmpfs"},
        {"flags": 20480, "source": "/usr/share", "target": "/tmp/"},
        {"flags": 20480 | 32 | 1, "source": "SANDBOX/tmp", "target": "/tmp"},  # read-only: a remount of it
        {"target": "/tmp", "flags": 1 << 18},
    ],
)
def test_another_isolators_mount_on_a_volumes_target_is_refused(agent: PlayedAgent, mount: dict[str, object]) -> None:
    """Only the very bind that filesystem/shared asks for is ours to leave out."""
    agent.hold(wire.container_info(wire.volume("/tmp", "tmp")))
    mount = {key: str(agent.sandbox) + value[7:] if value == "SANDBOX/tmp" else value for key, value in mount.items()}
    status, out, err = end(agent.start("echo started", mounts=[mount]))
    assert (status, out, agent.status) == (1, "", str(1 << 8))
    assert "ContainerLaunchInfo.mounts: " in err
    assert "on '/tmp'" in err
    assert not (agent.sandbox / "tmp").exists()


def test_other_subcommands_are_the_packaged_helpers(agent: PlayedAgent, open_tmp: Path) -> None:
    """`mount` and the like are handed on unchanged, or refused where there is none."""
    done = subprocess.run([agent.shim.helper, "mount", "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "packaged_helper" in done.stderr
    packaged = open_tmp / "packaged"
    packaged.write_text('#!/bin/sh\necho "$@"\n')
    packaged.chmod(0o755)
    agent.shim.configure(packaged_helper=str(packaged))
    done = subprocess.run([agent.shim.helper, "mount", "--x=1"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "mount --x=1\n")
    packaged.chmod(0o777)
    done = subprocess.run([agent.shim.helper, "mount", "--x=1"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "can write it" in done.stderr


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"no_new_privileges": "true"}, "ContainerLaunchInfo.no_new_privileges: 'true' is neither true nor false"),
        ({"no_new_privileges": 1}, "ContainerLaunchInfo.no_new_privileges: 1 is neither true nor false"),
        ({"command": {"shell": "false", "value": "x"}}, "command.shell: 'false' is neither true nor false"),
        ({"pre_exec_commands": [{"shell": 0, "value": "x"}]}, "pre_exec_commands[0].shell: 0 is neither true nor"),
        ({"supplementary_groups": [True]}, "supplementary_groups: not a list of group ids"),
        ({"clone_namespaces": [True]}, "clone_namespaces: not a list of numbers"),
    ],
)
def test_a_value_of_another_type_is_refused_by_its_name(
    agent: PlayedAgent, fields: dict[str, object], words: str
) -> None:
    """What reads as true, or as 1, without being it was not what anybody meant."""
    agent.hold(None)
    command = fields.pop("command", "echo started")
    status, out, err = end(agent.start(command, **fields))
    assert (status, out, agent.status) == (1, "", str(1 << 8))
    assert words in err


def test_what_is_wrong_is_named_as_the_agent_names_it(agent: PlayedAgent, open_tmp: Path) -> None:
    """No option of ours: an agent gave none."""
    agent.hold(None)
    agent.shim.configure(default_container_info=PRIVATE_TMP)
    assert "ContainerLaunchInfo.user: no account 'no-such'" in end(agent.start("true", user="no-such"))[2]
    (agent.runtime / "config").unlink()
    err = end(agent.start("true", working_directory=str(open_tmp / "none")))[2]
    assert f"ContainerLaunchInfo.working_directory: '{open_tmp}/none'" in err
    agent.sandbox.rmdir()
    agent.hold(None)
    assert f"ContainerConfig.directory: '{agent.sandbox}'" in end(agent.start("true", working_directory="/"))[2]
    assert f"--directory: '{agent.sandbox}'" in end(agent.start_021("true"))[2]


# RLimitInfo.RLimit.Type of Mesos 1.11's mesos.proto, with the kernel's words for each in /proc/PID/limits.
LIMITS = {
    "AS": "address space", "CORE": "core file", "CPU": "cpu time", "DATA": "data size", "FSIZE": "file size",
    "LOCKS": "file locks", "MEMLOCK": "locked memory", "MSGQUEUE": "msgqueue", "NICE": "nice priority",
    "NOFILE": "open files", "NPROC": "processes", "RSS": "resident set", "RTPRIO": "realtime priority",
    "RTTIME": "realtime timeout", "SIGPENDING": "pending signals", "STACK": "stack size",
}  # fmt: skip


@pytest.mark.parametrize("name", LIMITS)
def test_every_limit_that_mesos_knows(agent: PlayedAgent, name: str) -> None:
    """As the kernel tells them back: RLIMIT_LOCKS has no name in Python's own module."""

    def told(text: str) -> list[str]:
        (line,) = [line for line in text.splitlines() if line.startswith(f"Max {LIMITS[name]}")]
        return line[26:].split()[:2]

    # Not every root may raise one.
    most = told(Path("/proc/self/limits").read_text())[1]
    value = 1 << 30 if most == "unlimited" else int(most)
    agent.hold(None)
    limits = {"rlimits": [{"type": f"RLMT_{name}", "soft": value, "hard": value}]}
    status, out, err = end(agent.start("cat /proc/self/limits", rlimits=limits))
    assert (status, err, agent.status) == (0, "", "0")
    assert told(out) == [str(value), str(value)]


def test_a_limit_of_locks_has_its_values(agent: PlayedAgent) -> None:
    agent.hold(None)
    limits = {"rlimits": [{"type": "RLMT_LOCKS", "soft": 3, "hard": 7}]}
    out = end(agent.start("grep locks /proc/self/limits", rlimits=limits))[1]
    assert out.split()[3:5] == ["3", "7"]


OTHERS = {"linux_info": 8, "rlimit_info": 9, "tty_info": 10}


def test_what_the_agent_has_asked_for_is_not_said_to_be_left_out(agent: PlayedAgent, open_tmp: Path) -> None:
    """Neither here nor by the packaged helper; what nobody was asked for is said."""
    packaged = open_tmp / "packaged"
    packaged.write_text("#!/bin/sh\n")
    packaged.chmod(0o755)
    agent.shim.configure(packaged_helper=str(packaged))
    agent.hold(wire.container_info() + b"".join(wire.data(number, b"") for number in OTHERS.values()))
    limits = {"rlimits": [{"type": "RLMT_CORE"}]}
    assert end(agent.start("true", rlimits=limits, tty_slave_path="/dev/pts/0", masked_paths=["/x"]))[2] == ""
    assert end(agent.start("true", rlimits=limits))[2] == (
        "mesos-shim: warning: ContainerInfo.tty_info is not enforced by mesos-shim\n"
    )
    err = end(agent.start("true"))[2]
    assert [line.split()[2].partition(".")[2] for line in err.splitlines()] == ["rlimit_info", "tty_info"]


@pytest.mark.parametrize("raw", ["", "[]", "{", '{"command": {"value": 3}}', '{"command": {}}', '{"user": "no-such"}'])
def test_bad_launch_info_is_one_line_and_a_status(agent: PlayedAgent, raw: str) -> None:
    """Whatever the agent says, it can read how it ended."""
    agent.hold(None)
    reading, writing = os.pipe()
    os.write(writing, b"x")
    environment = {
        "MESOS_CONTAINERIZER_LAUNCH_INFO": raw,
        "MESOS_CONTAINERIZER_PIPE_READ": str(reading),
        "MESOS_CONTAINERIZER_PIPE_WRITE": str(writing),
        "MESOS_CONTAINERIZER_RUNTIME_DIRECTORY": str(agent.runtime),
    }
    done = subprocess.run(
        [agent.shim.helper, "launch"],
        env=environment,
        pass_fds=(reading, writing),
        capture_output=True,
        text=True,
        check=False,
        cwd=agent.sandbox,
        timeout=60,
    )
    os.close(reading)
    os.close(writing)
    assert (done.stdout, agent.status) == ("", str(1 << 8))
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr


def test_a_link_in_the_place_of_the_status_is_not_followed(agent: PlayedAgent, open_tmp: Path) -> None:
    """It is emptied when it is opened: that must be no other file than the agent's."""
    agent.hold(None)
    other = open_tmp / "other"
    other.write_text("other")
    (agent.runtime / "status").symlink_to(other)
    status, out, err = end(agent.start("echo started"))
    assert (status, out, other.read_text()) == (1, "", "other")
    assert "/status: Too many levels of symbolic links" in err


def called(
    agent: PlayedAgent, *arguments: str, without: tuple[str, ...] = (), **variables: str
) -> tuple[int, str, str, str | None]:
    """The helper as it is called in `variables`, all that an agent sets less those of `without`: how it ended."""
    reading, writing = os.pipe()
    os.write(writing, b"x")
    command = {"command": {"value": "echo started"}, "working_directory": str(agent.sandbox)}
    environment = {
        "LAUNCH_INFO": json.dumps(command),
        "PIPE_READ": str(reading),
        "PIPE_WRITE": str(writing),
        "RUNTIME_DIRECTORY": str(agent.runtime),
        **variables,
    }
    done = subprocess.run(
        [agent.shim.helper, "launch", *arguments],
        env={f"MESOS_CONTAINERIZER_{name}": value for name, value in environment.items() if name not in without},
        pass_fds=(reading, writing),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    os.close(reading)
    os.close(writing)
    return done.returncode, done.stdout, done.stderr, agent.status


@pytest.mark.parametrize("name", ["LAUNCH_INFO", "PIPE_READ", "PIPE_WRITE"])
def test_what_is_missing_is_named_and_the_status_written(agent: PlayedAgent, name: str) -> None:
    """Not taken for a call of 0.21's, whose agent reads no status."""
    agent.hold(None)
    code, out, err, status = called(agent, without=(name,))
    assert (code, out, status) == (1, "", "256")
    assert f"MESOS_CONTAINERIZER_{name}: missing" in err
    assert called(agent, without=tuple({"LAUNCH_INFO", "PIPE_READ", "PIPE_WRITE"}))[3] == "256"


def test_an_argument_is_refused_and_the_status_written(agent: PlayedAgent) -> None:
    """0.21's arguments make it a call of 0.21's, whatever the framework has put into the environment."""
    agent.hold(None)
    code, out, err, status = called(agent, "--no-such=1")
    assert (code, out, status) == (1, "", "256")
    assert "'--no-such=1' is not an argument" in err
    (agent.runtime / "status").unlink()
    code, out, err, status = called(agent, "--command={}", "--directory=/srv")
    assert (code, out, status) == (1, "", None)
    assert "--pipe_read: missing" in err


def test_help_launches_nothing(agent: PlayedAgent) -> None:
    """By argument and by the environment, as the original has it."""
    for arguments, variables in ((["--help"], {}), ([], {"HELP": "true"})):
        code, out, err, status = called(agent, *arguments, **variables)
        assert (code, err, status) == (0, "", None)
        assert out.startswith("usage: mesos-containerizer launch")
    agent.hold(None)
    assert called(agent, HELP="false") == (0, "started\n", "", "0")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: another user's sandbox")
@pytest.mark.parametrize(("owner", "starts"), [(NOBODY, True), (0, False), (1, False)])
def test_a_nested_container_of_a_user_has_its_sandbox_in_his(
    agent: PlayedAgent, open_tmp: Path, shim: Shim, owner: int, starts: bool
) -> None:
    """The agent makes `.containers` in it as root, and gives away the sandbox itself alone."""
    os.chown(agent.sandbox, NOBODY, NOBODY)
    nested = PlayedAgent(open_tmp, shim, container="c1/child")
    nested.sandbox = agent.sandbox / ".containers/child"
    nested.sandbox.mkdir(parents=True)
    os.chown(nested.sandbox, owner, owner)
    nested.hold(None)
    _, out, err = end(nested.start("echo started", user="nobody"))
    assert ("started" in out) == starts, err
    assert starts or f"belongs to uid {owner}" in err


def test_no_other_container_of_the_id_refuses_an_agents(agent: PlayedAgent) -> None:
    """An agent's ids are its own and never used twice; what somebody else calls his container is no reason to fail."""
    words = [str(agent.shim.program), "run", "--container-id", agent.container, "--", "/bin/sh", "-c", "echo; read x"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, cwd=agent.root, stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "\n"
        agent.hold(None)
        _, _, err = end(agent.start("true"))
        other.communicate()
    assert (err, agent.status) == ("", "0")
