"""Every model, sampler and seed writes what it wrote before the samplers moved into one room."""

import json

import pytest

from . import golden

KEPT = json.loads(golden.KEPT.read_text())


@pytest.mark.parametrize("case", golden.cases(), ids=lambda case: golden.label(*case))
def test_texts_are_those_that_were_kept(case):
    assert golden.outputs(*case) == KEPT[golden.label(*case)]


def test_no_case_is_forgotten():
    assert set(KEPT) == {golden.label(*case) for case in golden.cases()}
