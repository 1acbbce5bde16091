"""The boxed equations of chapter 04, both sides evaluated."""

import math
import re
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from minildm.control.bridges import bridge
from minildm.control.feedback import rollout, transport
from minildm.control.grid import Grid
from minildm.control.hjb import hopf_cole, residual
from minildm.control.linear_quadratic import soft_terminal_control, soft_terminal_value
from minildm.control.sinkhorn import gaussian_covariance, half_squares, sinkhorn
from minildm.control.systems import PointMass, TwoWells
from minildm.dynamics.solvers import euler_maruyama

from .draws import randn, rng, scalar
from .notebooks import CHAPTERS, load, prose

POINT = PointMass(state=1)


def test_a_noisy_step_gains_half_the_noise_squared_times_the_laplacian():
    """(04.3): the mean of sin(2z) + t z^2 after one step, by quadrature, up to an error of order h^2."""
    x, w = np.polynomial.hermite_e.hermegauss(40)
    z, t, u, g, w = 0.4, 0.3, -0.7, 1.3, w / w.sum()

    def phi(z, t):
        return np.sin(2 * z) + t * z**2

    rate = z**2 + u * (2 * np.cos(2 * z) + 2 * t * z) + g**2 / 2 * (-4 * np.sin(2 * z) + 2 * t)
    errors = [
        abs(w @ phi(z + h * u + g * math.sqrt(h) * x, t + h) - phi(z, t) - h * rate)
        for h in (0.02, 0.01, 0.005)
    ]
    assert all(1.8 < math.log2(a / b) < 2.2 for a, b in pairwise(errors))


def test_hjb_with_noise():
    """(04.7): its value is that of Hopf-Cole, and no control does better than -grad V over one short step."""
    wells, g, ends = TwoWells(weight=5.0), 0.7, Grid((-7.0,), (7.0,), (701,))
    z, t = (
        torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None],
        torch.full((9,), 0.4, dtype=torch.float64),
    )
    value = lambda z, t: hopf_cole(wells.terminal, z, t.reshape(-1)[0], g, ends)[0]  # noqa: E731
    slope, curvature = (
        torch.func.jacrev(f)(z[:, 0]).diagonal()
        for f in (
            lambda x: value(x[:, None], t),
            lambda x: torch.func.grad(lambda x: value(x[:, None], t).sum())(x),
        )
    )
    rate = (value(z, t + 1e-4) - value(z, t - 1e-4)) / 2e-4
    assert (rate - slope**2 / 2 + g**2 / 2 * curvature).abs().max() < 1e-6
    assert torch.allclose(hopf_cole(wells.terminal, z, t[0], g, ends)[1][:, 0], -slope, atol=1e-8)
    x, w = (torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(40))

    def expected_cost(u: Tensor, h: float) -> Tensor:
        after = (z + h * u) + g * math.sqrt(h) * x
        return h * u[:, 0] ** 2 / 2 + value(after.reshape(-1, 1), t + h).reshape(after.shape) @ (
            w / w.sum()
        )

    best = expected_cost(-slope[:, None], 0.01)
    assert all((expected_cost(du - slope[:, None], 0.01) > best).all() for du in (-0.3, 0.3))


def test_the_log_transform_makes_hjb_linear():
    """(04.9): for any positive h, whether it solves the heat equation or not."""
    g, z, t = 0.6, randn(12, 1), torch.rand(12, generator=rng(1), dtype=torch.float64)

    def h(z, t):
        return torch.exp(torch.sin(z[:, 0]) + t * z[:, 0] ** 2 / 3) + t

    rate = torch.func.jvp(lambda t: h(z, t), (t,), (torch.ones_like(t),))[1]
    slope = torch.func.grad(lambda z: h(z, t).sum())
    curvature = torch.func.jvp(slope, (z,), (torch.ones_like(z),))[1][:, 0]
    left = residual(lambda z, t: -(g**2) * h(z, t).log(), POINT, z, t, g)
    assert torch.allclose(left, -(g**2) / h(z, t) * (rate + g**2 / 2 * curvature), atol=1e-12)


