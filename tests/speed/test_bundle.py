"""What a release packs of the launch path: the usual functions at hand, the others whole when they are asked for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mesos_shim.bundle import pack

from ..conftest import PYTHON, Shim, install
from ..launching import refused, said
from . import usual


def test_the_list_of_hot_functions_is_what_usual_launches_call(open_tmp: Path) -> None:
    """A function that joins the launch path shows here, and in the review of hot.txt: it costs every launch."""
    called = usual.called(open_tmp)
    listed = pack.usual(usual.HOT)
    remedy = "run .venv/bin/python -m benchmarks.hot and commit shim/mesos_shim/bundle/hot.txt"
    for program, modules in called.items():
        assert set(modules) == set(listed[program]), remedy
        late = {module: names - listed[program][module] for module, names in modules.items()}
        assert not {module: names for module, names in late.items() if names}, remedy


def test_every_listed_function_exists() -> None:
    for modules in pack.usual(usual.HOT).values():
        for module, names in modules.items():
            path = usual.PACKAGE.parent / module.replace(".", "/")
            path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
            assert names <= {node.name for node in usual.functions(path)}, module


# Loads an installed program up to its main, then asks for everything that waits in its bundle.
_ASK = """
import sys, types

def ask():
    bundle = sys.meta_path[0]
    late = []
    for name, module in sorted(sys.modules.items()):
        if name.startswith("mesos_shim"):
            late += [(name, key, value) for key, value in vars(module).items() if type(value).__name__ == "Later"]
    for name, key, value in late:
        exec(bundle.read(*value.place), value.space)
        assert type(value.space[key]) is types.FunctionType, (name, key)
        assert value.space[key].__module__ == value.space["__name__"], (name, key)
        print(name, key)
    assert bundle.find_spec("mesos_shim.nowhere") is None
    for name in sorted(bundle._places):
        __import__(name)
        assert sys.modules[name].__spec__.loader is bundle
        print(name)

def trace(frame, event, argument):
    if frame.f_code.co_name == "main" and frame.f_code.co_filename.endswith("mesos_shim/main.py"):
        sys.settrace(None)
        assert type(sys.meta_path[0]).__name__ == "Bundle", "the bundle was not used"
        ask()
        sys.stdout.flush()
        import os
        os._exit(0)

with open(sys.argv[1]) as file:
    text = file.read()
sys.settrace(trace)
exec(text)
"""


@pytest.mark.parametrize("program", ["mesos-shim", "mesos-containerizer"])
def test_everything_that_waits_can_be_had(shim: Shim, program: str) -> None:
    path = (shim.prefix / "current/bin" / program).resolve()
    done = subprocess.run([PYTHON, "-ISB", "-c", _ASK, str(path)], capture_output=True, text=True, check=False)
    lines = said(done).splitlines()
    assert "mesos_shim.launch.rollback take_back" in lines
    assert "mesos_shim.isolators.cgroups_mem" in lines


def test_another_interpreter_loads_the_modules_themselves(open_tmp: Path, sandbox: Path) -> None:
    """As after an upgrade of the host's Python: slower, until the release is staged again, but the same."""
    shim = Shim(install(open_tmp / "prefix"))
    program = shim.program.resolve()
    text = program.read_text()
    program.write_text(text.replace(">> 16 == 0x", ">> 16 == 0x9"))
    assert program.read_text() != text
    (program.parents[1] / "lib/mesos-shim.bundle").write_bytes(b"of another interpreter")
    assert said(shim.run("run", "--volume", "tmp:/tmp", "--", "/bin/echo", "done", cwd=sandbox)) == "done"


@pytest.mark.parametrize("size", [20_000, 100_000])
def test_a_truncated_bundle_is_not_used(open_tmp: Path, sandbox: Path, size: int) -> None:
    """Nothing of it is made before all that a launch needs was read."""
    shim = Shim(install(open_tmp / "prefix"))
    packed = shim.program.resolve().parents[1] / "lib/mesos-shim.bundle"
    packed.write_bytes(packed.read_bytes()[:size])
    assert said(shim.run("run", "--volume", "tmp:/tmp", "--", "/bin/echo", "done", cwd=sandbox)) == "done"


def test_a_bundle_that_ends_where_the_rest_begins_says_so(open_tmp: Path, sandbox: Path) -> None:
    """The usual launch needs nothing of the rest; who does is told what to do."""
    shim = Shim(install(open_tmp / "prefix"))
    packed = shim.program.resolve().parents[1] / "lib/mesos-shim.bundle"
    packed.write_bytes(packed.read_bytes()[:-10_000])
    refused(shim.run("run", "--supervise", "--", "/bin/true", cwd=sandbox), "the shim's own code", "stage the release")
