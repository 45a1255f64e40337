"""How the real agent is brought, without bringing it; and how a flag directory is read."""

from __future__ import annotations

import multiprocessing
import os
import re
from pathlib import Path

import pytest

from ..lib.agent import fetch
from ..lib.agent.local import read_flags


@pytest.fixture
def ready_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that could have the agent, whatever this one is."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "host", "6.1", "", "x86_64")))
    monkeypatch.setattr(fetch, "find_python2", lambda: "python2.7")
    monkeypatch.setattr(fetch, "_require_libraries", lambda: None)


def test_not_root_is_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(fetch.Unavailable, match="not root"):
        fetch.build(tmp_path)


@pytest.mark.usefixtures("ready_machine")
def test_another_processor_is_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "host", "6.1", "", "aarch64")))
    with pytest.raises(fetch.Unavailable, match="x86_64 only"):
        fetch.build(tmp_path)


def test_no_python_2_is_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PYENV_ROOT", raising=False)
    with pytest.raises(fetch.Unavailable, match=r"no Python 2\.7 with UCS-4"):
        fetch.find_python2()


@pytest.mark.parametrize("answer", ["65535", ""])
def test_narrow_python_2_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: str) -> None:
    narrow = tmp_path / "python2.7"
    narrow.write_text(f"#!/bin/sh\necho {answer}\n")
    narrow.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PYENV_ROOT", raising=False)
    with pytest.raises(fetch.Unavailable):
        fetch.find_python2()


def test_missing_library_without_apt_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_missing_libraries", lambda: ["libapr1", "libsvn1"])
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(fetch.Unavailable, match="apt-get install libapr1 libsvn1"):
        fetch._require_libraries()


def fake_pip(directory: Path, body: str) -> str:
    """A Python that downloads by the given shell lines; $last is the requirement."""
    python = directory / "python2.7"
    python.write_text(f"#!/bin/sh\nfor last; do :; done\n{body}\n")
    python.chmod(0o755)
    return str(python)


def test_registry_out_of_reach_is_a_reason(tmp_path: Path) -> None:
    python = fake_pip(tmp_path, "echo no route to host >&2; exit 1")
    with pytest.raises(fetch.Unavailable, match=r"mesos\.scheduler.*no route to host"):
        fetch._download(python, tmp_path)


def test_artefact_with_another_digest_is_an_error(tmp_path: Path) -> None:
    """Not a skip: someone serves another file under this name."""
    name = fetch.ARTEFACTS[0][1]
    python = fake_pip(tmp_path, f"echo changed > {name}")
    with pytest.raises(RuntimeError, match=rf"{re.escape(name)}: sha256 is [0-9a-f]{{64}}, pinned is"):
        fetch._download(python, tmp_path)


def test_half_a_build_is_no_build(ready_machine: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(_: Path, into: Path) -> None:
        (into / "site").mkdir()
        raise RuntimeError("in the middle")

    monkeypatch.setattr(fetch, "_download", lambda python, into: None)
    monkeypatch.setattr(fetch, "_unpack", broken)
    with pytest.raises(RuntimeError, match="in the middle"):
        fetch.build(tmp_path)
    assert not (tmp_path / f"agent-{fetch.DIGEST}").exists()
    monkeypatch.setattr(fetch, "_unpack", lambda downloads, into: (into / "site").mkdir())
    assert fetch.build(tmp_path).site.is_dir()
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"agent-{fetch.DIGEST}", "agent.lock"]


def test_concurrent_builds_make_it_once(ready_machine: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cache = tmp_path / "cache"

    def download(_: str, into: Path) -> None:
        with (tmp_path / "downloads").open("a") as log:
            log.write(f"{into}\n")

    monkeypatch.setattr(fetch, "_download", download)
    monkeypatch.setattr(fetch, "_unpack", lambda downloads, into: (into / "site").mkdir())
    context = multiprocessing.get_context("fork")
    builders = [context.Process(target=fetch.build, args=(cache,)) for _ in range(4)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join(30)
    assert [builder.exitcode for builder in builders] == [0] * 4
    assert len((tmp_path / "downloads").read_text().splitlines()) == 1


def test_flag_directory_as_the_init_wrapper_reads_it(tmp_path: Path) -> None:
    (tmp_path / "work_dir").write_text("/var/lib/mesos\n\n")
    (tmp_path / "?switch_user").touch()
    (tmp_path / "?no-strict").touch()
    (tmp_path / ".hidden").write_text("not read")
    (tmp_path / "attributes").mkdir()
    (tmp_path / "attributes/zone").write_text("b\n")
    (tmp_path / "attributes/rack").write_text("r1\n")
    assert read_flags(tmp_path) == {
        "attributes": "rack:r1;zone:b",
        "strict": "false",
        "switch_user": "true",
        "work_dir": "/var/lib/mesos",
    }
