"""Lifting a chapter's own functions out of its notebook, without running the chapter, and the register of comparisons."""

import ast
from pathlib import Path

import torch
from torch import Tensor

from .notebooks import code, load

PAIRS: dict = {}  # (chapter, name of its function) -> how to compare it, and how close it must come


def inline(chapter: str, name: str, close: float = 1e-9):
    """Register a comparison of a chapter's function, which must come `close`."""

    def keep(compare):
        PAIRS[chapter, name] = compare, close
        return compare

    return keep


def normal(rng: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def uniform(rng: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=rng))


def statements(path: Path) -> list[ast.stmt]:
    """The statements at the left edge of a chapter's cells, in order."""
    return [node for cell in code(load(path)) for node in ast.parse(cell.source).body]


def is_hole(node: ast.stmt) -> bool:
    """Whether a function waits for the reader."""
    return "NotImplementedError('exercise" in ast.unparse(node)


def is_literal(node: ast.stmt) -> bool:
    """Whether a statement names a value that is written out, such as 0.5 or [1, 2]."""
    try:
        if isinstance(node, ast.Assign):
            ast.literal_eval(node.value)
        return isinstance(node, ast.Assign)
    except ValueError:
        return False


def functions(path: Path) -> list[str]:
    """Names of the functions that a chapter writes itself."""
    return [
        node.name
        for node in statements(path)
        if isinstance(node, ast.FunctionDef) and not is_hole(node)
    ]


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
        if is_literal(node) or (isinstance(node, ast.FunctionDef) and not is_hole(node)):
            exec(compile(ast.unparse(node), path.name, "exec"), space)
    return space


def public(rooms: tuple[str, ...], root: Path) -> dict[str, str]:
    """Functions of the package by name: "squares" -> "control.systems.squares"."""
    return {
        node.name: f"{room}.{path.stem}.{node.name}"
        for room in rooms
        for path in sorted((root / room).glob("*.py"))
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef)
    }
