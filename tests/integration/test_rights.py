"""Who may have which volume, and what a volume must not lend: framework_volumes, no_new_privs (threats 8, 19)."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..lib import wire
from ..lib.launching import ACCESS, acl_for, launch, refused, said, volume
from ..lib.played_agent import PIPE, PlayedAgent, end, wait_until_named, with_byte
from ..lib.shim import NOBODY, Shim, needs_root
from ..lib.waiting import wait_until

pytestmark = needs_root

NNP = "grep -q '^NoNewPrivs:.1' /proc/self/status && echo no_new_privs || echo plain"


def rights(shim: Shim, sandbox: Path, volumes: list[dict[str, object]], user: str = "nobody") -> str:
    """Whether a task of `user` with `volumes` can gain rights by a set-id program."""
    return said(launch(shim, sandbox, volumes, NNP, options=("--user", user)))


@pytest.fixture
def closed(open_tmp: Path) -> Path:
    """A directory such as /etc: root's, 0755."""
    path = open_tmp / "etc"
    path.mkdir()
    return path


def test_a_private_tmp_stays_transparent(shim: Shim, sandbox: Path) -> None:
    assert rights(shim, sandbox, [volume("tmp", "/tmp")]) == "plain"


def test_a_covered_etc_lends_no_rights(shim: Shim, sandbox: Path, closed: Path) -> None:
    assert rights(shim, sandbox, [volume("etc", closed)]) == "no_new_privs"


def test_a_set_id_program_cannot_use_a_covered_etc(shim: Shim, sandbox: Path, open_tmp: Path) -> None:
    """The attack itself: a set-uid shell, and a covered directory from which it takes its words."""
    shell = open_tmp / "set-id-shell"
    shutil.copy("/bin/bash", shell)
    shell.chmod(0o4755)
    his = open_tmp / "his"
    his.mkdir()
    (his / "sudoers").write_text("nobody ALL\n")
    for path in (his, his / "sudoers"):
        os.chown(path, NOBODY, NOBODY)
    (open_tmp / "etc").mkdir()
    command = f"{shell} -pc 'cat {open_tmp}/etc/sudoers; id -u'"
    done = launch(shim, sandbox, [volume(his, open_tmp / "etc")], command, options=("--user", "nobody"))
    assert said(done).split() == ["nobody", "ALL", str(NOBODY)]
    done = launch(shim, sandbox, [volume("tmp", "/tmp")], f"{shell} -pc 'id -u'", options=("--user", "nobody"))
    assert said(done) == "0"


@pytest.mark.parametrize(
    ("owner", "mode", "access", "expected"),
    [
        (0, 0o755, None, "plain"),  # root's own: the operator's choice
        (NOBODY, 0o755, None, "no_new_privs"),
        (0, 0o777, None, "no_new_privs"),
        (0, 0o775, acl_for(NOBODY, 7), "no_new_privs"),  # his by an access list
        (0, 0o775, acl_for(1234, 7), "no_new_privs"),  # another's, who may do his bidding
        (0, 0o775, acl_for(0, 7), "plain"),
    ],
    ids=["root's", "his", "everybody's", "his by a list", "another's by a list", "root's by a list"],
)
def test_an_absolute_source_that_is_his(
    shim: Shim, sandbox: Path, open_tmp: Path, closed: Path, owner: int, mode: int, access: bytes | None, expected: str
) -> None:
    source = open_tmp / "source"
    source.mkdir()
    source.chmod(mode)
    os.chown(source, owner, 0)
    if access is not None:
        os.setxattr(source, ACCESS, access)
    assert rights(shim, sandbox, [volume(source, closed)]) == expected


def test_a_source_in_a_directory_that_is_his(shim: Shim, sandbox: Path, open_tmp: Path, closed: Path) -> None:
    """He cannot write it, but he can put another one in its place before the next launch."""
    his = open_tmp / "his"
    (his / "source").mkdir(parents=True)
    (his / "source").chmod(0o555)
    for path in (his, his / "source"):
        os.chown(path, NOBODY, NOBODY)
    assert rights(shim, sandbox, [volume(his / "source", closed)]) == "no_new_privs"


def test_what_an_access_list_lets_him_write_is_his(shim: Shim, sandbox: Path, open_tmp: Path, closed: Path) -> None:
    """The mode's group bits are the list's mask: they say nothing of the group."""
    os.setxattr(closed, ACCESS, acl_for(NOBODY, 7))
    assert rights(shim, sandbox, [volume("a", closed)]) == "plain"
    os.setxattr(closed, ACCESS, acl_for(1234, 7))
    os.chown(closed, 0, NOBODY)
    assert rights(shim, sandbox, [volume("b", closed)]) == "no_new_privs"


def test_root_has_nothing_to_gain(shim: Shim, sandbox: Path, closed: Path) -> None:
    assert rights(shim, sandbox, [volume("etc", closed)], user="root") == "plain"


# A framework's ContainerInfo comes through the agent's helper only.


@pytest.fixture
def agent(shim: Shim, open_tmp: Path) -> PlayedAgent:
    """The agent's side of the 1.x protocol."""
    return PlayedAgent(open_tmp, shim)


