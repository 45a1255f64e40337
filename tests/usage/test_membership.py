"""Who belongs to which container: invented tables of processes, where every case can be had."""

from __future__ import annotations

import pytest

from mesos_shim.containers import membership, registry, standing
from mesos_shim.containers.processes import Process
from mesos_shim.containers.sight import FIRST_PIDS, FIRST_TIMES, Sight

from ..lib.records import BOOT, entry


class ProcessTable:
    """An invented host: its processes with their mount namespaces."""

    def __init__(self) -> None:
        self.table: dict[int, Process] = {}
        self.inodes: dict[int, int] = {}
        self.unique: dict[int, int] = {}
        self.sight = Sight(BOOT, FIRST_PIDS, FIRST_TIMES, None)
        self.add(1, 0, 0)

    def add(
        self, pid: int, parent: int, start: float, inode: int = 1, unique: int | None = 1, zombie: bool = False
    ) -> None:
        self.table[pid] = Process(pid, parent, start, zombie)
        self.inodes[pid] = inode
        if unique is not None:
            self.unique[pid] = unique

    def members(self, *entries: registry.Entry, **known: list[tuple[int, float]]) -> dict[str, list[int]]:
        found = membership.find(list(entries), self.table, known)
        return {item.container_id: [process.pid for process in found.of(item)] for item in entries}


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> ProcessTable:
    found = ProcessTable()
    monkeypatch.setattr(membership, "current_sight", lambda: found.sight)
    monkeypatch.setattr(standing, "inode", found.inodes.get)
    monkeypatch.setattr(standing, "unique_id", found.unique.get)
    return found


OWN = {"namespaces": {"mnt": 50, "mnt_id": 500}}
OLD = {"namespaces": {"mnt": 50}}  # a kernel before 6.11


def test_descendants_belong(host: ProcessTable) -> None:
    host.add(10, 1, 100)
    host.add(11, 10, 101)
    host.add(12, 11, 102)
    host.add(13, 1, 103)
    assert host.members(entry("a", 10, 100)) == {"a": [10, 11, 12]}


def test_a_reused_pid_does_not(host: ProcessTable) -> None:
    host.add(10, 1, 200)
    host.add(11, 10, 201)
    assert host.members(entry("a", 10, 100)) == {"a": []}


def test_a_record_of_another_boot_does_not(host: ProcessTable) -> None:
    host.add(10, 1, 100)
    assert host.members(entry("a", 10, 100, boot_id="boot-0")) == {"a": []}


def test_a_child_older_than_its_parent_is_not_its_child(host: ProcessTable) -> None:
    """The parent's pid was given away between two reads of the table."""
    host.add(10, 1, 100)
    host.add(11, 10, 50)
    assert host.members(entry("a", 10, 100)) == {"a": [10]}


def test_a_daemon_belongs_by_its_namespace(host: ProcessTable) -> None:
    host.add(10, 1, 100, inode=50, unique=500)
    host.add(11, 1, 101, inode=50, unique=500)
    assert host.members(entry("a", 10, 100, **OWN)) == {"a": [10, 11]}


def test_what_was_left_behind_belongs_by_its_namespace(host: ProcessTable) -> None:
    host.add(11, 1, 101, inode=50, unique=500)
    assert host.members(entry("a", 10, 100, **OWN)) == {"a": [11]}


def test_a_reused_inode_does_not(host: ProcessTable) -> None:
    """The very next launch may get it: only the id that is never used again tells them apart."""
    host.add(20, 1, 200, inode=50, unique=501)
    assert host.members(entry("a", 10, 100, **OWN)) == {"a": []}


