"""Lifting a chapter's own functions out of its notebook, without running the chapter."""

import ast
import importlib
from pathlib import Path

from .notebooks import code, load

CONSTANTS = ast.Constant | ast.UnaryOp | ast.Tuple | ast.List | ast.Dict


def statements(path: Path) -> list[ast.stmt]:
    """The statements at the left edge of a chapter's cells, in order."""
    return [node for cell in code(load(path)) for node in ast.parse(cell.source).body]


def is_hole(node: ast.stmt) -> bool:
    """Whether a function waits for the reader."""
    return "NotImplementedError('exercise" in ast.unparse(node)


def functions(path: Path) -> list[str]:
    """Names of the functions that a chapter writes itself."""
    return [node.name for node in statements(path) if isinstance(node, ast.FunctionDef) and not is_hole(node)]


def lifted(path: Path) -> dict:
    """A chapter's functions by name, with its imports and literal constants but without what its cells compute."""
    nodes, own = statements(path), set(functions(path))
    space: dict = {}
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            kept = [alias for alias in node.names if (alias.asname or alias.name) not in own]
            if kept:
                node.names = kept
                exec(ast.unparse(node), space)
    for node in nodes:
        literal = isinstance(node, ast.Assign) and isinstance(node.value, CONSTANTS)
        if literal or isinstance(node, ast.ClassDef) or (isinstance(node, ast.FunctionDef) and not is_hole(node)):
            try:
                exec(compile(ast.unparse(node), path.name, "exec"), space)
            except NameError:  # a list of what the chapter computes
                continue
    return space


def package(dotted: str):
    """A function of the package: "control.systems.squares"."""
    room, _, name = dotted.rpartition(".")
    return getattr(importlib.import_module(f"minildm.{room}"), name)


def public(rooms: tuple[str, ...], root: Path) -> dict[str, str]:
    """Functions of the package by name: "squares" -> "control.systems.squares"."""
    return {node.name: f"{room}.{path.stem}.{node.name}" for room in rooms for path in sorted((root / room).glob("*.py"))
            for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}
