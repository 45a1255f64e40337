"""Puts the numbers of `errno` and `_stat` into packed code, so that no launch makes these two modules.

Each of them fills a dictionary with a hundred names when it is made, of which a launch needs a dozen. The numbers are
those of the interpreter that packs, the only one that a bundle is for. What the functions of `_stat` compute is the
same wherever Python runs (sys/stat.h); a test compares them all with `_stat`'s own.
"""

import _stat
import ast
import errno

_MODES = range(1 << 16)
_PERMISSIONS = _stat.S_IMODE(_MODES[-1])
_TYPE_BITS = _stat.S_IFMT(_MODES[-1])
# By function, the type of file that it is true for.
_TYPES = {
    name: kind
    for name in dir(_stat)
    if name.startswith("S_IS") and callable(getattr(_stat, name))
    for kind in _MODES[:: _PERMISSIONS + 1]
    if getattr(_stat, name)(kind)
}


def inlined(tree: ast.Module) -> ast.Module:
    """`tree` with numbers for `errno.NAME` and what is imported from `_stat`; imports that nothing needs are gone."""
    _Numbers().visit(tree)
    left = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return ast.Module([statement for statement in tree.body if not _is_needless(statement, left)], [])


def _is_needless(statement: ast.stmt, left: "set[str]") -> bool:
    """Whether it imports the two modules alone, and none of the names that are `left`."""
    if isinstance(statement, ast.Import):
        return all(name.name == "errno" and name.name not in left for name in statement.names)
    if isinstance(statement, ast.ImportFrom) and statement.module == "_stat":
        return left.isdisjoint(name.name for name in statement.names)
    return False


class _Numbers(ast.NodeTransformer):
    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:  # noqa: N802 (ast names it)
        self.generic_visit(node)
        value = getattr(errno, node.attr, None)
        if isinstance(node.value, ast.Name) and node.value.id == "errno" and isinstance(value, int):
            return ast.copy_location(ast.Constant(value), node)
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:  # noqa: N802
        value = getattr(_stat, node.id, None) if node.id.startswith("S_I") else None
        return ast.copy_location(ast.Constant(value), node) if isinstance(value, int) else node

    def visit_Call(self, node: ast.Call) -> ast.AST:  # noqa: N802
        self.generic_visit(node)
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name == "S_IMODE":
            return ast.copy_location(_and(node.args[0], _PERMISSIONS), node)
        if name == "S_IFMT":
            return ast.copy_location(_and(node.args[0], _TYPE_BITS), node)
        if name in _TYPES:
            compared = ast.Compare(_and(node.args[0], _TYPE_BITS), [ast.Eq()], [ast.Constant(_TYPES[name])])
            return ast.copy_location(compared, node)
        return node


def _and(mode: ast.expr, mask: int) -> ast.expr:
    return ast.BinOp(mode, ast.BitAnd(), ast.Constant(mask))
