"""What a release consists of, what a host accepts of it, and which interpreter it gets."""

import gzip
import hashlib
import io
import json
import os
import sys
import tarfile
import zipfile
from importlib import import_module

import pytest
from ansible.errors import AnsibleError

from tests.lib.collection import PLUGINS

archive = import_module(f"{PLUGINS}.plugin_utils._release_archive")
host_python = import_module(f"{PLUGINS}.module_utils._host_python")
release_files = import_module(f"{PLUGINS}.module_utils._release_files")
installation = import_module(f"{PLUGINS}.module_utils._shim_installation")


@pytest.fixture
def source(tmp_path):
    """A tiny shim."""
    path = tmp_path / "mesos_shim"
    (path / "isolators").mkdir(parents=True)
    (path / "__init__.py").write_text('__version__ = "1.2.3"\n')
    (path / "isolators" / "du.py").write_text("pass\n")
    return path


def names(content):
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return tar.getnames()


def test_the_same_files_give_the_same_archive(source):
    first = archive.build(source)
    (source / "__pycache__").mkdir()
    (source / "__pycache__" / "x.pyc").write_text("x")
    os.utime(source / "__init__.py", (1, 1))
    (source / "__init__.py").chmod(0o600)
    assert archive.build(source) == first
    release = first["any"]
    assert names(release.content) == ["lib/mesos_shim/__init__.py", "lib/mesos_shim/isolators/du.py"]
    assert release.sha256 == hashlib.sha256(release.content).hexdigest()
    assert release.name == f"1.2.3-{release.sha256[:12]}"
    (source / "isolators" / "du.py").write_text("pass  # changed\n")
    assert archive.build(source)["any"].name != release.name


def test_psutil_travels_to_its_own_platform_only(source):
    found = archive.build(source)
    (where,) = set(found) - {"any"}
    assert where == f"linux-{os.uname().machine}"
    assert {"lib/psutil/__init__.py", "lib/psutil/_psutil_linux.abi3.so", "lib/psutil/LICENSE"} <= set(
        names(found[where].content)
    )
    wheel = source.parent / "psutil-7.2.2-cp36-abi3-macosx_11_0_arm64.whl"
    with zipfile.ZipFile(wheel, "w") as packed:
        packed.writestr("psutil/__init__.py", "")
        packed.writestr("psutil/_psutil_osx.abi3.so", "")
    mixed = archive.build(source, str(wheel))
    assert set(mixed) == {"any", where, "darwin-arm64"} and mixed[where] == found[where]
    assert "lib/psutil/_psutil_osx.abi3.so" in names(mixed["darwin-arm64"].content)
    with pytest.raises(AnsibleError, match="not a psutil wheel for Linux or macOS"):
        archive.build(source, "/tmp/psutil-7.0.0-cp36-abi3-win_amd64.whl")


def test_a_given_archive_must_be_a_release_and_have_its_digest(source, tmp_path):
    release = archive.build(source)["any"]
    path = tmp_path / "release.tar.gz"
    path.write_bytes(release.content)
    assert archive.archives(str(path), release.sha256, None) == {"any": release}
    with pytest.raises(
        AnsibleError,
        match=f"^mesos_shim_archive {path} has the SHA-256 {release.sha256}, not 00 as mesos_shim_archive_sha256 says",
    ):
        archive.archives(str(path), "00", None)
    with pytest.raises(
        AnsibleError, match=r"^mesos_shim_archive_sha256 is 00, and mesos_shim_archive names no archive"
    ):
        archive.archives(None, "00", None)
    path.write_bytes(release.content[:-20])
    with pytest.raises(AnsibleError, match="Compressed file ended"):
        archive.archives(str(path), None, None)
    with pytest.raises(AnsibleError, match=f"not {release.sha256} as mesos_shim_archive_sha256 says: copy the archive"):
        archive.archives(str(path), release.sha256, None)
    (source / "__init__.py").write_text("")
    with pytest.raises(AnsibleError, match="names no __version__"):
        archive.build(source)


