"""The one command that makes the book: `python -m minildm.book [NAME ...]` runs notebooks in place.

A chapter's name is its number, 07; an appendix's is appendix_a; without names, all are made, each
with its solutions.

It runs each notebook in laptop mode, puts the outputs in place with normalized metadata, and
writes the figures that a chapter showed to figures/. `--figures` only writes the figures that the
notebooks already hold. `--export FOLDER` and `--import FILE.py` turn notebooks into percent scripts
and back, for editing; `--cite` turns citations such as [@Ho2020] into links and lists the works.
"""

import argparse
import base64
import json
import os
import re
import sys
from pathlib import Path

import nbformat
from nbformat.validator import get_validator

from .errors import UserError, reason

ROOT = Path(__file__).parent.parent
NOTEBOOKS = ROOT / "notebooks"
FIGURES = ROOT / "figures"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
WIDGET = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"
NAME = re.compile(r"\d\d|appendix_[a-z]")


def read(path: Path) -> nbformat.NotebookNode:
    """A notebook in format 4; raises UserError where the file is none."""
    try:
        text = path.read_text(encoding="utf-8")
        loaded = json.loads(text)
        if not isinstance(loaded, dict) or loaded.get("nbformat") != 4:
            raise ValueError("it is not of format 4")
        validator = get_validator(4, 5, relax_add_props=True)
        assert validator, "nbformat has format 4.5"
        for wrong in validator.iter_errors(loaded):
            raise ValueError(wrong.message)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"{path} is no notebook that can be read ({reason(error)}): "
            "get it again from the repository"
        ) from error
    return nbformat.reads(text, as_version=4)


def write(path: Path, content: str | bytes) -> None:
    """Write a file beside its place and rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".tmp")
    beside.write_bytes(content.encode() if isinstance(content, str) else content)
    os.replace(beside, path)


def save(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write a valid notebook."""
    nbformat.validate(notebook)
    write(path, nbformat.writes(notebook) + "\n")


def merged(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Outputs with neighboring pieces of one stream joined, since their cuts are random."""
    whole = []
    for output in outputs:
        if output.output_type == "stream" and whole and whole[-1].get("name") == output.name:
            whole[-1].text += output.text
        else:
            whole.append(output)
    return whole


def normalize(notebook: nbformat.NotebookNode) -> None:
    """Take out what differs between two equal runs: metadata, names of cells, cuts of streams."""
    state = notebook.metadata.get("widgets", {}).get(STATE, {}).get("state")
    for model in (state or {}).values():  # what is None is a default
        model["state"] = {key: value for key, value in model["state"].items() if value is not None}
    widgets = {"widgets": notebook.metadata["widgets"]} if state else {}
    notebook.metadata = METADATA | widgets
    for i, cell in enumerate(notebook.cells):
        cell.id = f"cell-{i:02d}"
        tags = cell.metadata.get("tags")
        cell.metadata = {"tags": tags} if tags else {}
        if cell.cell_type == "code":
            cell.outputs = merged(cell.outputs)
        for output in cell.get("outputs", ()):
            if WIDGET in output.get("data", {}):
                output.data["text/plain"] = (
                    "An interactive view: it needs JupyterLab, or this page with its scripts."
                )


def rename_widgets(text: str) -> str:
    """Number the random names of widgets in order of appearance."""
    names = dict.fromkeys(re.findall(r"\b[0-9a-f]{32}\b", text))
    for i, name in enumerate(names):
        text = text.replace(name, f"{i:032x}")
    return text


def faults(notebook: nbformat.NotebookNode) -> list[str]:
    """What must not be in the outputs of the book: messages on stderr, cells out of order."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source]
    found = [
        output.text.strip()
        for cell in code
        for output in cell.outputs
        if output.get("name") == "stderr"
    ]
    if [cell.execution_count for cell in code] != list(range(1, len(code) + 1)):
        found.append("the execution counts are not 1..n")
    return found


def run(path: Path, mode: str = "laptop") -> nbformat.NotebookNode:
    """Run a notebook from an empty state; returns it with outputs, or names a cell that failed."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    notebook = read(path)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
            cell.execution_count = None
    os.environ["MINILDM_MODE"] = mode
    resources = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(notebook, timeout=3600, resources=resources)
    try:
        client.execute()
    except CellExecutionError as fault:
        raise UserError(f"{path.name} failed: fix the cell below\n{fault}") from None
    normalize(notebook)
    if found := faults(notebook):
        raise UserError(f"{path.name} ran, but its outputs must not stay so: " + "; ".join(found))
    return nbformat.reads(rename_widgets(json.dumps(notebook)), as_version=4)


def figures(notebook: nbformat.NotebookNode) -> dict[str, bytes]:
    """The figures that a notebook shows, as PNG files by name."""
    found = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            name = output.get("metadata", {}).get("image/png", {}).get("figure")
            if name:
                found[name] = base64.b64decode(output.data["image/png"])
    return found


def linked(path: Path) -> None:
    """Link the citations of a notebook and list their works, in place."""
    from .citations import cite, references

    notebook = read(path)
    cite(notebook, references(NOTEBOOKS / "references.bib"))
    save(notebook, path)


def chapters(names: list[str]) -> list[Path]:
    """Notebooks by name, all without names, each followed by its solutions, if it has any."""
    found = sorted(NOTEBOOKS.glob("*.ipynb"))
    named = {match[0]: path for path in found if (match := NAME.match(path.name))}
    missing = [name for name in names if name not in named]
    if missing:
        raise UserError(f"no chapter {missing[0]}: choose among {', '.join(named) or 'none'}")
    pairs = [(named[name], NOTEBOOKS / "solutions" / named[name].name) for name in names or named]
    return [path for pair in pairs for path in pair if path.exists()]


def main() -> None:
    """Make the chapters named on the command line, or all."""
    description = "Run notebooks of the book in place, and write their figures."
    parser = argparse.ArgumentParser(prog="python -m minildm.book", description=description)
    names = "chapters and appendices, for example 00 12 appendix_a; all by default"
    only_figures = "only write the figures that the notebooks hold"
    only_cite = "only link the citations, and list what the chapters cite"
    parser.add_argument("names", nargs="*", metavar="NAME", help=names)
    parser.add_argument("--figures", action="store_true", help=only_figures)
    parser.add_argument("--cite", action="store_true", help=only_cite)
    arguments = parser.parse_args()
    for path in chapters(arguments.names):
        if arguments.cite:
            linked(path)
            continue
        if not arguments.figures:
            print(f"running {path.relative_to(ROOT)}", flush=True)
            save(run(path), path)
        for name, png in figures(read(path)).items():
            write(FIGURES / f"{name}.png", png)


if __name__ == "__main__":
    try:
        main()
    except UserError as mistake:
        print(mistake, file=sys.stderr)
        sys.exit(2)
