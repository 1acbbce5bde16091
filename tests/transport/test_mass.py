"""How mass moves: divergences, the Fokker-Planck equation of mixtures, and one distribution moved by two processes."""

import pytest
import torch

from minildm.control.bridges import Mixture
from minildm.dynamics.solvers import euler_maruyama, integrate
from minildm.transport.distances import kolmogorov_smirnov
from minildm.transport.mass import (
    exact_divergence,
    fokker_planck_residual,
    hutchinson,
    noisy_drift,
    random_signs,
)
from minildm.transport.mixtures import marginal, mixture_score, mixture_velocity
from minildm.transport.planar import two_modes
from minildm.transport.schedules import Cosine, Linear, Tangent

SCHEDULES = [Linear(), Cosine(), Tangent(3.0)]
every = pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
MIXTURE = Mixture(
    torch.tensor([0.2, 0.5, 0.3]).double().log(),
    torch.tensor([[1.0, 2.0], [-1.5, 0.5], [0.0, -2.0]]).double(),
    torch.tensor([0.1, 0.3, 0.05]).double(),
)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def states(count: int = 50) -> torch.Tensor:
    return torch.randn(count, 2, generator=rng(), dtype=torch.float64)


def swirl(z, t):
    return torch.stack((z[:, 0] ** 2 + t * z[:, 1], torch.sin(z[:, 0]) * z[:, 1]), dim=1)


def test_divergences_by_hand_and_by_probes():
    """div = 2x + sin x; the probes (1, 1) and (1, -1) together make the estimate exact in the plane."""
    z = states()
    t = torch.tensor(0.3).double()
    u, exact = exact_divergence(swirl, z, t)
    assert torch.equal(u, swirl(z, t)) and torch.allclose(exact, 2 * z[:, 0] + torch.sin(z[:, 0]))
    probes = torch.tensor([[1.0, 1.0], [1.0, -1.0]]).double()[:, None].expand(2, 50, 2)
    assert torch.allclose(hutchinson(probes)(swirl, z, t)[1], exact)


def test_random_probes_are_unbiased():
    z = states(5)
    t = torch.tensor(0.3).double()
    estimates = torch.stack(
        [hutchinson(random_signs(1, z, rng(seed)))(swirl, z, t)[1] for seed in range(2000)]
    )
    error = estimates.mean(0) - exact_divergence(swirl, z, t)[1]
    assert (error.abs() <= 4 * estimates.std(0) / 2000**0.5 + 1e-12).all()


def test_the_divergence_of_states_of_any_shape():
    z = torch.randn(4, 3, 2, generator=rng(), dtype=torch.float64)
    _, spread = exact_divergence(lambda z, t: z**2 / 2, z, torch.tensor(0.0))
    assert torch.allclose(spread, z.sum((1, 2)))


@every
@pytest.mark.parametrize("g", [0.0, 0.5, 2.0])
def test_the_density_solves_the_fokker_planck_equation_for_every_noise(schedule, g):
    """dz = (u + g^2/2 score) dt + g dW has the mixture of the path for each g; without the correction it has not."""
    u = mixture_velocity(schedule, MIXTURE)
    score = mixture_score(schedule, MIXTURE)

    def log_density(z, t):
        return marginal(schedule, MIXTURE, t).log_density(z)

    for t in torch.tensor([0.05, 0.4, 0.9]).double():
        residual = fokker_planck_residual(log_density, noisy_drift(u, score, g), states(), t, g)
        assert residual.abs().max() <= 1e-8
        if g > 0:
            assert fokker_planck_residual(log_density, u, states(), t, g).abs().max() > 0.01


@every
def test_the_score_of_a_mixture_is_the_gradient_of_its_log_density(schedule):
    score = mixture_score(schedule, MIXTURE)
    for t in torch.tensor([0.0, 0.3, 0.8]).double():
        z = states().requires_grad_()
        (slope,) = torch.autograd.grad(marginal(schedule, MIXTURE, t).log_density(z).sum(), z)
        assert torch.allclose(score(z, t), slope, atol=1e-10)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("g", [0.5, 1.0])
def test_flow_and_noisy_process_have_one_distribution(seed, g):
    """Two-sample tests of 2000 paths of each, on the way and at the end, do not reject at 1%."""
    mixture = two_modes(0.5)
    times = torch.linspace(0, 1, 301, dtype=torch.float64)
    u = mixture_velocity(Linear(), mixture)
    start, other = torch.randn(2, 2000, 1, generator=rng(seed), dtype=torch.float64)
    flow = integrate(u, start, times[::10], "rk4").states
    noisy = integrate(
        noisy_drift(u, mixture_score(Linear(), mixture), g),
        other,
        times,
        euler_maruyama(g),
        rng(100 + seed),
    ).states
    for k in (10, 20, 30):
        assert kolmogorov_smirnov(flow[k, :, 0], noisy[10 * k, :, 0])[1] >= 0.01


def test_noise_without_its_correction_has_another_distribution():
    mixture = two_modes(0.5)
    times = torch.linspace(0, 1, 301, dtype=torch.float64)
    u = mixture_velocity(Linear(), mixture)
    start, other = torch.randn(2, 2000, 1, generator=rng(), dtype=torch.float64)
    flow = integrate(u, start, times[::10], "rk4", record=False).states[-1]
    noisy = integrate(u, other, times, euler_maruyama(1.0), rng(1), record=False).states[-1]
    assert kolmogorov_smirnov(flow[:, 0], noisy[:, 0])[1] < 1e-4
