"""Costates: three routes to the same numbers, and the gradient of the value along optimal paths."""

import math
from itertools import pairwise

import pytest
import torch

from minildm.control.adjoint import (
    adjoint,
    adjoint_by_autograd,
    adjoint_profile,
    final_costate,
    hamiltonian,
    pull_back,
)
from minildm.control.feedback import Rollout, cost, replay, rollout, transport
from minildm.control.gradients import plan_cost, slope
from minildm.control.linear_quadratic import linearize, pinned_control, soft_terminal_control
from minildm.control.riccati import riccati
from minildm.control.systems import DoubleIntegrator, Pendulum, PointMass
from minildm.dynamics.solvers import STEPS, integrate

PENDULUM, CART, POINT = Pendulum(), DoubleIntegrator(running_weight=1.0), PointMass(target=1.0)


def grid(steps: int, end: float = 1.0) -> torch.Tensor:
    return torch.linspace(0, end, steps + 1, dtype=torch.float64)


def wandering(system, steps: int, end: float = 2.0, method: str = "rk4") -> Rollout:
    """Three rollouts under smooth controls that have nothing optimal."""
    times = grid(steps, end)
    rng = torch.Generator().manual_seed(5)
    start, phase = (
        torch.randn(3, n, generator=rng, dtype=torch.float64)
        for n in (system.state, system.control)
    )
    return rollout(
        system.plant,
        replay(torch.sin(3 * times[:-1, None, None] + phase), times),
        start,
        times,
        method,
    )


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.parametrize(
    "system", [PENDULUM, CART, POINT], ids=lambda system: type(system).__name__
)
def test_adjoint_equation_equals_autograd(system):
    """(03.9) and (03.10): costates and the gradient of J by both, relative difference at most 1e-5."""
    run = wandering(system, 100)
    by_equation, by_autograd = adjoint(system, run), adjoint_by_autograd(system, run)
    assert distance(by_equation.costates, by_autograd.costates) < 1e-5
    assert distance(by_equation.gradient, by_autograd.gradient) < 1e-5


def test_adjoint_equation_comes_closer_at_its_order():
    """Order 4 for the pendulum, whose effort is counted exactly; order 2 where `cost` uses its rule on moving states."""
    for system, order in ((PENDULUM, 4), (CART, 2)):
        faults = []
        for steps in (25, 50, 100):
            run = wandering(system, steps)
            a, b = adjoint(system, run), adjoint_by_autograd(system, run)
            faults.append((distance(a.costates, b.costates), distance(a.gradient, b.gradient)))
        for coarse, fine in pairwise(faults):
            assert [math.log2(c / f) for c, f in zip(coarse, fine)] == pytest.approx(
                [order, order], abs=0.2
            )


@pytest.mark.parametrize("method", ["euler", "rk4"])
def test_autograd_gradient_is_that_of_the_plan(method):
    """The gradient of chapter 01, exactly; the costate is the cost of a perturbation of the state, by differences."""
    run = wandering(CART, 12, method=method)
    got = adjoint_by_autograd(CART, run, method)
    cost_of_plan = plan_cost(CART, run.path.states[0], run.path.times, method)
    assert torch.allclose(got.gradient, slope(cost_of_plan, run.controls)[1], atol=1e-12)
    moved = [
        plan_cost(CART, run.path.states[0] + e, run.path.times, method)(run.controls)
        for e in 1e-5 * torch.tensor([[0.0, 1.0], [0.0, -1.0]]).double()
    ]
    assert torch.allclose((moved[0] - moved[1]) / 2e-5, got.costates[0, :, 1], atol=1e-6)


@pytest.mark.parametrize("method", list(STEPS))
def test_pull_back_is_autograd_through_every_step(method):
    """Exactly, for any solver and states of any shape."""
    W = torch.randn(4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    start, end = torch.randn(
        2, 3, 5, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64
    )

    def field(z, t):
        return torch.tanh(z @ W) * (1 + t)

    path = integrate(field, start, grid(7), method)
    costates = pull_back(field, path, end, method)
    for k in (0, 3, 6, 7):
        z = path.states[k].clone().requires_grad_()
        arrived = integrate(field, z, grid(7)[k:], method).states[-1] if k < 7 else z
        assert torch.allclose(
            costates[k], torch.autograd.grad((arrived * end).sum(), z)[0], atol=1e-12
        )


def test_profiles_of_the_controls_of_the_book():
    """Under the soft terminal control p_t = p_1 / (1 + c (1 - t)); under the pinned control it vanishes before the end."""
    y, start, end_gradient = torch.randn(
        3, 4, 3, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64
    )
    times = grid(400)
    for c in (1.0, 5.0):

        def policy(z, t, c=c):
            return soft_terminal_control(y, z, t, c)

        profile = adjoint_profile(
            policy, integrate(policy, start, times, "rk4"), end_gradient, "rk4"
        )
        assert profile.shape == (401, 4)
        assert torch.allclose(
            profile, (1 / (1 + c * (1 - times)))[:, None].expand(-1, 4), atol=1e-6
        )

    def pinned(z, t):
        return pinned_control(y, z, t)

    profile = adjoint_profile(pinned, integrate(pinned, start, times), end_gradient)
    assert profile[:-1].max() < 1e-12 and torch.equal(profile[-1], torch.ones(4).double())


def test_costates_are_the_slope_of_the_value_along_optimal_paths():
    """(03.12): p = grad V = P z, where feedback is held over ever shorter intervals; the gradient of J vanishes with them."""
    system = linearize(CART, torch.zeros(2).double(), torch.zeros(1).double())
    start, faults = torch.tensor([[1.0, 0.5], [-0.3, 2.0]]).double(), []
    for steps in (50, 100, 200):
        solution = riccati(system, grid(steps))
        best = rollout(system.plant, solution.policy, start, grid(steps))
        found = adjoint(system, best)
        slopes = (solution.P[:, None] @ best.path.states[..., None])[..., 0]
        faults.append((distance(found.costates, slopes), found.gradient.abs().max().item() * steps))
    for coarse, fine in pairwise(faults):
        assert all(1.9 < a / b < 2.2 for a, b in zip(coarse, fine))
    assert faults[-1][0] < 0.01


def test_hamiltonian_and_its_end():
    z, u, p = torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    H = hamiltonian(POINT, z, u, p, torch.tensor(0.0))
    assert torch.allclose(H, u.square().sum(-1) / 2 + (p * u).sum(-1))
    slope_at_best = torch.func.grad(lambda u: hamiltonian(POINT, z, u, p, torch.tensor(0.0)).sum())(
        -p
    )
    assert slope_at_best.abs().max() < 1e-15
    assert torch.allclose(final_costate(POINT, z), 10 * (z - 1))
    run = rollout(transport, lambda z, t: -z, z, grid(3))
    assert torch.allclose(
        adjoint_by_autograd(POINT, run).costates[-1], final_costate(POINT, run.path.states[-1])
    )
    assert cost(POINT, run).shape == (5,)
