"""Writes shim/mesos_shim/bundle/hot.txt: `.venv/bin/python -m benchmarks.hot`."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tests.speed import usual

HEAD = """\
# The functions that usual launches call, by module; the others of these modules are read when they are called.
# Written by `.venv/bin/python -m benchmarks.hot`; tests/speed holds it to what launches do.
"""


def main() -> None:
    """Trace the usual launches and write down what they call."""
    root = Path(tempfile.mkdtemp(prefix="mesos-shim-hot-", dir="/var/tmp"))
    root.chmod(0o755)
    try:
        found = usual.called(root)
    finally:
        shutil.rmtree(root)
    lines = [HEAD]
    for program, modules in found.items():
        lines.append(f"[{program}]\n")
        lines += [f"{module}: {' '.join(sorted(names))}".rstrip() + "\n" for module, names in sorted(modules.items())]
    usual.HOT.write_text("".join(lines), encoding="ascii")


main()
