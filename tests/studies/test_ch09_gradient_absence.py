"""Two estimates of one gradient: equal means where it is known, variances by closed forms, exact zeros of hard words."""

import pytest
import torch

from minildm.sampling.relaxed import hard, soft, straight_through
from minildm.studies.ch09_gradient_absence import (
    Estimates,
    exact_words,
    pathwise,
    reinforce,
    reinforce_words,
    relaxed_words,
    total_variance,
    variance_ratio,
)
from minildm.studies.ch09_gradient_variance import perturbed_cost
from tests.models.small import rng
from tests.studies.test_ch09_singularity import linear_chain

MATRIX = torch.tensor([[2.0, 0.5, 0.0], [0.5, 1.0, -0.3], [0.0, -0.3, 3.0]], dtype=torch.float64)
MEAN = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
COSTS = torch.tensor([[1.0, 4.0, -2.0], [0.0, 3.0, 3.0]], dtype=torch.float64)
LOGITS = torch.tensor([[0.2, -0.5, 0.1], [1.0, 0.0, -1.0]], dtype=torch.float64)


def quadratic(z):
    return ((z @ MATRIX) * z).sum(-1) / 2


def crossed(words):
    """A cost of two words that is not the sum of two costs."""
    apart = (words * COSTS).sum((1, 2))
    return apart + 5 * words[:, 0, 0] * words[:, 1, 1]


def errors(estimates: Estimates) -> torch.Tensor:
    return (estimates.draws.var(0) / len(estimates.draws)).sqrt()


@pytest.mark.parametrize("estimate", [reinforce, pathwise])
def test_both_estimates_have_the_gradient_as_their_mean(estimate):
    """d/dm E cost(m + s xi) = A m for cost z'A z / 2."""
    found = estimate(quadratic, MEAN, 0.5, 40_000, rng())
    assert ((found.mean - MATRIX @ MEAN).abs() < 4.5 * errors(found)).all()


def test_the_variance_is_that_of_the_closed_forms():
    """For cost a z^2 / 2: pathwise a^2 s^2, REINFORCE with the mean as baseline 2 a^2 m^2 + 2.5 a^2 s^2."""
    a, m, s, count = 3.0, 0.7, 0.4, 200_000
    mean = torch.tensor([m], dtype=torch.float64)
    scored, direct = (
        estimate(lambda z: a * z[:, 0] ** 2 / 2, mean, s, count, rng())
        for estimate in (reinforce, pathwise)
    )
    assert total_variance(direct) == pytest.approx(a**2 * s**2, rel=0.02)
    assert total_variance(scored) == pytest.approx(2 * a**2 * m**2 + 2.5 * a**2 * s**2, rel=0.03)


def test_the_ratio_is_at_equal_evaluations_and_its_interval_covers():
    """(2 m^2 + 2.5 s^2) / (3 s^2), as a pathwise draw costs 3 evaluations; a 95% interval covers it in most of 40 experiments."""
    m, s = 0.7, 0.4
    wanted, mean, covered = (
        (2 * m**2 + 2.5 * s**2) / (3 * s**2),
        torch.tensor([m], dtype=torch.float64),
        0,
    )
    for seed in range(40):
        pair = [
            estimate(lambda z: z[:, 0] ** 2 / 2, mean, s, 1000, rng(10 * seed + i))
            for i, estimate in enumerate((reinforce, pathwise))
        ]
        ratio = variance_ratio(*pair, rng(seed), resamples=300)
        assert ratio.low < ratio.value < ratio.high
        covered += ratio.low <= wanted <= ratio.high
    assert covered >= 33


def test_in_many_dimensions_reinforce_needs_many_times_the_evaluations():
    """For a linear cost of d numbers REINFORCE has (d + 1) |c|^2 and pathwise no variance at all."""
    c = torch.randn(50, generator=rng(), dtype=torch.float64)
    scored, direct = (
        estimate(lambda z: z @ c, torch.zeros_like(c), 0.3, 20_000, rng())
        for estimate in (reinforce, pathwise)
    )
    assert total_variance(direct) == pytest.approx(0, abs=1e-20)
    assert total_variance(scored) == pytest.approx(51 * (c @ c).item(), rel=0.05)


def test_one_words_exact_gradient_is_its_closed_form():
    """dE/dlogit_w = p_w (c_w - E c)."""
    p = LOGITS[:1].softmax(-1)
    wanted = p * (COSTS[:1] - (p * COSTS[:1]).sum())
    assert torch.allclose(
        exact_words(lambda words: (words * COSTS[:1]).sum((1, 2)), LOGITS[:1]), wanted
    )


def test_scored_words_have_the_exact_gradient_as_their_mean():
    found = reinforce_words(crossed, LOGITS, 200_000, rng())
    assert ((found.mean - exact_words(crossed, LOGITS).flatten()).abs() < 4.5 * errors(found)).all()


def test_hard_words_have_no_pathwise_gradient_and_relaxed_ones_a_biased_one():
    assert (relaxed_words(crossed, LOGITS, 500, rng(), hard).draws == 0).all()
    exact = exact_words(crossed, LOGITS).flatten()
    for choice in (soft(1.0), straight_through(1.0)):
        found = relaxed_words(crossed, LOGITS, 50_000, rng(), choice)
        assert ((found.mean - exact).abs() > 10 * errors(found)).any()


def test_a_perturbation_of_a_linear_chain_costs_by_its_products():
    """Euler steps I + h A: dPhi/dz_k = c (I + h A)^(S - k)."""
    times = torch.linspace(0, 1, 6, dtype=torch.float64)
    chain = linear_chain(MATRIX, times)
    path = chain.run()
    c = torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64)
    cost = perturbed_cost(chain, path, 2, lambda scores: (scores * c).sum((1, 2)))
    assert cost(path.states[2][:1]).item() == pytest.approx(
        (path.states[-1][0, 0] * c).sum().item()
    )
    found = pathwise(cost, path.states[2][0], 0.1, 2, rng())
    wanted = torch.linalg.matrix_power(torch.eye(3, dtype=torch.float64) + 0.2 * MATRIX.T, 3) @ c
    assert torch.allclose(found.draws, wanted.expand(2, 3))
