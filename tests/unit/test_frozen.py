"""What was asked for and what was planned stays as it is: a later step cannot change what an earlier one relied on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mesos_shim.commands import arguments
from mesos_shim.launch import planning
from mesos_shim.plan import model
from mesos_shim.spec import config

from ..lib.plans import USER, resolved


def plan() -> model.Plan:
    draft = model.Draft("c1", resolved("/srv/sandbox"), USER)
    draft.command.append("true")
    return model.finished(draft)


def test_a_plan_is_never_changed() -> None:
    made = plan()
    with pytest.raises(AttributeError, match="a plan is never changed: mode"):
        made.mode = model.USAGE_ONLY
    assert (made.command, made.mounts, made.warnings) == (("true",), (), ())  # no list that somebody could add to


def test_another_plan_leaves_the_first_as_it_was() -> None:
    made = plan()
    other = made.but(private_mount_namespace=True, command=["false"])
    assert (made.private_mount_namespace, made.own_mount_namespace, made.command) == (False, False, ("true",))
    assert (other.private_mount_namespace, other.own_mount_namespace, other.command) == (True, True, ("false",))
    assert other.container_id == made.container_id


def test_a_configuration_is_as_its_file_says(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"isolation": ["filesystem/shared"]}))
    path.chmod(0o644)
    found = config.read(str(path), required=True)
    with pytest.raises(AttributeError, match=r"Config\.isolation is set after it was frozen"):
        found.isolation = ()
    assert found.isolation == ("filesystem/shared",)


def test_a_request_is_as_it_was_asked_once_it_is_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = arguments.from_arguments(["--container-id", "c1", "--", "true"], str(tmp_path / "none.json"))
    planning.make_plan(asked, [])
    with pytest.raises(AttributeError, match=r"LaunchRequest\.user is set after it was frozen"):
        asked.user = "root"
