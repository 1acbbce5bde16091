"""Each check of the book is tried on at least two wrong answers and one right answer in another style."""

import importlib
import re

import pytest

from ..book.notebooks import CHAPTERS

NUMBERS = [path.stem[:2] for path in CHAPTERS]


@pytest.mark.parametrize("chapter", NUMBERS)
def test_each_check_has_wrong_and_right_answers(chapter):
    answers = importlib.import_module(f".test_ch{chapter}", __package__).answers
    checks = [int(name[6:]) for name in dir(answers.checks) if re.fullmatch(r"check_\d+", name)]
    assert answers.checks.__name__ == f"minildm.checks.ch{chapter}" and checks
    short = [
        n
        for n in checks
        if answers.count(n, is_right=False) < 2 or answers.count(n, is_right=True) < 1
    ]
    assert not short
