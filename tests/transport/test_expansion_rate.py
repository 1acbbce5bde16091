"""Expansion rates: closed forms against autograd, iteration against whole matrices, the limit of narrow modes."""

import pytest
import torch
from torch.func import jacrev, vmap

from minildm.control.bridges import Mixture
from minildm.dynamics.jacobians import top_eigenvalue
from minildm.nets.transformer import DiffusionTransformer
from minildm.transport.expansion_rate import (
    largest_expansion_rate,
    midpoint_expansion_rate,
    mixture_jacobian,
    narrow_expansion_rate,
)
from minildm.transport.fields import SmallField
from minildm.transport.mixtures import mixture_velocity
from minildm.transport.planar import eight_gaussians, two_modes
from minildm.transport.schedules import Cosine, Linear, Tangent

CHECKED = {
    0.05: 11004,
    0.1: 1455,
    0.3: 67,
    1.0: 4.1,
}  # std -> largest expansion rate of modes 4 apart, computed elsewhere
every = pytest.mark.parametrize("schedule", [Linear(), Cosine(), Tangent(3.0)], ids=str)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def uneven(modes: int = 5, d: int = 3) -> Mixture:
    """A mixture whose weights, places and widths all differ."""
    return Mixture(
        randn(modes).log_softmax(0), 2 * randn(modes, d, seed=1), 0.3 * randn(modes, seed=2).exp()
    )


def whole(field, z, t):
    """The symmetric part of each row's Jacobian, (batch, numbers, numbers)."""
    flat = z[0].numel()
    jacobian = vmap(jacrev(lambda row, t: field(row[None], t)[0]), in_dims=(0, None))(z, t).reshape(
        len(z), flat, flat
    )
    return (jacobian + jacobian.mT) / 2


@every
def test_the_jacobian_is_that_of_autograd(schedule):
    """Any weights and widths, any schedule, one time or many; and it is symmetric."""
    mixture = uneven()
    z = randn(6, 3, seed=3)
    times = torch.linspace(0, 1, 6, dtype=torch.float64)
    field = mixture_velocity(schedule, mixture)
    found = mixture_jacobian(schedule, mixture, z, times)
    for i, t in enumerate(times):
        exact = jacrev(lambda row, t=t: field(row[None], t)[0])(z[i])
        assert torch.allclose(found[i], exact, atol=1e-10)
        assert torch.allclose(
            mixture_jacobian(schedule, mixture, z[i : i + 1], t)[0], exact, atol=1e-10
        )
    assert torch.allclose(found, found.mT, atol=1e-10)


@every
def test_modes_of_one_width(schedule):
    """(08.15): the Jacobian is a multiple of I plus the covariance of the means, given z."""
    mixture = eight_gaussians(std=0.4)
    z = randn(7, 2)
    t = torch.tensor(0.6, dtype=torch.float64)
    v = 0.4**2
    mixture = Mixture(
        mixture.log_weights.double(), mixture.means.double(), mixture.variances.double()
    )
    a = schedule.a(t)
    b = schedule.b(t)
    da = schedule.da(t)
    db = schedule.db(t)
    q = a**2 * v + b**2
    r = (-(z[:, None] - a * mixture.means).square().sum(-1) / (2 * q)).softmax(-1)
    mean = r @ mixture.means
    covariance = (
        torch.einsum("bk,ki,kj->bij", r, mixture.means, mixture.means)
        - mean[:, :, None] * mean[:, None]
    )
    formula = (a * da * v + b * db) / q * torch.eye(2) + a * b * (
        da * b - a * db
    ) / q**2 * covariance
    assert torch.allclose(whole(mixture_velocity(schedule, mixture), z, t), formula, atol=1e-6)
    assert torch.allclose(mixture_jacobian(schedule, mixture, z, t), formula, atol=1e-6)


