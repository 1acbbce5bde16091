"""Inline equals package: what a chapter writes itself is lifted out of it and compared with the package's function.

A chapter's function with the name of a public function of the mathematics rooms must stand in PAIRS; so may others.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass

import pytest
import torch
from torch import Tensor

from .inline import functions, lifted, package, public
from .notebooks import CHAPTERS, ROOT, number

ROOMS = ("dynamics", "control", "transport")  # the rooms of mathematics
TRIALS = 5


@dataclass(frozen=True)
class Pair:
    """A chapter's function and the package's, and random arguments for both."""

    chapter: str
    name: str
    package: str
    inputs: Callable[[torch.Generator], tuple]
    read: Callable = lambda result, arguments: result  # what to compare, when the result is a function or a record


def normal(rng: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


PAIRS: list[Pair] = []


def numbers(result) -> list[Tensor]:
    """All numbers in a result, in order."""
    if is_dataclass(result):
        return [x for field in fields(result) for x in numbers(getattr(result, field.name))]
    if isinstance(result, tuple | list):
        return [x for part in result for x in numbers(part)]
    return [] if result is None else [torch.as_tensor(result, dtype=torch.float64)]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair.chapter}-{pair.name}")
def test_inline_equals_package(pair):
    (path,) = [path for path in CHAPTERS if number(path) == pair.chapter]
    inline, ours = lifted(path)[pair.name], package(pair.package)
    for seed in range(TRIALS):
        ours_in, inline_in = (pair.inputs(torch.Generator().manual_seed(seed)) for _ in range(2))
        wanted, given = numbers(pair.read(ours(*ours_in), ours_in)), numbers(pair.read(inline(*inline_in), inline_in))
        assert wanted and [x.shape for x in given] == [x.shape for x in wanted]
        for x, y in zip(given, wanted):
            assert torch.allclose(x, y, rtol=1e-9, atol=1e-10), (x - y).abs().max()


def test_every_namesake_is_compared():
    known = public(ROOMS, ROOT / "minildm")
    compared = {(pair.chapter, pair.name) for pair in PAIRS}
    missing = [f"chapter {number(path)}: {name} ({known[name]})" for path in CHAPTERS for name in functions(path)
               if name in known and (number(path), name) not in compared]
    assert not missing, "add these to PAIRS, or rename them if they do another job: " + "; ".join(missing)
