"""The repository as the tests read it: its files, its modules and what they import."""

import ast
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent


def tracked() -> list[Path]:
    """Files in the repository, and those about to be."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(
        listing, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def texts() -> dict[str, str]:
    """Contents of the tracked text files: those that are UTF-8."""
    contents = {}
    for path in tracked():
        try:
            contents[str(path.relative_to(ROOT))] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
    return contents


def modules() -> dict[Path, ast.Module]:
    return {
        path.relative_to(ROOT): ast.parse(path.read_text())
        for path in sorted((ROOT / "minildm").rglob("*.py"))
    }


def chapters() -> dict[Path, ast.Module]:
    """The code of each notebook, without its magics."""
    trees = {}
    for path in sorted((ROOT / "notebooks").rglob("*.ipynb")):
        if ".ipynb_checkpoints" in path.parts:
            continue
        cells = [
            c["source"] for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"
        ]
        lines = "\n".join("".join(source) for source in cells).splitlines()
        trees[path.relative_to(ROOT)] = ast.parse(
            "\n".join(line for line in lines if not line.startswith(("%", "!")))
        )
    return trees


def room(path: Path) -> str:
    """The part of the package that a file belongs to: minildm/text/tales.py is in "text"."""
    return path.parts[1].removesuffix(".py")


def imports(path: Path, tree: ast.Module) -> Iterator[tuple[list[str], str]]:
    """Yields (dotted name, name it is bound to) for everything that a file imports from the package."""
    package = path.parts[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [(alias.name, alias.asname or alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join((*base, *filter(None, [node.module])))
            found = [(f"{base}.{alias.name}", alias.asname or alias.name) for alias in node.names]
        else:
            continue
        yield from (
            (dotted.split("."), bound)
            for dotted, bound in found
            if dotted.split(".")[0] == "minildm"
        )


def public(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    kinds = ast.FunctionDef | ast.ClassDef
    return (node for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_"))
