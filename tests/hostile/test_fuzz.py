"""Generated ContainerInfo, configuration, launch info, protobuf (threat 16): accepted and valid, or one clear refusal.

Each target takes what a stranger may write. What it accepts is checked again here by other means; what it refuses, it
refuses by ShimError or by its list of problems, and by nothing else.
"""

from __future__ import annotations

import json
import posix
import string
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mesos_shim.agent import call, checkpoint, common, isolator_commands, launch_info, protobuf, reading
from mesos_shim.commands import arguments
from mesos_shim.errors import ShimError, one_line
from mesos_shim.spec import config, container_info, isolation, policy
from mesos_shim.spec.container_info import ContainerInfo
from mesos_shim.system import strict_json

from ..lib import wire
from ..lib.shim import CHECKOUT, SOAK

pytestmark = pytest.mark.scaled

FUZZ = settings(
    max_examples=25_000 if SOAK else 150,
    deadline=None,
    derandomize=not SOAK,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def usually(likely: st.SearchStrategy[object], other: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """`likely` seven times of eight: else nothing whole would ever be accepted, and what is accepted never be judged.

    Naming a strategy twice to `one_of` gives it no more weight.
    """
    return st.integers(0, 7).flatmap(lambda number: other if number == 7 else likely)


def mostly(*likely: str) -> st.SearchStrategy[object]:
    """One of `likely`, seldom any text."""
    return usually(st.sampled_from(likely), st.text(max_size=8))


paths = st.one_of(
    st.sampled_from(
        ["/tmp", "/tmp/", "/opt", "tmp", "a/b", "..", "a/../b", "/proc", "/dev/shm", "/dev", "/", "", ".", "/a//b/./c"]
    ),
    st.lists(st.sampled_from(["a", "..", ".", "", "\0", "x" * 256, "é", "\n", "\ud800"]), max_size=6).map("/".join),
    st.text(alphabet=string.printable + "é\0\u202e", max_size=20),
)
names = st.lists(st.sampled_from(["a", "b", "tmp", "é"]), min_size=1, max_size=4).map("/".join)
absolute = usually(names.map("/{}".format), paths)
relative = usually(names, paths)
either = usually(st.one_of(names, names.map("/{}".format)), paths)


def encodable(strategy: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Without what no program's argument and no protobuf string can hold."""
    return strategy.filter(lambda path: "\ud800" not in path)


scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6))
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


def record(fields: dict[str, st.SearchStrategy[object]]) -> st.SearchStrategy[object]:
    """An object with all of `fields`; seldom with some or one too many, or something else altogether."""
    some = st.fixed_dictionaries({}, optional={name: usually(value, scalars) for name, value in fields.items()})
    extra = st.tuples(some, st.dictionaries(st.text(max_size=5), scalars, max_size=1)).map(
        lambda two: {**two[0], **two[1]}
    )
    return usually(st.fixed_dictionaries(fields), st.one_of(some, extra, json_values))


propagation = record({"mode": usually(st.just("HOST_TO_CONTAINER"), mostly("BIDIRECTIONAL"))})
sources = st.one_of(
    record({"type": mostly("HOST_PATH"), "host_path": record({"path": either, "mount_propagation": propagation})}),
    record({"type": mostly("SANDBOX_PATH"), "sandbox_path": record({"type": mostly("SELF"), "path": relative})}),
    record({"type": mostly("SECRET", "CSI_VOLUME", "HOST_PATH", "SANDBOX_PATH"), "host_path": json_values}),
)
modes = mostly("RW", "RO")
volumes = usually(
    record({"container_path": absolute, "host_path": either, "mode": modes}),
    record({"container_path": absolute, "source": sources, "mode": modes}),
)
infos = record({"type": mostly("MESOS"), "volumes": st.lists(volumes, max_size=3)})


def check_message(message: str) -> None:
    """One line for people: with a place, without a control character, without an object's address."""
    line = one_line(message)
    assert line.isprintable()
    assert ":" in line
    assert " object at 0x" not in line


def check_info(info: ContainerInfo) -> None:
    """What was accepted, judged by other means."""
    assert len({volume.container_path for volume in info.volumes}) == len(info.volumes)
    for volume in info.volumes:
        target = PurePosixPath(volume.container_path)
        assert target.is_absolute()
        assert str(target) == volume.container_path != "/"
        assert target.parts[1] not in ("proc", "sys")
        assert target.parts[1] != "dev" or target.parts[2] == "shm"
        source = PurePosixPath(volume.host_path)
        assert str(source) == volume.host_path not in ("/", ".")
        for path in (target, source):
            assert ".." not in path.parts
            assert not any("\0" in part or len(part) > 255 for part in path.parts)
        # A policy can be asked about it, whatever it says.
        for allowed in ("none", "relative", "all", ["/tmp/*"]):
            settings_ = config.Config()
            settings_.framework_volumes = allowed
            try:
                policy.check(ContainerInfo([volume]), settings_)
            except ShimError as error:
                check_message(str(error))


@FUZZ
@given(infos)
@example([])
@example({"type": "MESOS", "volumes": [{"container_path": "/proc/x", "host_path": "a", "mode": "RW"}]})
@example({"type": "MESOS", "volumes": [{"container_path": "/a", "host_path": "a/../b", "mode": "RW"}]})
def test_container_info(value: object) -> None:
    info, problems = container_info.parse(value, "ContainerInfo")
    for problem in problems:
        check_message(problem)
    if not problems:
        check_info(info)
    for warning in info.warnings:
        check_message(warning)


@FUZZ
@given(st.text(alphabet="/:ab.RWO\0é ", max_size=20))
def test_volume_argument(text: str) -> None:
    try:
        volume = arguments.volume_of(text)
    except ShimError as error:
        check_message(str(error))
    else:
        check_info(ContainerInfo([volume]))


configurations = record(
    {
        "isolation": st.lists(mostly(*isolation.NAMES, *isolation.aliases()), max_size=2),
        "default_container_info": infos,
        "framework_volumes": st.one_of(mostly("relative", "none", "all"), st.lists(absolute, max_size=2)),
        "hide_work_dir": st.booleans(),
        "work_dir": absolute,
        "pass_through": st.lists(st.one_of(absolute, record({"path": absolute, "mode": modes})), max_size=2),
        "tmpfs": st.dictionaries(
            absolute,
            usually(mostly("64m", "1g", "1k"), record({"size": mostly("1k", "0"), "noexec": st.booleans()})),
            max_size=2,
        ),
        "private_directories": st.dictionaries(
            absolute,
            record({"base": usually(mostly("sandbox"), absolute), "size": mostly("1k", "0"), "noexec": st.booleans()}),
            max_size=2,
        ),
        "default_limits": st.dictionaries(
            st.sampled_from(["cpus", "mem"]), usually(st.floats(0.1, 64), scalars), max_size=2
        ),
        "on_unenforceable": mostly("refuse", "usage-only"),
        "packaged_helper": absolute,
        "trusted_groups": st.lists(st.one_of(mostly("staff", "adm"), st.integers(-1, 70000)), max_size=2),
        "state_dir": absolute,
    }
)


@FUZZ
@given(configurations)
@example([])
@example({"tmpfs": {"/sys/x": "1k"}})
@example({"state_dir": "/a/../b"})
def test_configuration(value: object) -> None:
    result, problems = config.parse(value, "config.json")
    for problem in problems:
        check_message(problem)
    if problems:
        return
    if result.default_container_info is not None:
        check_info(result.default_container_info)
    assert set(result.isolation) <= set(isolation.NAMES)
    for path in (result.work_dir, result.packaged_helper, result.state_dir):
        assert path is None or (path.startswith("/") and ".." not in path.split("/"))
    for item in result.tmpfs:
        check_info(ContainerInfo([container_info.Volume(item.container_path, "x", False)]))
        assert int(item.size.rstrip(string.ascii_letters)) > 0
    for own in result.private_directories:
        check_info(ContainerInfo([container_info.Volume(own.container_path, "x", False)]))
        assert own.base is None or (own.base.startswith("/") and own.base != "/")
        assert own.container_path not in [item.container_path for item in result.tmpfs]
    for entry in result.pass_through:
        assert PurePosixPath(entry.pattern).name


texts = st.one_of(
    st.binary(max_size=60),
    json_values.map(lambda value: json.dumps(value).encode()),
    st.tuples(json_values, st.integers(0, 60), st.binary(max_size=2)).map(
        lambda three: json.dumps(three[0]).encode()[: three[1]] + three[2] + json.dumps(three[0]).encode()[three[1] :]
    ),
    st.text(alphabet='{}[]",:\\u0d8Ef-+e.0123456789truefalsn \n', max_size=40).map(str.encode),
    st.integers(0, 100).map(lambda depth: b"[" * depth + b"]" * depth),
)


def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object that names nothing twice."""
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def short(text: str) -> int:
    """A number that is no bomb."""
    assert len(text) <= strict_json.MAX_DIGITS
    return int(text)


def depth(value: object) -> int:
    """How many lists and objects are in each other."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


@FUZZ
@given(texts)
@example(b"[NaN]")
@example(b"[-Infinity]")
@example(b"[-1e999]")
@example(b'["\\ud800"]')
@example(b'{"a":1,"a":2}')
@example(b"9" * 21)
@example(b"1 2")
@example(b"[" * 65 + b"]" * 65)
def test_json(data: bytes) -> None:
    try:
        value = strict_json.parse(data, "text")
    except ShimError as error:
        check_message(str(error))
        return
    # What is accepted, the standard library's parser reads the same way, and it survives a way out and in.
    assert repr(value) == repr(json.loads(data, object_pairs_hook=unique, parse_int=short, parse_constant=pytest.fail))
    assert depth(value) <= strict_json.MAX_DEPTH
    json.dumps(value, ensure_ascii=False).encode("utf-8")
    if "inf" not in repr(value):
        assert repr(strict_json.parse(strict_json.dump(value).encode(), "again")) == repr(value)


launch_infos = record(
    {
        "command": record(
            {
                "shell": st.booleans(),
                "value": st.text(max_size=6),
                "arguments": st.lists(st.text(max_size=3), max_size=3),
            }
        ),
        "environment": record(
            {
                "variables": st.lists(
                    record({"name": mostly("A", "B", "A=B"), "type": mostly("VALUE"), "value": st.text(max_size=4)}),
                    max_size=3,
                )
            }
        ),
        "user": mostly("root", "nobody"),
        "working_directory": absolute,
        "mounts": st.lists(
            record(
                {
                    "source": absolute,
                    "target": absolute,
                    "flags": usually(st.sampled_from([4096, 20480]), st.integers()),
                }
            ),
            max_size=2,
        ),
        "pre_exec_commands": st.lists(record({"shell": st.booleans(), "value": st.text(max_size=5)}), max_size=2),
        "supplementary_groups": st.lists(usually(st.integers(0, 70_000), st.integers()), max_size=3),
        "rlimits": record(
            {
                "rlimits": st.lists(
                    record(
                        {
                            "type": mostly("RLMT_NOFILE", "RLMT_CPU"),
                            "soft": usually(st.integers(0, 7), st.integers()),
                            "hard": mostly("7"),
                        }
                    ),
                    max_size=2,
                )
            }
        ),
        "no_new_privileges": st.booleans(),
        "clone_namespaces": st.lists(st.integers(), max_size=2),
    }
)


@FUZZ
@given(st.one_of(launch_infos.map(lambda value: json.dumps(value).encode()), texts))
@example(b'{"command": {"value": "x"}, "environment": {"variables": [{"name": "A=B", "value": "c"}]}}')
@example(b'{"command": {"value": "x"}, "mounts": [{"source": "/a", "target": "/proc/x", "flags": 4096}]}')
@example(b'{"command": {"value": "x"}, "mounts": [{"source": "/", "target": "/a", "flags": 4096}]}')
@example(
    b'{"command": {"value": "x"}, "mounts": [{"source": "/a", "target": "/b", "flags": 4096},'
    b' {"source": "/a", "target": "/b/", "flags": 4096}]}'
)
def test_launch_info(data: bytes) -> None:
    """Everything that is read of the 1.x protocol before anything is done."""
    posix.environ[b"MESOS_CONTAINERIZER_LAUNCH_INFO"] = data
    try:
        given_ = call.read([])
        work = reading.read(given_, given_.launch_info(), "/nowhere/config.json")
        process = launch_info.Process(work.info)
    except ShimError as error:
        check_message(str(error))
        return
    finally:
        del posix.environ[b"MESOS_CONTAINERIZER_LAUNCH_INFO"]
    assert all(isinstance(word, str) for word in process.command.argv)
    assert not any(b"=" in name or b"\0" in name + value for name, value in process.variables.items())
    if work.request.info is not None:
        check_info(work.request.info)


@FUZZ
@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                ["--command={}", "--pipe_read=3", "--no-help", "--user=x", "--directory=/a", "--rootfs=", "--help="]
            ),
            st.text(alphabet='-=commandspipe_{}"[]', max_size=20),
            st.tuples(encodable(absolute), encodable(absolute)).map(
                lambda two: "--commands=" + json.dumps({"commands": [{"value": f"mount -n --bind {two[0]} {two[1]}"}]})
            ),
            launch_infos.map(lambda value: "--command=" + json.dumps(value)),
        ),
        max_size=5,
    )
)
def test_arguments_of_a_call(arguments: list[str]) -> None:
    """Flags, the launch info that they make, and its isolators' commands: nothing of theirs is a shell's to run."""
    try:
        given_ = call.read(arguments)
        given_.check()
        info = given_.launch_info()
        process = launch_info.Process(info, searches=False)
        assert all(isinstance(word, str) for word in process.command.argv)
        items = common.objects(info.get("pre_exec_commands"), "--commands")
        commands = [common.command(item, "--commands") for item in items]
        found = isolator_commands.sort(commands, None, False, "/sandbox", "--commands")
        assert not any(isinstance(step, common.Command) and step.shell for step in found.steps)
    except ShimError as error:
        check_message(str(error))


