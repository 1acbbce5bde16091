"""Mixtures on a path: closed forms against samples, against each other and against the pinned mixture."""

import pytest
import torch

from minildm.control.linear_quadratic import pinned_control
from minildm.dynamics.solvers import integrate
from minildm.transport.heads import convert
from minildm.transport.mixtures import (
    denoising_error,
    marginal,
    mixture_score,
    mixture_velocity,
    posterior,
)
from minildm.transport.paths import interpolate, sample_path
from minildm.transport.planar import eight_gaussians, two_modes
from minildm.transport.schedules import Cosine, Linear, Tangent

every = pytest.mark.parametrize("schedule", [Linear(), Cosine(), Tangent(3.0)], ids=str)
MIXTURE = two_modes(0.5)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@every
def test_posterior_means_are_regressions_on_pairs(schedule):
    """In narrow bins of z_t the mean of z_1, of z_0 and of the velocity equal the closed forms at the bin."""
    count = 400_000
    t = torch.tensor(0.6).double()
    z1 = MIXTURE.sample(count, rng())
    z0 = torch.randn(count, 1, generator=rng(1), dtype=torch.float64)
    sample = sample_path(schedule, z1, z0, t.expand(count))
    for center in (-1.0, -0.2, 0.0, 0.7, 1.5):
        inside = (sample.zt[:, 0] - center).abs() < 0.02
        denoised, noise = posterior(schedule, MIXTURE, sample.zt[inside], t)
        slope = mixture_velocity(schedule, MIXTURE)(sample.zt[inside], t)
        for truth, best in ((z1, denoised), (z0, noise), (sample.velocity, slope)):
            error = truth[inside] - best
            assert abs(error.mean()) <= 4.5 * error.std() / inside.sum() ** 0.5


@every
def test_the_marginal_is_that_of_the_points(schedule):
    t = torch.tensor(0.4).double()
    mixture = eight_gaussians()
    count = 100_000
    z1 = mixture.sample(count, rng()).double()
    z0 = torch.randn(count, 2, generator=rng(1), dtype=torch.float64)
    zt = sample_path(schedule, z1, z0, t.expand(count)).zt
    drawn = marginal(schedule, mixture, t).sample(count, rng(2))
    for power in (1, 2, 4):
        assert torch.allclose(
            (zt**power).mean(0), (drawn.double() ** power).mean(0), rtol=0.05, atol=0.03
        )


@every
def test_times_may_be_one_or_many(schedule):
    z = torch.randn(6, 1, generator=rng(), dtype=torch.float64)
    times = torch.linspace(0, 1, 6, dtype=torch.float64)
    for field in (mixture_velocity(schedule, MIXTURE), mixture_score(schedule, MIXTURE)):
        assert torch.allclose(
            field(z, times), torch.cat([field(z[i : i + 1], t) for i, t in enumerate(times)])
        )


@every
def test_the_heads_of_a_mixture_agree(schedule):
    """Posterior means convert as truths do, since all heads are affine."""
    z = torch.randn(50, 1, generator=rng(), dtype=torch.float64)
    t = torch.full((50,), 0.3).double()
    denoised, noise = posterior(schedule, MIXTURE, z, t)
    values = {
        "denoised": denoised,
        "noise": noise,
        "velocity": mixture_velocity(schedule, MIXTURE)(z, t),
        "score": mixture_score(schedule, MIXTURE)(z, t),
    }
    for source in values:
        for target in values:
            assert torch.allclose(
                convert(schedule, z, values[source], t, source, target), values[target], atol=1e-10
            )


def test_the_field_is_the_posterior_mean_of_pinned_controls():
    """u(z, t) = E[(z_1 - z)/(1 - t) | z] = (E[z_1 | z] - z)/(1 - t)."""
    z = torch.randn(50, 1, generator=rng(), dtype=torch.float64)
    for t in torch.tensor([0.0, 0.5, 0.95]).double():
        denoised, _ = posterior(Linear(), MIXTURE, z, t)
        assert torch.allclose(
            mixture_velocity(Linear(), MIXTURE)(z, t),
            pinned_control(denoised, z, t),
            rtol=1e-9,
            atol=1e-9,
        )


@every
def test_the_flow_carries_noise_to_the_mixture(schedule):
    """On the line the flow keeps quantiles: F_1(z_1) = Phi(z_0)."""
    z0 = torch.linspace(-2.5, 2.5, 41, dtype=torch.float64)[:, None]
    z1 = integrate(
        mixture_velocity(schedule, MIXTURE),
        z0,
        torch.linspace(0, 1, 201).double(),
        "rk4",
        record=False,
    ).states[-1]
    below = torch.special.ndtr((z1 - MIXTURE.means[:, 0]) / 0.5).mean(1, keepdim=True)
    assert torch.allclose(below, torch.special.ndtr(z0), atol=1e-5)


@every
@pytest.mark.parametrize("std", [0.0, 0.1, 1.0])
def test_the_least_error_of_a_data_prediction(schedule, std):
    """E (z_1 - E[z_1 | z_t])^2: against draws; all of the variance at t = 0; that of the Gaussian alone close to the data."""
    mixture = two_modes(std)
    times = torch.tensor([0.0, 0.3, 0.6, 0.95]).double()
    count = 100_000
    found = denoising_error(schedule, mixture, times)
    assert found[0].item() == pytest.approx(4 + std**2, rel=1e-6)
    b2 = schedule.b(times[-1]) ** 2
    a2 = schedule.a(times[-1]) ** 2
    assert found[-1].item() == pytest.approx(
        float(std**2 * b2 / (a2 * std**2 + b2)), rel=0.02, abs=1e-4
    )
    z1 = mixture.sample(count, rng())
    z0 = torch.randn(count, 1, generator=rng(1), dtype=torch.float64)
    for t, error in zip(times, found):
        squares = (
            z1 - posterior(schedule, mixture, interpolate(schedule, z1, z0, t.expand(count)), t)[0]
        ).square()
        assert abs(squares.mean() - error) <= 4.5 * squares.std() / count**0.5 + 1e-6
