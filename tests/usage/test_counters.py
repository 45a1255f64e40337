"""CPU counters: what is lost with a process stays counted, nothing is counted twice, nothing ever falls."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mesos_shim.containers.counters import Counters

from ..lib.records import entry


def look(state: Path, live: float, whole: bool = True, item: object = None) -> float:
    """One look at a container whose processes have used `live` seconds; what is counted."""
    counters = Counters(str(state))
    user, system = counters.count(item or entry("a", 10, 100), (live, live / 2), whole, [])
    counters.save()
    assert system == user / 2
    assert counters.warning is None
    return user


def test_what_vanishes_stays_counted(tmp_path: Path) -> None:
    assert look(tmp_path, 10.0) == 10.0
    assert look(tmp_path, 4.0) == 10.0  # a process with 6 s has ended, and nobody waited
    assert look(tmp_path, 7.0) == 13.0  # what is used from then on counts at once
    assert look(tmp_path, 1.0) == 13.0
    assert look(tmp_path, 2.5) == 14.5


def test_a_look_that_missed_somebody_neither_falls_nor_adds(tmp_path: Path) -> None:
    """A child ended while it was read: it is in its parent's account at the next look."""
    assert look(tmp_path, 10.0) == 10.0
    assert look(tmp_path, 4.0, whole=False) == 10.0
    assert look(tmp_path, 10.5) == 10.5


def test_another_container_of_the_same_name_starts_anew(tmp_path: Path) -> None:
    assert look(tmp_path, 10.0) == 10.0
    assert look(tmp_path, 1.0, item=entry("a", 10, 101)) == 1.0


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"a": 1}', '{"a": {"of": 7}}', "\0" * 100, '{"a": {"of": [10, 100, "boot-1"], "user_base": "x"}}'],
)
def test_a_damaged_file_costs_the_past_only(tmp_path: Path, text: str) -> None:
    (tmp_path / "usage.json").write_text(text)
    assert look(tmp_path, 3.0) == 3.0
    assert look(tmp_path, 2.0) == 3.0


@pytest.mark.parametrize("value", [-1, 1e300, "5", None, True, [], float("nan")])
def test_hostile_numbers_count_nothing(tmp_path: Path, value: object) -> None:
    stored = {"of": [10, 100, "boot-1"], "user_base": value, "user_live": value, "user_total": value}
    (tmp_path / "usage.json").write_text(json.dumps({"a": stored}))
    counters = Counters(str(tmp_path))
    found = counters.count(entry("a", 10, 100), (2.0, 1.0), True, [])
    assert 2.0 <= found[0] <= 3.0
    counters.save()


def test_members_are_remembered_with_their_start_times(tmp_path: Path) -> None:
    from mesos_shim.containers.processes import Process

    counters = Counters(str(tmp_path))
    counters.count(entry("a", 10, 100), (0.0, 0.0), True, [Process(11, 1, 101, False)])
    counters.save()
    known = Counters(str(tmp_path), locked=False).previous_members([entry("a", 10, 100), entry("b", 5, 5)])
    assert known == {"a": [(11, 101)]}
    assert Counters(str(tmp_path), locked=False).previous_members([entry("a", 10, 101)]) == {}


def test_what_has_ended_is_forgotten(tmp_path: Path) -> None:
    look(tmp_path, 1.0)
    Counters(str(tmp_path)).save()
    assert json.loads((tmp_path / "usage.json").read_text()) == {}


def test_two_looks_at_once_take_turns(tmp_path: Path) -> None:
    """Else the older one, written last, would take the newer one's losses back."""
    import threading

    first = Counters(str(tmp_path))
    got: list[float] = []
    other = threading.Thread(target=lambda: got.append(look(tmp_path, 4.0)))
    other.start()
    first.count(entry("a", 10, 100), (10.0, 5.0), True, [])
    other.join(0.3)  # it must not end before we do
    assert got == []
    first.save()
    other.join(10)
    assert got == [10.0]


def test_a_state_directory_that_is_not_there_is_no_trouble(tmp_path: Path) -> None:
    assert look(tmp_path / "none", 3.0) == 3.0


@pytest.mark.parametrize("kind", ["fifo", "link"])
def test_what_lies_where_the_new_counters_are_written_is_neither_waited_for_nor_followed(
    tmp_path: Path, kind: str
) -> None:
    place, other = tmp_path / "usage.json.new", tmp_path / "other"
    other.write_text("precious")
    if kind == "fifo":
        os.mkfifo(place)
    else:
        place.symlink_to(other)
    assert look(tmp_path, 3.0) == 3.0
    assert look(tmp_path, 1.0) == 3.0
    assert other.read_text() == "precious"
