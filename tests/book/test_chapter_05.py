"""The boxed equations of chapter 05, both sides evaluated."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal
from torch.func import grad, jvp

from minildm.control.bridges import Mixture, bridge, bridge_step, doob
from minildm.dynamics.solvers import integrate
from minildm.transport.distances import kolmogorov_smirnov
from minildm.transport.likelihood import log_likelihood
from minildm.transport.mass import exact_divergence, fokker_planck_residual, hutchinson, noisy_drift
from minildm.transport.mixtures import marginal, mixture_score, mixture_velocity
from minildm.transport.planar import two_modes
from minildm.transport.schedules import Linear

from .draws import randn, rng, scalar
from .inline import lifted
from .notebooks import CHAPTERS

PLANE = Mixture(
    torch.tensor([0.3, 0.7]).double().log(),
    torch.tensor([[1.5, 1.0], [-1.0, 0.5]]).double(),
    torch.tensor([0.2, 0.4]).double(),
)
LINE = torch.linspace(-9, 9, 4001, dtype=torch.float64)


def rate(density, z: Tensor, t: Tensor) -> Tensor:
    """dp/dt."""
    return jvp(lambda t: density(z, t), (t,), (torch.ones_like(t),))[1]


def outflow(density, drift, z: Tensor, t: Tensor, g: float = 0.0) -> Tensor:
    """The divergence of the flux p v - g^2/2 grad p."""

    def flux(z, t):
        slope = grad(lambda z: density(z, t).sum())(z)
        return density(z, t)[:, None] * drift(z, t) - g**2 / 2 * slope

    return exact_divergence(flux, z, t)[1]


def gaussian(z: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """The density of N(mean, std^2 I)."""
    return Normal(mean, std, validate_args=False).log_prob(z).sum(-1).exp()


def test_mass_is_conserved_by_a_flow():
    """(05.2): a shear with rotation carries N(0, I) to N(0, E E') with E = exp(A t), known without any field."""
    A, z, t = torch.tensor([[0.3, -1.2], [0.5, -0.7]]).double(), randn(30, 2), scalar(0.6)

    def density(z, t):
        E = torch.linalg.matrix_exp(A * t)
        return (
            MultivariateNormal(torch.zeros(2).double(), E @ E.T, validate_args=False)
            .log_prob(z)
            .exp()
        )

    assert torch.allclose(
        rate(density, z, t), -outflow(density, lambda z, t: z @ A.T, z, t), atol=1e-12
    )
    assert rate(density, z, t).abs().max() > 0.01


def test_the_flow_of_a_gaussian():
    """(05.5): for any mean and width over time, its density solves the continuity equation, and particles scale with it."""

    def m(t):
        return torch.stack((torch.sin(2 * t), t**2))

    def s(t):
        return 1 + torch.sin(3 * t) / 2

    def u(z, t):
        ones = torch.ones_like(t)
        return jvp(m, (t,), (ones,))[1] + jvp(s, (t,), (ones,))[1] / s(t) * (z - m(t))

    def density(z, t):
        return gaussian(z, m(t), s(t))

    z = randn(20, 2)
    for t in (scalar(0.2), scalar(0.8)):
        assert torch.allclose(rate(density, z, t), -outflow(density, u, z, t), atol=1e-12)
    end = integrate(u, z, torch.linspace(0, 1, 101).double(), "rk4", record=False).states[-1]
    assert torch.allclose(end, m(scalar(1.0)) + s(scalar(1.0)) * z, atol=1e-6)


def test_the_flow_of_a_mixture():
    """(05.7): the mean of the Gaussians' flows with their responsibilities at z moves the sum of their densities."""

    def component(k, z, t):
        q, growth = t**2 * PLANE.variances[k] + (1 - t) ** 2, t * PLANE.variances[k] - (1 - t)
        log_p = Normal(t * PLANE.means[k], q.sqrt(), validate_args=False).log_prob(z).sum(-1)
        return (PLANE.log_weights[k] + log_p).exp(), PLANE.means[k] + growth / q * (
            z - t * PLANE.means[k]
        )

    def parts(z, t):
        return map(torch.stack, zip(*(component(k, z, t) for k in range(2))))

    def density(z, t):
        return next(iter(parts(z, t))).sum(0)

    def u(z, t):
        p, velocities = parts(z, t)
        return ((p / p.sum(0))[..., None] * velocities).sum(0)

    z = randn(30, 2)
    for t in (scalar(0.1), scalar(0.7)):
        assert torch.allclose(rate(density, z, t), -outflow(density, u, z, t), atol=1e-11)
        assert torch.allclose(u(z, t), mixture_velocity(Linear(), PLANE)(z, t), atol=1e-12)


def test_fokker_planck():
    """(05.9): two processes whose distributions are known otherwise, a drift to zero and the Brownian bridge of (04.13)."""
    g, start, y, z, t = 0.8, scalar(1.5), randn(1, 2), randn(20, 2), scalar(0.35)

    def pulled(z, t):
        spread = g**2 / 4 * (1 - torch.exp(-4 * t))
        return gaussian(z, start * torch.exp(-2 * t), spread.sqrt())

    def bridged(z, t):
        exact = bridge(torch.zeros(1, 2).double(), y, 0.0, t, g)
        return gaussian(z, exact.mean, exact.variance.sqrt())

    for density, drift in (
        (pulled, lambda z, t: -2 * z),
        (bridged, lambda z, t: (y - z) / (1 - t)),
    ):
        assert torch.allclose(rate(density, z, t), -outflow(density, drift, z, t, g), atol=1e-11)
        assert not torch.allclose(rate(density, z, t), -outflow(density, drift, z, t), atol=1e-3)


def test_one_distribution_many_processes():
    """(05.13): one density solves the equations of all these processes; a process with noise g forwards, and that backwards."""
    u, score = mixture_velocity(Linear(), PLANE), mixture_score(Linear(), PLANE)
    density = lambda z, t: marginal(Linear(), PLANE, t).log_density(z).exp()  # noqa: E731
    z, t = randn(30, 2), scalar(0.6)
    for g in (0.0, 0.4, 1.0, 3.0):
        assert torch.allclose(
            rate(density, z, t), -outflow(density, noisy_drift(u, score, g), z, t, g), atol=1e-9
        )
        backwards = lambda z, s, g=g: -u(z, 1 - s) + g**2 / 2 * score(z, 1 - s)  # noqa: E731
        reflected = lambda z, s: density(z, 1 - s)  # noqa: E731
        assert torch.allclose(
            rate(reflected, z, 1 - t), -outflow(reflected, backwards, z, 1 - t, g), atol=1e-9
        )


@pytest.mark.parametrize("g", [0.0, 0.7, 2.0])
def test_noise_forgets_and_flows_do_not(g):
    """(05.16): the rate of the divergence between two distributions that one drift moves, from the rates of both densities."""
    z, t, mixture = LINE[:, None], scalar(0.5), two_modes(0.5)
    right, wrong = (
        marginal(Linear(), mixture, t),
        Mixture(scalar(1.0).log()[None], scalar(0.3)[None, None], scalar(0.8)[None]),
    )
    drift = noisy_drift(mixture_velocity(Linear(), mixture), mixture_score(Linear(), mixture), g)
    p, q = (lambda z, t: wrong.log_density(z).exp()), (lambda z, t: right.log_density(z).exp())
    p_rate, q_rate = (-outflow(density, drift, z, t, g) for density in (p, q))

    def log_ratio(z):
        return wrong.log_density(z) - right.log_density(z)

    left = torch.trapezoid(p_rate * log_ratio(z) - log_ratio(z).exp() * q_rate, LINE)
    slope = grad(lambda z: log_ratio(z).sum())(z)[:, 0]
    assert float(left) == pytest.approx(
        float(-(g**2) / 2 * torch.trapezoid(p(z, t) * slope**2, LINE)), abs=1e-6
    )
    assert g == 0 or left < -0.1


def test_likelihood_of_a_flow():
    """(05.18): the density of a mixture by its flow, and that of a linear flow by its determinant."""
    z1, times = PLANE.sample(50, rng()), torch.linspace(0, 1, 81, dtype=torch.float64)
    found = log_likelihood(mixture_velocity(Linear(), PLANE), z1, times)
    assert (found - PLANE.log_density(z1)).abs().max() < 1e-5
    A = randn(3, 3)
    E, z1 = torch.linalg.matrix_exp(A), randn(20, 3, seed=1)
    found = log_likelihood(lambda z, t: z @ A.T, z1, times)
    wanted = MultivariateNormal(torch.zeros(3).double(), E @ E.T).log_prob(z1)
    assert torch.allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_mean_and_variance_of_a_probe(d):
    """(05.20): over all vectors of signs, e'Je has the mean tr J and the variance sum_{i<j} (J_ij + J_ji)^2."""
    J = randn(d, d)
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0]).double()] * d).reshape(-1, 1, d)
    guesses = torch.stack(
        [hutchinson(e[None])(lambda z, t: z @ J.T, randn(1, d), scalar(0.0))[1][0] for e in signs]
    )
    off = (J + J.T).triu(1)
    assert float(guesses.mean()) == pytest.approx(float(J.trace()), abs=1e-12)
    assert float(guesses.var(correction=0)) == pytest.approx(float(off.square().sum()), abs=1e-12)