def framework(
    agent: PlayedAgent, host_path: object, target: object, user: str = "nobody", **fields: object
) -> tuple[str, str, str]:
    """Launch with a framework's volume: stdout, stderr, the status file."""
    os.chown(agent.sandbox, NOBODY, NOBODY)
    agent.hold(wire.container_info(wire.volume(str(target), str(host_path))))
    _, out, err = end(agent.start(f"cat {target}/file; {NNP}", user=user, **fields))
    return out, err, agent.status or ""


@pytest.fixture
def shared(open_tmp: Path) -> Path:
    """A directory of the host that everybody may read."""
    path = open_tmp / "shared"
    path.mkdir()
    (path / "file").write_text("read\n")
    return path


def test_frameworks_may_name_relative_paths_only(agent: PlayedAgent, closed: Path, shared: Path) -> None:
    out, err, status = framework(agent, shared, closed)
    assert (out, status) == ("", "256")
    assert "framework_volumes is 'relative'" in err
    out, err, _ = framework(agent, "mine", closed)
    assert "no_new_privs" in out


@pytest.mark.parametrize(
    ("policy", "allowed"),
    [
        ("all", True),
        ("none", False),
        (["{}/shared"], True),
        (["{}/*"], True),
        (["{}/sh*d"], True),
        (["{}"], False),
        (["/*"], False),  # by component: a star never reaches across a '/'
        (["{}/other"], False),
        ([], False),
    ],
)
def test_the_operators_policy(agent: PlayedAgent, closed: Path, shared: Path, policy: object, allowed: bool) -> None:
    if isinstance(policy, list):
        policy = [glob.format(shared.parent) for glob in policy]
    agent.shim.configure(framework_volumes=policy)
    out, err, status = framework(agent, shared, closed)
    assert out.startswith("read") == allowed
    assert ("framework_volumes is" in err) != allowed
    assert status == ("0" if allowed else "256")


def test_none_forbids_relative_ones_too(agent: PlayedAgent, closed: Path) -> None:
    agent.shim.configure(framework_volumes="none")
    out, err, _ = framework(agent, "mine", closed)
    assert (out, "may not bring volumes" in err) == ("", True)


def test_a_frameworks_source_is_opened_as_the_tasks_user(agent: PlayedAgent, closed: Path, open_tmp: Path) -> None:
    """Threat 19: what the parents' 0700 kept from him stays kept; root's own launch reaches it."""
    kept = open_tmp / "kept/inner"
    kept.mkdir(parents=True)
    (kept / "file").write_text("canary\n")
    kept.parent.chmod(0o700)
    agent.shim.configure(framework_volumes="all")
    out, err, status = framework(agent, kept, closed)
    assert (out, status) == ("", "256")
    assert "Permission denied" in err
    assert framework(agent, kept, closed, user="root")[0].startswith("canary")


@pytest.mark.parametrize(
    ("group", "agents", "his", "opened"),
    [
        (0, [], [], False),  # root's own group
        (4242, [4242], [], False),  # another that the agent runs with
        (4242, [], [4242], True),
    ],
    ids=["root's", "the agent's", "his"],
)
def test_a_frameworks_source_is_opened_with_the_tasks_groups_alone(
    agent: PlayedAgent, closed: Path, open_tmp: Path, group: int, agents: list[int], his: list[int], opened: bool
) -> None:
    """Threat 19: what lets a group of ours in keeps him out, and what lets a group of his in does not."""
    kept = open_tmp / "kept/inner"
    kept.mkdir(parents=True)
    (kept / "file").write_text("canary\n")
    os.chown(kept.parent, 0, group)
    kept.parent.chmod(0o750)
    agent.shim.configure(framework_volumes="all")
    before = os.getgroups()
    os.setgroups(agents)
    try:
        out, err, status = framework(agent, kept, closed, supplementary_groups=his)
    finally:
        os.setgroups(before)
    assert (out.startswith("canary"), status) == (opened, "0" if opened else "256")
    assert ("Permission denied" in err) != opened


@pytest.mark.parametrize("what", ["work", "work/slaves", "run", "state", ".", "link-to-work"])
def test_no_framework_reaches_the_agents_or_our_directories(
    agent: PlayedAgent, closed: Path, open_tmp: Path, what: str
) -> None:
    """Nor what contains one of them, nor one of them by another name."""
    (open_tmp / "link-to-work").symlink_to("work")
    (open_tmp / "state").mkdir()
    state = open_tmp / "link-to-state"
    state.symlink_to("state")
    agent.shim.configure(framework_volumes="all", work_dir=str(agent.work_dir), state_dir=str(state))
    out, err, status = framework(agent, open_tmp / what, closed)
    assert (out, status) == ("", "256")
    assert "belongs to the agent or the shim" in err


