"""Where a controller is, and where a container's group may be made: texts of the kernel, and trees of files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mesos_shim.isolators import groups
from mesos_shim.system import cgroups, mountinfo

V1 = "30 25 0:26 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
V1_BOTH = "31 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
V2 = "29 25 0:25 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


@pytest.mark.parametrize(
    ("controller", "mounts", "groups", "expected"),
    [
        ("memory", V1, "4:memory:/a/b\n0::/c\n", (1, "/sys/fs/cgroup/memory/a/b")),
        ("cpuacct", V1_BOTH, "2:cpu,cpuacct:/\n", (1, "/sys/fs/cgroup/cpu,cpuacct")),
        # A hybrid: the controller's own hierarchy counts, wherever the unified one is.
        ("memory", V2 + V1, "4:memory:/a\n0::/c\n", (1, "/sys/fs/cgroup/memory/a")),
        ("cpu", V1 + V2, "4:memory:/a\n0::/c\n", (2, "/sys/fs/cgroup/c")),
        # In a container without a cgroup namespace the mount shows a part of the hierarchy only.
        ("cpu", V2.replace(" / /sys", " /docker/1 /sys"), "0::/docker/1/x\n", (2, "/sys/fs/cgroup/x")),
        ("cpu", V2.replace(" / /sys", " /docker/1 /sys"), "0::/docker/1\n", (2, "/sys/fs/cgroup")),
        # A name with a colon.
        ("cpu", V2, "0::/user.slice/a:b\n", (2, "/sys/fs/cgroup/user.slice/a:b")),
    ],
)
def test_the_hierarchy_of_a_controller(controller: str, mounts: str, groups: str, expected: tuple[int, str]) -> None:
    found = cgroups.find_in(controller, mountinfo.parse(mounts.encode()), groups)
    assert (found.version, found.directory(found.own)) == expected


@pytest.mark.parametrize(
    ("mounts", "groups", "why"),
    [
        ("", "0::/\n", "no cgroup hierarchy with cpu is mounted"),
        (V1, "4:memory:/\n", "no cgroup hierarchy with cpu is mounted"),
        (V2, "4:memory:/\n", "names no group"),
        (V2.replace(" / /sys", " /docker/1 /sys"), "0::/docker/12\n", "is outside the mounted hierarchy"),
        (V2.replace(" / /sys", " /docker/1 /sys"), "0::/../x\n", "is outside the mounted hierarchy"),
    ],
)
def test_no_hierarchy_is_a_reason(mounts: str, groups: str, why: str) -> None:
    with pytest.raises(cgroups.Unavailable, match=why):
        cgroups.find_in("cpu", mountinfo.parse(mounts.encode()), groups)


class Tree:
    """Version 2's files below a directory, as far as the choice of a place reads them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.group("", controllers="cpu memory")
        (root / "cgroup.type").unlink()  # the top of all has none

    def group(self, path: str, controllers: str = "", subtree: str = "", procs: str = "") -> Path:
        """A group with its files."""
        directory = self.root / path
        directory.mkdir(exist_ok=True)
        for name, text in (
            ("cgroup.type", "domain\n"),
            ("cgroup.controllers", controllers),
            ("cgroup.subtree_control", subtree),
            ("cgroup.procs", procs),
        ):
            (directory / name).write_text(text)
        return directory

    def place(self, own: str, controller: str = "cpu") -> str:
        """Where a group would be made for who stands in `own`, relative to the top."""
        leaf = groups.leaf(cgroups.Hierarchy(controller, 2, str(self.root), own), "c@1-1")
        return os.path.relpath(leaf.directory, self.root)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """A tree on a host without systemd."""
    monkeypatch.setattr(groups, "_SYSTEMD", str(tmp_path / "no systemd"))
    (tmp_path / "top").mkdir()
    return Tree(tmp_path / "top")