@pytest.mark.parametrize("std", CHECKED)
def test_the_largest_expansion_rate_of_two_modes(std):
    """(08.17): the checked values, the general formula, and the cubic limit: low for narrow modes, useless for wide ones."""
    time, rate = largest_expansion_rate(4.0, std)
    assert rate == pytest.approx(CHECKED[std], abs=0.5 if std < 1 else 0.05)
    origin = torch.zeros(1, 1, dtype=torch.float64)
    for t in (time, 0.2, 0.999):
        here = mixture_jacobian(
            Linear(), two_modes(std), origin, torch.tensor(t, dtype=torch.float64)
        )
        middle = midpoint_expansion_rate(4.0, std, torch.tensor([t], dtype=torch.float64))
        assert torch.allclose(here.flatten(), middle, rtol=1e-9) and middle <= rate * (1 + 1e-12)
    short = 1 - narrow_expansion_rate(4.0, std) / rate
    assert short > 0.6 if std == 1 else 0.05 < short < 0.29


def test_a_cubic_is_the_limit_of_narrow_modes():
    """(08.17): the ratio tends to one as s falls, and so does the place, 1 - t = s / sqrt 3."""
    gaps = []
    places = []
    for std in (0.1, 0.03, 0.01, 0.003):
        time, rate = largest_expansion_rate(4.0, std)
        gaps.append(abs(narrow_expansion_rate(4.0, std) / rate - 1))
        places.append(abs((1 - time) * 3**0.5 / std - 1))
    assert gaps == sorted(gaps, reverse=True) and gaps[-1] < 0.005
    assert places == sorted(places, reverse=True) and places[-1] < 0.01


@every
@pytest.mark.parametrize("t", [0.05, 0.5, 0.9])
def test_iteration_finds_the_top_of_a_mixture(schedule, t):
    mixture = uneven(d=8)
    z = randn(6, 8, seed=4)
    t = torch.tensor(t, dtype=torch.float64)
    top = torch.linalg.eigvalsh(mixture_jacobian(schedule, mixture, z, t))[:, -1]
    found = [
        top_eigenvalue(mixture_velocity(schedule, mixture), z, t, rng(), rounds)
        for rounds in (2, 5, 8)
    ]
    assert (found[2] - top).abs().max() <= 1e-6
    assert all((less <= more + 1e-9).all() for less, more in zip(found, [*found[1:], top]))


def test_iteration_finds_the_top_and_not_the_largest():
    """Contraction may be faster than any separation; equal rates leave no new direction; more rounds than needed do no harm."""
    for rates in (
        (-5.0, -1.0, 0.5),
        (-3.0, -2.0, -0.7),
        (4.0, -4.0, 1.0),
        (-1.0, -1.0, -1.0),
        (0.0, 0.0, 0.0),
    ):
        scale = torch.tensor(rates, dtype=torch.float64)
        found = top_eigenvalue(
            lambda z, t, scale=scale: scale * z, randn(4, 3), torch.tensor(0.3), rng(), rounds=9
        )
        assert found.tolist() == pytest.approx([max(rates)] * 4, abs=1e-9)


def test_a_turn_parts_no_neighbors():
    """A rotation, J = -J', has S = 0; a shear parts at the rate of its symmetric part."""
    for matrix, top in (([[0.0, -3.0], [3.0, 0.0]], 0.0), ([[0.0, 2.0], [0.0, 0.0]], 1.0)):
        matrix = torch.tensor(matrix, dtype=torch.float64)
        found = top_eigenvalue(
            lambda z, t, matrix=matrix: z @ matrix.T, randn(3, 2), torch.tensor(0.3), rng()
        )
        assert found.tolist() == pytest.approx([top] * 3, abs=1e-9)


def test_iteration_on_networks():
    """A perceptron on rows of numbers, and a transformer on rows of latents, whose Jacobians are not symmetric."""
    torch.manual_seed(0)
    small = SmallField(state=4, width=16)
    deep = DiffusionTransformer(4, 16, 2, 1, 1.0)
    with torch.no_grad():
        for weight in deep.parameters():
            weight.add_(0.2 * randn(*weight.shape).float())
    denoiser = lambda z, t: deep(z, t.expand(len(z)), torch.zeros_like(z))  # noqa: E731
    for field, z in ((small, randn(3, 4).float()), (denoiser, randn(2, 5, 4).float())):
        with torch.no_grad():
            top = torch.linalg.eigvalsh(whole(field, z, torch.tensor(0.4)))[:, -1]
        found = top_eigenvalue(field, z, torch.tensor(0.4), rng(), rounds=20)
        assert torch.allclose(found, top, rtol=2e-5, atol=2e-5) and not found.requires_grad
