"""The boxed equations of chapter 06, both sides evaluated."""

import math

import pytest
import torch

from minildm.control.bridges import Mixture
from minildm.control.hjb import residual
from minildm.control.linear_quadratic import pinned_control, pinned_value
from minildm.control.systems import PointMass
from minildm.dynamics.solvers import integrate
from minildm.transport.couplings import optimal
from minildm.transport.energies import acceleration, energies, energy, flow_energy, straightness
from minildm.transport.mass import fokker_planck_residual
from minildm.transport.mixtures import marginal, mixture_velocity, responsibilities
from minildm.transport.paths import sample_path
from minildm.transport.planar import two_modes
from minildm.transport.schedules import Linear

from .draws import randn, rng, scalar
from .inline import lifted
from .notebooks import CHAPTERS

STRAIGHT = Linear()


def lopsided() -> Mixture:
    """Three round Gaussians of different sizes in the plane."""
    means = torch.tensor([[-1.5, 0.0], [1.0, 1.0], [0.5, -2.0]], dtype=torch.float64)
    return Mixture(
        torch.tensor([0.2, 0.5, 0.3]).double().log(), means, torch.tensor([0.1, 0.4, 0.9]).double()
    )


def drawn(mixture: Mixture, count: int, d: int):
    """Independent pairs of noise and data, and one time for each."""
    return (
        randn(count, d),
        mixture.sample(count, rng(1)),
        torch.rand(count, generator=rng(2), dtype=torch.float64),
    )


def test_the_pinned_control_is_the_velocity_of_the_pair():
    """(06.4): -grad V, where V solves HJB, equals (z_1 - z_t)/(1 - t), z_1 - z_0 and the derivative of the path."""
    z0, z1, t = (
        randn(20, 3),
        randn(20, 3, seed=1),
        torch.rand(20, generator=rng(2), dtype=torch.float64),
    )
    sample = sample_path(STRAIGHT, z1, z0, t)
    slope = torch.func.grad(lambda z: pinned_value(z1, z, t).sum())(sample.zt)
    assert (
        residual(lambda z, t: pinned_value(z1, z, t), PointMass(state=3), sample.zt, t).abs().max()
        < 1e-9
    )
    moved = torch.func.jvp(
        lambda t: (1 - t[:, None]) * z0 + t[:, None] * z1, (t,), (torch.ones_like(t),)
    )[1]
    for side in (-slope, pinned_control(z1, sample.zt, t), z1 - z0, moved):
        assert torch.allclose(side, sample.velocity, atol=1e-9)


def test_the_posterior_mean_is_what_regression_finds():
    """(06.6): the loss of any field is its distance to the marginal velocity field plus a floor; the mean is (E[z_1 | z] - z)/(1 - t)."""
    mixture = lopsided()
    mean = mixture_velocity(STRAIGHT, mixture)
    sample = sample_path(
        STRAIGHT, *drawn(mixture, 400_000, 2)[1::-1], drawn(mixture, 400_000, 2)[2]
    )
    u = mean(sample.zt, sample.t)
    floor = energy(u - sample.velocity)
    for field in (lambda z, t: 0.0 * z, lambda z, t: -z, lambda z, t: torch.sin(z) + t[:, None]):
        guess = field(sample.zt, sample.t)
        assert energy(guess - sample.velocity).item() == pytest.approx(
            float(energy(guess - u) + floor), rel=0.01
        )
    y = torch.linspace(-8, 8, 401, dtype=torch.float64)
    ends, t = torch.cartesian_prod(y, y), scalar(0.4)  # Bayes' rule on a grid of ends
    for z in randn(3, 2, seed=5):
        log_weight = mixture.log_density(ends) - (z - t * ends).square().sum(1) / (2 * (1 - t) ** 2)
        expected = (log_weight.softmax(0) @ ends - z) / (1 - t)
        assert torch.allclose(mean(z[None], t)[0], expected, atol=1e-6)


@pytest.mark.parametrize("t", [0.0, 0.3, 0.9])
def test_the_marginal_velocity_transports_the_marginals(t):
    """(06.9): the continuity equation for the distribution of z_t and the marginal velocity field; for another field it does not hold."""
    mixture = lopsided()
    density = lambda z, t: marginal(STRAIGHT, mixture, t).log_density(z)  # noqa: E731
    left = fokker_planck_residual(
        density, mixture_velocity(STRAIGHT, mixture), randn(30, 2), scalar(t)
    )
    assert left.abs().max() < 1e-9
    other = fokker_planck_residual(
        density, lambda z, t: pinned_control(torch.ones_like(z), z, t), randn(30, 2), scalar(t)
    )
    assert other.abs().max() > 0.1


