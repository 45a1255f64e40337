"""Once a launch is in the task's view, root's interpreter must not import what lies there."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ..conftest import PYTHON, Shim, needs_root

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
with open(sys.argv[1]) as file:
    text = file.read()
del sys.argv[0]
exec(text)
"""
_PLANTED = """
import posix
posix.write(1, b"planted code ran as uid %d; " % posix.geteuid())
def getregentry():
    raise LookupError("planted")
"""


def test_nothing_is_imported_from_the_view(shim: Shim, sandbox: Path, open_tmp: Path) -> None:
    """A volume over the standard library, where the operator's framework_volumes allow such paths."""
    encodings = subprocess.run(
        [PYTHON, "-ISc", "import encodings; print(encodings.__path__[0])"], capture_output=True, text=True, check=True
    ).stdout.strip()
    planted = open_tmp / "planted"
    planted.mkdir()
    (planted / "idna.py").write_text(_PLANTED)
    words = [PYTHON, "-ISBc", _ASK, str(shim.program), "run", "--volume", f"{planted}:{encodings}", "--", "/bin/true"]
    done = subprocess.run(words, cwd=sandbox, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("unknown encoding: idna", "", 0)
