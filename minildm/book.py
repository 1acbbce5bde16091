"""The one command that makes the book: `python -m minildm.book [NAME ...]` runs chapters and
solutions in place.

A chapter's name is its number, 07; an appendix's is appendix_a; without names, all are made.

It runs each notebook from clean in laptop mode, puts the outputs in place with normalized metadata,
and writes the figures that a chapter showed to figures/. `--figures` only writes the figures that
the notebooks already hold. `--export FOLDER` and `--import FILE.py` turn notebooks into percent
scripts and back, for editing; `--cite` turns citations such as [@Ho2020] into links and lists the
works.
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
NOTEBOOKS, FIGURES = ROOT / "notebooks", ROOT / "figures"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
WIDGET, STATE = (
    "application/vnd.jupyter.widget-view+json",
    "application/vnd.jupyter.widget-state+json",
)
NAME = re.compile(r"\d\d|appendix_[a-z]")
MARKER = re.compile(r"# %%(?P<text> \[markdown\])?(?: tags=(?P<tags>\[.*\]))?")


def read(path: Path) -> nbformat.NotebookNode:
    """A notebook in format 4; raises UserError where the file is none."""
    try:
        text = path.read_text(encoding="utf-8")
        loaded = json.loads(text)
        if not isinstance(loaded, dict) or loaded.get("nbformat") != 4:
            raise ValueError("it is not of format 4")
        for wrong in get_validator(4, 5, relax_add_props=True).iter_errors(loaded):
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


# --- percent scripts ---------------------------------------------------------------------------------------------


def from_script(text: str) -> nbformat.NotebookNode:
    """The notebook that a percent script spells; text cells are triple-quoted, outputs empty, cell
    names counted.
    """
    cells: list[tuple[re.Match, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("# %%"):
            marker = MARKER.fullmatch(line.rstrip())
            if marker is None:
                raise UserError(
                    f"{line!r} starts no cell: write # %% or # %% [markdown], then tags=[..] if any"
                )
            cells.append((marker, []))
        elif cells:
            cells[-1][1].append(line)
        elif line.strip():
            raise UserError(
                f"the script begins with {line!r}: begin with a cell, # %% or # %% [markdown]"
            )
    notebook = nbformat.v4.new_notebook(metadata=METADATA)
    for i, (marker, lines) in enumerate(cells):
        body = "\n".join(lines).strip("\n")
        if marker["text"]:
            cell = nbformat.v4.new_markdown_cell(
                body.strip().removeprefix("r").strip('"').strip("\n")
            )
        else:
            cell = nbformat.v4.new_code_cell(body)
        cell.id = f"cell-{i:02d}"
        if marker["tags"]:
            cell.metadata["tags"] = json.loads(marker["tags"])
        notebook.cells.append(cell)
    return notebook


def to_script(notebook: nbformat.NotebookNode) -> str:
    """The percent script of a notebook, without outputs."""
    parts = []
    for cell in notebook.cells:
        tags = f" tags={json.dumps(cell.metadata['tags'])}" if cell.metadata.get("tags") else ""
        text = cell.cell_type == "markdown"
        body = f'r"""\n{cell.source}\n"""' if text else cell.source
        parts.append(f"# %%{' [markdown]' if text else ''}{tags}\n{body}\n")
    return "\n".join(parts)


# --- running -----------------------------------------------------------------------------------------------------


def merged(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Outputs with neighboring pieces of one stream as one: where a stream is cut depends on the
    moment.
    """
    whole = []
    for output in outputs:
        if output.output_type == "stream" and whole and whole[-1].get("name") == output.name:
            whole[-1].text += output.text
        else:
            whole.append(output)
    return whole


def normalize(notebook: nbformat.NotebookNode) -> None:
    """Take out what differs between two equal runs: metadata, widget names, cuts of streams,
    descriptions of objects.
    """
    state = notebook.metadata.get("widgets", {}).get(STATE, {}).get("state")
    for model in (state or {}).values():  # what is None is a default
        model["state"] = {key: value for key, value in model["state"].items() if value is not None}
    notebook.metadata = dict(METADATA) | (
        {"widgets": notebook.metadata["widgets"]} if state else {}
    )
    for cell in notebook.cells:
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
    """Run a notebook from clean and return it with outputs; raises UserError with the cell that
    failed.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    notebook = read(path)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    os.environ["MINILDM_MODE"] = mode
    client = NotebookClient(
        notebook, timeout=3600, resources={"metadata": {"path": str(path.parent)}}
    )
    try:
        client.execute()
    except CellExecutionError as fault:
        raise UserError(f"{path.name} failed: mend the cell below\n{fault}") from None
    normalize(notebook)
    if found := faults(notebook):
        raise UserError(f"{path.name} ran, but its outputs are not clean: " + "; ".join(found))
    return nbformat.from_dict(json.loads(rename_widgets(json.dumps(notebook))))


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
    """Chapters and appendices by name, all without names, each followed by its solutions, if it has
    any.
    """
    found = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")) + sorted(
        NOTEBOOKS.glob("appendix_[a-z]_*.ipynb")
    )
    known = {NAME.match(path.name)[0]: path for path in found}
    missing = [name for name in names if name not in known]
    if missing:
        raise UserError(f"no chapter {missing[0]}: choose among {', '.join(known) or 'none'}")
    pairs = [(known[name], NOTEBOOKS / "solutions" / known[name].name) for name in names or known]
    return [path for pair in pairs for path in pair if path.exists()]


def main() -> None:
    """Make the chapters named on the command line, or all."""
    parser = argparse.ArgumentParser(
        prog="python -m minildm.book", description=__doc__.partition("\n")[0]
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="chapters and appendices, for example 00 12 appendix_a; all by default",
    )
    parser.add_argument(
        "--figures", action="store_true", help="only write the figures that the notebooks hold"
    )
    parser.add_argument(
        "--import",
        dest="script",
        type=Path,
        metavar="FILE.py",
        help="make a notebook from a percent "
        "script such as 07_title.py; one in a folder `solutions` becomes the solutions",
    )
    parser.add_argument(
        "--cite",
        action="store_true",
        help="only link the citations, and list what the chapters cite",
    )
    parser.add_argument(
        "--export",
        type=Path,
        metavar="FOLDER",
        help="write the chapters' percent scripts to a folder",
    )
    arguments = parser.parse_args()
    if arguments.script:
        home = (
            NOTEBOOKS / "solutions"
            if arguments.script.resolve().parent.name == "solutions"
            else NOTEBOOKS
        )
        save(from_script(arguments.script.read_text()), home / f"{arguments.script.stem}.ipynb")
        return
    for path in chapters(arguments.names):
        if arguments.export:
            write(
                arguments.export / path.relative_to(NOTEBOOKS).with_suffix(".py"),
                to_script(read(path)),
            )
            continue
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
