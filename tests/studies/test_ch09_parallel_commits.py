"""The trade between efficiency and fidelity: total correlations by enumeration against brute-force sums, and what they cost a sampler."""

import itertools
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minildm.studies.ch09_parallel_commits import (
    Distribution,
    committed,
    copy_cost,
    distinct_cost,
    joint_entropy,
    staircase,
    surprise,
    tales_distribution,
    total_correlation,
)
from minildm.text.tales import Lexicon
from minildm.text.tales_entropy import entropy
from tests.models.small import rng

TINY = Lexicon(
    name=("ada", "ben"),
    species=("fox", "owl"),
    trait=("shy",),
    place=("barn", "mill"),
    color=("red",),
    thing=("hat",),
    mood=("happy",),
    cast=(2,),
)
TALES = tales_distribution(TINY, 1)
distributions = st.integers(0, 10_000).map(lambda seed: random_distribution(seed))


def random_distribution(seed: int, n: int = 4, size: int = 3, count: int = 12) -> Distribution:
    draws = np.random.default_rng(seed)
    every = np.array(list(itertools.product(range(size), repeat=n)))
    weights = draws.exponential(size=count)
    return Distribution(
        every[draws.choice(len(every), count, replace=False)], weights / weights.sum()
    )


def brute(distribution: Distribution, positions, given=()) -> float:
    """sum p log [ p(w_A, w_B) / p(w_B) / prod_i p(w_i, w_B) / p(w_B) ], with dictionaries and loops."""

    def masses(places):
        found = Counter()
        for row, p in zip(distribution.rows, distribution.probs):
            found[tuple(row[i] for i in places)] += p
        return found

    base, joint = masses(given), masses([*given, *positions])
    singles = {i: masses([*given, i]) for i in positions}
    total = 0.0
    for row, p in zip(distribution.rows, distribution.probs):
        before = base[tuple(row[i] for i in given)]
        jointly = joint[tuple(row[i] for i in [*given, *positions])] / before
        apart = math.prod(
            singles[i][tuple(row[j] for j in [*given, i])] / before for i in positions
        )
        total += p * math.log(jointly / apart)
    return total


@settings(deadline=None, max_examples=40)
@given(distributions, st.permutations(range(4)), st.integers(1, 4), st.integers(0, 3))
def test_total_correlation_is_the_brute_force_sum(distribution, order, many, before):
    A, B = order[:many], order[many : many + before]
    assert total_correlation(distribution, A, B) == pytest.approx(
        brute(distribution, A, B), abs=1e-12
    )


@settings(deadline=None, max_examples=40)
@given(distributions, st.permutations(range(4)), st.lists(st.integers(1, 3), max_size=3))
def test_the_divergence_of_parallel_sampling_is_the_sum_of_its_total_correlations(
    distribution, order, cuts
):
    """KL(p | q) = sum over blocks of TC(block | earlier blocks), for any blocks; and q's fraction of right texts >= e^-KL."""
    edges = [0, *sorted(set(cuts)), 4]
    blocks = [order[a:b] for a, b in itertools.pairwise(edges)]
    q = committed(distribution, blocks)
    divergence = float((distribution.probs * np.log(distribution.probs / q)).sum())
    seen = [order[:a] for a in edges]
    parallel_cost = sum(
        total_correlation(distribution, block, before) for block, before in zip(blocks, seen)
    )
    assert divergence == pytest.approx(parallel_cost, abs=1e-10)
    assert q.sum() >= math.exp(-parallel_cost) - 1e-12 and q.sum() <= 1 + 1e-12


def test_one_at_a_time_costs_nothing_and_all_at_once_what_words_know_of_each_other():
    n = TALES.rows.shape[1]
    assert np.allclose(committed(TALES, [[i] for i in reversed(range(n))]), TALES.probs)
    at_once = committed(TALES, [list(range(n))])
    assert float((TALES.probs * np.log(TALES.probs / at_once)).sum()) == pytest.approx(
        total_correlation(TALES, range(n))
    )
    assert at_once.sum() < 0.1


def test_the_enumerated_distribution_is_that_of_tales():
    assert TALES.probs.sum() == pytest.approx(1) and TALES.entropy == pytest.approx(
        entropy(1, TINY)
    )
    assert len({tuple(row) for row in TALES.rows}) == len(TALES.rows)
    assert joint_entropy(TALES, range(TALES.rows.shape[1])) == pytest.approx(TALES.entropy)


@pytest.mark.parametrize("options, draws", [(5, 2), (5, 3), (4, 4)])
def test_words_without_repetition(options, draws):
    rows = np.array(list(itertools.permutations(range(options), draws)))
    distribution = Distribution(rows, np.full(len(rows), 1 / len(rows)))
    assert distinct_cost(options, draws) == pytest.approx(
        total_correlation(distribution, range(draws))
    )


@pytest.mark.parametrize("options, copies", [(5, 2), (3, 4)])
def test_words_that_are_copied(options, copies):
    distribution = Distribution(
        np.arange(options)[:, None].repeat(copies, 1), np.full(options, 1 / options)
    )
    assert copy_cost(options, copies) == pytest.approx(
        total_correlation(distribution, range(copies))
    )


def test_surprise_falls_from_the_marginals_and_its_area_is_the_entropy():
    """Each order's sum of H(w_i | words before) is H, so the staircase of many steps tends to H from above."""
    distribution, fractions = random_distribution(3), [k / 16 for k in range(16)]
    curve = surprise(distribution, fractions, 300, rng())
    assert curve[0].item() == pytest.approx(
        sum(joint_entropy(distribution, [i]) for i in range(4)) / 4
    )
    sums = [staircase(curve, 4, steps) for steps in (1, 2, 4, 8, 16)]
    assert sums == sorted(sums, reverse=True) and sums[-1] > distribution.entropy
    riemann = 4 * (curve[0] - curve[-1]).item() / 32
    assert sums[-1] - distribution.entropy == pytest.approx(riemann, rel=0.3)


def test_two_words_pay_their_information_over_the_steps():
    """Two words come in one step of S with probability 1/S, so the cost of S steps is I(w_1; w_2) / S."""
    distribution = Distribution(np.array([[0, 0], [1, 1], [0, 1]]), np.array([0.5, 0.3, 0.2]))
    fractions = [k / 8 for k in range(8)]
    curve = surprise(distribution, fractions, 3000, rng())
    for steps in (1, 2, 4, 8):
        parallel_cost = staircase(curve, 2, steps) - distribution.entropy
        assert parallel_cost == pytest.approx(
            total_correlation(distribution, [0, 1]) / steps, abs=0.06
        )


def test_a_staircase_needs_steps_that_divide_its_fractions():
    assert staircase([3.0, 2.0, 1.0, 0.0], 10, 2) == pytest.approx(10 * (3 + 1) / 2)
    with pytest.raises(ValueError, match="3 steps do not divide 4"):
        staircase([3.0, 2.0, 1.0, 0.0], 10, 3)


def test_reduced_worlds_grow():
    assert len(tales_distribution(replace(TINY, species=("fox",)), 1).rows) < len(TALES.rows)
