"""Every boxed equation is executed: it has a number, and a test that names the number evaluates both sides."""

import ast
import re

from .notebooks import APPENDICES, CHAPTERS, EQUATION, ROOT, TAG, load, prose


def boxed(path) -> list[str]:
    """Numbers of the boxed equations of a notebook."""
    return [
        TAG.findall(equation)[0]
        for equation in EQUATION.findall(prose(load(path)))
        if r"\boxed" in equation
    ]


def named() -> set[str]:
    """Numbers of equations that the docstring of a test names."""
    docstrings = [
        ast.get_docstring(node) or ""
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    return set(re.findall(r"\(((?:\d\d|[A-Z])\.\d+)\)", "\n".join(docstrings)))


def test_every_chapter_has_a_boxed_equation():
    assert not [path.name for path in CHAPTERS if not boxed(path)]


def test_every_box_has_a_test():
    untested = [tag for path in CHAPTERS + APPENDICES for tag in boxed(path) if tag not in named()]
    assert not untested, (
        f"no docstring of a test names these boxed equations: {', '.join(untested)}"
    )