wire_fields = st.deferred(
    lambda: st.lists(
        st.one_of(
            st.tuples(st.integers(1, 16), st.integers(0, 20)).map(lambda two: wire.number(*two)),
            st.tuples(st.integers(1, 16), encodable(paths)).map(lambda two: wire.data(*two)),
            st.tuples(st.integers(1, 16), wire_fields).map(lambda two: wire.data(*two)),
        ),
        max_size=4,
    ).map(b"".join)
)
held_infos = st.builds(
    lambda volumes, kind: wire.container_info(*volumes, kind=kind),
    st.lists(
        st.builds(wire.volume, encodable(absolute), encodable(either), usually(st.integers(1, 2), st.integers(0, 9))),
        max_size=3,
    ),
    usually(st.just(2), st.integers(0, 9)),
)
messages = st.one_of(
    st.binary(max_size=40),
    st.builds(wire.data, st.sampled_from([11, 12]), held_infos),  # of a 0.21 agent, of a 1.x one
    wire_fields,
    st.tuples(wire_fields, st.integers(0, 40), st.binary(max_size=2)).map(
        lambda three: three[0][: three[1]] + three[2] + three[0][three[1] :]
    ),
)


@FUZZ
@given(messages)
def test_protobuf(data: bytes) -> None:
    for read in (checkpoint.container_config, checkpoint.executor_info):
        try:
            found = read(data, "config")
            if found.container_info is not None:
                check_info(container_info.parse_or_refuse(found.container_info, "ContainerInfo"))
        except ShimError as error:
            check_message(str(error))
    try:
        fields = protobuf.fields(data, "data")
    except ShimError:
        return
    # Accepted to the last byte: the numbers and lengths add up to the whole.
    assert bool(fields) == bool(data)
    assert sum(len(value) for _, value in fields if isinstance(value, bytes)) <= len(data)


@pytest.mark.soak
def test_atheris(tmp_path: Path) -> None:
    """Coverage-guided, where atheris installs: it has wheels for Python 3.11 to 3.13 on Linux."""
    pytest.importorskip("atheris", reason="atheris has no wheel for this Python")
    words = [sys.executable, str(CHECKOUT / "tests/hostile/fuzz_atheris.py"), "-runs=100000", "-max_total_time=300"]
    done = subprocess.run(
        [*words, "-max_len=512", str(tmp_path)], capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Done 100000 runs" in done.stderr
