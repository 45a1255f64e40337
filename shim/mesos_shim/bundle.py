"""Packs the modules of the launch path into one file, when a release is staged.

Twenty imports cost a launch 2 ms: each is looked for, opened, read and unmarshalled on its own. One file with all of
them, compiled without docstrings and annotations, saves half of what we add to the bare interpreter's start
(docs/performance.md has the figures). It is bytecode of one interpreter: the program that loads it compares the
version first and falls back to the modules themselves.
"""

import ast
import importlib.util
import marshal
import sys
from pathlib import Path

# In the order in which they can be executed: each needs only earlier ones. A test compares them with what a launch
# really imports.
RUN = (
    "errors",
    "paths",
    "container_info",
    "jsontext",
    "config",
    "linux",
    "execute",
    "resolve",
    "identity",
    "plan",
    "policy",
    "record",
    "request",
    "undo",
    "launch",
    "sandbox_dirs",
    "facts",
    "view",
    "main",
)
AGENT = (
    *RUN[:-1],
    "supervise",
    "agent",
    "agent.protobuf",
    "agent.held",
    "agent.setup",
    "agent.packaged",
    "agent.modern",
    "agent.helper",
    "main",
)
# Loaded by their path: finding them would list two directories of the standard library.
EXTENSIONS = ("_ctypes", "_json")

_BOOT = """
import _imp, sys

class Spec:
    parent = ""

for name, origin in EXTENSIONS:
    try:
        Spec.name, Spec.origin = name, origin
        found = _imp.create_dynamic(Spec)
        _imp.exec_dynamic(found)
        sys.modules[name] = found
    except (ImportError, OSError):
        pass  # the launch path imports it the usual way, or does without
for name, path, code in MODULES:
    module = type(sys)(name)
    sys.modules[name] = module
    parent, _, short = name.rpartition(".")
    module.__package__ = name if path else parent
    if path:
        module.__path__ = [path]
    if parent:
        setattr(sys.modules[parent], short, module)
    exec(code, module.__dict__)
sys.path.append(LIB)
main = sys.modules["mesos_shim.main"].main
"""

# -X utf8: a ContainerInfo is UTF-8, and its names must mean the same bytes whatever locale the caller has.
_PROGRAM = """\
#!{python} -ISBXutf8
import sys

LIB = {lib!r}
try:
    if sys.hexversion != {version:#x}:
        raise OSError("staged by another interpreter")
    import marshal, posix

    BUNDLE = posix.open({bundle!r}, posix.O_CLOEXEC)
    BOOT, MODULES, EXTENSIONS = marshal.loads(posix.read(BUNDLE, {size}))
    posix.close(BUNDLE)  # or --keep-fd could name it
except (OSError, EOFError, ValueError, TypeError):
    sys.path.insert(0, LIB)
    from mesos_shim.main import main
else:
    exec(BOOT)
main({config!r}{agent})
"""


def program(python: str, lib: Path, bundle: Path, size: int, config: Path, agent: bool) -> str:
    """The text of an installed program; every path in it is fixed."""
    return _PROGRAM.format(
        python=python,
        lib=str(lib),
        version=sys.hexversion,
        bundle=str(bundle),
        size=size + 1,
        config=str(config),
        agent=", agent=True" if agent else "",
    )


def pack(lib: Path, final_lib: Path, names: "tuple[str, ...]") -> bytes:
    """The bundle of the package in `lib`, which will lie in `final_lib`."""
    modules = [("mesos_shim", str(final_lib / "mesos_shim"), _compile(lib, final_lib, "mesos_shim/__init__.py"))]
    for name in names:
        relative = "mesos_shim/" + name.replace(".", "/")
        if (lib / relative).is_dir():
            path, code = str(final_lib / relative), _compile(lib, final_lib, relative + "/__init__.py")
        else:
            path, code = "", _compile(lib, final_lib, relative + ".py")
        modules.append((f"mesos_shim.{name}", path, code))
    extensions = []
    for name in EXTENSIONS:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.has_location and spec.origin:
            extensions.append((name, spec.origin))
    boot = compile(_BOOT, "mesos-shim boot", "exec", optimize=2, dont_inherit=True)
    return marshal.dumps((boot, modules, extensions))


def _compile(lib: Path, final_lib: Path, relative: str) -> object:
    tree = ast.parse((lib / relative).read_text(encoding="utf-8"))
    tree = ast.fix_missing_locations(_WithoutAnnotations().visit(tree))
    return compile(tree, str(final_lib / relative), "exec", optimize=2, dont_inherit=True)


class _WithoutAnnotations(ast.NodeTransformer):
    """Annotations are for readers and checkers: a third of the bytecode and of the work at import."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:  # noqa: N802 (ast names it)
        self.generic_visit(node)
        node.returns = None
        for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
            argument.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:  # noqa: N802
        if node.value is None:
            return ast.copy_location(ast.Pass(), node)
        return ast.copy_location(ast.Assign(targets=[node.target], value=node.value), node)
