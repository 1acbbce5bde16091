"""What the tests of the book share: the notebooks, their text, code, equations and outputs."""

import re
from pathlib import Path

import nbformat

ROOT = Path(__file__).parent.parent.parent
CHAPTERS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
APPENDICES = sorted((ROOT / "notebooks").glob("appendix_[a-z]_*.ipynb"))
SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("[0-9][0-9]_*.ipynb"))
EQUATION = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)
TAG = re.compile(r"\\tag\{((?:\d\d|[A-Z])\.\d+)\}")


def load(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def number(path: Path) -> str:
    """What the equations of a notebook begin with: "07", or "A" for an appendix."""
    return path.stem.split("_")[1].upper() if path in APPENDICES else path.stem[:2]


def prose(notebook: nbformat.NotebookNode) -> str:
    """All text cells, in order."""
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in code(notebook) for output in cell.outputs]


def printed(output: nbformat.NotebookNode) -> str:
    """What an output says in words: its stream, its plain text and its HTML."""
    data = output.get("data", {})
    return output.get("text", "") + data.get("text/plain", "") + data.get("text/html", "")
