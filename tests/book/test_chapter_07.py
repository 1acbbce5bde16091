"""The boxed equations of chapter 07, both sides evaluated."""

import math
from functools import lru_cache
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from minildm.control.bridges import Mixture
from minildm.dynamics.solvers import integrate
from minildm.transport.grids import warped_grid
from minildm.transport.heads import (
    HEADS,
    convert,
    denoised_from_velocity,
    loss_weight,
    noise_from_velocity,
)
from minildm.transport.mass import fokker_planck_residual
from minildm.transport.mixtures import (
    denoising_error,
    marginal,
    mixture_score,
    mixture_velocity,
    posterior,
)
from minildm.transport.paths import change_schedule, interpolate, sample_path
from minildm.transport.planar import two_modes
from minildm.transport.schedules import Cosine, Linear, Tangent, expand
from minildm.transport.time_sampling import AdaptiveTime

from .draws import randn, scalar

KINDS = [Linear(), Cosine(), Tangent(3.0), Tangent(9.0)]
MIXTURE = two_modes(0.3)
every = pytest.mark.parametrize("kind", KINDS, ids=str)


@lru_cache
def flowed(kind) -> Tensor:
    """Where the flow of the mixture carries twenty points of noise."""
    times = torch.linspace(0, 1, 151, dtype=torch.float64)
    return integrate(
        mixture_velocity(kind, MIXTURE), randn(20, 1, seed=3), times, "rk4", record=False
    ).states[-1]


@pytest.mark.parametrize("d", [1.0, 3.0, 9.0])
def test_the_tangent_schedule(d):
    """(07.3): a, b and the log-SNR from S, C and R; a^2 + b^2 = 1; the shift by 2 log d; the two values of (07.5)."""
    t, kind = torch.linspace(0.01, 0.99, 99, dtype=torch.float64), Tangent(d)
    S, C = torch.sin(math.pi * t / 2), torch.cos(math.pi * t / 2)
    R = (S**2 + d**2 * C**2).sqrt()
    assert torch.allclose(kind.a(t), S / R) and torch.allclose(kind.b(t), d * C / R)
    assert torch.allclose(kind.a(t) ** 2 + kind.b(t) ** 2, torch.ones_like(t))
    assert torch.allclose(kind.log_snr(t), -2 * torch.log(d * torch.tan(math.pi * (1 - t) / 2)))
    assert torch.allclose(kind.log_snr(t), Tangent(1.0).log_snr(t) - 2 * math.log(d))
    assert kind.log_snr(scalar(0.5)).item() == pytest.approx(-2 * math.log(d), abs=1e-12)
    assert kind.a(scalar(1 - 2 / math.pi * math.atan(1 / d))).item() ** 2 == pytest.approx(0.5)


def test_half_way_values_of_two_schedules():
    """The log-SNR at t = 1/2 is -2.2 for tan-3, and +1.9 for the path a^2 = 1 - s^3."""
    assert Tangent(3.0).log_snr(scalar(0.5)).item() == pytest.approx(-2.2, abs=0.05)
    assert math.log((1 - 0.5**3) / 0.5**3) == pytest.approx(1.9, abs=0.05)


@every
def test_data_and_noise_from_a_velocity(kind):
    """(07.6): from points and slopes of known pairs, both ends of time included."""
    z1, z0, t = randn(21, 4), randn(21, 4, seed=1), torch.linspace(0, 1, 21, dtype=torch.float64)
    sample, s = sample_path(kind, z1, z0, t), expand(t, z1)
    a, b, da, db = kind.a(s), kind.b(s), kind.da(s), kind.db(s)
    for found, formula, truth in (
        (denoised_from_velocity, (b * sample.velocity - db * sample.zt) / (da * b - a * db), z1),
        (noise_from_velocity, (da * sample.zt - a * sample.velocity) / (da * b - a * db), z0),
    ):
        assert torch.allclose(formula, truth, atol=1e-9)
        assert torch.allclose(found(kind, sample.zt, sample.velocity, t), truth, atol=1e-9)