def test_no_framework_mounts_a_part_of_the_kernels_file_systems(agent: PlayedAgent, open_tmp: Path) -> None:
    """Whatever the policy says: /proc/1 at another place tells of the host as /proc does."""
    (open_tmp / "target").mkdir()
    agent.shim.configure(framework_volumes="all")
    for source, kind in (("/proc/sys", "proc"), ("/sys/kernel", "sysfs")):
        out, err, status = framework(agent, source, open_tmp / "target", user="root")
        assert (out, status) == ("", "256")
        assert f"'{source}' is on {kind}, which belongs to the kernel" in err


def test_the_legacy_protocol_has_the_same_policy(agent: PlayedAgent, closed: Path, shared: Path) -> None:
    os.chown(agent.sandbox, NOBODY, NOBODY)
    agent.checkpoint(wire.container_info(wire.volume(str(closed), str(shared))))
    code, out, err = end(agent.start_021(f"cat {closed}/file", user="nobody"))
    assert (code != 0, out) == (True, "")
    assert "framework_volumes is 'relative'" in err


# What root itself runs for a container: an isolator's own commands, the packaged helper.


@pytest.fixture
def trap(open_tmp: Path) -> dict[str, str]:
    """A framework's variables that would make root run its programs."""
    directory = open_tmp / "trap"
    directory.mkdir()
    for name in ("id", "touch", "sh"):
        (directory / name).write_text(f"#!/bin/sh\n/usr/bin/id -u >> {open_tmp}/SPRUNG\n")
        (directory / name).chmod(0o755)
    return {"PATH": f"{directory}:/usr/bin:/bin", "ENV": f"{directory}/sh", "BASH_ENV": f"{directory}/sh"}


def test_roots_commands_get_nothing_of_the_frameworks(agent: PlayedAgent, open_tmp: Path, trap: dict[str, str]) -> None:
    agent.hold(None)
    variables = {"variables": [{"name": key, "value": value} for key, value in trap.items()]}
    first = {
        "shell": True,
        "value": f"env | grep -v '^PWD\\|^_\\|^SHLVL\\|^OLDPWD' > {open_tmp}/roots; touch {open_tmp}/ran",
    }
    _, out, err = end(agent.start("/usr/bin/env", environment=variables, pre_exec_commands=[first], user="nobody"))
    assert (err, agent.status) == ("", "0")
    assert f"PATH={trap['PATH']}" in out.splitlines()  # the task has them
    assert (open_tmp / "roots").read_text() == "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
    assert ((open_tmp / "ran").exists(), (open_tmp / "SPRUNG").exists()) == (True, False)


def test_roots_commands_of_the_legacy_protocol_too(agent: PlayedAgent, open_tmp: Path, trap: dict[str, str]) -> None:
    agent.checkpoint()
    commands = json.dumps({"commands": [{"value": f"touch {open_tmp}/ran; id -u > {open_tmp}/roots"}]})
    code, out, err = end(agent.start_021("echo $PATH", user="nobody", environment=trap, commands=commands))
    assert (code, out, err) == (0, trap["PATH"] + "\n", "")
    assert ((open_tmp / "roots").read_text(), (open_tmp / "SPRUNG").exists()) == ("0\n", False)


@pytest.fixture
def his_over_roots(agent: PlayedAgent, open_tmp: Path, closed: Path) -> Path:
    """A framework's volume by which the task's user provides what lies over root's directory."""
    path = open_tmp / "his"
    path.mkdir()
    os.chown(path, NOBODY, NOBODY)
    agent.shim.configure(framework_volumes="all")
    agent.hold(wire.container_info(wire.volume(str(closed), str(path))))
    return path


def test_root_runs_nothing_over_which_the_user_lays_his_own(
    agent: PlayedAgent, his_over_roots: Path, open_tmp: Path
) -> None:
    """A loader, a library, a configuration: his over root's would make root run what he likes."""
    first = {"shell": True, "value": f"touch {open_tmp}/ran"}
    _, out, err = end(agent.start("echo started", pre_exec_commands=[first], user="nobody"))
    assert (out, agent.status, (open_tmp / "ran").exists()) == ("", "256", False)
    assert "nothing runs as root in this container's mount namespace" in err
    _, out, err = end(agent.start("echo started", user="nobody"))  # without such commands the volume is his to have
    assert (out, err) == ("started\n", "")


def test_what_he_could_write_anyway_keeps_nobody_from_running_there(
    agent: PlayedAgent, his_over_roots: Path, open_tmp: Path, closed: Path
) -> None:
    """His source over a directory of everybody's, and a fresh one over root's: nothing of his lies over root's."""
    (open_tmp / "wide").mkdir()
    (open_tmp / "wide").chmod(0o777)
    volumes = (wire.volume(str(open_tmp / "wide"), str(his_over_roots)), wire.volume(str(closed), "fresh"))
    agent.hold(wire.container_info(*volumes))
    first = {"shell": True, "value": f"touch {open_tmp}/ran"}
    _, out, err = end(agent.start(NNP, pre_exec_commands=[first], user="nobody"))
    assert (out.split(), err, (open_tmp / "ran").exists()) == (["no_new_privs"], "", True)


@pytest.fixture
def packaged(open_tmp: Path) -> Path:
    """A packaged helper that says what it was given."""
    path = open_tmp / "packaged-helper"
    path.write_text(f"#!/bin/sh\necho helped; grep NoNewPrivs /proc/self/status; ls {open_tmp}/etc\n")
    path.chmod(0o755)
    return path


