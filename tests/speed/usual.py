"""The launches that are to be fast, and which modules they import; bundle/pack.py is held to both."""

from __future__ import annotations

import os
from pathlib import Path

from ..lib import wire
from ..lib.played_agent import PlayedAgent, end
from ..lib.shim import CHECKOUT, NOBODY, PYTHON, Shim

PACKAGE = CHECKOUT / "shim/mesos_shim"
DEFAULT = {"type": "MESOS", "volumes": [{"container_path": "/tmp", "host_path": "tmp", "mode": "RW"}]}

# In the place of an installed program: runs the checkout's modules and notes which of them are there in the end, in the
# command's process at its exec, in one that stays when it exits.
_NOTES_MODULES = """\
#!{python} -ISBXutf8
import posix, sys

def noted(function):
    def wrapper(*arguments):
        fd = posix.open({out!r}, posix.O_WRONLY | posix.O_APPEND)
        posix.write(fd, "".join(name + "\\n" for name in sys.modules if name.startswith("mesos_shim")).encode())
        posix.close(fd)
        function(*arguments)
    return wrapper

posix.execve, posix._exit = noted(posix.execve), noted(posix._exit)
sys.path.insert(0, {lib!r})
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
            agent = PlayedAgent(root / f"agent-{user}-{held is not None}", shim)
            os.chown(agent.sandbox, NOBODY if user == "nobody" else 0, -1)
            agent.hold(held)
            _succeeds(*end(agent.start("true", user=user)))
        agent = PlayedAgent(root / f"agent-{user}-021", shim)
        agent.checkpoint()
        os.chown(agent.sandbox, NOBODY if user == "nobody" else 0, -1)
        _succeeds(*end(agent.start_021("true", user=user)))


def _succeeds(status: int, out: str, err: str) -> None:
    if (status, out, err) != (0, "", ""):
        raise AssertionError(f"a usual launch ended with {status}: {out}{err}")


def imported(root: Path) -> dict[str, set[str]]:
    """The shim's modules that usual launches import, for each program."""
    prefix = root / "prefix"
    programs = {"mesos-shim": prefix / "bin/mesos-shim", "mesos-containerizer": prefix / "launcher/mesos-containerizer"}
    for name, program in programs.items():
        program.parent.mkdir(parents=True)
        out = root / name
        out.touch()
        out.chmod(0o666)  # the process has the task user's rights when it notes
        config, lib = str(prefix / "etc/mesos-shim/config.json"), str(PACKAGE.parent)
        agent = name == "mesos-containerizer"
        program.write_text(_NOTES_MODULES.format(python=PYTHON, out=str(out), lib=lib, config=config, agent=agent))
        program.chmod(0o755)
    launch_all(Shim(prefix), root)
    return {name: set((root / name).read_text().split()) for name in programs}
