"""Variables that lead to what a launch covers: one warning, and no TMPDIR that is not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ..lib import wire
from ..lib.launching import launch, said, volume
from ..lib.played_agent import PlayedAgent, end
from ..lib.shim import NOBODY, Shim, needs_root

pytestmark = needs_root

PRINTS = 'echo "${TMPDIR-unset} ${SSH_AUTH_SOCK-unset} ${KRB5CCNAME-unset} ${XAUTHORITY-unset}"'
WHY = "not visible to the command, because a mount covers the path; pass_through can show it"


@pytest.fixture
def place(open_tmp: Path) -> Path:
    """What is covered: with a directory, a socket and so on of the caller's."""
    path = open_tmp / "place"
    (path / "deep/tmp").mkdir(parents=True)
    for name in ("agent", "ticket", "cookie"):
        (path / name).touch()
    return path


def test_one_warning_names_them_all(shim: Shim, sandbox: Path, place: Path) -> None:
    variables = {
        "TMPDIR": f"{place}/deep/tmp",
        "SSH_AUTH_SOCK": f"{place}//agent",
        "KRB5CCNAME": f"FILE:{place}/ticket",
        "XAUTHORITY": f"{place}/cookie",
    }
    done = launch(shim, sandbox, [volume("a", place)], PRINTS, env={**os.environ, **variables})
    left = list(variables.values())[1:]
    assert (done.returncode, done.stdout.split()) == (0, ["unset", *left])
    named = ", ".join(f"{name}='{value}'" for name, value in variables.items())
    assert done.stderr == f"mesos-shim: warning: {named} (TMPDIR is unset): {WHY}\n"


def test_a_link_that_leads_there_counts_as_well(shim: Shim, sandbox: Path, place: Path, open_tmp: Path) -> None:
    """A home's tmp that is a link into /tmp, or a path with a link of the system's on it, such as /var/run."""
    (open_tmp / "link").symlink_to(place)
    (open_tmp / "deep").symlink_to("link/../place/./deep")
    (open_tmp / "loop").symlink_to("loop")
    variables = {
        "TMPDIR": f"{open_tmp}/deep/tmp",
        "SSH_AUTH_SOCK": f"{open_tmp}/link/agent",
        "KRB5CCNAME": f"{open_tmp}/link/../elsewhere",
        "XAUTHORITY": f"{open_tmp}/loop",
    }
    done = launch(shim, sandbox, [volume("a", place)], PRINTS, env={**os.environ, **variables})
    assert (done.returncode, done.stdout.split()) == (0, ["unset", *list(variables.values())[1:]])
    named = ", ".join(f"{name}='{variables[name]}'" for name in ("TMPDIR", "SSH_AUTH_SOCK"))
    assert done.stderr == f"mesos-shim: warning: {named} (TMPDIR is unset): {WHY}\n"


@pytest.mark.parametrize("value", ["{}/ticket", "FILE:{}/ticket", "DIR:{}/deep"])
def test_every_form_of_a_ticket_cache(shim: Shim, sandbox: Path, place: Path, value: str) -> None:
    value = value.format(place)
    done = launch(shim, sandbox, [volume("a", place)], "true", env={**os.environ, "KRB5CCNAME": value})
    assert done.stderr == f"mesos-shim: warning: KRB5CCNAME='{value}': {WHY}\n"


def test_what_is_there_is_not_named(shim: Shim, sandbox: Path, place: Path, open_tmp: Path) -> None:
    """The covering directory itself, what is passed through, what is elsewhere, what is no file, what never was."""
    shim.configure(pass_through=[str(place / "agent")])
    for variables in (
        {"TMPDIR": str(place), "SSH_AUTH_SOCK": str(place / "agent"), "KRB5CCNAME": "KCM:", "XAUTHORITY": "cookie"},
        {"TMPDIR": f"{open_tmp}/nowhere", "SSH_AUTH_SOCK": "", "KRB5CCNAME": f"{place}x", "XAUTHORITY": "/etc/passwd"},
    ):
        done = launch(shim, sandbox, [volume("a", place)], PRINTS, env={**os.environ, **variables})
        assert said(done) == " ".join(variables.values())


def test_the_sandbox_below_what_is_covered_is_not_covered(shim: Shim, place: Path) -> None:
    for name in ("tmp", "never was"):
        variables = {**os.environ, "TMPDIR": str(place / "deep" / name)}
        done = launch(shim, place / "deep", [volume("a", place)], "echo $TMPDIR", env=variables)
        assert said(done) == variables["TMPDIR"]


def test_it_is_looked_at_with_the_users_rights(shim: Shim, sandbox: Path, place: Path, open_tmp: Path) -> None:
    """A task's link in the covering directory leads where the task may not look: it learns nothing of that."""
    options = ("--user", "nobody")
    os.chown(place, NOBODY, NOBODY)
    os.chown(sandbox, NOBODY, NOBODY)
    (open_tmp / "closed").mkdir(mode=0o700)
    said(launch(shim, sandbox, [volume("a", place)], f"ln -s {open_tmp}/closed/none {place}/link", options=options))
    variables = {**os.environ, "TMPDIR": f"{place}/link"}
    done = launch(shim, sandbox, [volume("a", place)], "echo $TMPDIR", options=options, env=variables)
    assert said(done) == f"{place}/link"


def test_an_agents_command_is_told_as_well(shim: Shim, open_tmp: Path, place: Path) -> None:
    agent = PlayedAgent(open_tmp / "agent", shim)
    agent.hold(wire.container_info(wire.volume(str(place), "a")))
    given = [{"name": "TMPDIR", "value": f"{place}/deep/tmp"}]
    status, out, err = end(agent.start(PRINTS, environment={"variables": given}))
    assert (status, out.split()[0]) == (0, "unset")
    assert err == f"mesos-shim: warning: TMPDIR='{place}/deep/tmp' (TMPDIR is unset): {WHY}\n"