def test_who_ends_while_looked_at_leaves_no_doubt(host: ProcessTable, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that stays and tells nothing does, and so does one that may no longer be asked."""
    host.add(11, 1, 101, inode=50, unique=None)
    for then, doubted in ((50, True), (standing.UNREADABLE, True), (None, False), (1, False)):
        answers = iter([50])
        monkeypatch.setattr(standing, "inode", lambda pid, a=answers, t=then: next(a, t) if pid == 11 else 1)
        found = membership.find([entry("a", 10, 100, **OWN)], host.table, {})
        assert ("a" in found.hidden) is doubted, then


def test_without_unique_ids_an_inode_counts_while_a_known_member_stands_in_it(host: ProcessTable) -> None:
    host.add(10, 1, 100, inode=50, unique=None)
    host.add(11, 1, 101, inode=50, unique=None)
    assert host.members(entry("a", 10, 100, **OLD)) == {"a": [10, 11]}
    del host.table[10]
    assert host.members(entry("a", 10, 100, **OLD)) == {"a": []}
    host.add(12, 1, 102, inode=50, unique=None)
    assert host.members(entry("a", 10, 100, **OLD), a=[(11, 101)]) == {"a": [11, 12]}


def test_a_known_member_counts_with_its_start_time_only(host: ProcessTable) -> None:
    host.add(11, 1, 101)
    host.add(12, 1, 999)
    assert host.members(entry("a", 10, 100), a=[(11, 101), (12, 102)]) == {"a": [11]}


def test_a_nested_container_is_its_own(host: ProcessTable) -> None:
    host.add(10, 1, 100, inode=50, unique=500)
    host.add(11, 10, 101, inode=60, unique=600)
    host.add(12, 11, 102, inode=60, unique=600)
    inner = entry("a.b", 11, 101, namespaces={"mnt": 60, "mnt_id": 600})
    assert host.members(entry("a", 10, 100, **OWN), inner) == {"a": [10], "a.b": [11, 12]}


def test_a_debug_container_in_its_parents_namespace_keeps_its_own(host: ProcessTable) -> None:
    host.add(10, 1, 100, inode=50, unique=500)
    host.add(20, 1, 200, inode=50, unique=500)
    host.add(21, 20, 201, inode=50, unique=500)
    assert host.members(entry("a", 10, 100, **OWN), entry("a.d", 20, 200)) == {"a": [10], "a.d": [20, 21]}


def test_members_of_the_group_belong(host: ProcessTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing.Groups, "members", lambda _, item: {11, 77} if item.container_id == "a" else set())
    host.add(11, 1, 101)
    host.add(12, 11, 102)
    assert host.members(entry("a", 10, 100)) == {"a": [11, 12]}


def test_a_circle_in_the_table_ends(host: ProcessTable) -> None:
    host.add(10, 11, 100)
    host.add(11, 10, 100)
    assert host.members(entry("a", 99, 1)) == {"a": []}


def test_a_zombie_is_a_member_but_no_life(host: ProcessTable) -> None:
    host.add(10, 1, 100, zombie=True)
    item = entry("a", 10, 100)
    found = membership.find([item], host.table, {})
    assert [process.pid for process in found.of(item)] == [10]
    assert not found.alive(item)


def test_children_of_the_supervisor_belong(host: ProcessTable) -> None:
    """In usage-only mode nothing else tells that a daemon is the container's: the supervisor adopts it."""
    host.add(9, 1, 90)
    host.add(10, 9, 100)
    host.add(11, 9, 101)
    host.add(8, 9, 95)  # the supervisor's own, from before the launch
    supervised = entry("a", 10, 100, supervisor={"pid": 9, "start_time": 90})
    assert host.members(supervised) == {"a": [10, 11]}
    assert host.members(entry("a", 10, 100, supervisor={"pid": 9, "start_time": 80})) == {"a": [10]}


def test_where_no_start_time_is_told_a_process_must_be_older_than_its_record(
    host: ProcessTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership.processes, "LINUX", False)
    host.add(10, 1, 900.0)
    host.add(20, 1, 2000.0)
    assert host.members(entry("a", 10, None), entry("b", 20, None)) == {"a": [10], "b": []}
