"""The first of our code that an installed program runs: it makes the modules that pack.py packed, and calls main.

What every usual launch imports is made at once. The other modules of the launch path stay in the file until they are
imported. They are read through a descriptor that was opened at the start, so that a volume over our own directory can
neither hide them nor put something in their place.
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
_SEEK_CUR = 1  # lseek(2)


class Bundle:
    """The open file; finds and makes the modules in it that wait (importlib.abc.MetaPathFinder and Loader)."""

    def __init__(self, fd: int, begin: int, size: int, index: "tuple[int, int]") -> None:
        """What waits begins at `begin` and has `size` bytes; `index` is the place of the list of modules in it."""
        self._fd = fd
        self._begin = begin
        self._size = size
        self._index = index
        self._data: bytes | None = None
        # Of each module its directory where it is a package, start and size.
        self._locations: dict[str, tuple[str, int, int]] | None = None

    def read(self, start: int, size: int) -> "Any":
        """The object in the `size` bytes at `start` of what waits."""
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

    def find_spec(self, name: str, *_: object) -> object:
        """The spec of a packed module, None for any other."""
        if not name.startswith("mesos_shim."):
            return None
        if self._locations is None:
            self._locations = self.read(*self._index)
        location = self._locations.get(name)
        if location is None:
            return None
        spec = sys.modules["_frozen_importlib"].ModuleSpec(name, self, loader_state=location[1:])
        if location[0]:
            spec.submodule_search_locations = [location[0]]
        return spec

    def create_module(self, spec: object) -> None:
        """An ordinary module will do."""

    def exec_module(self, module: "Any") -> None:
        """Run its code."""
        exec(self.read(*module.__spec__.loader_state), module.__dict__)  # noqa: S102


def start(
    fd: int,
    sizes: "tuple[int, ...]",
    waiting: int,
    index: "tuple[int, int]",
    extensions: "tuple[tuple[str, str], ...]",
    lib: str,
    config: str,
    agent: bool,
) -> None:
    """Make what every launch needs and call main; comes back only if the bundle is damaged.

    The file `fd` has been read up to the first of the pieces, of `sizes` bytes; then `waiting` bytes are left, and
    `index` is where in them the other modules are listed. `extensions` are names of compiled modules, with
    their paths or "built-in". `lib` is the directory of the package.
    """
    # A launch leaves no garbage; looking for it took a twentieth of what we add to the interpreter's start.
    _make("gc", "built-in", _imp.create_builtin, _imp.exec_builtin).disable()
    try:
        pieces = [marshal.loads(posix.read(fd, size)) for size in sizes]  # noqa: S302
    except (EOFError, ValueError, TypeError):
        return  # nothing has been made yet: the program goes on without the bundle
    _load(extensions)
    bundle = Bundle(fd, posix.lseek(fd, 0, _SEEK_CUR), waiting, index)
    try:
        for piece in pieces:
            for name, path, code in piece:
                module = _module(name, path)
                module.__dict__["modules"] = sys.modules  # what bundle/pack.py makes of imports looks there
                exec(code, module.__dict__)  # noqa: S102
    except Exception as error:
        _fail(error, agent)
    execute = sys.modules["mesos_shim.launch.execute"]
    execute.before_closing.append(bundle.take)
    execute.before_leaving.append(_forget_paths)
    sys.meta_path.insert(0, bundle)  # type: ignore[arg-type]
    sys.path.append(lib)
    sys.modules["mesos_shim.main"].main(config, agent)


def _fail(error: Exception, agent: bool) -> None:
    """As main says it of an error; a launch's modules need nothing but `_ctypes`, which the host may have broken."""
    errors = sys.modules["mesos_shim.errors"]  # the first of the modules: it needs `posix` alone
    name, status = ("mesos-containerizer", 1) if agent else ("mesos-shim", errors.EXIT_SHIM_FAILED)
    posix._exit(errors.fail(name, errors.unexpected(error), status))


def _load(extensions: "tuple[tuple[str, str], ...]") -> None:
    flags = sys.getdlopenflags()
    sys.setdlopenflags(_BIND_AT_CALL)
    for name, origin in extensions:
        try:
            if origin == "built-in":
                sys.modules[name] = _make(name, origin, _imp.create_builtin, _imp.exec_builtin)
            else:
                sys.modules[name] = _make(name, origin, _imp.create_dynamic, _imp.exec_dynamic)
        except (ImportError, OSError):
            continue  # who needs it finds it the usual way, or does without
    sys.setdlopenflags(flags)


def _make(
    name: str, origin: str, create: "Callable[[Any], ModuleType]", execute: "Callable[[ModuleType], Any]"
) -> "ModuleType":
    """A compiled module; finding it the usual way takes longer than all that it does."""
    module = create(sys.modules["_frozen_importlib"].ModuleSpec(name, None, origin=origin))
    execute(module)
    return module


def _module(name: str, path: str) -> "ModuleType":
    module = type(sys)(name)
    sys.modules[name] = module
    parent, _, short = name.rpartition(".")
    module.__package__ = name if path else parent
    if path:
        module.__path__ = [path]
    if parent:
        setattr(sys.modules[parent], short, module)
    return module


def _forget_paths() -> None:
    """Leave the finders of built-in, frozen or packed modules: a path may lead to the task's files by now."""
    paths = sys.modules["_frozen_importlib_external"].PathFinder
    sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not paths]
