"""A rollout's gate has a real agent launch its probes, and says by name which caller of the helper is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lib.collection import run_module

from ..lib.agent.local import LocalAgent

pytestmark = pytest.mark.agent

TMP = {"type": "MESOS", "volumes": [{"host_path": "tmp", "container_path": "/tmp", "mode": "RW"}]}
USER, SECRET = "operator", "a-secret"


@pytest.fixture(scope="module")
def agent(start_agent: Callable[..., LocalAgent]) -> LocalAgent:
    return start_agent(mesos_agent_default_container_info=TMP, flags={"switch_user": True})


@pytest.fixture(scope="module")
def guarded(start_agent: Callable[..., LocalAgent], public: Path) -> LocalAgent:
    """An agent that wants to know who asks, and lets nobody launch standalone containers."""
    credentials = public / "credentials.json"
    credentials.write_text(json.dumps({"credentials": [{"principal": USER, "secret": SECRET}]}))
    nobody = [{"principals": {"type": "ANY"}, "users": {"type": "NONE"}}]
    return start_agent(
        mesos_agent_default_container_info=TMP,
        flags={
            "switch_user": True,
            "authenticate_http_readwrite": True,
            "http_credentials": f"file://{credentials}",
            "acls": {"launch_standalone_containers": nobody},
        },
    )


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """No probe leaves a container or a sandbox, and none costs the agent its life."""
    yield
    for name in ("agent", "guarded"):
        if name in request.fixturenames:
            agent = request.getfixturevalue(name)
            assert agent.healthy()
            assert not list(agent.work_dir.glob("containers/*"))
            assert not list(Path(agent.flags["work_dir"]).glob("mesos-shim-probe-*"))


def gate(agent: LocalAgent, **given: object) -> dict[str, object]:
    return run_module(
        "agent_gate",
        path=str(agent.flags_dir),
        prefix=str(agent.flags_dir.parent / "shim"),
        url=f"http://127.0.0.1:{agent.port}",
        ignore_flags=[
            "work_dir",
            "acls",
        ],  # an agent in local mode adds to the one, each agent prints the other as text
        **given,
    )


def launched(agent: LocalAgent) -> int:
    return agent.log.count("Processing LAUNCH_CONTAINER call")


def test_the_agent_launches_a_probe_for_root_and_for_an_ordinary_user(agent: LocalAgent) -> None:
    result = gate(agent)
    assert (result["problems"], result["probe"], result["_warnings"]) == ([], "agent", ""), result
    assert launched(agent) == 2
    assert "Creating sandbox" in agent.log and "for user 'nobody'" in agent.log


REFUSED = 'echo "mesos-containerizer: broken on purpose" >&2; exit 1'
BY_AGENT = '[ -n "$MESOS_CONTAINERIZER_LAUNCH_INFO" ]'
BY_EXECUTOR = '[ "$2" = --help=false ]'


@pytest.mark.parametrize(
    ("when", "then", "says"),
    [
        # Before or after the agent has counted it as launched: both are seen.
        (BY_AGENT, REFUSED, "^a launch through the agent( ended at once, 3 times)?: "),
        (
            BY_EXECUTOR,
            REFUSED,
            r"mesos-executor's call \(Mesos 1.2 and later\) ended with 1 instead of 23: .* on purpose",
        ),
        # It does what it is told, and stays behind.
        (BY_EXECUTOR, '"$REAL" "$@"; exit $?', "did not become its command: it is pid"),
        # Where it runs as root all is well.
        ('[ "$(id -u)" != 0 ]', REFUSED, "^a launch through the agent for nobody: mesos-executor's call .* on purpose"),
        # A signal that the agent sends ends it instead of the task.
        (BY_AGENT, '"$REAL" "$@"', "^a launch through the agent: it ended with wait status [0-9]+ instead of 4352"),
    ],
    ids=["agent", "mesos-executor", "fork", "ordinary user", "signal"],
)
def test_a_helper_that_fails_one_caller_fails_the_gate(agent: LocalAgent, when: str, then: str, says: str) -> None:
    helper = Path(agent.flags["launcher_dir"]) / "mesos-containerizer"
    real, target = helper.resolve(), helper.readlink()
    helper.unlink()
    helper.write_text(f'#!/bin/sh\nREAL={real}\nif {when}; then {then}; fi\nexec "$REAL" "$@"\n')
    helper.chmod(0o755)
    try:
        result = gate(agent)
    finally:
        helper.unlink()
        helper.symlink_to(target)
    assert result["failed"] and re.search(says, result["msg"]), result


def test_an_agent_that_does_not_let_us_launch_is_said(guarded: LocalAgent) -> None:
    for given, said in (({}, "Unauthorized"), ({"url_username": USER, "url_password": SECRET}, "Forbidden")):
        result = gate(guarded, **given)
        assert (result["problems"], result["probe"]) == ([], "played"), result
        assert result["probe_note"] == result["_warnings"] and said in result["probe_note"], result
        assert SECRET not in result["_raw"]