def test_an_unpacked_archive_is_what_was_sent(source, tmp_path):
    release = archive.build(source)["any"]
    path = tmp_path / "sent"
    path.write_bytes(release.content)
    installation.unpack(str(path), release.sha256, str(tmp_path / "out"))
    assert (tmp_path / "out/lib/mesos_shim/isolators/du.py").read_text() == "pass\n"
    with pytest.raises(installation.InstallError, match="expected 00: not installed"):
        installation.unpack(str(path), "00", str(tmp_path / "other"))
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("name", "kind"),
    [("lib/../../x", "file"), ("/lib/x", "file"), ("etc/x", "file"), ("lib/x", "link"), ("lib/x", "device")],
)
def test_hostile_members_are_refused(tmp_path, name, kind):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        member = tarfile.TarInfo(name)
        if kind == "link":
            member.type, member.linkname = tarfile.SYMTYPE, "/etc"
        if kind == "device":
            member.type = tarfile.CHRTYPE
        tar.addfile(member, io.BytesIO())
    path = tmp_path / "sent"
    path.write_bytes(gzip.compress(raw.getvalue()))
    with pytest.raises(installation.InstallError, match="not a regular file below lib/"):
        installation.unpack(str(path), hashlib.sha256(path.read_bytes()).hexdigest(), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(installation, "_MOST_BYTES", 1000)
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        member = tarfile.TarInfo("lib/zeros")
        member.size = 1001
        tar.addfile(member, io.BytesIO(bytes(1001)))
    path = tmp_path / "sent"
    path.write_bytes(raw.getvalue())
    with pytest.raises(installation.InstallError, match="unpacks to more than"):
        installation.unpack(str(path), hashlib.sha256(path.read_bytes()).hexdigest(), str(tmp_path / "out"))


def fake_python(path, version, library="/usr/lib"):
    path.write_text(f"#!/bin/sh\necho {version}\necho {library}\n")
    path.chmod(0o755)
    return str(path)


def test_the_interpreter_must_serve_every_task_user(public_dir):
    assert host_python.unfit(fake_python(public_dir / "python3", "3.8")) is None
    assert "3.8 or newer" in host_python.unfit(fake_python(public_dir / "python3", "3.7"))
    assert "is not an absolute path" in host_python.unfit("python3")
    (public_dir / "closed").mkdir(mode=0o700)
    assert "closed is closed to others" in host_python.unfit(fake_python(public_dir / "closed/python3", "3.8"))
    (public_dir / "link").symlink_to(public_dir / "closed/python3")
    assert "closed is closed to others" in host_python.unfit(str(public_dir / "link"))
    library = str(public_dir / "closed")
    assert "closed is closed to others" in host_python.unfit(fake_python(public_dir / "python3", "3.8", library))
    (public_dir / "python3").write_text("#!/bin/sh\nexit 3\n")
    assert "does not run" in host_python.unfit(str(public_dir / "python3"))


def test_the_choice_of_the_interpreter(public_dir, monkeypatch):
    assert host_python.choose(None) == "/usr/bin/python3"
    with pytest.raises(host_python.NoPython, match=r"^mesos_shim_python /nowhere/python3 cannot be executed"):
        host_python.choose("/nowhere/python3")
    monkeypatch.setattr(host_python, "_DIRECTORIES", (str(public_dir),))
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(host_python.NoPython, match="none is installed; install python3"):
        host_python.choose(None)
    fake_python(public_dir / "python3", "3.6")
    newer = fake_python(public_dir / "python3.9", "3.9")
    assert host_python.choose(None) == newer


@pytest.fixture
def staged(tmp_path):
    """A release as release.py leaves it, of one program."""
    home = tmp_path / "0.1.0-a"
    (home / "bin").mkdir(parents=True)
    (home / "bin/mesos-shim").write_text("#!python\n")
    (home / "bin").chmod(0o755)
    (home / "bin/mesos-shim").chmod(0o755)
    digest = hashlib.sha256(b"#!python\n").hexdigest()
    files = {"bin": [0o755, None], "bin/mesos-shim": [0o755, digest]}
    made = {"python": sys.executable, "version": sys.hexversion >> 16, "files": files}
    (home / "files.json").write_text(json.dumps(made))
    (home / "activations").touch()
    return home


def test_a_release_that_is_whole_has_no_damage(staged):
    assert release_files.damage(str(staged), sys.executable) == []
    (staged / "files.json").unlink()  # it was staged by an older release.py
    (staged / "bin/mesos-shim").unlink()
    assert release_files.damage(str(staged), sys.executable) == []


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda home: (home / "bin/mesos-shim").unlink(), "bin/mesos-shim is missing"),
        (lambda home: (home / "bin/mesos-shim").write_text("junk"), "bin/mesos-shim is another one"),
        (lambda home: (home / "bin/mesos-shim").chmod(0o700), "bin/mesos-shim has mode 0700, not 0755"),
        (lambda home: (home / "bin").chmod(0o777), "bin has mode 0777, not 0755"),
        (lambda home: (home / "bin/evil").touch(), "bin/evil does not belong to it"),
        (lambda home: (home / "files.json").write_text("{}"), "files.json is no list of its files: 'files'"),
        (lambda home: (home / "files.json").write_text("["), "files.json is no list of its files: Expecting value"),
    ],
)
def test_each_damage_of_a_release_is_named(staged, harm, says):
    harm(staged)
    (said,) = release_files.damage(str(staged), sys.executable)
    assert said.startswith(says)


def test_many_damaged_files_are_counted(staged):
    for name in "abcdefg":
        (staged / name).touch()
    assert release_files.damage(str(staged), sys.executable)[-1] == "2 more files"


def test_a_python_that_was_upgraded_under_a_release_is_named(staged, tmp_path):
    """Its bundles are bytecode of the one before: every launch compiles all modules."""
    listed = json.loads((staged / "files.json").read_text())
    (staged / "files.json").write_text(json.dumps({**listed, "version": 0x308}))
    (said,) = release_files.damage(str(staged), sys.executable)
    now = ".".join(map(str, sys.version_info[:2]))
    assert said == f"it was staged by Python 3.8, and {sys.executable} now is {now}: launches are slow"
    link = tmp_path / "python3"
    link.symlink_to(sys.executable)
    (said,) = release_files.damage(str(staged), str(link))
    assert said == f"it runs by {sys.executable}, not by {link}"
