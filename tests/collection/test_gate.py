"""The probe that a gate launches, by the installed shim and by launchers that do less; usage through the module."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from importlib import import_module
from pathlib import Path

import pytest

from tests.lib.collection import PLUGINS, hostvars, run_module
from tests.lib.shim import Shim, needs_linux, needs_root

container = import_module(f"{PLUGINS}.module_utils._probe_container")
probe = import_module(f"{PLUGINS}.module_utils._probe_launch")
configuration = import_module(f"{PLUGINS}.module_utils._shim_configuration")
service = import_module(f"{PLUGINS}.module_utils._agent_service")
journal = import_module(f"{PLUGINS}.module_utils._agent_journal")
health = import_module(f"{PLUGINS}.module_utils._agent_health")
summary = import_module(f"{PLUGINS}.filter.rollout_summary")
lines = import_module(f"{PLUGINS}.filter.usage_lines")

pytestmark = [needs_linux, needs_root]
TMP = ("/tmp", "tmp", False)


def info(*volumes: tuple[str, str, bool]) -> dict[str, object]:
    items = [{"container_path": t, "host_path": s, "mode": "RO" if ro else "RW"} for t, s, ro in volumes]
    return {"type": "MESOS", "volumes": items}


def volumes(*wanted: tuple[str, str | None, bool]) -> list[object]:
    return [configuration.Volume(*volume) for volume in wanted]


def gate(shim: Shim, flags_dir, **args):
    return run_module("agent_gate", path=str(flags_dir), prefix=str(shim.prefix), **args)


def test_the_probe_passes_where_the_view_is_private(shim, open_tmp):
    source = open_tmp / "data"
    source.mkdir()
    shim.configure(default_container_info=info(TMP, ("/srv", str(source), True)))
    result = gate(shim, open_tmp / "none")
    assert result["problems"] == [] and not result["changed"]
    assert [path.name for path in open_tmp.iterdir()] == ["data"]


@pytest.mark.parametrize(
    ("enforced", "wanted", "says"),
    [
        ([], [TMP], "sandbox/tmp, its own /tmp, was not created, so it is not isolated"),
        ([("/srv", "/opt", False)], [("/srv", "/opt", True)], "could write to /srv, which is read-only"),
        ([("/srv", "/usr", True)], [("/srv", "/opt", True)], "saw another /srv"),
    ],
)
def test_the_probe_fails_where_it_is_not(shim, open_tmp, enforced, wanted, says):
    shim.configure(default_container_info=info(*enforced))
    with pytest.raises(container.ProbeError, match=says):
        probe.run(str(shim.helper), [(1, 11)], volumes(*wanted), str(open_tmp))
    assert list(open_tmp.iterdir()) == []


def test_a_directory_of_its_own_is_not_the_hosts(shim, open_tmp):
    """Wherever it lies."""
    shim.configure(default_container_info=info(TMP))
    probe.run(str(shim.helper), [(1, 11)], volumes(("/tmp", None, False)), str(open_tmp))
    with pytest.raises(container.ProbeError, match="saw the host's own /srv, so it is not isolated"):
        probe.run(str(shim.helper), [(1, 11)], volumes(("/tmp", None, False), ("/srv", None, False)), str(open_tmp))


def test_private_directories_are_seen(shim, open_tmp):
    shim.configure(default_container_info=info(TMP), private_directories={"/srv": {}, "/opt": {"base": str(open_tmp)}})
    result = gate(shim, open_tmp / "none")
    assert result["problems"] == [], result


def test_what_a_container_gets_is_read_from_the_configuration():
    given = {"default_container_info": info(("/tmp/", "tmp", False)), "private_directories": {"/tmp": {}, "/opt": {}}}
    assert configuration.expected(given) == [("/tmp/", "tmp", False), ("/opt", None, False)]
    assert configuration.expected({"private_directories": ["/tmp"]}) == []


def test_a_launch_that_fails_says_why(shim, open_tmp):
    shim.configure(default_container_info=info(("/no/such/path", "tmp", False)))
    result = gate(shim, open_tmp / "none")
    assert result["failed"] and "'/no' does not exist" in result["msg"]
    (open_tmp / "flags").mkdir()
    (open_tmp / "flags/launcher_dir").write_text(str(open_tmp))
    missing = gate(shim, open_tmp / "flags")
    assert f"{open_tmp}/mesos-containerizer does not exist or is not executable" in missing["msg"]


def wrapped(shim: Shim, directory: Path, when: str, then: str) -> str:
    """A helper that does other things at some calls."""
    helper = directory / "mesos-containerizer"
    helper.write_text(f'#!/bin/sh\nREAL={shim.helper}\nif {when}; then {then}; fi\nexec "$REAL" "$@"\n')
    helper.chmod(0o755)
    return str(helper)


REFUSED = 'echo "mesos-containerizer: broken on purpose" >&2; exit 1'
# What tells each version's call from those of all others, and a version that makes it.
AGENTS = {
    "0.21 to 0.22": ((0, 22), "--directory= --pipe_read=", "--help="),
    "0.23 to 0.27": ((0, 23), "--directory= --help=", "--sandbox="),
    "0.28": ((0, 28), "--sandbox= --commands=", "--directory="),
    "1.0": ((1, 0), "--pre_exec_commands= --pipe_read=", "--runtime_directory="),
    "1.1": ((1, 1), "--runtime_directory= --pre_exec_commands=", "--launch_info="),
}
EXECUTORS = {
    "1.0": ((1, 0), "--command= --help=false", "--pipe_read="),
    "1.2 and later": ((1, 4), "--launch_info= --help=false", "--pipe_read="),
}


def has(present: str, absent: str) -> str:
    """A shell's condition on the arguments of a call."""
    words = [f'case "$*" in *{word}*) true;; *) false;; esac' for word in present.split()]
    return " && ".join([*words, f'case "$*" in *{absent}*) false;; *) true;; esac'])


