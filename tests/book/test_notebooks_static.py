"""Budgets, anatomy and cleanliness of the chapters, read from the files without running them."""

import json
import re

import pytest

from minildm.book import NAME, STATE, faults, figures
from minildm.citations import raw

from .notebooks import (
    APPENDICES,
    CHAPTERS,
    EQUATION,
    ROOT,
    SOLUTIONS,
    TAG,
    code,
    load,
    number,
    outputs,
    printed,
    prose,
)

CELLS, WORDS, LINES, EQUATIONS, FIGURES, KILOBYTES = (
    (40, 80),
    (2500, 5500),
    25,
    (8, 25),
    (4, 10),
    800,
)
FRAMES = 21  # of a player, at least: fewer seem to be separate pictures
FEWER_EQUATIONS = {
    "00": 4,
    "16": 3,
    "17": 3,
}  # chapters that are not about derivations: least number of equations
ANATOMY = [
    "# {} · ",
    "## Objectives",
    "minildm.chapter(",
    "## First look",
    "## Notation",
    "## 1. ",
    "## 2. ",
    "## 3. ",
    "## Break it",
    "## Experiment",
    "## Play",
    "## Summary",
    "## Exercises",
    "## Further reading",
    "## Whose is what",
]
CARD = ["**Promise.**", "**Time.**", "**You need.**"]
EXERCISE = re.compile(
    r"### Exercise (\d\d\.\d+) · .+\n+\*(derive|code|experiment|critique) · difficulty [1-5]/5 · "
    r"importance [1-5]/5 · \d+ minutes\*"
)
FORBIDDEN = {
    "an absolute path": r"(?<![\w.<])/(?:work|tmp|root|home|opt|usr|var|Users)/",
    "an object's description": r"<[\w.]+ (?:object )?at 0x|<Figure size|<Axes|<IPython|\w+\((?:children|value)=",
    "a raw timing": r"\b\d+(?:\.\d+)? ?(?:ms|µs|seconds?)\b|\bit/s\b",
    "a host name": r"\b(?:localhost|127\.0\.0\.1)\b",
    "a warning": r"Warning:|Traceback \(most recent",
}

chapter = pytest.mark.parametrize("path", CHAPTERS, ids=number)
page = pytest.mark.parametrize("path", CHAPTERS + APPENDICES, ids=number)
notebook = pytest.mark.parametrize(
    "path", CHAPTERS + APPENDICES + SOLUTIONS, ids=lambda path: "/".join(path.parts[-2:])
)


def words(text: str) -> int:
    """Words of prose, without equations, code and links."""
    text = EQUATION.sub(" ", text)
    text = re.sub(r"```.*?```|\$[^$]+\$|`[^`]+`|<[^>]+>|\]\([^)]+\)", " ", text, flags=re.DOTALL)
    return len(re.findall(r"[A-Za-z][\w'-]*", text))


def test_there_are_chapters():
    assert CHAPTERS and [path.name for path in SOLUTIONS] == [path.name for path in CHAPTERS]


@chapter
def test_budgets(path):
    book = load(path)
    equations = EQUATION.findall(prose(book))
    shown = [output for output in outputs(book) if "image/png" in output.get("data", {})]
    assert CELLS[0] <= len(book.cells) <= CELLS[1]
    assert WORDS[0] <= words(raw(prose(book))) <= WORDS[1]
    assert FEWER_EQUATIONS.get(number(path), EQUATIONS[0]) <= len(equations) <= EQUATIONS[1]
    assert FIGURES[0] <= len(shown) <= FIGURES[1]


@notebook
def test_cells_and_files_are_small(path):
    long = [cell.source for cell in code(load(path)) if len(cell.source.splitlines()) > LINES]
    assert not long, long
    assert path.stat().st_size <= 1000 * KILOBYTES


