"""The boxed equations of chapter 08, both sides evaluated; (08.15) and (08.17) are in tests/transport/test_expansion_rate.py."""

import math
from itertools import pairwise

import pytest
import torch

from minildm.control.linear_quadratic import soft_terminal_control
from minildm.dynamics.adaptive import DormandPrince, dormand_prince
from minildm.dynamics.solvers import integrate
from minildm.transport.diffusion import ClosedLoop, ancestral, ddim
from minildm.transport.expansion_rate import (
    largest_expansion_rate,
    midpoint_expansion_rate,
    narrow_expansion_rate,
)
from minildm.transport.mixtures import mixture_velocity, posterior
from minildm.transport.planar import two_modes
from minildm.transport.schedules import Cosine, Linear, Tangent

from .draws import randn, scalar

every = pytest.mark.parametrize("schedule", [Linear(), Cosine(), Tangent(3.0)], ids=str)


@pytest.mark.parametrize("steps", [5, 20, 80])
def test_local_errors_add_up_to_no_more_than_the_bound(steps):
    """(08.5): for dz/dt = sin 3z + t, with the bounds of its slope, L = 3, and of its acceleration, |z''| / 2 <= C."""

    def field(z, t):
        return torch.sin(3 * z) + t

    start, ends = (
        torch.linspace(-1, 1, 21, dtype=torch.float64)[:, None],
        torch.tensor([0.0, 1.0], dtype=torch.float64),
    )
    truth = integrate(field, start, ends, DormandPrince(1e-10, 1e-10), record=False).states[-1]
    end = integrate(
        field, start, torch.linspace(0, 1, steps + 1, dtype=torch.float64), "euler"
    ).states[-1]
    rate, curvature = 3.0, (1 + 3 * 2) / 2  # z'' = 1 + 3 cos(3z) u with |u| <= 2
    assert (end - truth).abs().max() <= curvature / steps * (math.exp(rate) - 1) / rate


@every
def test_ddim_solves_the_equation_when_the_prediction_stays(schedule):
    """(08.8): against the ODE solved finely with a constant data prediction, and to t = 1, where it gives the head itself."""
    z, denoised, t, s = randn(5, 2), randn(5, 2, seed=1), scalar(0.2), scalar(0.7)
    loop = ClosedLoop(lambda z, t, c: denoised, schedule, z)
    fine = integrate(
        loop, z, torch.stack((t, s)), DormandPrince(1e-11, 1e-11), record=False
    ).states[-1]
    ratio = schedule.b(s) / schedule.b(t)
    formula = ratio * z + (schedule.a(s) - schedule.a(t) * ratio) * denoised
    assert torch.allclose(ddim(loop, z, t, s), formula, atol=1e-12) and torch.allclose(
        fine, formula, atol=1e-9
    )
    assert torch.allclose(ddim(loop, z, t, scalar(1.0)), denoised, atol=1e-12)


def test_ddim_is_euler_on_the_straight_path():
    """(08.8) with a = t and b = 1 - t, at any step of any field."""
    mixture, z = two_modes(0.3), randn(9, 1)
    loop = ClosedLoop(lambda z, t, c: posterior(Linear(), mixture, z, t)[0], Linear(), z)
    for t, s in ((0.0, 0.4), (0.5, 0.6), (0.2, 1.0)):
        t, s = scalar(t), scalar(s)
        assert torch.allclose(
            ddim(loop, z, t, s), z + (s - t) * mixture_velocity(Linear(), mixture)(z, t), atol=1e-12
        )


@every
def test_the_posterior_step(schedule):
    """(08.9): Bayes' rule on a grid, N(x; a_s z_1, b_s^2) N(z; a/a_s x, v); and the package's step draws from it."""
    z1, z, t, s = 0.8, -0.4, scalar(0.3), scalar(0.65)
    a, b, a_s, b_s = (float(f(x)) for x in (t, s) for f in (schedule.a, schedule.b))
    r, v = a / a_s, b**2 - (a / a_s * b_s) ** 2
    x = torch.linspace(-8, 8, 16_001, dtype=torch.float64)
    weights = (-((x - a_s * z1) ** 2) / (2 * b_s**2) - (z - r * x) ** 2 / (2 * v)).softmax(0)
    mean, variance = (r * b_s**2 * z + a_s * v * z1) / b**2, b_s**2 * v / b**2
    assert float(weights @ x) == pytest.approx(mean, abs=1e-9)
    assert float(weights @ (x - mean) ** 2) == pytest.approx(variance, rel=1e-8)
    count = 100_000
    loop = ClosedLoop(lambda z, t, c: torch.full_like(z, z1), schedule, torch.zeros(count, 1))
    drawn = ancestral(
        loop, torch.full((count, 1), z, dtype=torch.float64), t, s, torch.Generator().manual_seed(0)
    )
    assert abs(float(drawn.mean()) - mean) < 5 * math.sqrt(variance / count)
    assert float(drawn.var()) == pytest.approx(variance, rel=5 * math.sqrt(2 / count))


