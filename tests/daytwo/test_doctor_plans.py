"""doctor plans a launch: what one would refuse or warn of on this host is found before the first one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ..lib.doctor import doctor, findings, in_host
from ..lib.launching import own_namespace, refused
from ..lib.shim import NOBODY, Shim, needs_root

pytestmark = needs_root


@pytest.fixture
def open_to_all(open_tmp: Path) -> Path:
    """A directory in which anybody could rename."""
    path = open_tmp / "all"
    (path / "inner").mkdir(parents=True)
    path.chmod(0o777)
    return path


def test_what_is_covered(shim: Shim, open_tmp: Path) -> None:
    assert doctor(shim)["launch"] == {"check": "launch", "state": "ok", "message": "covers /tmp", "remedy": ""}
    shim.configure(isolation=["posix/cpu"], hide_work_dir=True)
    assert doctor(shim)["launch"]["message"].startswith("a launch would warn: configuration: hide_work_dir: ignored")
    shim.configure(tmpfs={str(open_tmp): "1m"}, hide_work_dir=True)
    assert doctor(shim)["launch"]["message"] == f"covers {open_tmp}"


@pytest.mark.parametrize("by", ["tmpfs", "default_container_info"])
def test_what_a_launch_would_refuse(shim: Shim, open_to_all: Path, by: str) -> None:
    volume = {"host_path": "x", "container_path": f"{open_to_all}/inner", "mode": "RW"}
    infos = {"tmpfs": {f"{open_to_all}/inner": "1m"}, "default_container_info": {"type": "MESOS", "volumes": [volume]}}
    shim.configure(**{by: infos[by]})
    item = doctor(shim)["launch"]
    assert (item["state"], "lies in a directory that others can write" in item["message"]) == ("broken", True)
    why = refused(shim.run("run", "--rm", "--", "true")).removeprefix("mesos-shim: ")
    assert item["message"] == f"a launch would be refused: {why.strip()}"


def test_what_a_launch_would_warn_of(shim: Shim, open_tmp: Path) -> None:
    lent = f"setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups --inh-caps +chown --ambient-caps +chown"
    shim.configure(state_dir=str(open_tmp))
    item = findings(own_namespace(f"{lent} {shim.program} doctor --json", open_tmp))["launch"]
    warning = "a launch would warn: the command does not get the caller's ambient capabilities CAP_CHOWN"
    assert (item["state"], item["message"].split(":", 2)[:2]) == ("degraded", warning.split(":")), item


def test_a_hardened_directory(shim: Shim) -> None:
    found = in_host(shim, "mount -t tmpfs -o noexec,mode=1777 none /tmp")
    assert found["launch"]["message"] == "covers /tmp; no program can be started from /tmp (noexec)"


def test_variables_that_would_lead_to_nothing(shim: Shim, open_tmp: Path) -> None:
    (open_tmp / "ticket").touch()
    shim.configure(tmpfs={str(open_tmp): "1m"})
    given = {"KRB5CCNAME": f"FILE:{open_tmp}/ticket", "TMPDIR": str(open_tmp), "XAUTHORITY": f"{open_tmp}/none"}
    message = doctor(shim, env={**os.environ, **given})["launch"]["message"]
    assert message == f"covers {open_tmp}; KRB5CCNAME of this environment would lead to nothing"


def test_a_work_dir(shim: Shim, open_to_all: Path) -> None:
    shim.configure(work_dir="/no/such")
    assert "work_dir" not in doctor(shim)
    (open_to_all / "link").symlink_to(open_to_all / "inner")
    shim.configure(work_dir=str(open_to_all / "inner"))
    item = doctor(shim)["work_dir"]
    assert (item["state"], "others can write" in item["message"]) == ("broken", True)
    open_to_all.chmod(0o755)
    shim.configure(work_dir=str(open_to_all / "link"))
    item = doctor(shim)["work_dir"]
    assert item["state"] == "ok"
    assert item["message"].startswith(f"{open_to_all}/link leads to {open_to_all}/inner;")


def test_groups_that_are_none_here(shim: Shim) -> None:
    shim.configure(trusted_groups=["root", "no-such-group", 4321])
    item = doctor(shim)["trusted_groups"]
    assert (item["state"], item["message"]) == ("degraded", "no-such-group: no such group on this host")


def test_where_root_is_not_mapped(shim: Shim, open_tmp: Path) -> None:
    shim.configure(state_dir=str(open_tmp / "state"))
    for prefix, there in (("", False), ("unshare --map-root-user ", True), ("unshare --map-current-user ", True)):
        words = f"setpriv --reuid=12345 --regid=12345 --clear-groups {prefix}{shim.program} doctor --json"
        assert ("user namespace" in findings(own_namespace(words, open_tmp))) is there
