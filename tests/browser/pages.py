"""What the tests of the site share: its pages as they were written, and the formulas of the notebooks behind them."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

from .conftest import ROOT

NOTEBOOKS = sorted(
    path.relative_to(ROOT).with_suffix("").as_posix()
    for path in (ROOT / "notebooks").rglob("*.ipynb")
    if ".ipynb_checkpoints" not in path.parts
)
CODE, FORMULA = (
    re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL),
    re.compile(r"\$\$.+?\$\$|\$[^$]+\$", re.DOTALL),
)


class Page(HTMLParser):
    """A page of the site: where it leads, what it loads, the names of its places, and the page after it."""

    def __init__(self, path: Path):
        super().__init__()
        self.path, self.links, self.places, self.next, self.nameless = path, [], set(), None, []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.places.add(found.get("id"))
        target = found.get("href" if tag in ("a", "link") else "src")
        if target and not re.match(r"\w+:", target):
            self.links.append(target)
        if tag == "link" and found.get("rel") == "next":
            self.next = found["href"]
        if tag == "img" and not found.get("alt"):
            self.nameless.append(target)

    def at(self, link: str) -> tuple[Path, str]:
        """The file that a link leads to, and the place in it."""
        name, _, place = link.partition("#")
        return (
            self.path.parent / name.partition("?")[0]
        ).resolve() if name else self.path.resolve(), place


def formulas(name: str) -> int:
    """How many formulas the text of a notebook has."""
    cells = json.loads((ROOT / f"{name}.ipynb").read_text())["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    return sum(len(FORMULA.findall(CODE.sub("", text))) for text in texts)
