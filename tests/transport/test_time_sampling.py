"""Distributions of time: densities and inverses; the one that adaptive time learns makes the loss affine in warped time."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minildm.transport.grids import log_snr_grid, uniform_grid, warped_grid
from minildm.transport.schedules import Cosine, Linear, Tangent
from minildm.transport.time_sampling import (
    AdaptiveTime,
    LogitNormal,
    Uniform,
    isotonic_decreasing,
    stratified,
)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def falls_early(t):
    return 1 / (1 + torch.exp(20 * (t - 0.25))) + 0.1


def falls_late(t):
    return 2.0 - t**4


def train(
    sampler: AdaptiveTime, curve, steps: int, seed: int = 0, start: int = 0, noise: float = 0.05
) -> None:
    """Steps of 64 texts whose loss is the curve at their time, with noise."""
    random = rng(seed)
    for step in range(start, start + steps):
        t = sampler.draw(64, random)
        sampler.observe(t, curve(t) + noise * torch.randn(64, generator=random))
        sampler.update(step)


def straightness(sampler: AdaptiveTime, curve) -> float:
    """R^2 of the best line through the loss against the warped time."""
    v = np.linspace(0, 1, 501)
    loss = curve(sampler.warp(torch.from_numpy(v)).double()).numpy()
    line = np.polyval(np.polyfit(v, loss, 1), v)
    return 1 - ((loss - line) ** 2).sum() / ((loss - loss.mean()) ** 2).sum()


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(0.1, 3)), min_size=1, max_size=12))
def test_isotonic_fit_satisfies_the_conditions_of_optimality(pairs):
    """Monotone; the residuals' weighted sums from the left never fall below zero, and are zero where the fit steps."""
    y, weight = np.array(pairs).T
    x = isotonic_decreasing(y, weight)
    assert x.shape == y.shape and (np.diff(x) <= 1e-12).all()
    sums = np.cumsum(weight * (y - x))
    assert abs(sums[-1]) < 1e-9 and (sums <= 1e-9).all()
    assert np.allclose(sums[:-1][np.diff(x) < -1e-12], 0, atol=1e-9)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 3), min_size=2, max_size=4), st.integers(0, 1000))
def test_isotonic_fit_beats_every_monotone_sequence_on_a_grid(y, seed):
    y, weight = np.array(y, dtype=float), np.random.default_rng(seed).uniform(0.5, 2, len(y))
    best = (weight * (isotonic_decreasing(y, weight) - y) ** 2).sum()
    levels = np.meshgrid(*[np.linspace(0, 3, 13)] * len(y))
    candidates = np.stack([level.ravel() for level in levels], axis=1)
    candidates = candidates[(np.diff(candidates, axis=1) <= 0).all(axis=1)]
    assert best <= (weight * (candidates - y) ** 2).sum(axis=1).min() + 1e-9


def test_isotonic_fit_keeps_what_is_monotone_and_pools_what_rises():
    ones = np.ones(4)
    assert isotonic_decreasing(np.array([4.0, 3, 3, 1]), ones).tolist() == [4, 3, 3, 1]
    assert isotonic_decreasing(np.array([1.0, 2, 3, 4]), ones).tolist() == [2.5] * 4
    assert isotonic_decreasing(np.array([1.0, 4.0]), np.array([3.0, 1.0])).tolist() == [1.75, 1.75]


def test_time_starts_uniform():
    v = torch.linspace(0, 1, 101)
    assert torch.allclose(AdaptiveTime().warp(v), v, atol=1e-6)


@pytest.mark.parametrize("curve", [falls_early, falls_late])
def test_loss_against_warped_time_becomes_affine(curve):
    sampler = AdaptiveTime(floor=0.01)
    before = straightness(sampler, curve)
    train(sampler, curve, 1500)
    assert before < 0.9 and straightness(sampler, curve) >= 0.99


def test_it_is_affine_again_after_the_loss_has_changed():
    sampler = AdaptiveTime(floor=0.01)
    train(sampler, falls_early, 1000)
    assert straightness(sampler, falls_early) >= 0.99 and straightness(sampler, falls_late) < 0.9
    train(sampler, falls_late, 4000, seed=1, start=1000)
    assert straightness(sampler, falls_late) >= 0.99


def test_it_recovers_when_the_loss_changes():
    sampler = AdaptiveTime(floor=0.1)
    train(sampler, falls_early, 1000)
    assert straightness(sampler, falls_late) < 0.9
    train(sampler, falls_late, 3000, seed=1, start=1000)
    twin = AdaptiveTime(floor=0.1)
    train(twin, falls_late, 3000, seed=2)
    assert straightness(sampler, falls_late) == pytest.approx(
        straightness(twin, falls_late), abs=0.02
    )


