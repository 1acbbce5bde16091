"""Figures of diversity on texts small enough to count by hand, and against counting by hand elsewhere."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from minildm.evaluation import diversity

ROWS = np.array(
    [
        [1, 4, 5, 4, 5, 2, 9, 9],  # what follows <eos> does not count
        [1, 6, 7, 8, 9, 2, 0, 0],
    ]
)


def test_counted_by_hand():
    assert diversity.unigram_entropy(ROWS) == pytest.approx((math.log(2) + math.log(4)) / 2)
    assert diversity.distinct(ROWS, 1, 10) == 6 / 8
    assert diversity.distinct(ROWS, 2, 10) == 5 / 6  # 45 54 45 67 78 89
    assert diversity.self_repetition(ROWS, 2, 10) == pytest.approx((1 / 3 + 0) / 2)
    training = diversity.training_grams(np.array([[1, 4, 5, 6, 7, 2]]), 2, 10)
    assert training.tolist() == [45, 56, 67]
    assert diversity.copied(ROWS, training, 2, 10) == 3 / 6


def test_texts_without_words():
    empty = np.array([[1, 2, 0, 0, 0], [1, 5, 2, 0, 0]])
    assert diversity.unigram_entropy(empty) == 0
    assert diversity.distinct(empty, 4, 10) == 0 == diversity.copied(empty, np.array([1]), 4, 10)
    assert diversity.self_repetition(empty, 2, 10) == 0


def test_training_rows_may_be_read_in_parts():
    rows = np.random.default_rng(0).integers(0, 9, (50, 12))
    assert np.array_equal(
        diversity.training_grams(rows, 3, 9, part=7), diversity.training_grams(rows, 3, 9)
    )


def test_a_large_vocabulary_does_not_overflow():
    top = 50_260
    rows = np.array([[top, top, top, top], [4, 4, 4, 4]])
    wanted = [(top + 1) ** 4 - 1, 4 * sum((top + 1) ** i for i in range(4))]
    assert [int(g[0]) for g in diversity.grams(rows, 4, top + 1)] == wanted


@settings(deadline=None, max_examples=50)
@given(arrays(np.int64, (3, 9), elements=st.integers(0, 8)), st.integers(1, 4))
def test_n_grams_are_those_of_a_plain_loop(rows, n):
    found = [set(g.tolist()) for g in diversity.grams(rows, n, 9)]
    for row, codes in zip(rows, found):
        windows = [row[i : i + n] for i in range(len(row) - n + 1)]
        assert codes == {
            sum(int(w) * 9 ** (n - 1 - i) for i, w in enumerate(win))
            for win in windows
            if min(win) >= 4
        }
