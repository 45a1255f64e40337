"""Packs the launch path into one file for each program, when a release is staged.

Twenty imports cost a launch 2 ms, because each module is looked for, opened, read and unmarshalled on its own. So the
modules that every usual launch imports are made at once, when the program starts (AT_ONCE). Every other module of a
launch waits in the file, whole, until it is imported (boot.py).

The packed code does what the sources say. It differs from them in five points, each of which makes a start shorter
(docs/performance.md has the figures):

- It has no docstrings and no assert statements, as under `python -OO`: they are for readers and tests.
- It has no annotations: they are for readers and type checkers, and evaluating them takes time at import.
- It has line numbers but no columns, which only mark the place below a line of a traceback; no traceback is shown.
- Where a module that is made at once imports from another one, at its top or in a function, it looks into sys.modules:
  the import of a module that is there already costs ten times as much.
- It has the numbers of `errno` and `_stat` in it instead of their names (constants.py).

It is bytecode of one interpreter: the program that loads it compares the version first and falls back to the modules
themselves.
"""

import ast
import copy
import importlib.util
import marshal
import sys
from pathlib import Path
from typing import Any, Collection, Iterable, Iterator, NamedTuple

from . import constants

# By program, loaded by their path or made as built in: finding them would list two directories of the standard library,
# and the import of a module that is built in takes twice as long. An agent names a user, so its helper looks that up.
EXTENSIONS = {
    "mesos-shim": ("_ctypes", "_json"),
    "mesos-containerizer": ("_ctypes", "_json", "pwd"),
}

# By program: these modules, and all that they import when they are imported themselves, are made at once. tests/speed
# checks that usual launches import exactly those.
AT_ONCE = {
    "mesos-shim": (
        "mesos_shim.main",
        "mesos_shim.commands.arguments",
        "mesos_shim.launch.order",
        "mesos_shim.launch.mount_view",
        "mesos_shim.launch.namespaces",
        "mesos_shim.plan.facts",
    ),
    "mesos-containerizer": (
        "mesos_shim.main",
        "mesos_shim.agent.helper",
        "mesos_shim.agent.launch",
        "mesos_shim.launch.mount_view",
        "mesos_shim.launch.namespaces",
        "mesos_shim.plan.facts",
    ),
}

# What is needed in one of the programs only. An agent gives no id to two containers, so its helper looks for no other.
_OF_RUN = {
    "mesos_shim.commands.arguments",
    "mesos_shim.containers.taken",
    "mesos_shim.launch.callers_terminal",
    "mesos_shim.launch.supervised",
}
_OF_HELPER = {"mesos_shim.agent", "mesos_shim.agent.helper"}

# The package whose modules are found by their names.
_FOUND_BY_NAME = "mesos_shim.isolators"

# Within a piece a name is stored and read once. A buffer of more, with the object around it, would be mapped anew for
# each piece and faulted in page by page (mallopt(3), M_MMAP_THRESHOLD: 128 KiB).
_PIECE = 120 * 1024

# -X utf8: a ContainerInfo is UTF-8, and its names must mean the same bytes whatever locale the caller has.
_PROGRAM = """\
#!{python} -ISBXutf8
import marshal, posix, sys

if sys.hexversion >> 16 == {version:#x}:
    exec(marshal.loads(posix.read(bundle := posix.open({bundle!r}, 0), {first})))
# Another interpreter than the one that this was staged by: the modules themselves, until the release is staged again.
sys.path.insert(0, {lib!r})
from mesos_shim.main import main

main({config!r}, agent={agent})
"""


class Packed(NamedTuple):
    """A bundle, and how much of it the program reads first."""

    data: bytes
    first: int


def program(python: str, lib: Path, bundle: Path, first: int, config: Path, agent: bool) -> str:
    """The text of an installed program; every path in it is fixed. Its every word is compiled at every launch."""
    version = sys.hexversion >> 16  # bytecode stays the same within 3.11, say
    return _PROGRAM.format(
        python=python, lib=str(lib), version=version, bundle=str(bundle), first=first, config=str(config), agent=agent
    )