@pytest.mark.parametrize("versions", AGENTS)
def test_a_helper_that_refuses_an_agent_fails_by_its_versions(shim, open_tmp, versions):
    version, present, absent = AGENTS[versions]
    helper = wrapped(shim, open_tmp, has(present, absent), REFUSED)
    for known in ([version], []):  # one version, or none known: all are played
        with pytest.raises(
            container.ProbeError, match=rf"by the agent's call \(Mesos {versions}\) .* broken on purpose"
        ):
            probe.run(helper, known, [], str(open_tmp))
    others = [other for name, (other, _, _) in AGENTS.items() if name != versions]
    probe.run(helper, [*others, (1, 2)], [], str(open_tmp))


def test_a_helper_that_refuses_the_agents_variables_fails_by_their_versions(shim, open_tmp):
    helper = wrapped(shim, open_tmp, '[ -n "$MESOS_CONTAINERIZER_LAUNCH_INFO" ]', REFUSED)
    with pytest.raises(container.ProbeError, match=r"by the agent's call \(Mesos 1.2 and later\) .* broken on purpose"):
        probe.run(helper, [(1, 11)], [], str(open_tmp))
    probe.run(helper, [(0, 21), (1, 1)], [], str(open_tmp))


@pytest.mark.parametrize("versions", EXECUTORS)
def test_a_helper_that_refuses_mesos_executor_fails_by_its_versions(shim, open_tmp, versions):
    version, present, absent = EXECUTORS[versions]
    helper = wrapped(shim, open_tmp, has(present, absent), REFUSED)
    for known in ([version], []):
        with pytest.raises(
            container.ProbeError, match=rf"mesos-executor's call \(Mesos {versions}\).* broken on purpose"
        ):
            probe.run(helper, known, [], str(open_tmp))
    probe.run(helper, [other for name, (other, _, _) in EXECUTORS.items() if name != versions], [], str(open_tmp))


BY_EXECUTOR = '[ "$2" = --help=false ]'


