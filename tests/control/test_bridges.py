"""Bridges: exact distributions against simulation, Doob's transform against quadrature and control, energy against divergence."""

import math

import pytest
import torch

from minildm import UserError
from minildm.control.bridges import (
    Mixture,
    bridge,
    bridge_step,
    doob,
    log_transform,
    mixture_h,
    quadrature_h,
)
from minildm.control.feedback import rollout, transport
from minildm.control.grid import Grid
from minildm.control.hjb import hopf_cole, residual
from minildm.control.linear_quadratic import pinned_control, soft_terminal_control
from minildm.control.systems import PointMass
from minildm.dynamics.solvers import euler_maruyama, integrate

MANY = 4000


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def times(steps: int) -> torch.Tensor:
    return torch.linspace(0, 1, steps + 1, dtype=torch.float64)


def tensor(*values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


TWO_MODES = Mixture(tensor(0.3, 0.7).log(), tensor([-2.0], [2.0]), tensor(0.25, 0.16))


def errors(draws: torch.Tensor, mean: float, variance: float) -> tuple[float, float]:
    """How many standard errors the mean and the variance of Gaussian draws are from the truth."""
    n = len(draws)
    return (
        abs(float(draws.mean()) - mean) / math.sqrt(variance / n),
        abs(float(draws.var()) - variance) / (variance * math.sqrt(2 / (n - 1))),
    )


@pytest.mark.parametrize(("z0", "y", "g"), [(0.0, 0.0, 1.0), (-1.0, 2.0, 0.5), (3.0, 1.0, 2.0)])
@pytest.mark.parametrize("method", ["exact", "simulated"])
def test_bridge_marginals(z0, y, g, method):
    """Mean (1 - t) z_0 + t y and variance g^2 t (1 - t), by exact draws and by the pinned control under noise."""
    start, end = (
        torch.full((MANY, 1), z0, dtype=torch.float64),
        torch.full((MANY, 1), y, dtype=torch.float64),
    )
    grid, at = (times(8), (2, 4, 6, 7)) if method == "exact" else (times(800), (200, 400, 600, 700))
    if method == "exact":
        path = integrate(None, start, grid, bridge_step(end, g), rng(1))
        assert torch.allclose(path.states[-1], end, atol=1e-12)
    else:
        path = integrate(
            lambda z, t: pinned_control(end, z, t), start, grid, euler_maruyama(g), rng(1)
        )
    for k in at:
        t = float(grid[k])
        assert max(errors(path.states[k, :, 0], (1 - t) * z0 + t * y, g**2 * t * (1 - t))) < 3


def test_covariance_of_two_times():
    """Cov(Z_s, Z_t) = g^2 s (1 - t) for s <= t, within 3 standard errors."""
    path = integrate(
        None,
        torch.zeros(MANY, 1, dtype=torch.float64),
        times(4),
        bridge_step(torch.zeros(MANY, 1, dtype=torch.float64), 1.5),
        rng(),
    )
    product = path.states[1, :, 0] * path.states[3, :, 0]
    assert abs(float(product.mean()) - 1.5**2 * 0.25 * 0.25) < 3 * float(product.std()) / math.sqrt(
        MANY
    )


def test_bridge_is_brownian_motion_conditioned_on_its_end():
    """The distribution of Z_s given Z_t and Z_1, by Gaussian conditioning of the joint one of (Z_s, Z_1) given Z_t."""
    z, y, t, s, g = randn(5, 3), randn(5, 3, seed=1), 0.2, 0.7, 0.8
    to_s, to_1 = (
        g**2 * (s - t),
        g**2 * (1 - t),
    )  # variances; the covariance of Z_s and Z_1 is that of Z_s
    found = bridge(z, y, t, s, g)
    assert torch.allclose(found.mean, z + to_s / to_1 * (y - z))
    assert float(found.variance) == pytest.approx(to_s - to_s**2 / to_1, rel=1e-12)


def test_a_bridge_in_two_steps_is_a_bridge_in_one():
    z, y, g = randn(4, 2), randn(4, 2, seed=1), 1.3
    first = bridge(z, y, 0.1, 0.4, g)
    second = bridge(first.mean, y, 0.4, 0.9, g)
    both = bridge(z, y, 0.1, 0.9, g)
    assert torch.allclose(second.mean, both.mean)
    assert float(second.variance + (0.1 / 0.6) ** 2 * first.variance) == pytest.approx(
        float(both.variance), rel=1e-12
    )


def test_a_bridge_does_not_go_beyond_its_end():
    with pytest.raises(UserError, match=r"not at 1\.5"):
        integrate(None, randn(2, 1), tensor(0, 1.5), bridge_step(randn(2, 1), 1.0), rng())


@pytest.mark.parametrize("d", [1, 2])
def test_h_by_quadrature_and_in_closed_form(d):
    weight = Mixture(tensor(0.3, 0.7).log(), randn(2, d), tensor(0.5, 0.8))
    for g, t in ((0.7, 0.0), (1.5, 0.9)):
        z = randn(6, d, seed=2)
        closed, general = mixture_h(weight, g), quadrature_h(weight.log_density, g)
        assert torch.allclose(closed(z, torch.tensor(t)), general(z, torch.tensor(t)), atol=1e-8)
        assert torch.allclose(
            doob(closed, g)(z, torch.tensor(t)), doob(general, g)(z, torch.tensor(t)), atol=1e-6
        )


def test_terminal_controls_are_doob_transforms():
    """psi = delta(y) gives the pinned control; psi = exp(-c/2g^2 |z - y|^2) the soft terminal one, whatever g is."""
    z, y, t = randn(7, 3), randn(3, seed=1).expand(7, 3), torch.tensor(0.3, dtype=torch.float64)
    for g in (0.3, 1.0, 4.0):
        point = Mixture(tensor(0.0), y[:1], tensor(0.0))
        assert torch.allclose(
            doob(mixture_h(point, g), g)(z, t), pinned_control(y, z, t), atol=1e-12
        )
        round_weight = Mixture(tensor(0.0), y[:1], tensor(g**2 / 5))
        assert torch.allclose(
            doob(mixture_h(round_weight, g), g)(z, t),
            soft_terminal_control(y, z, t, c=5.0),
            atol=1e-12,
        )


def test_the_log_transform_solves_hjb():
    """dV/dt - |grad V|^2 / 2 + g^2/2 Lap V = 0, for the two-mode mixture; and V is the value that Hopf-Cole sums on a grid."""
    g, z = 0.8, torch.linspace(-4, 4, 21, dtype=torch.float64)[:, None]
    value, drift = log_transform(mixture_h(TWO_MODES, g), g), doob(mixture_h(TWO_MODES, g), g)
    for t in tensor(0.0, 0.5, 0.95):
        assert residual(value, PointMass(state=1), z, t.repeat(len(z)), g).abs().max() < 1e-10
        v, u = hopf_cole(
            lambda y: -(g**2) * TWO_MODES.log_density(y), z, t, g, Grid((-10.0,), (10.0,), (1001,))
        )
        assert torch.allclose(v, value(z, t), atol=1e-9) and torch.allclose(
            u, drift(z, t), atol=1e-9
        )


def test_brownian_motion_weighted_at_its_end_has_the_reweighted_distribution():
    """Doob's drift from z_0 reaches psi(z) N(z; z_0, g^2) / h(z_0, 0): mean and second moment within 3 standard errors."""
    g, z0 = 1.2, 0.5
    path = integrate(
        doob(mixture_h(TWO_MODES, g), g),
        torch.full((MANY, 1), z0, dtype=torch.float64),
        times(100),
        euler_maruyama(g),
        rng(3),
        record=False,
    )
    ends = path.states[-1, :, 0]
    x = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    reweighted = (TWO_MODES.log_density(x[:, None]) - (x - z0) ** 2 / (2 * g**2)).softmax(0)
    for power in (1, 2):
        exact = float((reweighted * x**power).sum())
        assert abs(float((ends**power).mean()) - exact) < 3 * float(
            (ends**power).std()
        ) / math.sqrt(MANY)


@pytest.mark.parametrize("g", [0.5, 1.0, 2.0])
def test_energy_is_divergence(g):
    """E int |u|^2 / 2 dt = g^2 KL(steered paths | uncontrolled paths): for the soft terminal control the KL of two Gaussians at the end."""
    c, y, steps = 4.0, 2.0, 200
    start, target = (
        torch.zeros(MANY, 1, dtype=torch.float64),
        torch.full((MANY, 1), y, dtype=torch.float64),
    )
    run = rollout(
        transport,
        lambda z, t: soft_terminal_control(target, z, t, c),
        start,
        times(steps),
        euler_maruyama(g),
        rng(4),
    )
    energy = run.controls.square().sum((0, 2)) / (2 * steps)
    gain = c / (
        1 + c
    )  # the weight exp(-c/2g^2 (z - y)^2) on N(0, g^2) makes N(gain y, g^2 / (1 + c))
    divergence = (1 / (1 + c) + (gain * y / g) ** 2 - 1 + math.log(1 + c)) / 2
    assert abs(float(energy.mean()) - g**2 * divergence) < 3 * float(energy.std()) / math.sqrt(
        len(energy)
    )


def test_samples_of_a_mixture_have_its_moments():
    draws = TWO_MODES.sample(MANY, rng(5))[:, 0]
    mean, second = 0.3 * -2 + 0.7 * 2, 0.3 * (4 + 0.25) + 0.7 * (4 + 0.16)
    assert abs(float(draws.mean()) - mean) < 3 * float(draws.std()) / math.sqrt(MANY)
    assert abs(float((draws**2).mean()) - second) < 3 * float((draws**2).std()) / math.sqrt(MANY)
