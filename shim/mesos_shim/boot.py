"""The first of our code that an installed program runs: it makes the modules that bundle.py packed.

What every launch runs is made at once. The rest of the launch path stays in the file until it is asked for: a module
until its import, a function until its call. It is read through a descriptor that was opened at the start, so that a
volume over our own directory can neither hide it nor put something in its place.
"""

import _imp
import marshal
import posix
import sys

if False:  # for the type checker alone: no launch imports typing
    from types import ModuleType
    from typing import Any, Callable

# RTLD_LAZY: of the hundreds of functions that an extension refers to, a launch calls few (dlopen(3)).
_BIND_AT_CALL = 1


class Bundle:
    """The open file, from where in it the parts begin that wait."""

    def __init__(self, fd: int, begin: int, size: int) -> None:
        self._fd = fd
        self._begin = begin
        self._size = size
        self._data: bytes | None = None

    def read(self, start: int, size: int) -> "Any":
        """The objects in the waiting part of `size` bytes at `start`."""
        try:
            if self._data is not None:
                return marshal.loads(self._data[start : start + size])  # noqa: S302 (a file of root's)
            return marshal.loads(posix.pread(self._fd, size, self._begin + start))  # noqa: S302
        except (OSError, EOFError) as error:
            from mesos_shim.errors import ShimError

            raise ShimError(f"reading the shim's own code: {error}; stage the release again") from None

    def take(self) -> None:
        """Bring all of it into memory and close the file: for a process that stays and keeps no descriptor."""
        try:
            self._data = posix.pread(self._fd, self._size, self._begin)
        except OSError:
            return  # said when some of it is needed
        posix.close(self._fd)


class Later:
    """Stands in for a function that a usual launch does not call; its code is read when somebody does."""

    __slots__ = ("bundle", "name", "place", "space")

    def __init__(self, name: str, space: "dict[str, Any]", bundle: Bundle, place: "tuple[int, int]") -> None:
        self.name = name
        self.space = space
        self.bundle = bundle
        self.place = place

    def __call__(self, *arguments: object, **keywords: object) -> object:
        if self.space[self.name] is self:
            exec(self.bundle.read(*self.place), self.space)  # all that wait in its module  # noqa: S102
        return self.space[self.name](*arguments, **keywords)


class Importer:
    """Finds and makes the other modules at their import (importlib.abc.MetaPathFinder and Loader in one)."""

    def __init__(self, bundle: Bundle, index: "tuple[int, int]") -> None:
        self._bundle = bundle
        self._index = index
        # Of each module its directory where it is a package, start and size; read at the first import.
        self._places: dict[str, tuple[str, int, int]] | None = None

    def find_spec(self, name: str, *_: object) -> object:
        """The spec of a packed module, None for any other."""
        if not name.startswith("mesos_shim."):
            return None
        if self._places is None:
            self._places = self._bundle.read(*self._index)
        place = self._places.get(name)
        if place is None:
            return None
        spec = sys.modules["_frozen_importlib"].ModuleSpec(name, self, loader_state=place[1:])
        if place[0]:
            spec.submodule_search_locations = [place[0]]
        return spec

    def create_module(self, spec: object) -> None:
        """An ordinary module will do."""

    def exec_module(self, module: "Any") -> None:
        """Run its code."""
        exec(self._bundle.read(*module.__spec__.loader_state), module.__dict__)  # noqa: S102


def start(
    fd: int,
    first: int,
    sizes: "tuple[int, ...]",
    waiting: int,
    index: "tuple[int, int]",
    extensions: "list[tuple[str, str]]",
    lib: str,
) -> None:
    """Make the modules that every launch needs, from the file `fd`, of which `first` bytes have been read.

    They come in pieces of `sizes` bytes; then `waiting` bytes are left, among them at `index` a list of the other
    modules. `extensions` are names and paths of compiled modules, `lib` is the directory of the package.
    """
    # A launch leaves no garbage; looking for it took a twentieth of what we add to the interpreter's start.
    _make("gc", "built-in", _imp.create_builtin, _imp.exec_builtin).disable()
    flags = sys.getdlopenflags()
    sys.setdlopenflags(_BIND_AT_CALL)
    for name, origin in extensions:
        try:
            sys.modules[name] = _make(name, origin, _imp.create_dynamic, _imp.exec_dynamic)
        except (ImportError, OSError):
            continue  # who needs it finds it the usual way, or does without
    sys.setdlopenflags(flags)
    bundle = Bundle(fd, first + sum(sizes), waiting)
    # All of them before the first is made: a damaged one finds nothing half done.
    pieces = [marshal.loads(posix.read(fd, size)) for size in sizes]  # noqa: S302
    packages = []
    for piece in pieces:
        for name, path, code, functions, place in piece:
            module = _module(name, path)
            for function in functions:
                module.__dict__[function] = Later(function, module.__dict__, bundle, place)
            exec(code, module.__dict__)  # noqa: S102
            if path:
                packages.append((module, path))
    # Only now: where a package has a path, `from . import x` asks importlib for an x that is there already.
    for module, path in packages:
        module.__path__ = [path]
    execute = sys.modules["mesos_shim.execute"]
    execute.before_closing.append(bundle.take)
    execute.before_leaving.append(_forget_paths)
    sys.meta_path.insert(0, Importer(bundle, index))  # type: ignore[arg-type]
    sys.path.append(lib)


def _forget_paths() -> None:
    """Leave the finders of what is built in, frozen or packed: in a task's view a path may lead to the task's files."""
    paths = sys.modules["_frozen_importlib_external"].PathFinder
    sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not paths]


class _Spec:
    """As much of an importlib.machinery.ModuleSpec as _imp looks at."""

    name = origin = parent = ""


def _make(
    name: str, origin: str, create: "Callable[[Any], ModuleType]", execute: "Callable[[ModuleType], Any]"
) -> "ModuleType":
    """A compiled module; finding it the usual way takes longer than all that it does."""
    spec = _Spec()
    spec.name, spec.origin = name, origin
    module = create(spec)
    execute(module)
    return module


def _module(name: str, path: str) -> "ModuleType":
    module = type(sys)(name)
    sys.modules[name] = module
    parent, _, short = name.rpartition(".")
    module.__package__ = name if path else parent
    if parent:
        setattr(sys.modules[parent], short, module)
    return module
