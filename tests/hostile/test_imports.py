"""Once a launch is in the task's view, root's interpreter must not import what lies there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ..lib.shim import PYTHON, Shim, needs_root

pytestmark = needs_root

# The installed program, up to where it would become the command; there a codec is asked for that was not loaded.
_ASK = """
import posix, sys
def execve(path, arguments, variables):
    try:
        "a".encode("idna")
        posix.write(1, b"imported")
    except LookupError as error:
        posix.write(1, str(error).encode())
    posix._exit(0)
posix.execve = execve
with open(sys.argv[2]) as file:
    text = file.read()
if sys.argv[1] == "modules":
    text = text.replace("sys.hexversion >> 16 ==", "0 ==")
del sys.argv[:2]
exec(text)
"""
_PLANTED = """
import posix
posix.write(1, b"planted code ran as uid %d; " % posix.geteuid())
def getregentry():
    raise LookupError("planted")
"""


@pytest.mark.parametrize("loaded_from", ["bundle", "modules"])
def test_nothing_is_imported_from_the_view(shim: Shim, sandbox: Path, open_tmp: Path, loaded_from: str) -> None:
    """A volume over the standard library, where the operator's framework_volumes allow such paths.

    Also where the shim runs by another interpreter than the one that its bundle was made for.
    """
    encodings = subprocess.run(
        [PYTHON, "-ISc", "import encodings; print(encodings.__path__[0])"], capture_output=True, text=True, check=True
    ).stdout.strip()
    planted = open_tmp / "planted"
    planted.mkdir()
    (planted / "idna.py").write_text(_PLANTED)
    launch = ["run", "--volume", f"{planted}:{encodings}", "--", "/bin/true"]
    words = [PYTHON, "-ISBc", _ASK, loaded_from, str(shim.program), *launch]
    done = subprocess.run(words, cwd=sandbox, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("unknown encoding: idna", "", 0)