def test_means_are_quotients_of_discounted_sums():
    """A constant loss is read as that constant after a single step; a bin that is not seen keeps its mean and loses weight."""
    sampler = AdaptiveTime(bins=4)
    sampler.observe(torch.tensor([0.1, 0.1, 0.9]), torch.tensor([2.0, 4.0, 5.0]))
    sampler.update(0)
    assert sampler.curve().tolist() == pytest.approx([3.0, 0, 0, 5.0])
    assert sampler.weight.tolist() == pytest.approx([0.02, 0, 0, 0.01])
    sampler.observe(torch.tensor([0.1]), torch.tensor([6.0]))
    sampler.update(1)
    assert sampler.curve().tolist() == pytest.approx([(0.99 * 6 + 6) / (0.99 * 2 + 1), 0, 0, 5.0])
    assert (
        sampler.weight.tolist() == pytest.approx([0.0298, 0, 0, 0.0099])
        and sampler.new_count.sum() == 0
    )


def test_all_bins_tell_of_the_same_past():
    """(07.23): under distributions that change, the mean of a bin is sum decay^(n-s) L_s(bin) / sum decay^(n-s)."""
    sampler = AdaptiveTime(bins=5, decay=0.98, refresh=10**6)
    random = rng()
    steps = 200
    distributions = torch.tensor(
        [[0.02, 0.08, 0.1, 0.3, 0.5], [0.5, 0.3, 0.1, 0.08, 0.02]], dtype=torch.float64
    )
    fell = 2.0 ** (-torch.arange(steps, dtype=torch.float64) / 50)
    for step in range(steps):
        sampler.cdf[1:] = distributions[step // 20 % 2].cumsum(0)
        t = sampler.draw(2000, random)
        sampler.observe(t, fell[step] * (5 - sampler.bin(t)))
        sampler.update(step)
    past = 0.98 ** torch.arange(steps - 1, -1, -1, dtype=torch.float64)
    assert torch.allclose(
        sampler.curve() / (past @ fell / past.sum()), torch.arange(5, 0, -1).double(), rtol=0.01
    )


@pytest.mark.parametrize("half", [300, 1000])
def test_a_falling_loss_does_not_mislead_the_distribution(half):
    """The loss halves every `half` steps; the distribution still follows its shape. (Moving averages of each bin alone fail here.)"""
    for seed in range(3):
        sampler = AdaptiveTime()
        random = rng(seed)
        for step in range(1000):
            t = sampler.draw(64, random)
            sampler.observe(
                t, 2 ** (-step / half) * (falls_late(t) + 0.05 * torch.randn(64, generator=random))
            )
            sampler.update(step)
        assert straightness(sampler, falls_late) >= 0.98


def test_only_what_is_asked_for_is_observed():
    """Losses of texts (batch, n) of which some do not count, as in a Manta-LM, give the sums of the others alone."""
    t, loss = torch.rand(2, 3, 5, generator=torch.Generator().manual_seed(0))
    some = t > 0.4
    whole = AdaptiveTime(bins=4)
    chosen = AdaptiveTime(bins=4)
    whole.observe(t, loss, some.float())
    chosen.observe(t[some], loss[some])
    assert torch.allclose(whole.new_loss, chosen.new_loss) and torch.equal(
        whole.new_count, chosen.new_count
    )


def test_the_distribution_waits_for_every_bin_and_for_its_turn():
    sampler = AdaptiveTime(bins=2, refresh=3)
    uniform = sampler.cdf.clone()
    for step in range(3):
        sampler.observe(torch.tensor([0.1]), torch.tensor([1.0]))
        sampler.update(step)
    assert torch.equal(sampler.cdf, uniform)
    for step in range(3, 6):
        assert torch.equal(sampler.cdf, uniform)
        sampler.observe(torch.tensor([0.9]), torch.tensor([0.5]))
        sampler.update(step)
    assert torch.allclose(
        sampler.cdf, torch.tensor([0, 0.5, 1]).double()
    )  # one fall, divided between two neighbors


def test_draws_are_one_in_each_equal_part_of_the_distribution():
    sampler = AdaptiveTime()
    train(sampler, falls_early, 500)
    t = sampler.draw(64, rng(5)).double()
    i = (t * 50).long().clamp(0, 49)
    v = sampler.cdf[i] + (t * 50 - i) * (sampler.cdf[i + 1] - sampler.cdf[i])
    assert ((v * 64 - torch.arange(64)) > -1e-4).all() and (
        (v * 64 - torch.arange(64)) < 1 + 1e-4
    ).all()


def test_warp_inverts_the_distribution_function():
    sampler = AdaptiveTime()
    train(sampler, falls_early, 500)
    edges = torch.linspace(0, 1, 51)
    assert torch.allclose(sampler.warp(sampler.cdf), edges, atol=1e-6)
    middle = (sampler.cdf[1:] + sampler.cdf[:-1]) / 2
    assert torch.allclose(sampler.warp(middle), (edges[1:] + edges[:-1]) / 2, atol=1e-6)
    ends = sampler.warp(torch.tensor([0.0, 1.0]))
    assert ends.tolist() == [0, 1]
    assert (sampler.warp(torch.linspace(0, 1, 1001)).diff() > 0).all()


@pytest.mark.parametrize("floor", [0.01, 0.1, 0.5])
def test_no_time_is_rarer_than_the_floor(floor):
    sampler = AdaptiveTime(floor=floor)
    train(sampler, falls_early, 300)
    parts = sampler.cdf.diff()
    assert parts.min() >= floor / 50 - 1e-12
    assert parts[12] > 3 * parts[40]  # where the loss falls, at a quarter, against where it is flat
    assert sampler.cdf[0] == 0 and sampler.cdf[-1] == 1


def test_a_loss_that_never_falls_leaves_time_uniform():
    sampler = AdaptiveTime(bins=5, refresh=50)
    train(sampler, lambda t: t, 100, noise=0.0)
    assert torch.allclose(sampler.cdf, torch.linspace(0, 1, 6).double())


def learned() -> AdaptiveTime:
    sampler = AdaptiveTime()
    train(sampler, falls_early, 500)
    return sampler


DISTRIBUTIONS = {
    "uniform": Uniform,
    "logit-normal": LogitNormal,
    "shifted": lambda: LogitNormal(-0.8, 0.6),
    "adaptive": learned,
}
every = pytest.mark.parametrize("distribution", DISTRIBUTIONS)


def test_stratified_numbers_are_below_one():
    """With this seed the last number would round to 1, where a masked model divides by the fraction of observed tokens, 0."""
    last = torch.rand(512, generator=rng(57532))[-1]
    assert (511 + last) / 512 == 1 > stratified(512, rng(57532)).max()


@every
def test_the_density_is_the_slope_of_the_distribution_function(distribution):
    """Along t = F^-1(v): the integral of the density over each tenth of v is a tenth."""
    distribution = DISTRIBUTIONS[distribution]()
    t = distribution.warp(torch.linspace(0.001, 0.999, 20_001)).double()
    middle = (t[1:] + t[:-1]) / 2
    parts = (distribution.density(middle.float()).double() * t.diff()).reshape(10, -1).sum(1)
    assert torch.allclose(parts, torch.full((10,), 0.0998).double(), atol=3e-4)


@every
def test_draws_follow_the_distribution_and_cover_it(distribution):
    distribution = DISTRIBUTIONS[distribution]()
    t = distribution.draw(1000, rng(3))
    assert ((t >= 0) & (t <= 1)).all() and (t.diff() >= 0).all()
    v = torch.arange(1001) / 1000
    edges = distribution.warp(v)
    assert ((t >= edges[:-1] - 1e-6) & (t <= edges[1:] + 1e-6)).all()
    assert torch.equal(t, distribution.warp(stratified(1000, rng(3))))


def test_logit_normal_is_normal_in_half_the_log_snr():
    half = Linear().log_snr(LogitNormal(0.5, 2.0).draw(100_000, rng()).double()) / 2
    assert half.mean().item() == pytest.approx(
        0.5, abs=0.01
    ) and half.std().item() == pytest.approx(2.0, abs=0.02)
    assert LogitNormal().warp(torch.tensor([0.0, 0.5, 1.0])).tolist() == [0, 0.5, 1]


@pytest.mark.parametrize("schedule", [Linear(), Cosine(), Tangent(3.0)], ids=str)
def test_grids_are_even_in_what_they_say(schedule):
    assert torch.allclose(uniform_grid(8).diff(), torch.full((8,), 1 / 8))
    times = log_snr_grid(schedule, 8, reach=6.0)
    assert len(times) == 9 and times[0] == 0 and times[-1] == 1 and (times.diff() > 0).all()
    assert torch.allclose(
        schedule.log_snr(times[1:-1].double()), torch.linspace(-6, 6, 7).double(), atol=1e-4
    )


@every
def test_a_warped_grid_has_equal_parts_of_the_distribution(distribution):
    distribution = DISTRIBUTIONS[distribution]()
    times = warped_grid(distribution, 10)
    assert len(times) == 11 and times[0] == 0 and times[-1] == 1 and (times.diff() > 0).all()
    assert torch.allclose(times, distribution.warp(torch.arange(11) / 10), atol=1e-6)