def test_the_logarithm_of_the_equation():
    """(05.11) is the equation over its density, for a density that solves nothing."""
    z, t, g = randn(20, 2), scalar(0.4), 0.9
    density = lambda z, t: torch.exp(-z.square().sum(-1) * (1 + t) + torch.sin(z[:, 0]))  # noqa: E731
    drift = lambda z, t: torch.sin(z.flip(1)) + t  # noqa: E731
    left = rate(density, z, t) + outflow(density, drift, z, t, g)
    found = fokker_planck_residual(lambda z, t: density(z, t).log(), drift, z, t, g)
    assert torch.allclose(found, left / density(z, t)) and found.abs().max() > 0.1


def test_the_largest_gap_of_two_samples():
    """(05.15): the limit distribution of the gap, against the fraction of pairs of samples of one distribution that have a larger one."""
    p = torch.stack(
        [
            kolmogorov_smirnov(randn(300, seed=2 * i), randn(300, seed=2 * i + 1))[1]
            for i in range(400)
        ]
    )
    for level in (0.1, 0.5):
        assert (
            abs(float((p < level).double().mean()) - level)
            < 4 * math.sqrt(level * (1 - level) / 400) + 0.03
        )


def test_two_paths_of_one_velocity_that_is_not_lipschitz():
    """The condition of (05.13): for u = 3 z^(2/3) both a resting and a moving point solve dZ = u dt from zero."""
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    for path, speed in ((t**3, 3 * t**2), (0 * t, 0 * t)):
        assert torch.allclose(speed, 3 * path.abs() ** (2 / 3))


