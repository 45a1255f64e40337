"""What a release packs of the launch path: what usual launches import is made at once, the rest waits in the file."""

from __future__ import annotations

import _stat
import ast
import dis
import errno
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mesos_shim.bundle import constants, pack

from ..lib.launching import refused, said
from ..lib.shim import PYTHON, Shim, install
from . import usual


def test_what_is_made_at_once_is_what_usual_launches_import(open_tmp: Path) -> None:
    """A module that joins the launch path shows here: it costs every launch."""
    lib = usual.PACKAGE.parent
    for program, imported in usual.imported(open_tmp).items():
        made = set(pack.in_order(pack.read_sources(lib, lib), pack.AT_ONCE[program]))
        late, idle = sorted(imported - made), sorted(made - imported)
        assert not late, (
            f"usual launches of {program} import these as well: add them to AT_ONCE in bundle/pack.py, "
            f"or import them only where a launch is unusual: {late}"
        )
        assert not idle, (
            f"no usual launch of {program} imports these: take what brings them out of AT_ONCE, bundle/pack.py: {idle}"
        )


def test_a_usual_launch_reads_nothing_that_waits(open_tmp: Path) -> None:
    """The bundles end before their list of modules, so any module that is asked for ends the launch."""
    shim = Shim(install(open_tmp / "prefix"))
    for program in pack.AT_ONCE:
        cut(shim, program)
    usual.launch_all(shim, open_tmp)


def cut(shim: Shim, program: str = "mesos-shim") -> None:
    """Take the end of the part that waits, with the list of its modules, from the program's bundle."""
    packed = shim.program.resolve().parents[1] / f"lib/{program}.bundle"
    packed.write_bytes(packed.read_bytes()[:-10_000])


# Loads an installed program up to its main, then asks for everything that waits in its bundle.
_ASK = """
import sys

def ask():
    bundle = sys.meta_path[0]
    assert bundle.find_spec("mesos_shim.nowhere") is None
    for name in sorted(bundle._locations):
        __import__(name)
        assert sys.modules[name].__spec__.loader is bundle
        print(name)

def trace(frame, event, argument):
    if frame.f_code.co_name == "main" and frame.f_code.co_filename.endswith("mesos_shim/main.py"):
        sys.settrace(None)
        assert type(sys.meta_path[0]).__name__ == "Bundle", "the bundle was not used"
        there = [name for name in sys.argv[2:] if name in sys.modules]
        print("extensions:", *there)
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
    words = [PYTHON, "-ISB", "-c", _ASK, str(path), *pack.EXTENSIONS[program]]
    found = said(subprocess.run(words, capture_output=True, text=True, check=False)).splitlines()
    assert found[0].split() == ["extensions:", *pack.EXTENSIONS[program]]
    assert "mesos_shim.isolators.cgroups_mem" in found
    # What the other program alone calls would only be more to copy for a parent that stays.
    for name in ("launch.supervised", "containers.taken", "containers.registry"):
        assert (f"mesos_shim.{name}" in found) == (program == "mesos-shim"), name
    assert not {"mesos_shim.agent.launch", "mesos_shim.launch.explained"} & set(found)


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
    """Only a launch that needs a module of the rest fails, and its message says what to do."""
    shim = Shim(install(open_tmp / "prefix"))
    cut(shim)
    refused(shim.run("run", "--supervise", "--", "/bin/true", cwd=sandbox), "the shim's own code", "stage the release")


_USES_BOTH = """
import errno
from _stat import {names}

NUMBERS = errno.ENOENT, errno.EILSEQ, S_IFDIR, S_ISVTX
TABLE = errno.errorcode

def of(mode):
    return [{calls}]

class Other:
    errno = 7

def code():
    return Other().errno, Other.errno
"""


def test_numbers_in_packed_code_are_those_of_the_modules() -> None:
    """Of every kind of file, with every set of permissions, as the modules themselves say it."""
    names = ["S_ISBLK", "S_ISCHR", "S_ISDIR", "S_ISFIFO", "S_ISLNK", "S_ISREG", "S_ISSOCK", "S_IMODE", "S_IFMT"]
    text = _USES_BOTH.format(
        names=", ".join([*names, "S_IFDIR", "S_ISVTX"]), calls=", ".join(f"{name}(mode)" for name in names)
    )
    tree = constants.inlined(ast.parse(text))
    module: dict[str, Any] = {}
    exec(compile(ast.fix_missing_locations(tree), "packed", "exec"), module)
    assert module["NUMBERS"] == (errno.ENOENT, errno.EILSEQ, _stat.S_IFDIR, _stat.S_ISVTX)
    assert module["TABLE"] is errno.errorcode  # not a number: its module is imported as before
    assert module["code"]() == (7, 7)
    assert not {name for name in module if name.startswith("S_I")}
    for mode in range(0o200000):
        assert module["of"](mode) == [getattr(_stat, name)(mode) for name in names], oct(mode)


def test_what_is_no_number_is_imported_as_before() -> None:
    """A function that is not called here, and one of other systems' files."""
    tree = constants.inlined(ast.parse("from _stat import S_ISREG, S_ISDOOR\nFOUND = S_ISREG, S_ISDOOR(0)"))
    module: dict[str, Any] = {}
    exec(compile(ast.fix_missing_locations(tree), "packed", "exec"), module)
    assert module["FOUND"] == (_stat.S_ISREG, _stat.S_ISDOOR(0))


def test_no_usual_launch_makes_a_module_for_its_numbers() -> None:
    lib = usual.PACKAGE.parent
    sources = pack.read_sources(lib, lib)
    for program, modules in pack.AT_ONCE.items():
        for name in pack.in_order(sources, modules):
            code = sources[name].code(sources[name].body)
            imported = {step.argval for step in dis.get_instructions(code) if step.opname == "IMPORT_NAME"}
            assert imported.isdisjoint({"errno", "_stat"}), f"{program}: {name}"


def test_what_is_made_at_once_imports_nothing_that_is_there() -> None:
    """An import costs ten times a look, in a function as at the top."""
    lib = usual.PACKAGE.parent
    for program, modules in pack.AT_ONCE.items():
        sources = pack.read_sources(lib, lib)
        made = pack.in_order(sources, modules)
        for name in made:
            source = sources[name]
            source.body = source.linked(made, sources)
            imported = [
                (source._base(node), f"{source._base(node)}.{item.name}")
                for node in source._statements()
                if isinstance(node, ast.ImportFrom) and node.level
                for item in node.names
            ]
            left = {module if module in sources else base for base, module in imported}
            assert left.isdisjoint(made), f"{program}: {name}"