def test_the_packaged_helper_is_not_run_there_either(agent: PlayedAgent, his_over_roots: Path, packaged: Path) -> None:
    agent.shim.configure(framework_volumes="all", packaged_helper=str(packaged))
    _, out, err = end(agent.start("true", masked_paths=["/x"], user="nobody"))
    assert (out, "nothing runs as root in this container's mount namespace" in err) == ("", True)


def test_the_packaged_helper_has_the_users_reach_and_no_new_privs(
    agent: PlayedAgent, packaged: Path, closed: Path, open_tmp: Path
) -> None:
    """What we attach for it is judged as for ourselves (threats 8, 19)."""
    agent.shim.configure(framework_volumes="all", packaged_helper=str(packaged))
    agent.hold(wire.container_info(wire.volume(str(closed), "mine")))
    _, out, err = end(agent.start("true", masked_paths=["/x"], user="nobody"))
    assert (out.split(), err) == (["helped", "NoNewPrivs:", "1"], "")
    kept = open_tmp / "kept/inner"
    kept.mkdir(parents=True)
    (kept / "canary").touch()
    kept.parent.chmod(0o700)
    (open_tmp / "wide").mkdir()
    (open_tmp / "wide").chmod(0o777)
    agent.hold(wire.container_info(wire.volume(str(open_tmp / "wide"), str(kept))))
    _, out, err = end(agent.start("true", masked_paths=["/x"], user="nobody"))
    assert (out, "Permission denied" in err) == ("", True), err


# A DEBUG container plans no mounts of its own: what was judged of its parent's view has to hold for it too.


@contextlib.contextmanager
def running(agent: PlayedAgent, user: str = "nobody", **fields: object) -> Iterator[PlayedAgent]:
    """`agent`'s container, running; and the DEBUG container that joins it."""
    parent = agent.start("echo ready; exec sleep 1000", user=user, **fields)
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        wait_until_named(agent)
        debug = PlayedAgent(agent.root, agent.shim, container="c1/debug")
        debug.hold(None, container_class=2)
        yield debug
    finally:
        parent.terminate()
        end(parent)


def test_a_debug_container_has_its_parents_no_new_privs(agent: PlayedAgent, closed: Path) -> None:
    agent.hold(wire.container_info(wire.volume(str(closed), "mine")))
    with running(agent) as debug:
        for user in ("nobody", "root"):
            _, out, err = end(debug.start(NNP, user=user))
            assert (out.split(), err) == (["no_new_privs"], ""), user


def test_a_debug_container_of_a_private_tmp_stays_transparent(agent: PlayedAgent, open_tmp: Path) -> None:
    """Nothing is taken from one whose parent's view lends nothing: root's commands run, rights can be gained."""
    agent.hold(wire.container_info(wire.volume("/tmp", "tmp")))
    first = {"shell": True, "value": f"touch {open_tmp}/ran"}
    with running(agent) as debug:
        _, out, err = end(debug.start(NNP, user="nobody", pre_exec_commands=[first]))
        assert (out.split(), err, (open_tmp / "ran").exists()) == (["plain"], "", True)


def test_a_debug_container_of_another_user_was_not_judged(agent: PlayedAgent, closed: Path) -> None:
    """Root's task has nothing to gain from what covers what; somebody else who joins its view may have."""
    agent.hold(wire.container_info(wire.volume(str(closed), "mine")))
    with running(agent, user="root") as debug:
        assert end(debug.start(NNP, user="root"))[1].split() == ["plain"]
        assert end(debug.start(NNP, user="nobody"))[1].split() == ["no_new_privs"]
        first = {"shell": True, "value": "true"}
        _, out, err = end(debug.start("echo started", user="nobody", pre_exec_commands=[first]))
        assert out == ""
        assert "nothing runs as root in this container's mount namespace: the view of c1 was judged for root" in err


def test_root_runs_nothing_in_such_a_view_for_a_debug_container(
    agent: PlayedAgent, his_over_roots: Path, open_tmp: Path, packaged: Path
) -> None:
    agent.shim.configure(framework_volumes="all", packaged_helper=str(packaged))
    first = {"shell": True, "value": f"touch {open_tmp}/ran"}
    with running(agent) as debug:
        for fields in ({"pre_exec_commands": [first]}, {"masked_paths": ["/x"]}):
            _, out, err = end(debug.start("echo started", user="nobody", **fields))
            assert (out, debug.status, (open_tmp / "ran").exists()) == ("", "256", False)
            assert "nothing runs as root in this container's mount namespace" in err


def of_an_older_release(agent: PlayedAgent) -> None:
    """The container as an older release would have launched it, or Mesos' own helper."""
    (agent.runtime / "mesos-shim.view").unlink()


