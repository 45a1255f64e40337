"""Every error and warning of the shim, found in its source by an AST walk: f-strings become texts with `…` for values.

A message is the argument of an error class, of `append` on a list of problems or warnings, or of what is written to
stderr; or a returned reason, in the functions whose names are listed here.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).resolve().parents[2] / "shim/mesos_shim"
VALUE = "…"

# Functions that return, or hand on, a piece of a message rather than raise it.
_RETURNING = re.compile(r"(^|_)fault|forbidden|explain_failure|(^|_)(why|missing)(_|$)|remedy|^unexpected$|_switch$")
_LISTS = re.compile(r"(problems|warnings|found\.warnings)$")
_HANDED_ON = {"_Refused": 0, "plan_without_isolation": 2, "cannot": 2, "fail": 1, "_warn": 0}


class Message(NamedTuple):
    """One message: where it is made, and its text with `…` for each value."""

    place: str
    text: str


def collect(source: Path = SOURCE) -> list[Message]:
    """All messages below `source`, each place once."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(source.rglob("*.py"))}
    errors = _error_classes(trees.values())
    found: dict[Message, None] = {}
    for path, tree in trees.items():
        # What doctor says carries its remedy with it; only its errors are messages.
        for line, node in _nodes(tree, errors, raised_only="doctor" in path.relative_to(source).parts):
            for text in texts(node):
                if _says_something(text):
                    found[Message(f"{path.relative_to(source)}:{line}", text)] = None
    return list(found)


def _error_classes(trees: object) -> set[str]:
    """ShimError, ReleaseError and whatever derives from them."""
    found = {"ShimError", "ReleaseError"}
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    for _ in range(4):
        found |= {node.name for node in classes if any(_name(base) in found for base in node.bases)}
    return found


def _nodes(tree: ast.AST, errors: set[str], raised_only: bool) -> list[tuple[int, ast.expr]]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            name = _name(node.func)
            if name in errors:
                found.append((node.lineno, node.args[0]))
            elif raised_only:
                continue
            elif name in ("append", "insert") and _LISTS.search(ast.unparse(node.func.value)):
                found.append((node.lineno, node.args[-1]))
            elif name in _HANDED_ON and len(node.args) > _HANDED_ON[name]:
                found.append((node.lineno, node.args[_HANDED_ON[name]]))
            elif name == "warn":
                found.extend(_elements(node.args[0]))
            elif name == "write" and ast.unparse(node.func) == "sys.stderr.write":
                found.append((node.lineno, node.args[0]))
        elif raised_only:
            continue
        elif isinstance(node, ast.Assign):
            names = " ".join(ast.unparse(target) for target in node.targets)
            if re.search(r"(^|[.\s])(warning|fault|why|problem|explanation)$", names):
                found.append((node.lineno, node.value))
            elif re.search(r"(problems|warnings)$", names):
                found.extend(_elements(node.value))
        elif isinstance(node, ast.FunctionDef):
            returned = [
                item.value for item in ast.walk(node) if isinstance(item, ast.Return) and item.value is not None
            ]
            for value in returned:
                if _RETURNING.search(node.name):
                    found.append((value.lineno, value))
                elif "list[str]" in _annotation(node):
                    found.extend(_elements(value))
    return found


def _elements(value: ast.expr) -> list[tuple[int, ast.expr]]:
    """The elements of the lists in an expression, those of a comprehension too."""
    lists = [node.elts for node in ast.walk(value) if isinstance(node, ast.List)]
    lists += [[node.elt] for node in ast.walk(value) if isinstance(node, ast.ListComp)]
    return [(element.lineno, element) for elements in lists for element in elements]


def _annotation(node: ast.FunctionDef) -> str:
    return "" if node.returns is None else ast.unparse(node.returns)


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def texts(node: ast.expr) -> list[str]:
    """The texts that an expression can be, `…` for what is not written in it."""
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    if isinstance(node, ast.JoinedStr):
        parts = ["".join(texts(part)[:1]) if isinstance(part, ast.Constant) else VALUE for part in node.values]
        return ["".join(parts)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [a + b for a in texts(node.left) or [VALUE] for b in texts(node.right) or [VALUE]]
    if isinstance(node, ast.IfExp):
        return texts(node.body) + texts(node.orelse)
    if isinstance(node, ast.Dict):
        return [text for value in node.values for text in texts(value)]
    if isinstance(node, ast.BoolOp):
        return [text for value in node.values for text in texts(value)]
    return []


def _says_something(text: str) -> bool:
    """Not a message of values alone (`…: …`), nor a name."""
    return len(re.findall(r"[A-Za-z]{2,}", text)) >= 2 or bool(re.search(r"[a-z]{3} |[a-z]{8}", text))
