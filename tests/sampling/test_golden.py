"""Every model, sampler and seed writes what it wrote before the samplers moved into one room."""

import json

import pytest

from . import golden

KEPT = json.loads(golden.KEPT.read_text())
ROUNDING = 1e-7  # of float32


@pytest.mark.parametrize("case", golden.cases(), ids=lambda case: golden.label(*case))
def test_texts_are_those_that_were_kept(case):
    found = golden.outputs(*case)
    kept = KEPT[golden.label(*case)]
    if case[1] != "losses":
        assert found == kept
    else:  # processors round float32 differently
        assert [terms(seed) for seed in found] == [
            pytest.approx(terms(seed), abs=ROUNDING) for seed in kept
        ]


def terms(seed: dict[str, str]) -> dict[str, float]:
    """The terms of a loss as numbers."""
    return {name: float(value) for name, value in seed.items()}


def test_no_case_is_forgotten():
    assert set(KEPT) == {golden.label(*case) for case in golden.cases()}