def test_a_view_of_which_nothing_is_recorded(agent: PlayedAgent, closed: Path, open_tmp: Path) -> None:
    """The parent's process says whether it may gain rights; for root's commands that is not enough."""
    agent.hold(wire.container_info(wire.volume(str(closed), "mine")))
    first = {"shell": True, "value": f"touch {open_tmp}/ran"}
    with running(agent) as debug:
        of_an_older_release(agent)
        record = agent.shim.state_dir / "containers/c1.json"
        (agent.runtime / "pid").write_text(str(json.loads(record.read_text())["pid"]))
        record.unlink()
        assert end(debug.start(NNP, user="nobody"))[1].split() == ["no_new_privs"]
        _, out, err = end(debug.start("echo started", user="nobody", pre_exec_commands=[first]))
        assert (out, (open_tmp / "ran").exists()) == ("", False)
        assert "the record does not say" in err


def test_a_pid_that_was_given_anew_is_no_parent(agent: PlayedAgent) -> None:
    """The record outlives its process where the helper was killed: whoever has that pid now is a stranger."""
    agent.hold(wire.container_info(wire.volume("/tmp", "tmp")))
    with running(agent) as debug:
        of_an_older_release(agent)
        record = agent.shim.state_dir / "containers/c1.json"
        value = json.loads(record.read_text())
        assert end(debug.start("echo joined", user="nobody"))[1] == "joined\n"
        record.write_text(json.dumps({**value, "start_time": value["start_time"] - 1}))
        _, out, err = end(debug.start("echo joined", user="nobody"))
        assert (out, debug.status) == ("", "256")
        assert f"the parent container c1, pid {value['pid']}, has ended" in err
        record.write_text(json.dumps(value))


def test_a_record_that_is_not_roots_names_no_parent(agent: PlayedAgent) -> None:
    agent.hold(wire.container_info(wire.volume("/tmp", "tmp")))
    with running(agent) as debug:
        of_an_older_release(agent)
        record = agent.shim.state_dir / "containers/c1.json"
        os.chown(record, NOBODY, NOBODY)
        _, out, err = end(debug.start("echo joined", user="nobody"))
        assert (out, debug.status) == ("", "256")
        assert f"{record}: belongs to uid" in err


def test_a_record_that_others_could_have_put_there_names_no_parent(agent: PlayedAgent) -> None:
    agent.hold(wire.container_info(wire.volume("/tmp", "tmp")))
    with running(agent) as debug:
        of_an_older_release(agent)
        record = agent.shim.state_dir / "containers/c1.json"
        record.parent.chmod(0o757)
        _, out, err = end(debug.start("echo joined", user="nobody"))
        assert (out, debug.status) == ("", "256")
        assert "belongs to uid 0 with mode 0757" in err
        record.parent.chmod(0o755)
        value = json.loads(record.read_text())
        record.write_text(json.dumps({**value, "container_id": "c2"}))
        _, out, err = end(debug.start("echo joined", user="nobody"))
        assert (out, debug.status) == ("", "256")
        assert f"{record}: damaged: no container_id of that name" in err
        record.write_text(json.dumps(value))


def test_a_file_above_the_records_is_no_record(agent: PlayedAgent) -> None:
    agent.hold(wire.container_info(wire.volume("/tmp", "tmp")))
    with running(agent) as debug:
        of_an_older_release(agent)
        containers = agent.shim.state_dir / "containers"
        (containers / "c1.json").rename(agent.shim.state_dir / "c1.json")
        containers.rename(agent.shim.state_dir / "moved")
        _, out, err = end(debug.start("echo joined", user="nobody"))
        assert (out, debug.status) == ("", "256")
        assert "has no record of its mount namespace" in err


def test_an_older_releases_record_does_not_say(agent: PlayedAgent, closed: Path) -> None:
    """It is read all the same: no_new_privs is in it, whether root may run something is not."""
    agent.hold(wire.container_info(wire.volume(str(closed), "mine")))
    with running(agent) as debug:
        of_an_older_release(agent)
        record = agent.shim.state_dir / "containers/c1.json"
        value = json.loads(record.read_text())
        del value["not_as_root"]
        record.write_text(json.dumps(value))
        assert end(debug.start(NNP, user="nobody"))[1].split() == ["no_new_privs"]
        _, out, err = end(debug.start("echo started", user="nobody", pre_exec_commands=[{"value": "true"}]))
        assert (out, "an older release wrote the record" in err) == ("", True)


def test_a_view_handed_over_is_recorded(agent: PlayedAgent, packaged: Path, open_tmp: Path) -> None:
    """Else root could do nothing for a DEBUG container where an agent's every launch is handed over."""
    packaged.write_text("#!/bin/sh\necho ready; exec sleep 1000\n")
    agent.shim.configure(packaged_helper=str(packaged))
    agent.hold(wire.container_info(wire.volume("/tmp", "tmp")))
    first = {"shell": True, "value": f"touch {open_tmp}/ran"}
    with running(agent, masked_paths=["/x"]) as debug:
        _, out, err = end(debug.start(NNP, user="nobody", pre_exec_commands=[first]))
        assert (out.split(), err, (open_tmp / "ran").exists()) == (["plain"], "", True)


