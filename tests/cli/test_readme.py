"""What the README says of filling gaps is what `minildm study ch13_infilling` measured."""

import shlex
from pathlib import Path
from statistics import fmean, stdev

import pytest

from minildm.studies.record import results

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text().replace("\\\n", "")
ROWS = results("ch13_infilling")["rows"]


def rows(model: str, gaps: str) -> list[dict]:
    return [row for row in ROWS if row["model"] == model and row["gaps"] == gaps]


def fractions(model: str, gaps: str) -> str:
    """Consistent tales over seeds, as the README gives ranges."""
    found = sorted(round(100 * row["consistent"]) for row in rows(model, gaps))
    return f"{found[0]}%" if found[0] == found[-1] else f"{found[0]}-{found[-1]}%"


def test_the_command_is_the_one_that_was_measured():
    line = next(
        line
        for line in README.splitlines()
        if "--infill" in line and line.startswith("minildm sample")
    )
    _, _, model, *flags = shlex.split(line)
    given = dict(zip(flags[::2], flags[1::2]))
    for row in rows(model, "words"):
        assert given == {
            "--solver": row["solver"],
            "--steps": str(row["steps"]),
            "--gap": "1",
            "--infill": row["text"],
        }
    assert given["--infill"].count("____") == 11


def test_the_fractions_are_those_measured():
    text = " ".join(README.split())
    masked, manta = fractions("masked-tales", "words"), fractions("manta-tales", "words")
    assert (
        f"`masked-tales` writes {masked} consistent tales this way, `manta-tales` {manta}" in text
    )
    assert (
        f"{fractions('manta-tales', 'spans')} of the tales of `manta-tales` are consistent" in text
    )


@pytest.mark.parametrize(
    "model, gaps", [("masked-tales", "words"), ("manta-tales", "words"), ("manta-tales", "spans")]
)
def test_there_are_three_seeds_of_at_least_a_hundred(model, gaps):
    assert [row["seed"] for row in rows(model, gaps)] == [0, 1, 2]
    assert all(row["count"] >= 100 for row in rows(model, gaps))


def quality(way: str, steps: int, figure: str) -> list[float]:
    study = results("ch13_quality")
    return [
        100 * row[figure] for row in study["rows"] if (row["way"], row["steps"]) == (way, steps)
    ]


def test_the_parallel_mode_stands_beside_the_entropy_bounded_one():
    for figure, name in (
        ("grammatical", "grammatical"),
        ("consistent", "consistent with its own world"),
    ):
        found = quality("manta, no offset", 32, figure)
        line = next(
            line
            for line in README.splitlines()
            if line.startswith(f"| {name} | 99.7%") or line.startswith(f"| {name} | 96.5%")
        )
        assert line.split("|")[7].strip() == f"{fmean(found):.1f}% ± {stdev(found):.1f}"


PARALLEL = [
    ("manta, no offset", 32),
    ("manta, offset 2", 64),
    ("manta, offset 2", 32),
    ("manta, offset 2", 16),
]


@pytest.mark.parametrize("way, steps", PARALLEL)
def test_the_fractions_of_the_parallel_mode_are_those_measured(way, steps):
    start = README.index("- *In parallel*")
    passage = README[start : README.index("\n- *", start)]
    for figure in ("grammatical", "consistent"):
        found = sorted(quality(way, steps, figure))
        assert f"{found[0]:.0f}-{found[-1]:.0f}%" in passage
