"""Links: each leads to a file, and to a heading in it; neighbors and the README's table lead through the whole book."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

from .notebooks import APPENDICES, CHAPTERS, ROOT, SOLUTIONS, load, prose

PAGES = [*CHAPTERS, *APPENDICES, *SOLUTIONS, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def text_of(path: Path) -> str:
    return prose(load(path)) if path.suffix == ".ipynb" else path.read_text()


def links(text: str) -> list[str]:
    """Targets inside the repository."""
    return [link for link in re.findall(r'\]\(([^)\s]+)(?: "[^"]*")?\)', text) if "://" not in link]


def headings(path: Path) -> set[str]:
    """What a link to a place in the page may end with, as JupyterLab or as GitHub spells it."""
    titles = re.findall(r"^#+ (.+)$", text_of(path), re.MULTILINE)
    return {title.replace(" ", "-") for title in titles} | {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles
    }


def files(path: Path) -> set[Path]:
    """Files that a page links to."""
    return {(path.parent / link.partition("#")[0]).resolve() for link in links(text_of(path))}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: "/".join(path.parts[-2:]))
def test_links_resolve(path):
    for link in links(text_of(path)):
        name, _, place = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        assert not place or place in headings(target), link


def test_the_readme_leads_to_every_chapter_and_appendix():
    assert {path.resolve() for path in CHAPTERS + APPENDICES} <= files(ROOT / "README.md")


@pytest.mark.parametrize(
    ("first", "second"), list(pairwise(CHAPTERS)), ids=lambda path: path.stem[:2]
)
def test_neighbors_link_to_each_other(first, second):
    if int(second.stem[:2]) == int(first.stem[:2]) + 1:
        assert second.resolve() in files(first) and first.resolve() in files(second)


def test_the_contents_of_the_site_have_the_parts_of_the_readme():
    row = re.compile(
        r"^\| (?:\*\*(\w+)\*\* )?\| \*\*(.+?)\*\* \||^\| \w+ \| \[.+?\]\((notebooks/\w+)\.ipynb\)",
        re.MULTILINE,
    )
    parts = {"Start": []}
    for numeral, title, page in row.findall((ROOT / "README.md").read_text()):
        if title:
            parts[f"{numeral} · {title}" if numeral else title] = []
        else:
            parts[list(parts)[-1]].append(page)
    trees = re.findall(
        r"```\{toctree\}\n:caption: (.+)\n((?:.+\n)+)", (ROOT / "docs" / "index.md").read_text()
    )
    shown = {title: re.findall(r"^notebooks/\w+$", lines, re.MULTILINE) for title, lines in trees}
    assert dict(filter(lambda part: part[1], shown.items())) == dict(
        filter(lambda part: part[1], parts.items())
    )