@pytest.mark.parametrize(
    ("when", "then", "says"),
    [
        (BY_EXECUTOR, 'case "$PPID" in *) "$REAL" "$@"; exit $?;; esac', "did not become its command"),
        (BY_EXECUTOR, "exit 0", "ended with 0 instead of 23"),
        (
            BY_EXECUTOR,
            """exec "$REAL" "$1" "$2" "$(printf %s "$3" | sed 's/"name": "MESOS_SHIM_PROBE"/"name": "X"/')" "$4" """,
            "did not get its environment",
        ),
        # Only where mesos-executor is not root.
        (f'[ "$(id -u)" != 0 ] && {BY_EXECUTOR}', REFUSED, "for nobody"),
        (
            '[ -n "$MESOS_CONTAINERIZER_LAUNCH_INFO" ]',
            '"$REAL" "$@"; rm "$MESOS_CONTAINERIZER_RUNTIME_DIRECTORY/status"; exit 0',
            "ended with status file None instead of 4352",
        ),
    ],
)
def test_a_helper_that_does_less_than_its_caller_needs_fails(shim, open_tmp, when, then, says):
    with pytest.raises(container.ProbeError, match=says):
        probe.run(wrapped(shim, open_tmp, when, then), [(1, 11)], [], str(open_tmp))


def test_a_launch_that_does_not_end_is_ended(shim, open_tmp, monkeypatch):
    monkeypatch.setattr(probe, "_SECONDS", 0.5)
    helper = wrapped(shim, open_tmp, "true", "sleep 300")
    with pytest.raises(container.ProbeError, match=r"the agent's call .* did not end within 0 seconds"):
        probe.run(helper, [(1, 11)], [], str(open_tmp))


def test_a_lost_container_and_a_silent_agent_fail_the_gate(shim, open_tmp):
    args = {"probe": False, "timeout": 0}
    assert (
        "containers ended while the agent was restarted: a, b"
        in gate(shim, open_tmp, lost_containers=["a", "b"], allowed_losses=1, **args)["msg"]
    )
    assert not gate(shim, open_tmp, lost_containers=["a"], allowed_losses=1, **args).get("failed")
    assert (
        "the agent does not answer: http://127.0.0.1:9/slave(1)/health"
        in gate(shim, open_tmp, url="http://127.0.0.1:9/", **args)["msg"]
    )


def mine(start_time: int | None = None) -> dict[str, object]:
    """A container whose process is this one, or was one of its number."""
    return {"pid": os.getpid(), "start_time": start_time or service.start_time(os.getpid())}


@pytest.mark.parametrize(
    ("said", "args", "problem"),
    [
        ({}, {"agent_id": "S1"}, None),
        ({"/slave(1)/health": None}, {}, "does not answer"),
        ({"/slave(1)/flags": {"flags": {"gc_delay": "2weeks"}}}, {}, "flag gc_delay is 2weeks, wanted 7days"),
        ({"/slave(1)/flags": {"flags": {"gc_delay": "2weeks"}}}, {"ignore_flags": ["gc_delay"]}, None),
        ({}, {"agent_id": "S0"}, "the agent came back as S1 instead of S0"),
        ({"/slave(1)/state": {"id": ""}}, {}, "not registered"),
        ({"/metrics/snapshot": {"slave/registered": 0}}, {}, "not registered"),
        ({"/slave(1)/state": {"id": ""}}, {"registered": False}, None),
        # A master that does not have it counts more than the agent's own word.
        ({"/master/slaves": {"slaves": [{"id": "S1", "active": False}]}}, {"master": True}, "not registered"),
        ({"/metrics/snapshot": {"slave/registered": 0}}, {"master": True}, None),
        ({"/master/slaves": None}, {"master": True}, "mesos_agent_master_url: http://"),
        ({"/slave(1)/containers": []}, {"containers": {"c-1": mine}}, "has not recovered its containers c-1"),
        ({"/slave(1)/containers": []}, {"containers": {"c-1": lambda: mine(1)}}, None),  # it has ended by itself
        # 0.21 says its flags in its state, and has other names for the rest.
        ({"/slave(1)/flags": None, "/slave(1)/state.json": {"id": "S1", "flags": {"gc_delay": "1weeks"}}}, {}, None),
    ],
)
def test_what_an_agent_says_is_judged(shim, open_tmp, played, said, args, problem):
    (open_tmp / "gc_delay").write_text("7days\n")
    played.answers.update(said)
    args = {**args, "containers": {name: make() for name, make in args.get("containers", {}).items()}}
    if args.get("master"):
        args["master"] = played.url
    result = gate(shim, open_tmp, url=played.url, probe=False, timeout=0, **args)
    if problem is None:
        assert result["problems"] == [] and result["agent_id"] in ("S1", None)
    else:
        assert problem in result["msg"]


