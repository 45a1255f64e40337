"""The plan as pure data: what comes before what, and what is refused, without a host."""

from __future__ import annotations

from stat import S_IFREG

import pytest

from mesos_shim.errors import ShimError
from mesos_shim.launch import order as launch_order
from mesos_shim.plan import model, privileges
from mesos_shim.plan.mounts import arrange, mirrored_levels
from mesos_shim.spec.config_tables import Tmpfs
from mesos_shim.spec.container_info import Volume
from mesos_shim.system.credentials import Identity
from mesos_shim.system.walk import Resolved

from ..lib.plans import USER, launch_of, resolved

ROOT = Identity(0, 0, [], switch=False)


def facts(sandbox: str = "/srv/sandbox", user: Identity = USER, **targets: Resolved) -> model.Facts:
    """Facts with targets for /tmp, /opt, /opt/a and what is given."""
    result = model.Facts(resolved(sandbox, uid=1000, gid=1000), user)
    for path in ("/tmp", "/opt", "/opt/a", "/opt/a/b", "/optional"):
        result.targets[path] = resolved(path, mode=0o1777 if path == "/tmp" else 0o755)
    for found in targets.values():
        result.targets[found.path] = found
    return result


def relative(target: str, source: str = "x") -> Volume:
    """A volume from the sandbox."""
    return Volume(target, source, read_only=False, json_path=f"volume of {target}")


def order(mounts: list[model.Mount]) -> list[tuple[str, str, int | None]]:
    """What matters of mounts."""
    return [(mount.action, mount.target, mount.parent) for mount in mounts]


def test_parents_come_first() -> None:
    for paths_ in (["/opt/a/b", "/opt", "/opt/a"], ["/opt", "/opt/a", "/opt/a/b"], ["/opt/a", "/opt/a/b", "/opt"]):
        mounts = arrange(facts(), [relative(path) for path in paths_], [])
        assert order(mounts) == [("bind", "/opt", None), ("bind", "/opt/a", 0), ("bind", "/opt/a/b", 1)]


def test_strangers_have_no_parent() -> None:
    mounts = arrange(facts(), [relative("/opt"), relative("/optional")], [])
    assert {mount.parent for mount in mounts} == {None}


def test_the_nearest_parent_counts() -> None:
    mounts = arrange(facts(), [relative("/opt", "a"), relative("/tmp", "b"), relative("/opt/a/b", "c")], [])
    assert [mount.parent for mount in mounts if mount.target == "/opt/a/b"] == [
        [m.target for m in mounts].index("/opt")
    ]


def test_the_sandbox_is_kept_under_a_covered_path_only() -> None:
    inside = arrange(facts(sandbox="/tmp/mesos/s"), [relative("/tmp")], [])
    assert order(inside) == [("bind", "/tmp", None), ("keep", "/tmp/mesos/s", 0)]
    assert order(arrange(facts(), [relative("/tmp")], [])) == [("bind", "/tmp", None)]
    assert order(arrange(facts(sandbox="/tmpfoo/s"), [relative("/tmp")], [])) == [("bind", "/tmp", None)]


def test_hidden_work_dir_between_volume_and_sandbox() -> None:
    found = facts(sandbox="/tmp/mesos/s")
    found.work_dir = resolved("/tmp/mesos")
    mounts = arrange(found, [relative("/tmp")], [])
    assert order(mounts) == [("bind", "/tmp", None), ("hide", "/tmp/mesos", 0), ("keep", "/tmp/mesos/s", 1)]
    assert mounts[1].read_only


def test_a_volume_wins_over_the_configured_tmpfs() -> None:
    mounts = arrange(facts(), [relative("/tmp")], [Tmpfs("/tmp", "1m", False), Tmpfs("/opt", "2m", True)])
    assert [(mount.action, mount.target, mount.size) for mount in mounts] == [
        ("bind", "/tmp", ""),
        ("tmpfs", "/opt", "2m"),
    ]


def test_passes_only_below_what_is_covered() -> None:
    found = facts()
    for path in ("/tmp/a", "/srv/b", "/tmp", "/tmp/a"):
        found.passed_through.append((resolved(path, kind=S_IFREG), True))
    mounts = arrange(found, [relative("/tmp")], [])
    assert order(mounts) == [("bind", "/tmp", None), ("pass", "/tmp/a", 0)]


def test_links_to_one_place_are_one_target() -> None:
    found = facts()
    found.targets["/link"] = resolved("/opt")
    with pytest.raises(ShimError, match="already covered by volume of /opt"):
        arrange(found, [relative("/opt"), relative("/link")], [])


@pytest.mark.parametrize("target", ["/opt", "/opt/a"])
def test_nothing_covers_the_sandbox(target: str) -> None:
    with pytest.raises(ShimError, match="is in the sandbox"):
        arrange(facts(sandbox="/opt"), [relative(target)], [])


@pytest.mark.parametrize(
    ("covered", "user", "expected"),
    [
        ({"mode": 0o755}, USER, True),
        ({"mode": 0o777}, USER, False),
        ({"mode": 0o1777}, USER, False),
        ({"mode": 0o775, "gid": 50}, USER, False),  # by a group of his
        ({"mode": 0o775, "gid": 51}, USER, True),
        ({"mode": 0o705, "gid": 50}, USER, True),
        ({"mode": 0o755, "uid": 1000}, USER, False),
        ({"mode": 0o555, "uid": 1000}, USER, True),  # his, but not to write as it is
        ({"mode": 0o755}, ROOT, False),
    ],
)
def test_no_new_privs(covered: dict[str, int], user: Identity, expected: bool) -> None:
    found = facts(user=user, other=resolved("/covered", **covered))
    mounts = arrange(found, [relative("/covered")], [])
    assert (privileges.why_no_new_privs(mounts, user) is not None) is expected


def test_mirrored_only_where_the_path_is_the_same() -> None:
    found = facts()
    mirrored, other = arrange(found, [relative("/opt/a", "opt/a"), relative("/tmp", "a/tmp")], [])[::-1]
    levels = mirrored_levels(mirrored)
    assert levels is not None
    assert [level.path for level in levels] == ["/opt", "/opt/a"]
    assert mirrored_levels(other) is None


def test_explain_and_the_launch_share_one_plan() -> None:
    """The steps are made from the same mounts that the view carries out, in their order."""
    made = model.Draft("id", resolved("/srv/sandbox"), USER)
    made.mounts = arrange(facts(), [relative("/opt/a", "inner"), relative("/opt", "outer")], [])
    made.command = ["true"]
    made.private_mount_namespace = True
    state = launch_of(made)
    shown = [item for step in launch_order.steps(state) for item in step.describe(state)]
    assert [step["action"] for step in shown] == [
        "unshare", "propagation", "create", "create", "create", "bind", "bind", "record", "become", "exec",
    ]  # fmt: skip
    assert [step["target"] for step in shown if step["action"] == "bind"] == ["/opt", "/opt/a"]
