"""The HJB equation: residuals of closed forms, and the two formulas for a point mass against oracles and each other."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from minildm.control.grid import Grid
from minildm.control.hjb import best_control, costate, hopf_cole, hopf_lax, residual, steer
from minildm.control.systems import DoubleIntegrator, Pendulum, PointMass, TwoWells, squares

ENDS = Grid((-4.0,), (4.0,), (401,))
BOX = Grid((-3.0, -3.0), (3.0, 3.0), (121, 121))


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def moments(batch: int, seed: int = 1) -> Tensor:
    return 0.9 * torch.rand(
        batch, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def pinned(y: float):
    return lambda z, t: squares(z - y) / (1 - t)


def soft(c: float, y: float, g: float = 0.0):
    return lambda z, t: (
        c * squares(z - y) / (1 + c * (1 - t)) + g**2 / 2 * z.shape[1] * torch.log(1 + c * (1 - t))
    )


def cart(c: float):
    """V of the double integrator without running cost: end at y = (I/c + W)^-1 ... of where it would drift to."""

    def value(z: Tensor, t: Tensor) -> Tensor:
        left = (1 - t).expand(len(z))
        drift = torch.stack((z[:, 0] + left * z[:, 1], z[:, 1]), 1)
        reach = torch.stack((left**3 / 3, left**2 / 2, left**2 / 2, left), 1).reshape(-1, 2, 2)
        return (drift * torch.linalg.solve(reach + torch.eye(2).to(z) / c, drift)).sum(1) / 2

    return value


def huber(z: Tensor, t: Tensor) -> Tensor:
    """V of the terminal cost |z| without noise: a parabola that turns into lines at |z| = 1 - t."""
    far = z[:, 0].abs()
    return torch.where(far > 1 - t, far - (1 - t) / 2, far**2 / (2 * (1 - t)))


def smooth_huber(g: float):
    """V of the terminal cost |z| under noise, by completing the square on each side of the kink."""

    def value(z: Tensor, t: Tensor) -> Tensor:
        s = g * (1 - t).sqrt()
        sides = [
            sign * z[:, 0] / g**2 + torch.special.log_ndtr((-sign * z[:, 0] - s**2 / g**2) / s)
            for sign in (1, -1)
        ]
        return -(g**2) * (torch.logaddexp(*sides) + (1 - t) / (2 * g**2))

    return value


@pytest.mark.parametrize(
    ("value", "system", "g"),
    [
        (pinned(0.7), PointMass(3), 0.0),
        (soft(4.0, 0.7), PointMass(3, weight=4.0, target=0.7), 0.0),
        (soft(4.0, 0.7, 0.8), PointMass(2, weight=4.0, target=0.7), 0.8),
        (cart(5.0), DoubleIntegrator(weight=5.0), 0.0),
        (lambda z, t: hopf_cole(TwoWells(2).terminal, z, t, 0.6, BOX)[0], TwoWells(2), 0.6),
        (smooth_huber(0.5), PointMass(1), 0.5),
        (huber, PointMass(1), 0.0),
    ],
)
def test_values_that_solve_the_equation_leave_nothing(value, system, g):
    """(02.5) and (02.8), by autograd in float64, at random states; each state has its own time if the value can take that."""
    z, t = draw(50, system.state), torch.tensor(0.4, dtype=torch.float64)
    assert residual(value, system, z, t, g).abs().max() < 1e-10
    if value not in (pinned, cart) and system.state == 3:
        assert residual(value, system, z, moments(50), g).abs().max() < 1e-10


@pytest.mark.parametrize(
    ("value", "g"),
    [
        (lambda z, t: soft(4.0, 0.7)(z, 1 - t), 0.0),
        (lambda z, t: 1.1 * soft(4.0, 0.7)(z, t), 0.0),
        (lambda z, t: -soft(4.0, 0.7)(z, t), 0.0),
        (soft(4.0, 0.7), 0.8),
        (lambda z, t: squares(z - 0.7), 0.0),
    ],
)
def test_a_wrong_value_is_found(value, g):
    """Time run the wrong way, a wrong factor, a maximum for a minimum, noise forgotten, time forgotten."""
    z, t = draw(50, 2), torch.tensor(0.4, dtype=torch.float64)
    assert residual(value, PointMass(2, weight=4.0, target=0.7), z, t, g).abs().median() > 0.05


@pytest.mark.parametrize(
    "system", [PointMass(3, effort=2.0), DoubleIntegrator(effort=0.5), Pendulum(effort=3.0)]
)
def test_best_control_is_a_minimum(system):
    """(02.6): no other control costs less, for random costates."""
    z, p, t = draw(20, system.state), draw(20, system.state, seed=1), torch.tensor(0.3)

    def cost(u: Tensor) -> Tensor:
        return system.running(z, u, t) + (p * system.plant(z, u, t)).sum(-1)

    best = best_control(system, z, p, t)
    for seed in range(5):
        other = draw(20, system.control, seed=2 + seed)
        assert torch.allclose(cost(best + other) - cost(best), system.effort * squares(other))
    if isinstance(system, PointMass):
        assert torch.allclose(best, -p / 2)


def test_control_is_minus_the_slope():
    z, t = draw(20, 2), torch.tensor(0.4, dtype=torch.float64)
    value = soft(4.0, 0.7)
    policy = steer(PointMass(2), lambda z, t: costate(value, z, t))
    assert torch.allclose(policy(z, t), 4 * (0.7 - z) / (1 + 4 * 0.6))


@pytest.mark.parametrize("t", [0.0, 0.5, 0.95])
def test_hopf_lax_against_closed_forms(t):
    """(02.13): a parabola, |z|, two wells; value to rounding (1e-9 where the best end is a kink), control to 1e-6."""
    z, t = 6 * moments(60)[:, None] - 3, torch.tensor(t, dtype=torch.float64)
    for terminal, value, accuracy in (
        (PointMass(1, weight=3.0, target=0.5).terminal, soft(3.0, 0.5), 1e-13),
        (lambda z: z.abs().sum(-1), huber, 1e-9),
        (
            TwoWells(weight=3.0).terminal,
            lambda z, t: torch.minimum(soft(3.0, 1.0)(z, t), soft(3.0, -1.0)(z, t)),
            1e-13,
        ),
    ):
        found, control = hopf_lax(terminal, z, t, ENDS)
        assert (found - value(z, t)).abs().max() < accuracy
        assert (control + costate(value, z, t)).abs().max() < 1e-6


def test_hopf_lax_in_the_plane():
    z, t = draw(20, 2), torch.tensor(0.2, dtype=torch.float64)
    found, control = hopf_lax(
        PointMass(2, weight=3.0, target=0.5).terminal,
        z,
        t,
        Grid((-4.0, -4.0), (4.0, 4.0), (41, 41)),
    )
    assert torch.allclose(found, soft(3.0, 0.5)(z, t), atol=1e-12)
    assert torch.allclose(control, -costate(soft(3.0, 0.5), z, t), atol=1e-6)


def test_hopf_lax_is_too_large_by_no_more_than_it_says():
    """Next to the kink of the two wells, with so coarse ends that the wrong basin can win."""
    ends, t = Grid((-2.0,), (2.0,), (14,)), torch.tensor(0.0, dtype=torch.float64)
    z = torch.linspace(-0.2, 0.2, 101, dtype=torch.float64)[:, None]
    excess = hopf_lax(TwoWells(weight=3.0).terminal, z, t, ends)[0] - torch.minimum(
        soft(3.0, 1.0)(z, t), soft(3.0, -1.0)(z, t)
    )
    assert excess.min() > -1e-12 and excess.max() < (3 + 1) * ends.spacing[0] ** 2 / 8


@pytest.mark.parametrize("g", [0.2, 0.5, 1.0])
def test_hopf_cole_against_closed_forms(g):
    """(02.17): a parabola to rounding; two wells and |z|, which have kinks, to the stated dx^2."""
    z, t = 1.5 * draw(60, 1), torch.tensor(0.3, dtype=torch.float64)
    wide = Grid((-9.0,), (9.0,), (1801,))
    found, control = hopf_cole(PointMass(1, weight=3.0, target=0.5).terminal, z, t, g, wide)
    assert torch.allclose(found, soft(3.0, 0.5, g)(z, t), atol=1e-12)
    assert torch.allclose(control, -costate(soft(3.0, 0.5), z, t), atol=1e-12)
    for terminal, value in ((lambda z: z.abs().sum(-1), smooth_huber(g)),):
        errors = []
        for points in (901, 1801):
            found, control = hopf_cole(terminal, z, t, g, Grid((-9.0,), (9.0,), (points,)))
            errors.append(float((found - value(z, t)).abs().max()))
            assert (control + costate(value, z, t)).abs().max() < 10 * 0.02**2 / g**2
        assert math.log2(errors[0] / errors[1]) > 1.8 and errors[1] < 0.01**2 / g**2


def test_control_of_hopf_cole_is_minus_its_slope():
    z, t = draw(20, 2), torch.tensor(0.3, dtype=torch.float64)
    terminal = TwoWells(2).terminal
    slope = costate(lambda z, t: hopf_cole(terminal, z, t, 0.7, BOX)[0], z, t)
    assert torch.allclose(hopf_cole(terminal, z, t, 0.7, BOX)[1], -slope, atol=1e-12)


def test_noise_that_vanishes_leaves_hopf_lax():
    """(02.17) tends to (02.13): with the order g^2 of Laplace's method, also for the control away from the kink."""
    z, t = (
        torch.tensor([[-1.4], [-0.5], [0.4], [1.1]], dtype=torch.float64),
        torch.tensor(0.3, dtype=torch.float64),
    )
    terminal, ends = TwoWells(weight=3.0).terminal, Grid((-3.0,), (3.0,), (12_001,))
    value, control = hopf_lax(terminal, z, t, ends)
    noisy = [hopf_cole(terminal, z, t, g, ends) for g in (0.4, 0.2, 0.1)]
    values, controls = zip(
        *(((v - value).abs().max(), (u - control).abs().max()) for v, u in noisy)
    )
    assert all(1.9 < math.log2(wide / narrow) < 2.1 for wide, narrow in pairwise(values))
    assert controls[-1] < 1e-6 < 1e-3 < controls[0]