@pytest.mark.parametrize("std", [0.1, 1.0])
def test_three_energies_in_order(std):
    """(06.11): conditional >= marginal >= W_2^2; the first gap is the mean variance of the pinned controls at a state."""
    mixture = two_modes(std)
    found = energies(mixture)
    assert found.conditional > found.marginal > found.optimal
    z0, z1, t = drawn(mixture, 400_000, 1)
    sample = sample_path(STRAIGHT, z1, z0, t)
    spread = energy(sample.velocity - mixture_velocity(STRAIGHT, mixture)(sample.zt, t))
    assert spread.item() == pytest.approx(found.conditional - found.marginal, rel=0.01)
    same = energies(
        Mixture(torch.zeros(1).double(), torch.zeros(1, 1).double(), torch.ones(1).double())
    )
    assert (same.conditional, same.marginal, same.optimal) == pytest.approx(
        (2, 2 - math.pi / 2, 0), abs=1e-6
    )


def test_straightness_is_energy_above_displacement():
    """(06.14): int E |u - (Z_1 - Z_0)|^2 dt by quadrature along the flow, against the two energies."""
    field, times = (
        mixture_velocity(STRAIGHT, lopsided()),
        torch.linspace(0, 1, 201, dtype=torch.float64),
    )
    path = integrate(field, randn(1000, 2), times, "rk4")
    chord = path.states[-1] - path.states[0]
    deviations = torch.stack([energy(field(z, t) - chord) for z, t in zip(path.states, times)])
    speeds = torch.stack([energy(field(z, t)) for z, t in zip(path.states, times)])
    left, right = torch.trapezoid(deviations, times), torch.trapezoid(speeds, times) - energy(chord)
    assert torch.allclose(left, right, rtol=1e-3) and left > 0.1
    assert straightness(path).item() == pytest.approx(float(left), rel=2e-2)


@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
def test_acceleration_is_the_pressure_of_crossing_paths(t):
    """(06.17): du/dt + (u . grad) u by autograd, against -div(p Cov(u* | z)) / p with the covariance of the posterior."""
    mixture, t, z = lopsided(), scalar(t), randn(12, 2)

    def pressure(z):
        """p_t(z) Cov(u* | z_t = z), where u* = (z_1 - z)/(1 - t)."""
        r, gap, q = responsibilities(STRAIGHT, mixture, z[None], t)
        means = mixture.means + (t * mixture.variances / q)[..., None] * gap[0]
        inside = (r[0] * mixture.variances * (1 - t) ** 2 / q).sum() * torch.eye(2).double()
        center = r[0] @ means
        spread = (
            r[0][:, None, None] * (means - center)[:, :, None] * (means - center)[:, None]
        ).sum(0)
        return (
            marginal(STRAIGHT, mixture, t).log_density(z[None]).exp()
            * (inside + spread)
            / (1 - t) ** 2
        )

    slopes = torch.stack([torch.func.jacrev(pressure)(x) for x in z])
    p = marginal(STRAIGHT, mixture, t).log_density(z).exp()
    right = -slopes.diagonal(dim1=2, dim2=3).sum(-1) / p[:, None]
    assert torch.allclose(
        acceleration(mixture_velocity(STRAIGHT, mixture), z, t), right, rtol=1e-8, atol=1e-8
    )


@pytest.mark.parametrize("batch", [1, 2, 6])
def test_energy_of_the_best_pairs_of_batches_on_the_line(batch):
    """(06.18): second moments minus products of mean order statistics, against batches that are paired by assignment."""
    mixture, many = two_modes(0.5), 120_000 // batch
    z0, z1 = randn(many, batch, 1), mixture.sample(many * batch, rng(1)).reshape(many, batch, 1)
    z0, z1 = (
        z0.sort(dim=1).values,
        z1.sort(dim=1).values,
    )  # the best pairs, as the next lines confirm for some of them
    for x, y in zip(z0[:50].flip(1), z1[:50]):
        assert torch.allclose(optimal(x, y)[0], x.flip(0))
    q = (torch.arange(40_000, dtype=torch.float64) + 0.5) / 40_000
    z = torch.linspace(-7, 7, 40_001, dtype=torch.float64)
    cdf = torch.special.ndtr((z[:, None] - mixture.means[:, 0]) / 0.5).mean(1)
    data, noise, k = (
        z[torch.searchsorted(cdf, q)],
        torch.special.ndtri(q),
        torch.arange(1, batch + 1).double()[:, None],
    )
    log_beta = torch.lgamma(k) + torch.lgamma(batch + 1 - k) - torch.lgamma(scalar(batch + 1))
    weight = ((k - 1) * q.log() + (batch - k) * (1 - q).log() - log_beta).exp() / len(q)
    formula = 1 + 4.25 - 2 * float(((weight @ noise) * (weight @ data)).mean())
    spent = (z1 - z0).square().mean((1, 2))
    assert float(spent.mean()) == pytest.approx(formula, abs=4 * float(spent.std()) / many**0.5)