@every
def test_velocity_from_score(kind):
    """(07.8), and Tweedie's formula (07.7): the score by autograd of the density, the means by the closed forms."""
    z = torch.linspace(-4, 4, 33, dtype=torch.float64)[:, None]
    for t in map(scalar, (0.1, 0.5, 0.9)):
        score = torch.func.grad(lambda z: marginal(kind, MIXTURE, t).log_density(z).sum())(z)  # noqa: B023
        assert torch.allclose(score, -posterior(kind, MIXTURE, z, t)[1] / kind.b(t), atol=1e-9)
        flow = kind.da(t) / kind.a(t) * z + kind.b(t) ** 2 * kind.log_snr_slope(t) / 2 * score
        assert torch.allclose(flow, mixture_velocity(kind, MIXTURE)(z, t), rtol=1e-8, atol=1e-8)


@every
def test_time_reversal(kind):
    """(07.12): the reversal keeps the marginals, as the forward process does, and a short forward step has its g."""
    z, t = torch.linspace(-4, 4, 33, dtype=torch.float64)[:, None], scalar(0.4)
    g2, score = kind.noise_rate(t), mixture_score(kind, MIXTURE)
    assert torch.allclose(g2, kind.b(t) ** 2 * kind.log_snr_slope(t))

    def density(z, t):
        return marginal(kind, MIXTURE, t).log_density(z)

    def back(z, t):
        return kind.da(t) / kind.a(t) * z + kind.noise_rate(t) * score(z, t)

    def forth(z, s):
        return -kind.da(1 - s) / kind.a(1 - s) * z

    g = float(g2) ** 0.5
    assert fokker_planck_residual(density, back, z, t, g).abs().max() < 1e-9
    assert (
        fokker_planck_residual(lambda z, s: density(z, 1 - s), forth, z, 1 - t, g).abs().max()
        < 1e-9
    )
    assert fokker_planck_residual(density, back, z, t, 1.1 * g).abs().max() > 1e-2
    h = 1e-5
    fresh = kind.b(t - h) ** 2 - (kind.a(t - h) / kind.a(t)) ** 2 * kind.b(t) ** 2
    assert (fresh / h).item() == pytest.approx(float(g2), rel=1e-3)


@every
@pytest.mark.parametrize("other", KINDS, ids=str)
def test_one_path_under_two_schedules(kind, other):
    """(07.15): points of equal log-SNR are multiples, posterior means are equal, and the flows meet at the data."""
    z1, z0, t = (
        randn(30, 1),
        randn(30, 1, seed=1),
        torch.linspace(0.02, 0.98, 30, dtype=torch.float64),
    )
    z, then = change_schedule(interpolate(kind, z1, z0, t), t, kind, other)
    assert torch.allclose(other.log_snr(then), kind.log_snr(t), atol=1e-9)
    scale = ((other.a(then) ** 2 + other.b(then) ** 2) / (kind.a(t) ** 2 + kind.b(t) ** 2)).sqrt()[
        :, None
    ]
    assert torch.allclose(z, interpolate(other, z1, z0, then), atol=1e-9)
    assert torch.allclose(z, scale * interpolate(kind, z1, z0, t), atol=1e-9)
    means = (
        posterior(k, MIXTURE, x, s)
        for k, x, s in ((kind, interpolate(kind, z1, z0, t), t), (other, z, then))
    )
    for one, two in zip(*means):
        assert torch.allclose(one, two, atol=1e-7)
    assert torch.allclose(flowed(kind), flowed(other), atol=2e-3)