@pytest.mark.parametrize(("owner", "mode"), [(NOBODY, 0o555), (NOBODY, 0o575), (1234, 0o755)])
def test_what_its_owner_can_make_writable_counts_as_written(
    shim: Shim, sandbox: Path, open_tmp: Path, closed: Path, owner: int, mode: int
) -> None:
    """He has only to call chmod(2) after the launch, or another task of the source's owner does."""
    source = open_tmp / "source"
    source.mkdir()
    source.chmod(mode)
    os.chown(source, owner, owner)
    assert rights(shim, sandbox, [volume(source, closed)]) == "no_new_privs"


def test_the_groups_that_the_agent_adds_count(agent: PlayedAgent, shim: Shim, open_tmp: Path, closed: Path) -> None:
    source = open_tmp / "source"
    source.mkdir()
    source.chmod(0o775)
    os.chown(source, 0, 4242)
    os.chown(agent.sandbox, NOBODY, NOBODY)
    shim.configure(framework_volumes="all")
    agent.hold(wire.container_info(wire.volume(str(closed), str(source))))
    status, out, _ = end(agent.start(f"{NNP}; id -G", user="nobody", supplementary_groups=[4242]))
    assert (status, out.split()) == (0, ["no_new_privs", str(NOBODY), "4242"])


@pytest.mark.parametrize("inner", ["d", "d/bin"])
def test_one_directory_cannot_look_like_two_targets(
    shim: Shim, sandbox: Path, open_tmp: Path, closed: Path, inner: str
) -> None:
    """Else the user-writable target's mode would let him fill what covers root's, also for what root runs there."""
    (open_tmp / "wide").mkdir()
    (open_tmp / "wide").chmod(0o1777)
    done = launch(shim, sandbox, [volume("d", closed), volume(inner, open_tmp / "wide")], "true")
    refused(done, "its host_path", str(closed))
    assert os.listdir(sandbox) == []


def test_one_directory_may_cover_two_alike_or_lie_as_the_targets_lie(
    shim: Shim, sandbox: Path, open_tmp: Path, closed: Path
) -> None:
    (open_tmp / "other").mkdir()
    (closed / "bin").mkdir()
    volumes = [volume("d", closed), volume("d", open_tmp / "other"), volume("d/bin", closed / "bin")]
    assert said(launch(shim, sandbox, volumes, f"touch {closed}/bin/x; ls {open_tmp}/other/bin")) == "x"


def test_a_debug_container_joins_no_view_that_the_task_made(agent: PlayedAgent, shim: Shim, open_tmp: Path) -> None:
    """The first process moved into a namespace of its own user namespace: what it mounts there would be root's /etc."""
    (open_tmp / "etc").mkdir()
    os.chown(agent.sandbox, NOBODY, NOBODY)
    agent.hold(wire.container_info(wire.volume("/tmp", "tmp")))
    inner = f"mkdir his; mount --bind his {open_tmp}/etc && touch ready; exec sleep 60"
    parent = agent.start(f"exec unshare -Urm sh -c '{inner}'", user="nobody")
    wait_until((agent.sandbox / "ready").exists, "the task's own view")
    (agent.sandbox / "his/here").touch()
    debug = PlayedAgent(open_tmp, shim, container="c1/debug")
    debug.hold(None, container_class=2)
    # The helper has not moved with it.
    look = f"ls {open_tmp}/etc; ls -d /tmp"
    assert end(debug.start(look, user="nobody"))[1:] == ("/tmp\n", "")
    of_an_older_release(agent)
    _, out, err = end(debug.start("echo joined", user="nobody"))
    assert "joined" not in out
    assert "is not in the mount namespace that it was launched in" in err
    parent.terminate()
    parent.communicate()


# Whoever becomes another user has none of the caller's capabilities, whatever the caller's unit says of them.

LENT = ("--inh-caps", "+dac_override,+chown", "--ambient-caps", "+dac_override,+chown")
KEPT = ("setpriv", "--securebits", "+no_setuid_fixup", *LENT)
SETS = "grep '^Cap[IPEA]\\|^Uid' /proc/self/status; head -n1 /etc/shadow"
NO_SETS = "".join(f"Cap{name}:\t{0:016x}\n" for name in ("Inh", "Prm", "Eff", "Amb"))
UIDS = "Uid:" + 4 * f"\t{NOBODY}" + "\n"
LIMIT = {"rlimits": {"rlimits": [{"type": "RLMT_CORE", "soft": 0, "hard": 0}]}}


def ways(agent: PlayedAgent) -> dict[str, list[str]]:
    """Every way of ours to become another user, as words that print the command's sets."""
    run = [str(agent.shim.program), "run", "--sandbox", str(agent.sandbox), "--user", "nobody"]
    legacy = {
        "command": json.dumps({"value": SETS}),
        "directory": str(agent.sandbox),
        "user": "nobody",
        "pipe_read": str(PIPE[0]),
        "pipe_write": str(PIPE[1]),
    }
    legacy_words = [f"--{name}={value}" for name, value in legacy.items()]
    return {
        "run": [*run, "--", "/bin/sh", "-c", SETS],
        "run --supervise": [*run, "--supervise", "--", "/bin/sh", "-c", SETS],
        "1.x": agent.words(SETS, user="nobody"),
        "1.x with a limit": agent.words(SETS, user="nobody", **LIMIT),
        "0.21": with_byte(agent.root, str(agent.shim.helper), "launch", *legacy_words),
    }


