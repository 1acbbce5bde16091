"""Likelihoods of flows against exact densities, with exact and estimated divergences."""

import pytest
import torch

from minildm.control.bridges import Mixture
from minildm.dynamics.adaptive import DormandPrince
from minildm.transport.likelihood import log_likelihood, log_normal
from minildm.transport.mass import hutchinson, random_signs
from minildm.transport.mixtures import mixture_velocity
from minildm.transport.planar import two_modes
from minildm.transport.schedules import Cosine, Linear, Tangent

GAUSSIAN = Mixture(
    torch.zeros(1).double(), torch.tensor([[1.0, -0.5]]).double(), torch.tensor([0.3]).double()
)
PLANE = Mixture(
    torch.tensor([0.3, 0.7]).double().log(),
    torch.tensor([[1.5, 1.0], [-1.0, 0.5]]).double(),
    torch.tensor([0.2, 0.4]).double(),
)
MIXTURES = {
    "a Gaussian": GAUSSIAN,
    "two modes, std 0.5": two_modes(0.5),
    "two modes, std 1": two_modes(1.0),
    "the plane": PLANE,
}
SCHEDULES = {"a Gaussian": Tangent(3.0), "two modes, std 0.5": Cosine(), "the plane": Tangent(3.0)}
GRID = torch.linspace(0, 1, 61, dtype=torch.float64)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    "name, schedule", [*((name, Linear()) for name in MIXTURES), *SCHEDULES.items()], ids=str
)
def test_the_exact_divergence_gives_the_density_to_a_thousandth_of_a_nat(name, schedule):
    mixture = MIXTURES[name]
    z1 = mixture.sample(200, rng())
    found = log_likelihood(mixture_velocity(schedule, mixture), z1, GRID)
    assert (found - mixture.log_density(z1)).abs().max() <= 1e-3


def test_an_adaptive_method_serves_as_well():
    z1 = two_modes(0.1).sample(50, rng())
    field = mixture_velocity(Linear(), two_modes(0.1))
    found = log_likelihood(field, z1, GRID[[0, -1]], DormandPrince(1e-7, 1e-7))
    assert (found - two_modes(0.1).log_density(z1)).abs().max() <= 1e-3


def test_signs_are_exact_for_round_gaussians_and_on_the_line():
    """There the Jacobian is diagonal, and a single probe has no error."""
    for mixture in (GAUSSIAN, two_modes(0.5)):
        z1 = mixture.sample(100, rng())
        probes = random_signs(1, z1, rng(1))
        found = log_likelihood(
            mixture_velocity(Linear(), mixture), z1, GRID, divergence=hutchinson(probes)
        )
        assert (found - mixture.log_density(z1)).abs().max() <= 1e-3


def test_estimates_are_unbiased_in_the_plane():
    """Over all four pairs of signs the estimate is exact to a thousandth of a nat; over random ones, within their spread."""
    z1 = PLANE.sample(60, rng())
    field = mixture_velocity(Linear(), PLANE)
    signs = (
        torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        .double()[:, None]
        .expand(4, 60, 2)
    )
    found = log_likelihood(field, z1, GRID, divergence=hutchinson(signs))
    assert (found - PLANE.log_density(z1)).abs().max() <= 1e-3
    many = z1.repeat(60, 1)
    draws = log_likelihood(
        field, many, GRID[::5], divergence=hutchinson(random_signs(1, many, rng(2)))
    ).reshape(60, 60)
    error = draws.mean(0) - log_likelihood(field, z1, GRID[::5])
    assert draws.std(0).mean() > 0.01 and (error.abs() <= 5 * draws.std(0) / 60**0.5 + 1e-9).all()


def test_states_of_any_shape_have_a_likelihood():
    z1 = torch.randn(5, 3, 2, generator=rng(), dtype=torch.float64)
    still = log_likelihood(lambda z, t: torch.zeros_like(z), z1, GRID[::50])
    assert torch.allclose(still, log_normal(z1))
    assert torch.allclose(
        log_normal(z1), torch.distributions.Normal(0.0, 1.0).log_prob(z1).sum((1, 2))
    )
    grown = log_likelihood(lambda z, t: z * 0.7, z1, GRID[::10])
    assert torch.allclose(grown, log_normal(z1 * torch.tensor(-0.7).exp()) - 6 * 0.7, atol=1e-6)
