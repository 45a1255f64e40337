"""Stops imports where the shim runs from its modules instead of a bundle: all that a launch may need is read first."""

import posix
import sys

# Of the standard library, what is imported where it is needed.
_LIBRARY = ("fnmatch", "json", "resource", "select")
# What no launch runs; some of it has needs of its own.
_NO_LAUNCHES = {"bundle", "commands", "usage", "release", "validate", "non_linux"}


def stop_imports() -> None:
    """From here on nothing is looked for by a path: in a task's mount namespace it could lead to the task's files."""
    package = sys.modules["mesos_shim"].__path__[0]
    for name in [*_LIBRARY, *_modules(package, "mesos_shim")]:
        __import__(name)
    importlib = sys.modules["_frozen_importlib"]
    sys.meta_path[:] = [importlib.BuiltinImporter, importlib.FrozenImporter]


def _modules(directory: str, package: str) -> "list[str]":
    found = []
    for name in sorted(posix.listdir(directory)):
        stem, _, ending = name.partition(".")
        if stem in _NO_LAUNCHES:
            continue
        if ending == "py":
            found.append(package if stem == "__init__" else f"{package}.{stem}")
        elif not ending and not stem.startswith("__"):
            found += _modules(f"{directory}/{stem}", f"{package}.{stem}")
    return found