def pack(lib: Path, final_lib: Path, name: str, config: Path, agent: bool) -> Packed:
    """The bundle for the program `name` of the package in `lib`, which will lie in `final_lib`."""
    sources = read_sources(lib, final_lib)
    at_once = in_order(sources, AT_ONCE[name])
    made = []
    for module in at_once:
        source = sources[module]
        made.append((module, source.directory, source.code(source.linked(at_once, sources))))
    waiting = bytearray()

    def put_off(value: "Any") -> "tuple[int, int]":
        data = marshal.dumps(value)
        waiting.extend(data)
        return len(waiting) - len(data), len(data)

    others = {}
    for module in seldom_imported(sources, at_once):
        source = sources[module]
        others[module] = (source.directory, *put_off(source.code(source.body)))
    index = put_off(others)
    pieces = _pieces(made)
    arguments = (tuple(map(len, pieces)), len(waiting), index, _extensions(name), str(final_lib), str(config), agent)
    boot = sources["mesos_shim.bundle.boot"]
    first = marshal.dumps(boot.code([*boot.body, *ast.parse(f"start(bundle, *{arguments!r})").body]))
    return Packed(first + b"".join(pieces) + bytes(waiting), len(first))


def in_order(sources: "dict[str, Source]", modules: "Iterable[str]") -> "list[str]":
    """These modules and those that they import when they are imported, each after those that it needs itself."""
    order: list[str] = []

    def add(module: str) -> None:
        if module not in order:
            for needed in sources[module].needs(set(sources)):
                add(needed)
            order.append(module)

    for module in modules:
        add(module)
    return order


def seldom_imported(sources: "dict[str, Source]", order: "list[str]") -> "list[str]":
    """The modules that a launch with the modules `order` may import besides: all that its functions name."""
    # What main hands over to when it is not a launch of this program, and what explains one.
    excluded = {"mesos_shim.commands", "mesos_shim.commands.dispatch", "mesos_shim.launch.explained"}
    excluded |= _OF_RUN if "mesos_shim.agent.helper" in order else _OF_HELPER
    found: list[str] = []
    left = list(order)
    while left:
        module = left.pop()
        needed = sources[module].needs(set(sources), at_once=False)
        if module == _FOUND_BY_NAME:
            needed += [name for name in sources if name.startswith(module + ".")]
        for name in needed:
            if name not in found and name not in order and name not in excluded:
                found.append(name)
                left.append(name)
    return sorted(found)


def _pieces(modules: "list[Any]") -> "list[bytes]":
    pieces: list[bytes] = []
    piece: list[Any] = []
    for module in modules:
        if piece and len(marshal.dumps([*piece, module])) > _PIECE:
            pieces.append(marshal.dumps(piece))
            piece = []
        piece.append(module)
    return [*pieces, marshal.dumps(piece)]


def _extensions(program: str) -> "tuple[tuple[str, str], ...]":
    found = []
    for name in EXTENSIONS[program]:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin:
            found.append((name, spec.origin))
    return tuple(found)


def read_sources(lib: Path, final_lib: Path) -> "dict[str, Source]":
    """The modules of the package in `lib` by their names."""
    found = [Source(path, lib, final_lib) for path in sorted((lib / "mesos_shim").rglob("*.py"))]
    return {source.module: source for source in found}


