"""Code as a hash that says whether it does another thing: of its syntax tree, printed anew."""

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable
from typing import Any


def syntax(*functions: Callable) -> str:
    """Of functions' syntax trees and, where they name functions of their own package or constants,
    of those: without docstrings and annotations, whatever their names and those of locals are."""
    trees: dict[Callable, str] = {}

    def visit(function: Callable) -> str:
        function = inspect.unwrap(function)
        if function not in trees:
            trees[function] = ""  # one that calls itself
            source = textwrap.dedent(inspect.getsource(function))
            tree = _Anonymous(function, visit).visit(ast.parse(source).body[0])
            trees[function] = digest(ast.unparse(tree))
        return trees[function]

    return digest("".join(map(visit, functions)))


class _Anonymous(ast.NodeTransformer):
    """A function's tree with what its names stand for in place of them."""

    def __init__(self, function: Callable, visit_function: Callable[[Callable], str]):
        self._globals, self._visit_function = function.__globals__, visit_function
        self._package = function.__module__.partition(".")[0]
        self._locals: dict[str, str] = {}

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        bound = {name.id for name in ast.walk(node) if _is_stored(name)}
        bound |= {arg.arg for arg in ast.walk(node) if isinstance(arg, ast.arg)}
        for name in bound:
            self._locals.setdefault(name, "")
        node.name, node.returns, node.decorator_list = "", None, []
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:]
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg(self._local(node.arg))

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in self._locals:
            return ast.Name(self._local(node.id))
        return ast.Name(
            self._meaning(self._globals[node.id]) if node.id in self._globals else node.id
        )

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        of = self._globals.get(node.value.id) if isinstance(node.value, ast.Name) else None
        if inspect.ismodule(of):
            return ast.Name(self._meaning(getattr(of, node.attr)))
        return self.generic_visit(node)

    def _local(self, name: str) -> str:
        if not self._locals[name]:
            self._locals[name] = f"local {sum(map(bool, self._locals.values()))}"
        return self._locals[name]

    def _meaning(self, found: Any) -> str:
        if inspect.isfunction(found) and found.__module__.partition(".")[0] == self._package:
            return self._visit_function(found)
        if callable(found) or inspect.ismodule(found):
            return getattr(found, "__name__", repr(type(found)))
        return repr(found)


def _is_stored(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
