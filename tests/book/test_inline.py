"""Inline equals package: what a chapter writes itself is lifted out of it and compared with the package's function.

`@inline("02", "iterate")` marks a comparison: a function of the chapter's function and a generator, which returns what the
chapter's function gives for random inputs, and what the package's gives. A chapter's function that has the name of a public
function of the rooms of mathematics must be compared; one that does another job needs another name.
"""

import pytest
import torch

from . import (  # noqa: F401, whose comparisons are registered
    inline_control,
    inline_manta,
    inline_nets,
    inline_rectification,
    inline_transport,
)
from .inline import PAIRS, functions, lifted, public
from .notebooks import CHAPTERS, ROOT, number

ROOMS = ("dynamics", "control", "transport")  # the rooms of mathematics
TRIALS = 5


@pytest.mark.parametrize(("chapter", "name"), PAIRS)
def test_inline_equals_package(chapter, name):
    (path,) = [path for path in CHAPTERS if number(path) == chapter]
    function, (compare, close) = lifted(path)[name], PAIRS[chapter, name]
    for seed in range(TRIALS):
        sides = compare(function, torch.Generator().manual_seed(seed))
        given, wanted = (
            [
                torch.as_tensor(x, dtype=torch.float64)
                for x in (side if isinstance(side, tuple) else (side,))
            ]
            for side in sides
        )
        assert [x.shape for x in given] == [x.shape for x in wanted]
        for x, y in zip(given, wanted):
            assert torch.allclose(x, y, rtol=close, atol=close), (x - y).abs().max()


def test_every_function_of_an_equal_name_is_compared():
    known = public(ROOMS, ROOT / "minildm")
    own = {(number(path), name) for path in CHAPTERS for name in functions(path)}
    missing = [
        f"chapter {chapter}: {name} ({known[name]})"
        for chapter, name in sorted(own - PAIRS.keys())
        if name in known
    ]
    assert not missing, "compare these here, or rename them if they do another job: " + "; ".join(
        missing
    )
    assert PAIRS.keys() <= own, f"no chapter writes {sorted(PAIRS.keys() - own)}"