@every
@pytest.mark.parametrize("head", HEADS)
def test_weights_of_heads(kind, head):
    """(07.16): the error of each head of a wrong prediction over that of its data prediction, and the formulas in log-SNR."""
    t = torch.linspace(0.03, 0.97, 40, dtype=torch.float64)
    z1, z0 = randn(40, 2), randn(40, 2, seed=1)
    zt, wrong = interpolate(kind, z1, z0, t), z1 + randn(40, 2, seed=2)
    gap = convert(kind, zt, wrong, t, "denoised", head) - convert(kind, zt, z1, t, "denoised", head)
    a, b, slope, log_snr = kind.a(t), kind.b(t), kind.log_snr_slope(t), kind.log_snr(t)
    weight = {
        "denoised": torch.ones_like(t),
        "noise": log_snr.exp(),
        "velocity": (a * slope / 2) ** 2,
        "score": (a / b**2) ** 2,
    }[head]
    assert torch.allclose(gap.square().sum(1) / (wrong - z1).square().sum(1), weight, rtol=1e-8)
    assert torch.allclose(loss_weight(kind, t, head), weight, rtol=1e-8)


@pytest.mark.parametrize(
    ("weights", "places"),
    [
        ([0.5, 0.5], [-2.0, 2.0]),
        ([0.5, 0.5], [-0.2, 0.2]),
        ([0.9, 0.1], [0.0, 1.0]),
        ([0.2, 0.3, 0.5], [-1.0, 0.5, 3.0]),
    ],
)
def test_the_noise_loss_counts_nats(weights, places):
    """(07.19): half the integral of the noise head's least error over log-SNR is the entropy of the points, by quadrature."""
    weights, places = (
        torch.tensor(weights, dtype=torch.float64),
        torch.tensor(places, dtype=torch.float64),
    )
    mixture = Mixture(weights.log(), places[:, None], torch.zeros_like(weights))
    log_snr = torch.linspace(-30, 25, 1101, dtype=torch.float64)
    error = denoising_error(Cosine(), mixture, Cosine().from_log_snr(log_snr))
    assert float(torch.trapezoid(log_snr.exp() * error / 2, log_snr)) == pytest.approx(
        -float(weights @ weights.log()), rel=1e-6
    )


@every
def test_the_loss_is_affine_in_warped_time(kind):
    """(07.21): for the exact loss of a denoiser, with many bins and no floor, at a uniform grid of v."""
    bins = 1000
    sampler = AdaptiveTime(bins=bins, floor=0.0)
    middles = (torch.arange(bins, dtype=torch.float64) + 0.5) / bins
    sampler.loss, sampler.weight = (
        denoising_error(kind, MIXTURE, middles, points=101),
        torch.ones(bins, dtype=torch.float64),
    )
    sampler.cdf = sampler.distribution()
    v, ends = (
        torch.linspace(0, 1, 21, dtype=torch.float64),
        denoising_error(kind, MIXTURE, torch.tensor([0.0, 1.0]).double()),
    )
    left = denoising_error(kind, MIXTURE, warped_grid(sampler, 20).double())
    assert torch.allclose(left, ends[0] - v * (ends[0] - ends[1]), atol=0.02)


def test_equal_fractions_of_draws_fall_between_equal_falls_of_the_loss():
    """(07.20) in words, for the exact denoiser, from which no training can remove anything."""
    bins = 1000
    sampler = AdaptiveTime(bins=bins, floor=0.0)
    middles = (torch.arange(bins, dtype=torch.float64) + 0.5) / bins
    sampler.loss, sampler.weight = (
        denoising_error(Linear(), MIXTURE, middles, points=101),
        torch.ones(bins, dtype=torch.float64),
    )
    sampler.cdf = sampler.distribution()
    drawn = sampler.draw(20_000, torch.Generator().manual_seed(0)).double()
    loss = denoising_error(Linear(), MIXTURE, drawn.sort().values[::50], points=101)
    levels = torch.linspace(float(loss[0]), float(loss[-1]), 6).double()
    even = denoising_error(Linear(), MIXTURE, torch.linspace(0, 1, 401).double(), points=101)
    by_distribution, by_schedule = (
        torch.stack(
            [((some <= high) & (some > low)).double().mean() for high, low in pairwise(levels)]
        )
        for some in (loss, even)
    )
    assert (by_distribution - 0.2).abs().max() < 0.02 < 0.1 < (by_schedule - 0.2).abs().max()