@pytest.fixture
def systemd(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """systemd runs; the set is of the groups that it has delegated."""
    delegated: set[str] = set()
    monkeypatch.setattr(groups, "_SYSTEMD", str(tree.root))

    def getxattr(path: str, name: str) -> bytes:
        if name == "trusted.delegate" and os.path.relpath(path, tree.root) in delegated:
            return b"1"
        raise OSError(61, "No data available")

    monkeypatch.setattr(groups.posix, "getxattr", getxattr)
    return delegated


def test_the_top_may_have_processes(tree: Tree) -> None:
    tree.group("", controllers="cpu", procs="1\n2\n")
    (tree.root / "cgroup.type").unlink()
    assert tree.place("/") == "mesos-shim/c@1-1"


def test_an_empty_group_is_divided(tree: Tree) -> None:
    tree.group("a", controllers="cpu")
    assert tree.place("/a") == "a/mesos-shim/c@1-1"


def test_a_group_with_processes_cannot_be_divided_so_the_one_above_is(tree: Tree) -> None:
    """cgroups(7), "no internal processes": a service in a subgroup (DelegateSubgroup=) is the good case."""
    tree.group("unit", controllers="cpu", procs="")
    tree.group("unit/agent", procs="77\n")
    assert tree.place("/unit/agent") == "unit/mesos-shim/c@1-1"


def test_where_controllers_are_on_already_processes_do_not_matter(tree: Tree) -> None:
    tree.group("unit", controllers="cpu", subtree="cpu", procs="77\n")
    assert tree.place("/unit") == "unit/mesos-shim/c@1-1"


def test_we_alone_step_aside(tree: Tree) -> None:
    """`systemd-run --scope` puts the program, and nobody else, into the group that it delegates."""
    tree.group("scope", controllers="cpu", procs=f"{os.getpid()}\n")
    leaf = groups.leaf(cgroups.Hierarchy("cpu", 2, str(tree.root), "/scope"), "c@1-1")
    assert (leaf.delegate, leaf.step_aside) == (str(tree.root / "scope"), True)


def test_under_systemd_only_what_it_delegated_is_touched(tree: Tree, systemd: set[str]) -> None:
    tree.group("unit", controllers="cpu")
    with pytest.raises(cgroups.Unavailable, match=r"unit is systemd's and not delegated; systemd-run --scope"):
        tree.place("/unit")
    systemd.add("unit")
    assert tree.place("/unit") == "unit/mesos-shim/c@1-1"


def test_under_systemd_the_way_up_ends_at_what_was_delegated(tree: Tree, systemd: set[str]) -> None:
    systemd.add("unit")
    tree.group("unit", controllers="cpu", procs="77\n")
    with pytest.raises(cgroups.Unavailable, match=r"has processes of its own.*DelegateSubgroup="):
        tree.place("/unit")


def test_below_a_delegated_group_is_delegated(tree: Tree, systemd: set[str]) -> None:
    systemd.add("unit")
    tree.group("unit", controllers="cpu")
    tree.group("unit/inner", controllers="cpu")
    assert tree.place("/unit/inner") == "unit/inner/mesos-shim/c@1-1"


def test_the_group_above_may_have_what_our_own_lacks(tree: Tree) -> None:
    """A service in a subgroup has no controllers there: nobody has switched them on for its siblings yet."""
    tree.group("unit", controllers="cpu")
    tree.group("unit/agent", controllers="", procs="77\n")
    assert tree.place("/unit/agent") == "unit/mesos-shim/c@1-1"


def test_a_controller_that_is_nowhere_is_said(tree: Tree) -> None:
    tree.group("", controllers="cpu")
    tree.group("unit", controllers="")
    with pytest.raises(cgroups.Unavailable, match=r"unit has no io controller; enable it above \('\+io' in"):
        tree.place("/unit", "io")


def test_the_name_tells_the_maker() -> None:
    name = cgroups.name_for("a.b-c_d")
    start = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    assert cgroups.maker(name) == (os.getpid(), start)
    assert len(cgroups.name_for("x" * 255)) < 255


@pytest.mark.parametrize("name", ["", "c", "c@", "c@1", "c@1-", "c@-1", "c@x-1", "@", "12-13", "c@1-2-3"])
def test_what_is_not_ours_has_no_maker(name: str) -> None:
    assert cgroups.maker(name) is None


def test_quota_and_share() -> None:
    """One CPU is a group's default in both versions; a quota below the kernel's least is its least."""
    from mesos_shim.isolators import cgroups_cpu

    assert dict(cgroups_cpu._shares(1.0))["cpu.shares"] == "1024"
    assert dict(cgroups_cpu._weight(1.0)) == {"cpu.weight": "100", "cpu.max": "100000 100000"}
    assert dict(cgroups_cpu._shares(0.001)) == {
        "cpu.shares": "2",
        "cpu.cfs_period_us": "100000",
        "cpu.cfs_quota_us": "1000",
    }
    assert dict(cgroups_cpu._weight(1000.0))["cpu.weight"] == "10000"
    assert cgroups_cpu._shares(None) == cgroups_cpu._weight(None) == []