WAYS = ("run", "run --supervise", "1.x", "1.x with a limit", "0.21")


@pytest.mark.parametrize("way", WAYS)
def test_no_capability_of_the_callers_is_another_users(agent: PlayedAgent, way: str) -> None:
    """SecureBits= and AmbientCapabilities= of the caller's unit: the kernel would leave its sets as they are."""
    os.chown(agent.sandbox, NOBODY, NOBODY)
    setpriv = ["setpriv", "--securebits", "+no_setuid_fixup", *LENT, "--reuid", "nobody", "sh", "-c", SETS]
    assert "root:" in subprocess.run(setpriv, capture_output=True, text=True, check=True).stdout  # the attack's ground
    done = subprocess.run([*KEPT, *ways(agent)[way]], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == UIDS + NO_SETS, done
    assert "Permission denied" in done.stderr


@pytest.mark.parametrize("way", WAYS)
def test_the_inheritable_set_is_emptied_too(agent: PlayedAgent, way: str) -> None:
    """No securebit is needed for it: a program with file capabilities would have what is in it."""
    os.chown(agent.sandbox, NOBODY, NOBODY)
    words = ["setpriv", *LENT[:2], *ways(agent)[way]]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == UIDS + NO_SETS, done


@pytest.mark.parametrize("way", WAYS)
def test_securebits_that_are_locked_are_refused(agent: PlayedAgent, way: str) -> None:
    os.chown(agent.sandbox, NOBODY, NOBODY)
    locked = ["setpriv", "--securebits", "+no_setuid_fixup,+no_setuid_fixup_locked", *LENT, *ways(agent)[way]]
    done = subprocess.run(locked, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (125 if way.startswith("run") else 1, ""), done
    assert "securebits 0xc cannot be cleared" in done.stderr


def test_the_bounding_set_stays_the_callers(agent: PlayedAgent) -> None:
    """It says what set-id programs may gain: sudo and ping work in a private /tmp."""
    os.chown(agent.sandbox, NOBODY, NOBODY)
    before = Path("/proc/self/status").read_text()
    (bounding,) = [line for line in before.splitlines() if line.startswith("CapBnd")]
    assert end(agent.start("grep ^CapBnd /proc/self/status", user="nobody"))[1].rstrip() == bounding


def test_a_frameworks_source_is_opened_without_the_callers_capabilities(
    agent: PlayedAgent, closed: Path, open_tmp: Path
) -> None:
    """With SECBIT_NO_SETUID_FIXUP a change of ids leaves CAP_DAC_OVERRIDE; and nobody may renice us meanwhile."""
    kept = open_tmp / "kept/inner"
    kept.mkdir(parents=True)
    kept.parent.chmod(0o700)
    os.chown(agent.sandbox, NOBODY, NOBODY)
    agent.shim.configure(framework_volumes="all")
    agent.hold(wire.container_info(wire.volume(str(closed), str(kept))))
    log = agent.root / "calls"
    strace = ["strace", "-qqq", "-f", "-o", str(log), "-e", "trace=setreuid,setresuid,setuid,setregid,setresgid"]
    words = [*strace, "--", "setpriv", "--securebits", "+no_setuid_fixup", *agent.words("true", user="nobody")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert (agent.status, "Permission denied" in done.stderr) == ("256", True), done
    assert log.read_text() == ""


# Root's own files can do harm, too, in the places of others; and whose are those that somebody else may change?


@pytest.mark.parametrize(
    ("group", "mode", "expected"),
    [(0, 0o775, "plain"), (4242, 0o775, "no_new_privs"), (4242, 0o755, "plain"), (4242, 0o1775, "no_new_privs")],
)
def test_a_source_that_a_group_may_change(
    shim: Shim, sandbox: Path, open_tmp: Path, closed: Path, group: int, mode: int, expected: str
) -> None:
    """A member of it does the task user's bidding."""
    source = open_tmp / "source"
    source.mkdir()
    os.chown(source, 0, group)
    source.chmod(mode)
    assert rights(shim, sandbox, [volume(source, closed)]) == expected


@pytest.mark.parametrize(
    ("owner", "mode", "expected"),
    [
        (0, 0o1777, "plain"),  # as the /tmp that it covers
        (0, 0o755, "plain"),
        (0, 0o777, "no_new_privs"),
        (NOBODY, 0o1777, "no_new_privs"),  # whose owner replaces what root has put there
        (1234, 0o1777, "no_new_privs"),
    ],
)
def test_what_covers_a_sticky_directory_keeps_what_it_kept(
    shim: Shim, sandbox: Path, open_tmp: Path, owner: int, mode: int, expected: str
) -> None:
    """A set-id program trusts what is root's in /tmp."""
    source = open_tmp / "source"
    source.mkdir()
    source.chmod(mode)
    os.chown(source, owner, 0)
    assert rights(shim, sandbox, [volume(source, "/tmp")]) == expected


@pytest.fixture
def swapped(agent: PlayedAgent, open_tmp: Path) -> list[dict[str, object]]:
    """Two files of root's, such as pam_unix.so and pam_permit.so, and the second over the first, by a framework."""
    modules = open_tmp / "security"
    modules.mkdir()
    (modules / "pam_unix.so").write_text("asks")
    (modules / "pam_permit.so").write_text("permits")
    os.chown(agent.sandbox, NOBODY, NOBODY)
    agent.shim.configure(framework_volumes="all")
    source, target = modules / "pam_permit.so", modules / "pam_unix.so"
    agent.hold(wire.container_info(wire.volume(str(target), str(source))))
    return [volume(source, target)]


def test_roots_own_file_over_roots_lends_no_rights(
    agent: PlayedAgent, open_tmp: Path, swapped: list[dict[str, object]]
) -> None:
    """The attack itself: a set-uid program that asks what it is told to ask."""
    su = open_tmp / "su"
    shutil.copy("/bin/bash", su)
    su.chmod(0o4755)
    asks = f"{su} -pc 'cat {open_tmp}/security/pam_unix.so; echo; id -u'"
    assert end(agent.start(asks, user="nobody"))[1].split() == ["permits", str(NOBODY)]
    agent.hold(wire.container_info(wire.volume("/tmp", "tmp")))
    assert end(agent.start(asks, user="nobody"))[1].split() == ["asks", "0"]
    done = launch(agent.shim, agent.sandbox, swapped, asks, options=("--user", "nobody"))
    assert said(done).split() == ["permits", "0"]  # who is root may have it so


def test_root_runs_nothing_over_which_a_framework_lays_roots_own(
    agent: PlayedAgent, open_tmp: Path, swapped: list[dict[str, object]]
) -> None:
    first = {"shell": True, "value": f"touch {open_tmp}/ran"}
    _, out, err = end(agent.start("echo started", pre_exec_commands=[first], user="nobody"))
    assert (out, agent.status, (open_tmp / "ran").exists()) == ("", "256", False)
    assert "nothing runs as root in this container's mount namespace" in err


def test_the_packaged_helper_is_the_one_that_was_judged(agent: PlayedAgent, packaged: Path, open_tmp: Path) -> None:
    """An operator's own volume over its name: what is executed was opened before; and it starts in /."""
    tells = "pwd; grep CapInh /proc/self/status; echo $MESOS_CONTAINERIZER_LAUNCH_INFO"
    packaged.write_text(f"#!/bin/sh\necho judged; {tells}\n")
    other = open_tmp / "other"
    other.write_text("#!/bin/sh\necho covered\n")
    other.chmod(0o755)
    os.chown(agent.sandbox, NOBODY, NOBODY)
    given = {"type": "MESOS", "volumes": [volume(other, packaged), volume("tmp", "/tmp")]}
    agent.shim.configure(packaged_helper=str(packaged), default_container_info=given)
    agent.hold(None)
    words = agent.words("true", masked_paths=["/x"], user="nobody", working_directory=None)
    done = subprocess.run([*KEPT, *words], capture_output=True, text=True, check=False, timeout=60)
    *first, last = done.stdout.splitlines()
    assert (first, done.stderr) == (["judged", "/", "CapInh:\t0000000000000000"], "")
    assert json.loads(last)["working_directory"] == str(agent.sandbox)


@pytest.mark.parametrize("what", ["directory", "group", "file"])
def test_a_packaged_helper_that_others_can_replace(agent: PlayedAgent, packaged: Path, what: str) -> None:
    """As runc: nothing on the way to what root executes may be a user's to rename."""
    if what == "directory":
        os.chown(packaged.parent, NOBODY, NOBODY)
        os.chown(packaged, NOBODY, NOBODY)
    elif what == "group":
        packaged.chmod(0o775)
    else:
        os.chown(packaged, NOBODY, NOBODY)
    agent.shim.configure(packaged_helper=str(packaged))
    _, out, err = end(agent.start("true", masked_paths=["/x"]))
    assert (out, agent.status) == ("", "256")
    assert f"packaged_helper '{packaged}': users other than root can write it" in err


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("number", [1, 2])
def test_a_hand_over_without_an_answer_about_capabilities(agent: PlayedAgent, packaged: Path, number: int) -> None:
    """Of a kernel's that says no (seccomp(2)), each time it is asked: one line, and nothing starts."""
    packaged.write_text("#!/bin/sh\necho started\n")
    agent.shim.configure(packaged_helper=str(packaged))
    agent.hold(None)
    log = agent.root / "strace.log"
    inject = ["strace", "-f", "-o", str(log), "-e", f"inject=capget:error=EPERM:when={number}", "--"]
    words = [*inject, *agent.words("true", masked_paths=["/x"])]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    if "(INJECTED)" not in log.read_text():
        assert done.stdout == "started\n"  # it is not asked so often
        return
    assert done.stdout == "" and "internal error" not in done.stderr, done
    assert "the caller's capabilities: Operation not permitted" in done.stderr