ENDED = b'{"type": "WAIT_CONTAINER", "wait_container": {"exit_status": %s}}'


@pytest.mark.parametrize(
    ("call", "answer", "says"),
    [
        (
            "LAUNCH_CONTAINER",
            (400, b"no such thing"),
            "a launch through the agent: http://.*Bad Request: no such thing",
        ),
        ("LAUNCH_CONTAINER", (503, b"recovering"), "a launch through the agent: http://.*Unavailable: recovering"),
        ("WAIT_CONTAINER", (200, ENDED % b"0"), "it ended with wait status 0 instead of 4352"),
        ("WAIT_CONTAINER", (404, b"not here"), "a launch through the agent ended at once, 3 times: http://.*not here"),
        # It says that all was well, and nothing was launched.
        ("WAIT_CONTAINER", (200, ENDED % b"4352"), "the probe executor printed null, which is not readable"),
        ("WAIT_CONTAINER", (200, ENDED % b'"4352"'), "the agent does not say how it ended"),
        ("WAIT_CONTAINER", (200, ENDED % b"1e999"), "the agent does not say how it ended"),
        ("WAIT_CONTAINER", (200, b""), "the agent does not say how it ended"),
        ("WAIT_CONTAINER", (200, b'{"wait_container": []}'), "the agent does not say how it ended"),
        ("WAIT_CONTAINER", (200, b"[]"), "the answer is not a JSON object"),
        ("WAIT_CONTAINER", (200, b"[" * 100_000), "the answer is not a JSON object"),
        ("WAIT_CONTAINER", (200, b"\xff"), "the answer is not a JSON object"),
    ],
)
def test_what_an_agent_says_of_a_probe_is_judged(shim, open_tmp, played, call, answer, says):
    played.answers["/slave(1)/flags"]["flags"]["work_dir"] = str(open_tmp)
    played.calls[call] = answer
    result = gate(shim, open_tmp / "none", url=played.url, timeout=0)
    assert result["failed"] and re.search(says, result["msg"]), result
    assert list(open_tmp.iterdir()) == []


@pytest.mark.parametrize("call", ["LAUNCH_CONTAINER", "WAIT_CONTAINER"])
@pytest.mark.parametrize("status", [401, 403])
def test_an_agent_that_forbids_a_probe_is_played_and_that_is_said(shim, open_tmp, played, call, status):
    played.answers["/slave(1)/flags"]["flags"]["work_dir"] = str(open_tmp)
    played.calls[call] = (status, b"not you")
    result = gate(shim, open_tmp / "none", url=played.url, timeout=0)
    assert (result["problems"], result["probe"]) == ([], "played")
    assert "its calls were only simulated: http://" in result["probe_note"] and "not you" in result["probe_note"]
    assert result["_warnings"] == result["probe_note"]


@pytest.mark.parametrize(("version", "how"), [("1.4.3", "played"), ("0.21.2", "played"), (None, "played")])
def test_an_agent_that_is_too_old_to_launch_is_played(shim, open_tmp, played, version, how):
    played.answers["/slave(1)/state"]["version"] = version
    played.calls["LAUNCH_CONTAINER"] = (500, b"it was asked")
    result = gate(shim, open_tmp / "none", url=played.url, timeout=0)
    assert (result["problems"], result["probe"], result["_warnings"]) == ([], how, "")