def test_reflow_pays_both_gaps_back():
    """(06.19): the pairs of a reflow cost what the old pairs cost, less the variance of the controls, less straightness."""
    mixture, times, count = lopsided(), torch.linspace(0, 1, 61, dtype=torch.float64), 100_000
    mean = mixture_velocity(STRAIGHT, mixture)
    z0, z1, t = drawn(mixture, count, 2)
    sample = sample_path(STRAIGHT, z1, z0, t)
    u = mean(sample.zt, t)
    path = integrate(mean, z0[:10_000], times, "rk4")
    right = energy(z1 - z0) - energy(sample.velocity - u) - straightness(path)
    assert energy(path.states[-1] - path.states[0]).item() == pytest.approx(float(right), rel=0.02)
    assert energy(path.states[-1] - path.states[0]) < flow_energy(path) < energy(z1 - z0)


def test_the_flow_of_a_list_of_points_arrives():
    """(06.9) where its field is not Lipschitz at t = 1: slopes grow like (1 - t)^-3, and equal fractions come to each point."""
    places = torch.tensor([[-2.0], [-1.5], [0.5], [2.0]], dtype=torch.float64)
    mixture = Mixture(torch.full((4,), 0.25).double().log(), places, torch.zeros(4).double())
    field, times = (
        mixture_velocity(STRAIGHT, mixture),
        1 - torch.logspace(0, -4, 401, dtype=torch.float64),
    )
    start = torch.special.ndtri((torch.arange(2000, dtype=torch.float64) + 0.5) / 2000)[:, None]
    path = integrate(field, start, times, "rk4")
    gaps = torch.cdist(path.states[-1], places)
    assert gaps.amin(1).max() < 2e-3
    assert (torch.bincount(gaps.argmin(1), minlength=4) / 2000 - 0.25).abs().max() < 0.01
    border = torch.tensor([[-0.5]], dtype=torch.float64)  # halfway between -1.5 and 0.5, at the end
    steep = [
        float(
            torch.func.jvp(
                lambda z, t=t: field(z, scalar(1 - t)),
                (border * (1 - t),),
                (torch.ones(1, 1).double(),),
            )[1]
        )
        for t in (1e-2, 1e-3)
    ]
    assert steep[1] / steep[0] == pytest.approx(1000, rel=0.1)
    length = (path.states.diff(dim=0).norm(dim=2)).sum(0)
    assert float(length.mean()) < float(energies(two_modes(0.1)).conditional) ** 0.5 + 1


def test_an_energy_is_twice_an_effort():
    """(06.10) against (06.1): the least energy is twice the mean effort of the pinned controls of the sorted pairs."""
    mixture, ranks = two_modes(0.3), (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    line = torch.linspace(-6, 6, 60_001, dtype=torch.float64)
    below = torch.special.ndtr((line[:, None] - mixture.means[:, 0]) / 0.3).mean(1)
    z0, z1 = torch.special.ndtri(ranks)[:, None], line[torch.searchsorted(below, ranks)][:, None]
    effort = pinned_value(z1, z0, torch.zeros(20_000).double()).mean()
    assert 2 * float(effort) == pytest.approx(energies(mixture).optimal, rel=1e-2)
    assert abs(float(effort) - energies(mixture).optimal) > 0.5


def test_a_single_distance_of_clouds_is_mostly_chance():
    """The unit of the chapter's fidelity: its standard error is that of fresh repetitions, and one draw alone is useless."""
    own = lifted(CHAPTERS[6])
    own["count"] = 1000
    data = own["PLANES"]["two moons"]
    found = [own["squared"](data, data, seed, draws=12) for seed in range(12)]
    means, errors = (torch.stack(row) for row in zip(*found))
    assert 0.5 < float(means.std() / errors.square().mean().sqrt()) < 2
    assert (
        float(errors.mean() * 12**0.5 / means.mean()) > 0.4
    )  # standard deviation of one squared distance over its mean