def test_the_next_step_meets_the_tolerance():
    """(08.13): with the factor 0.9 left out, the step that it proposes has just the tolerated error; with it, 0.9^5 of that."""

    def field(z, t):
        return -(z**2) * (1 + torch.sin(3 * t))

    z, t, tolerance = torch.tensor([[1.5]], dtype=torch.float64), scalar(0.2), 1e-8
    first = field(z, t)
    errors = []
    for factor in (1.0, 0.9):
        h = scalar(0.05)
        for _ in range(4):
            _, error, _ = dormand_prince(field, z, t, t + h, first)
            h = factor * h * (tolerance / error.abs().max()) ** 0.2
        errors.append(float(dormand_prince(field, z, t, t + h, first)[1].abs().max()) / tolerance)
    assert errors[0] == pytest.approx(1, rel=0.03) and errors[1] == pytest.approx(0.9**5, rel=0.05)
    method = DormandPrince(1e-6, 1e-6)
    path = integrate(field, z, torch.tensor([0.0, 1.0], dtype=torch.float64), method)
    for (t, s, after), (z, ahead) in zip(
        zip(path.times, path.times[1:], path.times[2:-1]), pairwise(path.states)
    ):
        _, error, _ = dormand_prince(field, z, t, s, field(z, t))
        wanted = (s - t) * 0.9 * method.size(error, z, ahead) ** -0.2
        assert after - s <= wanted * (1 + 1e-9)  # shorter only where it was rejected


def grown(std: float, steps: int) -> float:
    """Logarithm of how far Euler's steps part two neighbors halfway between modes 4 apart."""
    return float(
        torch.log1p(
            midpoint_expansion_rate(4.0, std, torch.arange(steps, dtype=torch.float64) / steps)
            / steps
        ).sum()
    )


@pytest.mark.parametrize("std", [0.05, 0.1, 0.2])
@pytest.mark.parametrize("tolerance", [0.02, 0.05])
def test_steps_from_the_expansion_rate(std, tolerance):
    """(08.19): Euler's least steps to a relative error of log growth, against the largest expansion rate over the tolerance.

    And (08.18): the exact growth is log s + Delta^2 / (8 s^2), by fine steps.
    """
    exact = math.log(std) + 2 / std**2
    low, high = 2, 400_000
    assert grown(std, high) == pytest.approx(exact, rel=0.01)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (
            (low, middle) if abs(grown(std, middle) / exact - 1) <= tolerance else (middle, high)
        )
    predicted = math.pi * math.sqrt(3) / 18 * largest_expansion_rate(4.0, std)[1] / tolerance
    assert high == pytest.approx(predicted, rel=0.1)


@pytest.mark.parametrize("tau", [0.3, 0.1, 0.02])
def test_what_is_left_at_the_end(tau):
    """(08.20): the fractions of the first gap that stopping, clamping and the soft control leave, by steps of high order."""
    y, z0 = randn(4, 2), randn(4, 2, seed=1)
    controls = {
        tau: (lambda z, t: (y - z) / (1 - t), 1 - tau),
        tau / math.e: (lambda z, t: (y - z) / (1 - t).clamp(min=tau), 1.0),
        tau / (1 + tau): (lambda z, t: soft_terminal_control(y, z, t, 1 / tau), 1.0),
    }
    for fraction, (field, end) in controls.items():
        times = torch.tensor([0.0, 1 - tau, end], dtype=torch.float64)[: 3 if end == 1 else 2]
        last = integrate(field, z0, times, DormandPrince(1e-11, 1e-11), record=False).states[-1]
        assert torch.allclose(last - y, fraction * (z0 - y), atol=1e-8)


def test_the_power_law_is_a_limit():
    """(08.17): how much too low it is at the widths of the chapter, and that it becomes exact as the modes get narrow."""
    low = [
        1 - narrow_expansion_rate(4.0, std) / largest_expansion_rate(4.0, std)[1]
        for std in (1.0, 0.3, 0.1, 0.05, 0.005)
    ]
    assert [round(fraction, 2) for fraction in low[:-1]] == [0.68, 0.29, 0.11, 0.06] and 0 < low[
        -1
    ] < 0.01


@pytest.mark.parametrize(("steps", "fraction"), [(2, 16 / 64), (6, 2 / 64), (40, 0.0)])
def test_few_steps_leave_points_between_the_modes(steps, fraction):
    """The first look of the chapter: with six steps of Euler not all of 64 points have decided."""
    start = torch.special.ndtri((torch.arange(64, dtype=torch.float64) + 0.5) / 64)[:, None]
    end = integrate(
        mixture_velocity(Linear(), two_modes(0.3)), start, torch.linspace(0, 1, steps + 1), "euler"
    ).states[-1]
    assert float((end.abs() < 1).double().mean()) == fraction