@pytest.mark.parametrize("work_dir", [None, "work", ["/w"]])
def test_an_agent_without_a_work_dir_is_not_believed(shim, open_tmp, played, work_dir):
    played.answers["/slave(1)/flags"]["flags"]["work_dir"] = work_dir
    assert "says that its work_dir is" in gate(shim, open_tmp / "none", url=played.url, timeout=0)["msg"]


def test_the_gate_waits_for_what_comes_late(shim, open_tmp, played):
    late = played.answers.pop("/slave(1)/health")
    threading.Timer(0.3, lambda: played.answers.update({"/slave(1)/health": late})).start()
    assert gate(shim, open_tmp, url=played.url, probe=False, timeout=30)["problems"] == []


LISTEN = """
import socket, sys
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
while True:
    connection, _ = listening.accept()
    connection.settimeout(2)
    try:
        print("told:", connection.recv(65536), flush=True)
        connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\n{}")
    except OSError as error:
        print("silence:", error, flush=True)
    connection.close()
"""


@pytest.fixture
def stranger():
    """A process of another user that has taken the agent's port; stranger() is what it was told first."""
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-Ic", LISTEN]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        port = int(process.stdout.readline())
        process.url = f"http://127.0.0.1:{port}"
        yield process
        process.kill()


SECRET = {"url_username": "ops", "url_password": "sesame"}


def test_who_has_taken_the_agents_port_is_told_nothing(shim, open_tmp, stranger):
    result = gate(shim, open_tmp, url=stranger.url, probe=False, timeout=0, **SECRET)
    assert "is answered by a process of uid 65534" in result["msg"] and "nothing was sent" in result["msg"]
    assert stranger.stdout.readline() in ("told: b''\n", "silence: timed out\n")


@pytest.mark.parametrize("whose", ["own", "child", "other", "down"])
def test_only_the_units_own_process_is_asked(shim, open_tmp, played, monkeypatch, whose):
    """Also where the unit's main process is a shell around the agent."""
    with subprocess.Popen(["sleep", "100"]) as other:
        pid = {"own": os.getpid(), "child": os.getppid(), "other": other.pid, "down": 0}[whose]
        status = {"active": True, "starting": False, "enabled": True, "ended": False, "pid": pid, "restarts": 3}
        status["invocation"] = ""
        monkeypatch.setattr(service.Service, "status", lambda self: status)
        result = gate(
            shim, open_tmp, url=played.url, service="mesos-slave", probe=False, timeout=0, ignore_flags=["isolation"]
        )
        other.kill()
    if whose in ("own", "child"):
        assert result["problems"] == [] and result["agent_id"] == "S1"
        return
    says = {
        "other": "that does not belong to the unit mesos-slave.service",
        "down": "the unit mesos-slave.service is not running",
    }
    assert says[whose] in result["msg"] and "nothing was sent" in result["msg"]
    assert played.asked == []


def test_a_password_goes_nowhere_else(shim, open_tmp, played, stranger):
    """Not where an answer of the agent leads, either."""
    played.leads = stranger.url
    result = gate(shim, open_tmp, url=played.url, probe=False, timeout=0, **SECRET)
    assert "HTTP 302" in result["msg"]
    assert played.asked == ["/slave(1)/health"] and played.told == "Basic b3BzOnNlc2FtZQ=="
    stranger.kill()
    assert stranger.stdout.read() == ""


def test_where_nobody_can_tell_who_answers_nothing_is_sent(shim, open_tmp, played, monkeypatch, tmp_path):
    sockets = import_module(f"{PLUGINS}.module_utils._agent_socket")
    monkeypatch.setattr(sockets, "_TABLES", (str(tmp_path / "absent"),))
    result = gate(shim, open_tmp, url=played.url, probe=False, timeout=0, **SECRET)
    assert "so it is unknown who answers" in result["msg"] and played.asked == []
    (tmp_path / "empty").touch()
    monkeypatch.setattr(sockets, "_TABLES", (str(tmp_path / "empty"),))
    result = gate(shim, open_tmp, url=played.url, probe=False, timeout=0, **SECRET)
    assert "127.0.0.1 is not an address of this host" in result["msg"] and played.asked == []


