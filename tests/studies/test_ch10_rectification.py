"""Rectification: Euler steps to a word, and the numbers of steps that they need."""

import math

import pytest
import torch

from minildm.studies import ch10_rectification as r
from tests.models.small import rng
from tests.studies.test_ch10_word_field import some_words


@pytest.mark.parametrize("std", [0.2, 1.0])
def test_euler_steps_to_one_word_end_where_the_product_says(std):
    """A single Gaussian: the exact end is m + s z_0, Euler's m + c_S z_0, so every error is |c_S - s| |z_0|."""
    one = some_words(1, 2, variance=std**2)
    z0 = torch.randn(8, 2, generator=rng(6), dtype=torch.float64)
    walked = r.euler_ends(one, 8, rng(6), rungs=(4, 32))
    assert torch.allclose(walked.exact, one.means + std * z0, atol=1e-4)
    for steps, end in walked.ends.items():
        c = r.euler_std(torch.tensor(std, dtype=torch.float64), steps)
        assert torch.allclose(end, one.means + c * z0)
        assert walked.errors()[steps] == pytest.approx(
            abs(float(c) - std) * float(z0.square().mean().sqrt()), abs=1e-4
        )
    assert walked.misread(one) == {4: 0.0, 32: 0.0}


def test_errors_by_quantile_are_ordered_and_misreads_are_counted():
    words = some_words(5, 2, variance=0.0025)
    walked = r.euler_ends(words, 200, rng(), rungs=(2, 8, 128))
    for steps in walked.ends:
        assert (
            walked.errors(0.5)[steps] < walked.errors(0.95)[steps]
            and walked.errors()[steps] <= walked.errors(1.0)[steps]
        )
    assert walked.misread(words)[2] > walked.misread(words)[128]


def test_steps_to_a_tolerance():
    errors = {1: 1.0, 2: 0.5, 4: 0.25, 8: 0.125}  # 1 / steps
    for tolerance in (0.9, 0.3, 0.13):
        assert r.first_within(errors, tolerance) == pytest.approx(1 / tolerance)
    assert r.first_within(errors, 2.0) == 1 and math.isinf(r.first_within(errors, 0.1))
    assert (
        r.first_within({1: 0.1, 2: 0.9, 4: 0.01}, 0.5) > 2
    )  # what is within and leaves again does not count


@pytest.mark.parametrize("std", [0.1, 0.6, 1.0])
def test_the_error_constant_is_the_limit_of_many_steps(std):
    s = torch.tensor(std, dtype=torch.float64)
    assert float(2000 * (s / r.euler_std(s, 2000)).log()) == pytest.approx(
        float(r.euler_error_constant(s)), rel=1e-3
    )
    assert torch.equal(r.euler_std(s.expand(3), 7), r.euler_std(s, 7).expand(3))


def test_rank_correlation():
    assert r.spearman([1.0, 2.0, 3.0, 4.0], [1.0, 10.0, 100.0, 1000.0]) == pytest.approx(1)
    assert r.spearman([1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, float("-inf")]) == pytest.approx(-1)
    assert r.spearman([1.0, 2.0, 3.0], [1.0, 3.0, 2.0]) == pytest.approx(0.5)
    assert r.spearman([1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 2.0, 2.0]) == pytest.approx(
        2 / 5**0.5
    )  # ties share their mean place
