"""The launches that are to be fast, and a look inside them: which functions they call.

`python -m benchmarks.hot` writes what they call into shim/mesos_shim/bundle/hot.txt; the tests hold the list to it.
"""

from __future__ import annotations

import ast
import os
from pathlib import Path

from ..conftest import CHECKOUT, NOBODY, PYTHON, Shim
from ..protocol import wire
from ..protocol.drive import Agent, end

PACKAGE = CHECKOUT / "shim/mesos_shim"
HOT = PACKAGE / "bundle/hot.txt"
DEFAULT = {"type": "MESOS", "volumes": [{"container_path": "/tmp", "host_path": "tmp", "mode": "RW"}]}

# In the place of an installed program: runs the checkout's modules and notes each function that is called, in the
# command's process up to its exec, in one that stays up to its end.
_TRACER = """\
#!{python} -ISBXutf8
import posix, sys

calls = set()

def note(frame, event, argument):
    if event == "call" and "/mesos_shim/" in frame.f_code.co_filename:
        calls.add(frame.f_code)

def noted(function):
    def wrapper(*arguments):
        sys.setprofile(None)
        lines = [f"{{c.co_filename}}\\t{{c.co_name}}\\t{{c.co_firstlineno}}\\n" for c in calls]
        fd = posix.open({out!r}, posix.O_WRONLY | posix.O_APPEND)
        posix.write(fd, "".join(lines).encode())
        posix.close(fd)
        function(*arguments)
    return wrapper

posix.execve, posix._exit = noted(posix.execve), noted(posix._exit)
sys.path.insert(0, {lib!r})
sys.setprofile(note)
from mesos_shim.launch import execute
from mesos_shim.main import main

execute.before_leaving.append(lambda: None)  # a bundle's way to stop imports; without one all modules are read
main({config!r}, {agent})
"""


def launch_all(shim: Shim, root: Path) -> None:
    """One launch of each usual kind, below the directory `root`."""
    shim.configure()
    sandbox = root / "sandbox"
    sandbox.mkdir()
    for _ in range(2):  # in a fresh sandbox, and in one that has what it needs
        done = shim.run("run", "--volume", "tmp:/tmp", "--", "/bin/true", cwd=sandbox)
        _succeeds(done.returncode, done.stdout, done.stderr)
    shim.configure(default_container_info=DEFAULT)
    done = shim.run("run", "--", "true", cwd=sandbox)
    _succeeds(done.returncode, done.stdout, done.stderr)
    for user in ("root", "nobody"):
        for held in (None, wire.container_info(wire.volume("/tmp", "tmp"))):
            agent = Agent(root / f"agent-{user}-{held is not None}", shim)
            os.chown(agent.sandbox, NOBODY if user == "nobody" else 0, -1)
            agent.hold(held)
            _succeeds(*end(agent.start("true", user=user)))
        agent = Agent(root / f"agent-{user}-021", shim)
        agent.checkpoint()
        os.chown(agent.sandbox, NOBODY if user == "nobody" else 0, -1)
        _succeeds(*end(agent.start_021("true", user=user)))


def _succeeds(status: int, out: str, err: str) -> None:
    if (status, out, err) != (0, "", ""):
        raise AssertionError(f"a usual launch ended with {status}: {out}{err}")


def called(root: Path) -> dict[str, dict[str, set[str]]]:
    """The functions at the top of each module that usual launches call, for each program."""
    prefix = root / "prefix"
    programs = {"mesos-shim": prefix / "bin/mesos-shim", "mesos-containerizer": prefix / "launcher/mesos-containerizer"}
    for name, program in programs.items():
        program.parent.mkdir(parents=True)
        out = root / name
        out.touch()
        out.chmod(0o666)  # the process has the task user's rights when it notes
        config, lib = str(prefix / "etc/mesos-shim/config.json"), str(PACKAGE.parent)
        agent = name == "mesos-containerizer"
        program.write_text(_TRACER.format(python=PYTHON, out=str(out), lib=lib, config=config, agent=agent))
        program.chmod(0o755)
    launch_all(Shim(prefix), root)
    return {name: _functions(root / name) for name in programs}


def _functions(out: Path) -> dict[str, set[str]]:
    lines = {tuple(line.split("\t")) for line in out.read_text().splitlines()}
    found: dict[str, set[str]] = {}
    for path in sorted({Path(file) for file, _, _ in lines}):
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        found[name] = {node.name for node in functions(path) if (str(path), node.name, str(node.lineno)) in lines}
    return found


def functions(path: Path) -> list[ast.FunctionDef]:
    """The functions at the top of the module `path`."""
    return [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
