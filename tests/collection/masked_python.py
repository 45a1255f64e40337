#!/usr/bin/python3 -ISB
"""An interpreter on a masked macOS (tests/lib/mask.py), for hosts' modules and for the program that they install."""

import os
import runpy
import sys
import types

words = sys.argv[1:]
while words and words[0].startswith("-") and words[0] not in ("-", "-c"):
    words.pop(0)  # this one was started as the shim asks for
sys.argv = words or ["-"]
sys.executable = os.path.abspath(__file__)
lib = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(sys.argv[0]))), "lib")
if os.path.isdir(os.path.join(lib, "psutil")):
    sys.path.insert(0, lib)
    import psutil  # noqa: F401 (before the mask: its own Linux part would not load behind it)

    sys.path.pop(0)
with open(os.path.join(os.path.dirname(os.path.realpath(__file__)), "mask.py")) as mask:
    exec(compile(mask.read(), mask.name, "exec"), {"__name__": "mask"})

# What urllib asks on a Mac.
sys.modules["_scproxy"] = types.ModuleType("_scproxy")
sys.modules["_scproxy"]._get_proxy_settings = sys.modules["_scproxy"]._get_proxies = dict

if sys.argv[0] == "-c":
    code = sys.argv.pop(1)
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
elif sys.argv[0] == "-":
    exec(compile(sys.stdin.buffer.read(), "<stdin>", "exec"), {"__name__": "__main__"})
else:
    if not any(word.startswith("-I") for word in sys.orig_argv[2:3]):
        sys.path.insert(0, os.path.dirname(sys.argv[0]))
    runpy.run_path(sys.argv[0], run_name="__main__")
