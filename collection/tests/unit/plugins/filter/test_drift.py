# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the filter drift says of what the modules have found."""

from __future__ import annotations

import pytest
from ansible_collections.mesos.containerizer.plugins.filter.drift import drift

SWITCHED = {
    "actions": [],
    "before": {"generation": 1, "release": "0.1.0-a"},
    "changed_flags": [],
    "closed_paths": [],
    "writable_paths": [],
    "changed_config": [],
    "foreign_files": [],
    "pending": False,
}
STAGED = {"changed": False, "release": "0.2.0-b", "damage": []}
TIMERS = {"units": [], "started": []}


def of(switched=None, drained=False, staged=None, timers=None, **more):
    return drift(
        {**SWITCHED, **(switched or {})},
        {"drained": drained},
        {**STAGED, **(staged or {})},
        {**TIMERS, **(timers or {})},
        **more,
    )


def test_a_host_as_it_should_be_has_none():
    assert of() == of(gate={"problems": []}) == of(gate={"skipped": True}) == []


@pytest.mark.parametrize(
    ("found", "line"),
    [
        ({"staged": {"changed": True}}, "release 0.2.0-b is not staged"),
        ({"switched": {"pending": True}}, "an unfinished switch"),
        ({"drained": True}, "in maintenance because a rollout was stopped"),
        ({"switched": {"actions": ["release"]}}, "release 0.1.0-a instead of 0.2.0-b"),
        (
            {"switched": {"actions": ["release"], "before": {"release": None}}},
            "release none instead of 0.2.0-b",
        ),
        ({"switched": {"closed_paths": ["/etc/x"]}}, "/etc/x is closed to other users"),
        ({"staged": {"changed": True, "damage": ["a is missing"]}}, "release 0.2.0-b: a is missing"),
        ({"switched": {"writable_paths": ["/etc/x"]}}, "/etc/x can be written by others"),
        ({"switched": {"actions": ["config"]}}, "configuration"),
        ({"switched": {"actions": ["config"], "changed_config": ["a", "b"]}}, "configuration: a, b"),
        ({"switched": {"actions": ["unit"]}}, "drop-in of the unit"),
        ({"switched": {"actions": ["enable"]}}, "the unit is not enabled"),
        ({"timers": {"units": ["a.timer"], "started": ["a.timer"]}}, "unit a.timer"),
        ({"timers": {"started": ["a.timer"]}}, "a.timer is not running"),
        ({"switched": {"actions": ["flags"], "changed_flags": [{"name": "gc_delay"}]}}, "flag gc_delay"),
        ({"switched": {"actions": ["flags"], "foreign_files": ["x.rpmnew"]}}, "unmanaged file x.rpmnew"),
        ({"switched": {"actions": ["flags"]}}, "files of the flags directory: mode, owner or form"),
        ({"gate": {"problems": ["the agent does not answer"]}}, "the agent does not answer"),
    ],
)
def test_each_difference_is_one_line(found, line):
    assert of(**found) == [line]


def test_all_of_them_are_said_the_release_first():
    found = of(
        {"actions": ["flags", "unit", "release"], "changed_flags": [{"name": "a"}, {"name": "b"}]},
        gate={"problems": ["the agent does not answer"]},
    )
    assert found[0].startswith("release ") and found[1:] == [
        "drop-in of the unit",
        "flag a",
        "flag b",
        "the agent does not answer",
    ]