@pytest.mark.parametrize(("std", "bounded"), [(0.5, True), (0.1, True), (0.0, False)])
def test_slopes_of_the_flow_are_bounded_unless_data_are_points(std, bounded):
    """The condition of (05.13): the steepest place of the flow of two modes, as t goes to 1."""
    u, line = (
        mixture_velocity(Linear(), two_modes(std)),
        torch.linspace(-3, 3, 2001, dtype=torch.float64)[:, None],
    )
    late = [
        float(
            jvp(lambda z, t=t: u(z, scalar(1 - t)), (line,), (torch.ones_like(line),))[1]
            .abs()
            .max()
        )
        for t in (1e-4, 1e-6, 1e-8)
    ]
    assert (late[-1] < 1.02) if bounded else (late[1] > 1e5 * late[0] > 1e10)


def test_a_product_of_h_and_its_adjoint_needs_its_integral():
    """(05.12): with h scaled by 3, the drift is the same, the integral is constant and not 1, and the density is over it."""
    g, z0, y = 0.9, 0.4, 1.7
    Z = LINE[:, None]

    def log_h(z, t):
        return Normal(z[:, 0], g * (1 - t).sqrt()).log_prob(scalar(y)) + math.log(3)

    totals = []
    for t in (scalar(0.2), scalar(0.7)):
        product = (log_h(Z, t) + Normal(z0, g * t.sqrt()).log_prob(LINE)).exp()
        totals.append(float(torch.trapezoid(product, LINE)))
        exact = bridge(torch.full((1, 1), z0).double(), torch.full((1, 1), y).double(), 0.0, t, g)
        density = Normal(exact.mean[0], exact.variance.sqrt()).log_prob(LINE).exp()
        assert torch.allclose(product / totals[-1], density, atol=1e-9)
        assert torch.allclose(doob(log_h, g)(Z, t)[:, 0], (y - LINE) / (1 - t))
    assert totals[0] == pytest.approx(totals[1], rel=1e-9) and abs(totals[0] - 1) > 0.1


def test_bridges_leave_a_band_between_the_times_at_which_they_are_seen():
    """(05.15): on a coarse grid many exits are hidden; with the chance of each, the series is met for any grid."""
    stay, c, count = lifted(CHAPTERS[5])["stay"], 0.8, 20_000
    series = 2 * sum((-1) ** (j - 1) * math.exp(-2 * j**2 * c**2) for j in range(1, 20))
    for steps in (20, 200):
        still = torch.zeros(count, 1).double()
        times = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
        path = integrate(None, still, times, bridge_step(still, 1.0), rng(steps)).states[..., 0]
        seen, left = (
            float((path.abs().amax(0) >= c).double().mean()),
            1 - float(stay(path, c, 1 / steps).mean()),
        )
        error = math.sqrt(series * (1 - series) / count)
        assert abs(left - series) < 4 * error < series - seen


def test_a_steep_score_limits_the_step_of_euler():
    """The step below which the score of a mode is followed: h < 2/k with the rate k = g^2/(2 q), whatever is asked of it."""
    g, q = 3.0, 0.25
    steep = mixture_score(
        Linear(), Mixture(torch.zeros(1).double(), torch.zeros(1, 1).double(), scalar(q)[None])
    )
    limit = 2 / (g**2 / (2 * q))
    for factor, stable in ((0.9, True), (1.1, False)):
        times = torch.arange(60, dtype=torch.float64) * factor * limit
        end = integrate(
            lambda z, t: g**2 / 2 * steep(z, scalar(1.0)), torch.ones(1, 1).double(), times, "euler"
        ).states[-1]
        assert (abs(float(end)) < 0.1) == stable and (abs(float(end)) > 10) == (not stable)