def test_usage_of_a_running_container(shim, sandbox):
    command = [str(shim.program), "run", "--sandbox", str(sandbox), "--container-id", "c-1", "--volume", "tmp:/tmp"]
    process = subprocess.Popen(
        [*command, "--", "sh", "-c", "echo ready; read x"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "ready\n"
        (found,) = run_module("container_usage_info", program=str(shim.program))["containers"]
        assert found["container_id"] == "c-1" and found["mode"] == "enforced" and found["pid"] == process.pid
        assert found["statistics"]["processes"] == 1 and found["statistics"]["mem_rss_bytes"] > 0
        assert [volume["container_path"] for volume in found["volumes"]] == ["/tmp"]
        assert run_module("container_usage_info", program=str(shim.program), container_ids=["c-1"])["containers"]
        # Of what the agent runs: ours, one that the shim did not start, one that has ended, one of an unknown process.
        own = {"pid": process.pid, "start_time": service.start_time(process.pid)}
        here = {"pid": os.getpid(), "start_time": service.start_time(os.getpid())}
        agents = {"c-1": own, "older": here, "ended": {**here, "start_time": 1}, "dark": {"pid": 0, "start_time": 0}}
        both = run_module("container_usage_info", program=str(shim.program), agent_containers=agents)
        assert [item["container_id"] for item in both["containers"]] == ["c-1"] and both["without_shim"] == ["older"]
        (line,) = lines.usage_lines([found])
        assert line.startswith("c-1  enforced  1 processes  cpu ")
    finally:
        process.communicate("\n")
    assert run_module("container_usage_info", program=str(shim.program))["containers"] == []
    assert "is the shim installed?" in run_module("container_usage_info", program="/no/such/mesos-shim")["msg"]


def test_the_summary_names_every_host():
    switched = {
        "changed": True,
        "before": {"generation": 1, "release": "a"},
        "after": {"generation": 2, "release": "b"},
        "changed_flags": [{"name": "gc_delay"}],
        "restarted": True,
    }
    records = hostvars(
        h1={"state": "done", "began": 10.0, "ended": 14.25, "switched": switched},
        h22={"state": "failed", "why": "one\n two", "switched": {}},
        h3={"state": "begun", "began": 1.0},
        h5={},
    )
    said = summary.rollout_summary(["h1", "h22", "h3", "h4", "h5"], records)
    assert [" ".join(line.split()) for line in said[:5]] == [
        "h1 done 1 (a) -> 2 (b), flags: gc_delay, restarted 4.2 s",
        "h22 failed: one two",
        "h3 died",
        "h4 not looked at",
        "h5 not started",
    ]
    assert said[5] == "5 hosts: 1 died, 1 done, 1 failed, 1 not looked at, 1 not started"
    (_, count) = summary.rollout_summary(["h4"], records, "3")
    assert count == "1 host: 1 not looked at, and 3 of the group that --limit leaves out"
    resumed = {**switched, "after": {"generation": None, "release": "b"}, "changed_flags": [], "restarted": False}
    resumed["actions"] = ["resume"]
    foreseen = hostvars(h1={"state": "would change", "switched": resumed})
    assert summary.rollout_summary(["h1"], foreseen) == [
        "h1  would change  1 (a) -> new (b), which an interrupted run had started",
        "1 host: 1 would change",
    ]


# As a real 1.11.0 agent wrote them.
BACKOFF = """\
I1130 07:09:26.673368 31407 slave.cpp:275] Mesos agent started on (1)@127.0.0.1:5051
E1130 07:09:26.673368 31407 slave.cpp:294] EXIT with status 1: Invalid value '10hrs' for \
--registration_backoff_factor: Must be less than 1mins
I1130 07:09:26.673503 31395 sched.cpp:241] Version: 1.11.0
"""
ISOLATOR = """\
E1130 07:09:26.284183 31358 local.cpp:519] EXIT with status 1: Failed to create a containerizer: Could not create \
MesosContainerizer: Unknown or unsupported isolator 'no/such'
I1130 07:09:26.284468 31379 replica.cpp:344] Persisted promised to 1
"""
# By stout/flags.hpp and glog.
USAGE = """\
Failed to load unknown flag 'isolation.rpmnew'

Usage: mesos-agent [options]

  --acls=VALUE   The value is a JSON-formatted string of ACLs. EXIT
"""
CHECK = """\
F1130 07:09:26.1 42 replica.cpp:12] Check failed: state.isSome() zk://u:hunter2@h
*** Check failure stack trace: ***
    @     0x7f00 google::LogMessage::Fail()
"""


@pytest.mark.parametrize(
    ("text", "line", "of_flags"),
    [
        (
            BACKOFF + BACKOFF.replace("10hrs", "11hrs"),
            "Invalid value '11hrs' for --registration_backoff_factor: Must be less than 1mins",
            True,
        ),
        (
            ISOLATOR,
            "Failed to create a containerizer: Could not create MesosContainerizer: Unknown or unsupported isolator "
            "'no/such'",
            True,
        ),
        (USAGE, "Failed to load unknown flag 'isolation.rpmnew'", True),
        (CHECK, "Check failed: state.isSome() zk://u:********@h", False),
        ("I1130 07:09:26.673503 31395 sched.cpp:241] Version: 1.11.0\n", "", False),
    ],
    ids=["value", "isolator", "usage", "check", "nothing"],
)
def test_an_agents_last_words_are_its_last_fatal_line(text, line, of_flags):
    asked = []

    def run_command(command, handle_exceptions):
        asked.append(command)
        return 0, text, ""

    assert journal.said_at_the_end(run_command, "mesos-slave.service", "0" * 32) == line
    assert journal.said_at_the_end(run_command, "mesos-slave.service") == line
    assert (asked[0][-1], asked[1][-2:]) == ("_SYSTEMD_INVOCATION_ID=" + "0" * 32, ["-u", "mesos-slave.service"])
    assert journal.of_flags(line) is of_flags


class Unit:
    """A unit whose status changes with every look, and whose journal has one text."""

    unit = "mesos-slave.service"

    def __init__(self, text, *statuses):
        self.text, self.statuses, self.looks = text, list(statuses), 0

    def run_command(self, command, handle_exceptions):
        return 0, self.text, ""

    def status(self):
        self.looks += 1
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return {"active": True, "starting": False, "ended": False, "restarts": 0, "invocation": "", **status}


def waited(unit, monkeypatch, timeout=3600):
    """The problems of an agent that does not answer; whether it was waited for to the end."""
    monkeypatch.setattr(health, "_INTERVAL", 0.001)

    class Deaf:
        def health(self):
            raise health.ApiError("refused")

    params = {"timeout": timeout, "ignore_flags": []}
    return health.wait(params, {}, Deaf(), unit).problems


def test_an_agent_that_refuses_its_flags_is_waited_for_no_longer(monkeypatch):
    unit = Unit(BACKOFF, {}, {}, {"ended": True})
    (said,) = waited(unit, monkeypatch)
    assert said == (
        "the unit mesos-slave.service has ended: Invalid value '10hrs' for --registration_backoff_factor: "
        "Must be less than 1mins"
    )


def test_an_agent_that_ends_again_and_again_is_waited_for_no_longer(monkeypatch):
    unit = Unit(CHECK, {"restarts": 7}, {"restarts": 7, "ended": True}, {"restarts": 8}, {"restarts": 9})
    (said,) = waited(unit, monkeypatch)
    assert "has ended again and again, 2 times while it was waited for: Check failed: " in said
    assert unit.looks == 4


def test_what_ended_the_agent_once_may_go_away(monkeypatch):
    unit = Unit(CHECK, {}, {"ended": True}, {"restarts": 1})
    assert waited(unit, monkeypatch, timeout=0.05) == ["the agent does not answer: refused"]
    (said,) = waited(Unit("", {"ended": True}), monkeypatch, timeout=0)
    assert said.endswith("has ended: its journal does not say why: journalctl -u mesos-slave.service")
