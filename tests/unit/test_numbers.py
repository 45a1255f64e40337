"""No number of an error or of a file mode is copied by hand: `errno` and `_stat` are built-in modules.

A copied number is one architecture's: ENOSYS is 38 on most, 89 on MIPS, where a launch would never find out that a
call is missing.
"""

from __future__ import annotations

import ast
import builtins
import errno
import re
from collections.abc import Iterator

import pytest

from ..lib.shim import SHIM

SOURCES = {str(path.relative_to(SHIM)): path.read_text(encoding="utf-8") for path in sorted(SHIM.rglob("*.py"))}
# Permissions are written as chmod(1) takes them; a file's type, the set-id bits and the sticky one have names.
PERMISSIONS = 0o777
NAMES = {prefix + name for name in errno.errorcode.values() for prefix in ("", "_")}
ERRORS = {name for name, item in vars(builtins).items() if isinstance(item, type) and issubclass(item, OSError)}


def is_number(node: ast.AST) -> bool:
    """Whether it is a whole number written out; 0 is that of no error."""
    return isinstance(node, ast.Constant) and type(node.value) is int and node.value != 0


def has_number(node: ast.AST) -> bool:
    """Whether a number stands anywhere in it."""
    return any(map(is_number, ast.walk(node)))


def asks_errno(node: ast.AST) -> bool:
    """Whether an error is asked for its number."""
    return any(isinstance(item, ast.Attribute) and item.attr == "errno" for item in ast.walk(node))


def copied(text: str) -> Iterator[int]:
    """The lines of a module in which the number of an error is written out."""
    tree = ast.parse(text)
    named = {
        target.id: item.value
        for item in tree.body
        if isinstance(item, ast.Assign)
        for target in item.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            targets = {item.id for target in node.targets for item in ast.walk(target) if isinstance(item, ast.Name)}
            if targets & NAMES and has_number(node.value):
                yield node.lineno
        elif isinstance(node, ast.Compare) and asks_errno(node):
            used = {item.id for item in ast.walk(node) if isinstance(item, ast.Name)}
            if has_number(node) or any(has_number(named[name]) for name in used & set(named)):
                yield node.lineno
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS:
            if node.args and is_number(node.args[0]):
                yield node.lineno
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "strerror" and has_number(node):
            yield node.lineno
        elif isinstance(node, ast.FunctionDef) and asks_errno(node):
            tables = [item for item in ast.walk(node) if isinstance(item, ast.Dict)]
            yield from (item.lineno for item in tables if any(map(is_number, filter(None, item.keys))))


def modes(text: str) -> list[str]:
    """The octal numbers that say more than permissions; in an f-string as well, which is one token before 3.12."""
    return [number for number in re.findall(r"\b0o[0-7]+", text) if int(number, 8) > PERMISSIONS]


@pytest.mark.parametrize("path", SOURCES)
def test_no_number_is_copied(path: str) -> None:
    assert list(copied(SOURCES[path])) == [], "import errno"
    assert modes(SOURCES[path]) == [], "from _stat import S_ISDIR and so on"


@pytest.mark.parametrize(
    "line",
    [
        "_ENOENT, _EBADF = 2, 9",
        "_MISSING = (61, 95)\nif error.errno in _MISSING: pass",
        "if error.errno not in (*ABSENT, 22): pass",
        "raise FileNotFoundError(2, 'gone')",
        "text = posix.strerror(9)",
        "def f(error):\n    return {20: 'a link'}.get(error.errno or 0, '')",
    ],
)
def test_a_copied_number_is_found(line: str) -> None:
    assert list(copied(line))
    assert not list(copied("import errno\nif error.errno in (errno.ENOENT, errno.EBADF): raise OSError(errno.EIO, '')"))


def test_a_copied_mode_is_found() -> None:
    assert modes("if status.st_mode & 0o170000 == 0o040000: pass")
    assert not modes("mkdir(name, 0o755)")
