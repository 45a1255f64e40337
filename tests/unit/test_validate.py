"""`mesos-shim validate`: what it takes, what it refuses, and that no file can make it wait or fill the memory."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mesos_shim import validate
from mesos_shim.commands import yaml_text
from mesos_shim.errors import ShimError
from mesos_shim.system import strict_json

from ..lib.shim import Shim

INFO = """\
type: MESOS
volumes:
  - {host_path: tmp, container_path: /tmp, mode: RW}
"""
VALUE = {"type": "MESOS", "volumes": [{"host_path": "tmp", "container_path": "/tmp", "mode": "RW"}]}


def checked(path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What `validate` says of a file of that name and text, which it must not take."""
    path.write_text(text)
    assert validate.main([str(path)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    return said.err


def test_yaml_is_taken_for_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "info.yml"
    path.write_text(INFO)
    assert validate.main([str(path)]) == 0
    assert yaml_text.parse(INFO.encode(), "x") == VALUE
    assert yaml_text.parse(json.dumps(VALUE).encode(), "x") == VALUE


def test_a_file_that_is_too_long_is_not_judged_by_its_beginning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The part that was read is valid; what comes after it would not be."""
    text = INFO + "#" * strict_json.MAX_BYTES + "\nnonsense: 1\n"
    assert f"at most {strict_json.MAX_BYTES}" in checked(tmp_path / "long.yml", text, capsys)
    assert f"at most {strict_json.MAX_BYTES}" in checked(
        tmp_path / "long.json", json.dumps(VALUE) + " " * len(text), capsys
    )


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path, shim: Shim) -> None:
    """Nothing was judged: that is the shim's failure, 125, and no verdict on a ContainerInfo."""
    os.mkfifo(tmp_path / "fifo")
    for name, words in (("fifo", "not a regular file"), (".", "not a regular file"), ("none", "No such file")):
        done = shim.run("validate", name, cwd=tmp_path, timeout=20)
        assert (done.returncode, done.stdout) == (125, "")
        assert done.stderr.startswith(f"mesos-shim: {name}: {words}")
    done = shim.run("validate", "-", input=json.dumps(VALUE))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_aliases_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten lines of them stand for 10^9 values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert "line 2: an alias" in checked(tmp_path / "bomb.yml", "\n".join(lines), capsys)
    assert "an alias" in checked(tmp_path / "itself.yml", "&a [*a]", capsys)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("type: MESOS\nvolumes: []\ntype: DOCKER\n", "line 3: duplicate key 'type'"),
        ("volumes: [{mode: RO, mode: RW}]", "line 1: duplicate key 'mode'"),
        ('1: a\n"1": b', "duplicate key '1'"),
        ("? [a]\n: b", "line 1: a key that is not a string"),
        ("[" * 65 + "]" * 65, f"nested deeper than {strict_json.MAX_DEPTH}"),
        ("- " * 100_000, f"nested deeper than {strict_json.MAX_DEPTH}"),
        ("a: " + "9" * 500_000, "500000 characters that is not a string"),
        ("a: 1" + ":1" * 200_000, "characters that is not a string"),
        ("a: .nan", "not JSON"),
        ("a: 2020-01-01", "not a JSON value"),
        ("a: !!python/name:os.system x", "not YAML"),
        ("a: [", "not YAML"),
    ],
)
def test_what_json_could_not_say_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    assert words in checked(tmp_path / "bad.yaml", text, capsys)


def test_depth_is_depth_not_length() -> None:
    assert yaml_text.parse(("- [1]\n" * 1000).encode(), "x") == [[1]] * 1000
    with pytest.raises(ShimError):
        yaml_text.parse(b"[" * 65, "x")