class Source:
    """One module of the package, as it lies in the archive and as it will be called."""

    def __init__(self, path: Path, lib: Path, final_lib: Path) -> None:
        relative = path.relative_to(lib)
        package = path.name == "__init__.py"
        self.module = ".".join((relative.parent if package else relative.with_suffix("")).parts)
        # Of a package, where its other modules lie; empty for a plain module.
        self.directory = str(final_lib / relative.parent) if package else ""
        self._package = self.module if package else self.module.rpartition(".")[0]
        self._origin = str(final_lib / relative)
        self.body = ast.parse(path.read_text(encoding="utf-8")).body

    def needs(self, available: "set[str]", at_once: bool = True) -> "list[str]":
        """The modules of `available` that it imports itself, at its own import or at any time; its package first."""
        found = [self.module.rpartition(".")[0]]
        for statement in self.body if at_once else self._statements():
            if isinstance(statement, ast.ImportFrom) and statement.level:
                base = self._base(statement)
                found += [base, *(f"{base}.{name.name}" for name in statement.names)]
        return [module for module in found if module in available and module != self.module]

    def _statements(self) -> "Iterator[ast.AST]":
        for statement in self.body:
            for_checkers = isinstance(statement, ast.If) and isinstance(statement.test, ast.Constant)
            if not for_checkers:
                yield from ast.walk(statement)

    def _base(self, statement: ast.ImportFrom) -> str:
        """What a relative import is relative to."""
        above = self._package.split(".")[: -(statement.level - 1) or None]
        return ".".join([*above, *filter(None, [statement.module])])

    def linked(self, made: "list[str]", available: "Collection[str]") -> "list[ast.stmt]":
        """Its statements; where they import from modules that are `made` at once, they look into those instead.

        An import of what is there already still costs ten times a look. Other modules of `available` are imported.
        """
        tree = copy.deepcopy(ast.Module(self.body, []))
        _Linked(self, made, available).visit(tree)
        return tree.body

    def lookups(self, statement: ast.ImportFrom, made: "list[str]", available: "Collection[str]") -> "list[ast.stmt]":
        """What stands for the import; what is not there yet is imported still."""
        result: list[ast.stmt] = []
        waiting = []
        base = self._base(statement)
        for name in statement.names:
            module = f"{base}.{name.name}"
            if module not in made and (module in available or base not in made):
                waiting.append(name)
                continue
            where = f"modules[{module!r}]" if module in made else f"modules[{base!r}].{name.name}"
            lookup = ast.parse(f"{name.asname or name.name} = {where}").body[0]
            for node in ast.walk(lookup):
                ast.copy_location(node, statement)
            result.append(lookup)
        if waiting:
            result.append(ast.copy_location(ast.ImportFrom(statement.module, waiting, statement.level), statement))
        return result

    def code(self, statements: "list[ast.stmt]") -> "Any":
        """The bytecode of these statements."""
        tree = ast.Module([*statements], [])
        _Lean().visit(tree)
        tree = constants.inlined(tree)
        ast.fix_missing_locations(tree)
        return compile(tree, self._origin, "exec", optimize=2, dont_inherit=True)


class _Linked(ast.NodeTransformer):
    """Puts looks into `modules` (boot.py) in the place of a module's relative imports, in its functions too."""

    def __init__(self, source: Source, made: "list[str]", available: "Collection[str]") -> None:
        self._source, self._made, self._available = source, made, available

    def visit_ImportFrom(self, node: ast.ImportFrom) -> "list[ast.stmt]":  # noqa: N802 (ast names it)
        return self._source.lookups(node, self._made, self._available) if node.level else [node]


class _Lean(ast.NodeTransformer):
    """Takes away annotations and columns, which no launch looks at."""

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, (ast.stmt, ast.expr)):
            node.end_lineno, node.col_offset, node.end_col_offset = node.lineno, -1, -1
        return super().visit(node)  # type: ignore[no-any-return]

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:  # noqa: N802 (ast names it)
        self.generic_visit(node)
        node.returns = None
        for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
            argument.annotation = None
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:  # noqa: N802
        body: list[ast.stmt] = []
        for item in node.body:
            if isinstance(item, ast.AnnAssign):  # a NamedTuple is made of them
                body.append(item)
            else:
                body.append(self.visit(item))  # type: ignore[arg-type]
        node.body = body
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:  # noqa: N802
        self.generic_visit(node)
        if node.value is None:
            return ast.copy_location(ast.Pass(), node)
        return ast.copy_location(ast.Assign(targets=[node.target], value=node.value), node)
