"""Runs mesos-shim as on another system than Linux: `masked_platform.py LIB CONFIG ARGUMENTS…`.

psutil, loaded before, stands for the one that macOS would have; mask.py is the rest.
"""

import os
import sys

LIB, CONFIG = sys.argv[1:3]
sys.path.insert(0, LIB)
del sys.argv[1:3]

import psutil  # noqa: E402, F401 (before the mask: its own Linux part would not load behind it)

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "mask.py")) as mask:
    exec(compile(mask.read(), mask.name, "exec"), {"__name__": "mask"})

from mesos_shim.main import main  # noqa: E402

main(CONFIG)
