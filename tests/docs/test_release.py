"""One version for shim and collection; what is given away is the same to the byte whoever builds it from a commit."""

from __future__ import annotations

import datetime
import hashlib
import importlib.util
import io
import json
import re
import shutil
import subprocess
import tarfile
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from tests.lib.shim import CHECKOUT

VERSION = re.search(r'^__version__ = "(.*)"$', (CHECKOUT / "shim/mesos_shim/__init__.py").read_text(), re.MULTILINE)[1]


@pytest.fixture(scope="module")
def release() -> ModuleType:
    """.ci/release as a module."""
    loader = SourceFileLoader("release_script", str(CHECKOUT / ".ci/release"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("release_script", loader))
    loader.exec_module(module)
    return module


def test_one_version_for_all() -> None:
    galaxy = re.search(r"^version: (.*)$", (CHECKOUT / "collection/galaxy.yml").read_text(), re.MULTILINE)[1]
    told = subprocess.run([CHECKOUT / ".ci/version"], capture_output=True, text=True, check=True).stdout.strip()
    assert galaxy == told == VERSION
    assert f"\n  release   {VERSION}-" in (CHECKOUT / "README.md").read_text()
    assert 'dynamic = ["version"]' in (CHECKOUT / "pyproject.toml").read_text()


def test_the_changelog_of_the_collection_knows_the_version() -> None:
    assert f"\nv{VERSION}" in (CHECKOUT / "collection/CHANGELOG.md").read_text().replace("\\", "").replace("## ", "")


def released(changelog: Path) -> dict[str, str]:
    """The releases in a changelog of the shim, the newest first, with their dates."""
    return dict(re.findall(r"^## (\d+\.\d+\.\d+) - (\d{4}-\d\d-\d\d)$", changelog.read_text(), re.MULTILINE))


def test_both_changelogs_have_the_same_releases() -> None:
    changelog = CHECKOUT / "CHANGELOG.md"
    collection = yaml.safe_load((CHECKOUT / "collection/changelogs/changelog.yaml").read_text())["releases"]
    assert released(changelog) == {version: release["release_date"] for version, release in collection.items()}
    assert next(iter(released(changelog))) == VERSION
    sections = re.findall(r"^## (\S+)", changelog.read_text(), re.MULTILINE)
    assert sections == ["Unreleased", *released(changelog)]
    kinds = set(re.findall(r"^### (.*)$", changelog.read_text(), re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_a_new_version_is_set_everywhere(tmp_path: Path) -> None:
    """On a copy, where a program of no work stands for antsibull-changelog."""
    files = (".ci/version", "shim/mesos_shim/__init__.py", "collection/galaxy.yml", "README.md", "CHANGELOG.md")
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / file, tmp_path / file)
    program = tmp_path / ".venv/bin/antsibull-changelog"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "$PWD $*"\n')
    program.chmod(0o755)
    done = subprocess.run([tmp_path / ".ci/version", "7.8.9"], capture_output=True, text=True, check=True)
    assert done.stdout == f"{tmp_path}/collection release --version 7.8.9\n"
    assert [file for file in files[1:] if "7.8.9" not in (tmp_path / file).read_text()] == []
    before, after = released(CHECKOUT / "CHANGELOG.md"), released(tmp_path / "CHANGELOG.md")
    today = datetime.datetime.now(datetime.timezone.utc).date()
    assert list(after) == ["7.8.9", *before]
    assert datetime.date.fromisoformat(after["7.8.9"]) in (today, today - datetime.timedelta(days=1))
    text = (tmp_path / "CHANGELOG.md").read_text()
    assert "\n## Unreleased\n\n## 7.8.9 - " in text
    assert text.replace(f"\n## 7.8.9 - {after['7.8.9']}\n", "", 1) == (CHECKOUT / "CHANGELOG.md").read_text()


def test_the_sdist_has_what_its_user_looks_for(release: ModuleType, tmp_path: Path) -> None:
    """Built of a copy, as a build leaves directories beside the sources."""
    tree = tmp_path / "tree"
    tree.mkdir()
    files = ["pyproject.toml", "MANIFEST.in", "LICENSE", *(path.name for path in CHECKOUT.glob("*.md"))]
    for name in files:
        shutil.copy(CHECKOUT / name, tree)
    for name in ("shim", "man", "completion"):
        shutil.copytree(CHECKOUT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    call = f"import setuptools.build_meta as b; b.build_sdist({str(tmp_path)!r})"
    subprocess.run([release.VENV / "bin/python", "-W", "ignore", "-c", call], cwd=tree, capture_output=True, check=True)
    top = f"mesos_shim-{VERSION}"
    with tarfile.open(tmp_path / f"{top}.tar.gz") as tar:
        names = {name.removeprefix(f"{top}/") for name in tar.getnames()}
        metadata = tar.extractfile(f"{top}/PKG-INFO").read().decode()
    sources = {str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / "shim/mesos_shim").rglob("*.py")}
    documents = {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE"}
    installed = {"man/mesos-shim.1", "completion/mesos-shim", "completion/_mesos-shim"}
    assert sources | documents | installed <= names
    assert "\nLicense: Apache-2.0\n" in metadata
    assert "\nLicense-File: LICENSE\n" in metadata


def test_a_version_that_is_none_is_refused() -> None:
    done = subprocess.run([CHECKOUT / ".ci/version", "next"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "'next' is not MAJOR.MINOR.PATCH" in done.stderr


def collection_tarball(names: list[str], mtime: int, user: str) -> bytes:
    """A collection as ansible-galaxy makes it, listed in the order of `names`."""
    listed = {"files": [{"name": ".", "ftype": "dir"}, *({"name": name} for name in names)], "format": 1}
    text = json.dumps(listed, indent=True).encode()
    manifest = {"file_manifest_file": {"name": "FILES.json", "chksum_sha256": hashlib.sha256(text).hexdigest()}}
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as tar:
        files = {"MANIFEST.json": json.dumps(manifest).encode(), "FILES.json": text, **dict.fromkeys(names, b"x")}
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.uname, member.mode = len(content), mtime, user, 0o600
            tar.addfile(member, io.BytesIO(content))
    return raw.getvalue()


def test_machine_user_time_and_directory_order_leave_no_trace(release: ModuleType) -> None:
    one = release.same_for_all(collection_tarball(["b", "a"], 1, "anna"), 1000)
    other = release.same_for_all(collection_tarball(["a", "b"], 2, "root"), 1000)
    assert one == other
    with tarfile.open(fileobj=io.BytesIO(one)) as tar:
        assert tar.getnames()[:2] == ["FILES.json", "MANIFEST.json"]
        assert {(member.mtime, member.uname, member.uid) for member in tar} == {(1000, "", 0)}
        manifest = json.load(tar.extractfile("MANIFEST.json"))
        text = tar.extractfile("FILES.json").read()
    assert manifest["file_manifest_file"]["chksum_sha256"] == hashlib.sha256(text).hexdigest()
    assert [item["name"] for item in json.loads(text)["files"]] == [".", "a", "b"]


@pytest.mark.soak
def test_a_release_is_built_twice_the_same_and_installs(tmp_path: Path) -> None:
    command = [CHECKOUT / ".venv/bin/python", CHECKOUT / ".ci/release", tmp_path / "dist"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    names = sorted(path.name for path in (tmp_path / "dist").iterdir())
    assert names == [
        "SHA256SUMS",
        f"mesos-containerizer-{VERSION}.tar.gz",
        f"mesos_shim-{VERSION}-py3-none-any.whl",
        f"mesos_shim-{VERSION}.tar.gz",
    ]
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path / "dist", check=True)