def derivatives(f, z: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rate (), gradient (state,) and Hessian (state, state) of f(z, t) at one state and time."""
    return (
        torch.func.grad(f, argnums=1)(z, t),
        torch.func.grad(f)(z, t),
        torch.func.hessian(f)(z, t),
    )


def log_transform_gap(
    gamma: float, f: Tensor, control: Tensor, noise: Tensor, z: Tensor, t: Tensor
) -> float:
    """HJB of V = -gamma log h less -gamma/h times the linear equation of h, for drift f, B R^-1 B' and G G' at one state."""

    def h(z, t):
        return torch.exp(torch.sin(z).sum() + t * z[0] * z[-1]) + t + z.square().sum()

    rate, slope, curvature = derivatives(lambda z, t: -gamma * h(z, t).log(), z, t)
    hjb = rate + f @ slope - slope @ control @ slope / 2 + (noise * curvature).sum() / 2
    rate, slope, curvature = derivatives(h, z, t)
    return float(hjb + gamma / h(z, t) * (rate + f @ slope + (noise * curvature).sum() / 2))


def test_the_log_transform_for_matched_channels_and_any_drift():
    """(04.9) in general: it needs gamma B R^-1 B' = G G' and no more; then the drift may be anything."""
    z, t, B = randn(3), scalar(0.3), randn(3, 2, seed=1)
    R = torch.diag(torch.tensor([0.5, 4.0])).double()
    control, drift = B @ torch.linalg.inv(R) @ B.T, torch.sin(5 * z) + z**3
    assert abs(log_transform_gap(0.7, drift, control, 0.7 * control, z, t)) < 1e-10
    assert abs(log_transform_gap(0.5, drift, control, 0.7 * control, z, t)) > 1e-2


def test_no_log_transform_where_noise_enters_without_control():
    """A cart whose position is shaken: the gap is a quadratic in gamma at each state, and states share no root of it."""
    control, noise = torch.diag(torch.tensor([0.0, 1.0])).double(), torch.eye(2).double()
    states = [(randn(2, seed=seed), scalar(0.1 * seed)) for seed in range(1, 6)]
    for gamma in torch.linspace(0.05, 5, 100).tolist():
        gaps = [
            log_transform_gap(gamma, torch.stack((z[1], 0 * z[1])), control, noise, z, t)
            for z, t in states
        ]
        assert max(map(abs, gaps)) > 1e-2


def test_itos_rule_along_each_path():
    """(04.4): the two sides along the same path differ like the root of the step, and by a fixed amount without Delta phi."""

    def errors(steps: int) -> list[float]:
        h, g, z, gap, bare = 1 / steps, 0.8, torch.full((2000,), 0.3).double(), 0.0, 0.0
        start, generator = z, rng(3)
        for k in range(steps):
            t, dW = (
                k * h,
                math.sqrt(h) * torch.randn(2000, generator=generator, dtype=torch.float64),
            )
            increment = g * (2 * torch.cos(2 * z) + 2 * t * z) * dW
            drift = z**2 - z * (2 * torch.cos(2 * z) + 2 * t * z)
            bare = bare + drift * h + increment
            gap = gap + (drift + g**2 / 2 * (-4 * torch.sin(2 * z) + 2 * t)) * h + increment
            z = z - z * h + g * dW
        gained = torch.sin(2 * z) + z**2 - torch.sin(2 * start)
        return [float((gained - side).square().mean().sqrt()) for side in (gap, bare)]

    (coarse, fault), (fine, still) = errors(100), errors(1600)
    assert 3.3 < coarse / fine < 4.7 and fine < 0.05
    assert still > 0.2 and 0.8 < fault / still < 1.2


def test_the_square_of_an_increment_is_its_mean_up_to_a_vanishing_sum():
    """Steps 1 to 3 after (04.4): the sum of (xi'A xi - tr A) h over 1/h steps has the variance 2 |A|^2 h, for symmetric A."""
    A = randn(3, 3)
    A = A + A.T
    for steps in (10, 40):
        xi = torch.randn(steps, 20_000, 3, generator=rng(4), dtype=torch.float64)
        dropped = ((xi @ A * xi).sum(-1) - A.trace()).sum(0) / steps
        assert abs(float(dropped.mean())) < 4 * float(dropped.std()) / math.sqrt(20_000)
        assert float(dropped.var()) == pytest.approx(2 * float(A.square().sum()) / steps, rel=0.06)


def test_h_is_a_step_in_movement_1_only():
    """From (04.8) on h is the mean weight; a step is dt there, so that no formula holds both."""
    text = prose(load(CHAPTERS[4]))
    later = text[text.index("## 2. ") : text.index("## Break it")]
    assert not re.findall(
        r"[ts] \\?\+ h\b|\\sqrt\{?h\b|\bh \\to 0|g\^2 h\b|\bh\\,u|\\tfrac h", later
    )


@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("g", [0.0, 0.5, 2.0])
def test_certainty_equivalence(g, d):
    """(04.12): the value solves HJB with noise to rounding, its slope is the policy without noise, and it is what a run costs."""
    c, y, z, t = (
        4.0,
        randn(1, d).expand(6, d),
        randn(6, d, seed=1),
        torch.linspace(0, 0.9, 6, dtype=torch.float64),
    )
    value = lambda z, t: soft_terminal_value(y, z, t, c, g)  # noqa: E731
    system = PointMass(state=d)
    assert residual(value, system, z, t, g).abs().max() < 1e-10
    assert torch.allclose(
        -torch.func.grad(lambda z: value(z, t).sum())(z),
        soft_terminal_control(y, z, t, c),
        atol=1e-12,
    )
    many, steps = 2000, 400
    start, target = z[:1].expand(many, d), y[:1].expand(many, d)
    times = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    run = rollout(
        transport,
        lambda z, t: soft_terminal_control(target, z, t, c),
        start,
        times,
        euler_maruyama(g),
        rng(2),
    )
    spent = (
        run.controls.square().sum((0, 2)) / (2 * steps)
        + c * (run.path.states[-1] - target).square().sum(-1) / 2
    )
    expected = float(soft_terminal_value(target[:1], start[:1], 0.0, c, g))
    assert abs(float(spent.mean()) - expected) < 3 * float(spent.std()) / math.sqrt(many) + 1e-9


def test_brownian_bridge():
    """(04.13): Bayes' rule for the densities of the uncontrolled process, z to x in time s - t and x to y in time 1 - s, on a grid."""
    z, y, t, s, g = 0.3, -1.1, 0.2, 0.65, 0.9
    x = torch.linspace(-8, 8, 8001, dtype=torch.float64)
    weights = (
        -((x - z) ** 2) / (2 * g**2 * (s - t)) - (y - x) ** 2 / (2 * g**2 * (1 - s))
    ).softmax(0)
    exact = bridge(scalar(z)[None], scalar(y)[None], t, s, g)
    mean = float(weights @ x)
    assert float(exact.mean) == pytest.approx(mean, abs=1e-12)
    assert float(exact.variance) == pytest.approx(float(weights @ (x - mean) ** 2), rel=1e-10)


def test_effort_is_divergence():
    """(04.16): for steps with a distribution of their own, the divergence of the chain of densities, and the effort it spends."""
    g, n, z0, c = 0.8, 50, 0.5, 3.0
    h, x = 1 / n, torch.linspace(-4, 4, 801, dtype=torch.float64)
    u = [
        soft_terminal_control(torch.ones_like(x)[:, None], x[:, None], k * h, c)[:, 0]
        for k in range(n)
    ]
    mass = ((x - z0).abs() < 1e-9).double()
    effort = divergence = 0.0
    for k in range(n):
        steered = (-((x - x[:, None] - h * u[k][:, None]) ** 2) / (2 * g**2 * h)).log_softmax(1)
        free = (-((x - x[:, None]) ** 2) / (2 * g**2 * h)).log_softmax(1)
        effort += float(mass @ (h * u[k] ** 2 / 2))
        divergence += float(mass @ (steered.exp() * (steered - free)).sum(1))
        mass = mass @ steered.exp()
    assert effort == pytest.approx(g**2 * divergence, rel=1e-6)


def test_sinkhorn_solves_the_static_problem():
    """(04.21): the coupling has this form and these marginals, and is where cost + g^2 KL is least."""
    g, a, b = 0.6, randn(7).softmax(0), randn(5, seed=1).softmax(0)
    cost = half_squares(randn(7, 2), randn(5, 2, seed=2))
    plan = sinkhorn(cost, a, b, g**2, tolerance=1e-13)
    form = a[:, None] * b * ((plan.alpha[:, None] + plan.beta - cost) / g**2).exp()
    assert (
        torch.allclose(form, plan.coupling)
        and torch.allclose(form.sum(1), a)
        and torch.allclose(form.sum(0), b)
    )
    alpha = -(g**2) * (b * ((plan.beta - cost) / g**2).exp()).sum(1).log()
    beta = -(g**2) * (a[:, None] * ((plan.alpha[:, None] - cost) / g**2).exp()).sum(0).log()
    assert torch.allclose(alpha, plan.alpha, atol=1e-9) and torch.allclose(
        beta, plan.beta, atol=1e-9
    )
    logits = (plan.coupling / (a[:, None] * b)).log().requires_grad_()
    p = a[:, None] * b * logits.exp()
    (p * cost + g**2 * p * logits).sum().backward()
    log_ratio = (
        logits.grad / p.detach()
    )  # at the optimum a row term plus a column term, so its double differences vanish
    assert (log_ratio - log_ratio[:1] - log_ratio[:, :1] + log_ratio[:1, :1]).abs().max() < 1e-9


@pytest.mark.parametrize("g", [0.0, 0.3, 1.0, 5.0])
def test_gaussian_schroedinger_bridge(g):
    """(04.23): the pair of ends has the right variances and a precision whose corner is -1/g^2, as the cost demands."""
    s0, s1 = 0.7, 1.6
    k = float(gaussian_covariance(s0, s1, g))
    assert k == pytest.approx((math.sqrt(g**4 + 4 * s0**2 * s1**2) - g**2) / 2, rel=1e-9)
    if g:
        precision = torch.linalg.inv(torch.tensor([[s0**2, k], [k, s1**2]], dtype=torch.float64))
        assert float(precision[0, 1]) == pytest.approx(-1 / g**2, rel=1e-9)