@chapter
def test_anatomy(path):
    book, at = load(path), -1
    starts = [(line, i) for i, cell in enumerate(book.cells) for line in cell.source.splitlines()]
    for block in ANATOMY:
        block = block.format(number(path))
        places = [
            i for line, i in starts if (block in line if "(" in block else line.startswith(block))
        ]
        assert places, f"no block {block!r}"
        assert places[0] > at, f"{block!r} stands too early"
        at = places[0]
    assert all(part in book.cells[0].source for part in CARD)
    movements = re.findall(r"^## \d\. ", prose(book), re.MULTILINE)
    assert 3 <= len(movements) <= 5
    thoughts = re.findall(
        r"\*\*Stop and think\.\*\*.+?<details>.+?</details>", prose(book), re.DOTALL
    )
    assert len(thoughts) >= len(movements)
    assert book.cells[2].cell_type == "code" and book.cells[2].source.splitlines()[-1].startswith(
        "book = minildm."
    )


@pytest.mark.parametrize("path", APPENDICES, ids=number)
def test_anatomy_of_an_appendix(path):
    book = load(path)
    assert book.cells[0].source.startswith(f"# Appendix {number(path)} · ")
    assert any(f'minildm.chapter("{number(path).lower()}")' in cell.source for cell in code(book))


@page
def test_equations_are_numbered_in_order(path):
    tags = [TAG.findall(equation) for equation in EQUATION.findall(prose(load(path)))]
    assert tags == [[f"{number(path)}.{i}"] for i in range(1, len(tags) + 1)]


@chapter
def test_exercises_have_a_hole_and_a_check(path):
    book, chapter = load(path), number(path)
    found = EXERCISE.findall(prose(book))
    assert [name for name, _ in found] == [f"{chapter}.{i}" for i in range(1, len(found) + 1)]
    assert (2 if chapter == "00" else 5) <= len(found) <= 8
    sources = "\n".join(cell.source for cell in code(book))
    for name, kind in found:
        if kind == "code":
            assert f'raise NotImplementedError("exercise {name}")' in sources
            assert re.search(rf"ch{chapter}\.check_{name[3:]}\(\w+\)", sources)


@notebook
def test_outputs_are_free_of_faults(path):
    book = load(path)
    assert not faults(book)
    for output in outputs(book):
        assert output.output_type != "error"
        for what, pattern in FORBIDDEN.items():
            assert not (fault := re.search(pattern, printed(output))), f"{what}: {fault[0]!r}"
    assert set(book.metadata) <= {"kernelspec", "language_info", "widgets"}


@notebook
def test_every_image_has_a_description(path):
    book = load(path)
    for output in outputs(book):
        if "image/png" in output.get("data", {}):
            assert len(output.metadata["image/png"]["alt"]) > 20
    assert not re.findall(r"!\[\s*\]\(", prose(book))


@page
def test_figures_are_those_of_the_chapter(path):
    for name, png in figures(load(path)).items():
        assert (
            name.startswith(f"{NAME.match(path.name)[0]}_")
            and (ROOT / "figures" / f"{name}.png").read_bytes() == png
        )


@page
def test_citations_are_in_the_references(path):
    keys = set(re.findall(r"@\w+\{(\w+),", (ROOT / "notebooks" / "references.bib").read_text()))
    text = prose(load(path))
    cited = set(re.findall(r"\[@(\w+)", text)) | set(re.findall(r'\]\(\S+ "(\w+): ', text))
    assert cited <= keys and (cited or path in APPENDICES)


@chapter
def test_players_have_enough_frames(path):
    """Every player over frames has enough of them to be seen as one movement."""
    book = load(path)
    saved = book.metadata.get("widgets", {}).get(STATE, {"state": {}})["state"].values()
    lengths = [
        model["state"].get("max", 100) + 1 for model in saved if model["model_name"] == "PlayModel"
    ]
    assert lengths and min(lengths) >= FRAMES, lengths


@notebook
def test_files_are_normal(path):
    raw = json.loads(path.read_text())
    assert [cell["id"] for cell in raw["cells"]] == [
        f"cell-{i:02d}" for i in range(len(raw["cells"]))
    ]
    assert all(set(cell["metadata"]) <= {"tags"} for cell in raw["cells"])
    assert not any(
        "\t" in line for cell in raw["cells"] for line in cell["source"]
    )  # as \tfrac in a plain string
