"""The boxed equations of chapter 01, both sides evaluated."""

import math
import re

import pytest
import torch
from torch import Tensor

from minildm.control.feedback import cost, replay, rollout
from minildm.control.gradients import descend, plan_cost, slope
from minildm.control.systems import DoubleIntegrator, Pendulum, PointMass, squares
from minildm.dynamics.solvers import STEPS
from minildm.viz.chapters.ch01 import tangent_plan

from .notebooks import CHAPTERS, load, number, prose


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def grid(steps: int, end: float) -> Tensor:
    return torch.linspace(0, end, steps + 1, dtype=torch.float64)


def test_effort_splits_into_mean_and_rest():
    """(01.4): half the integral of |u|^2 is T/2 |mean|^2 plus that of the deviation, on grids with unequal steps."""
    times = torch.rand(12, generator=torch.Generator().manual_seed(1), dtype=torch.float64).cumsum(
        0
    )
    h, u = times.diff()[:, None, None], draw(11, 5, 3)
    time = times[-1] - times[0]
    mean = (h * u).sum(0) / time
    whole, rest = ((h[..., 0] * squares(x)).sum(0) for x in (u, u - mean))
    assert torch.allclose(whole, time * squares(mean) + rest)


def test_the_optimum_of_a_point_mass():
    """(01.6): control, remaining distance and cost, by the minimum over all held plans, which Newton's step finds."""
    for r, c, T in ((1.0, 10.0, 1.0), (0.3, 2.0, 3.0), (2.0, 0.5, 0.7)):
        system, z, y = PointMass(state=2, effort=r, weight=c, target=0.8), draw(1, 2), 0.8
        objective = plan_cost(system, z, grid(6, T))
        flat = draw(12, seed=1)

        def J(flat: Tensor, objective=objective) -> Tensor:
            return objective(flat.view(6, 1, 2)).sum()

        gradient = slope(objective, flat.view(6, 1, 2))[1].flatten()
        best = flat - torch.linalg.solve(torch.autograd.functional.hessian(J, flat), gradient)
        u = c * (y - z) / (r + c * T)
        assert torch.allclose(best.view(6, 1, 2), u.expand(6, 1, 2))
        end = rollout(
            system.plant, replay(best.view(6, 1, 2), grid(6, T)), z, grid(6, T)
        ).path.states[-1]
        assert torch.allclose(end - y, r / (r + c * T) * (z - y))
        assert torch.allclose(J(best), r * c / (r + c * T) * squares(z - y))


def test_the_trade_between_effort_and_terminal_error():
    """(01.7): effort as a function of the terminal error, its slope by autograd, and that no plan lies below."""
    T, r, way = 2.0, 0.5, draw(4, 3)
    distance = way.norm(dim=1)
    for c in (0.1, 1.0, 30.0):
        u = c * way / (r + c * T)
        effort, terminal_error = T * squares(u), squares(way - T * u).requires_grad_()
        least = (distance - (2 * terminal_error).sqrt()) ** 2 / (2 * T)
        assert torch.allclose(effort, least)
        assert torch.allclose(
            torch.autograd.grad(least.sum(), terminal_error)[0],
            torch.full((4,), -c / r, dtype=torch.float64),
        )
    plans = draw(10, 1000, 3, seed=2)
    effort, terminal_error = T / 10 * squares(plans).sum(0), squares(way[0] - T / 10 * plans.sum(0))
    assert (effort >= (distance[0] - (2 * terminal_error).sqrt()) ** 2 / (2 * T)).all()


@pytest.mark.parametrize(
    ("method", "factor"),
    [("euler", lambda h: 1 + h**2), ("rk4", lambda h: 1 - h**6 / 72 + h**8 / 576)],
)
def test_energy_of_a_small_swing_is_multiplied_in_every_step(method, factor):
    """(01.11): q'' = -q under Euler and under the method of Runge and Kutta."""
    z, t = draw(50, 2), torch.tensor(0.0, dtype=torch.float64)
    for h in (0.05, 0.3, 1.0):
        after = STEPS[method](lambda z, t: torch.stack((z[:, 1], -z[:, 0]), dim=1), z, t, t + h)
        assert torch.allclose(squares(after), factor(h) * squares(z), rtol=1e-12)


def test_costates_carried_backwards_give_the_gradient():
    """(01.13): for the pendulum under Euler, whose Jacobians we write by hand."""
    system, h, plan, states = (
        Pendulum(effort=0.7, weight=3.0, damping=0.2),
        0.1,
        draw(12, 4, 1),
        [draw(4, 2, seed=1)],
    )
    for u in plan:
        states.append(states[-1] + h * system.plant(states[-1], u, torch.tensor(0.0)))
    q, v = states[-1].T
    p, gradient_by_costates = 3.0 * torch.stack((-torch.sin(q), v), dim=1), []
    for z, u in zip(reversed(states[:-1]), plan.flip(0)):
        gradient_by_costates.insert(0, h * p[:, 1:] + h * 0.7 * u)
        dFdz = torch.eye(2, dtype=torch.float64).repeat(4, 1, 1)
        dFdz[:, 0, 1], dFdz[:, 1, 0], dFdz[:, 1, 1] = h, -h * torch.cos(z[:, 0]), 1 - h * 0.2
        p = torch.einsum("bij,bi->bj", dFdz, p)
    assert torch.allclose(
        torch.stack(gradient_by_costates),
        slope(plan_cost(system, states[0], grid(12, 1.2), "euler"), plan)[1],
    )


def test_error_of_a_central_difference():
    """(01.14): the remainder is eps^2/6 times the third derivative, exactly for a cubic and up to eps^4 otherwise."""
    x = draw(20)
    for eps in (1.0, 0.1):
        cubic = (((x + eps) ** 3 - (x - eps) ** 3) / (2 * eps)) - 3 * x**2
        assert torch.allclose(cubic, torch.full_like(x, eps**2 / 6 * 6))
    gaps = []
    for eps in (0.2, 0.1):
        error = (torch.sin(x + eps) - torch.sin(x - eps)) / (2 * eps) - torch.cos(x)
        gaps.append((error + eps**2 / 6 * torch.cos(x)).abs().max())
    assert math.log2(gaps[0] / gaps[1]) == pytest.approx(4, abs=0.02)


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.3])
def test_descent_contracts_the_mean_and_the_rest_of_a_plan_by_their_own_factors(alpha):
    """(01.17): deviations from the optimum of a point mass after one and after five steps."""
    r, c, T, n = 0.8, 2.0, 2.5, 5
    system, z, u0 = PointMass(state=3, effort=r, weight=c), draw(4, 3), draw(n, 4, 3, seed=1)
    best = -c * z / (r + c * T)
    for steps in (1, 5):
        u = descend(plan_cost(system, z, grid(n, T)), u0, alpha * n / T, steps).plan
        assert torch.allclose(
            u.mean(0) - best, (1 - alpha * (r + c * T)) ** steps * (u0.mean(0) - best)
        )
        assert torch.allclose(u - u.mean(0), (1 - alpha * r) ** steps * (u0 - u0.mean(0)))


def test_the_plan_of_a_linear_plant_in_closed_form():
    """(01.18): for the cart, S from its rollouts; the gradient there is zero."""
    r, c, T, n, start = 0.6, 7.0, 2.0, 9, draw(3, 2)
    system, times = DoubleIntegrator(effort=r, weight=c), grid(9, T)

    def end(plan: Tensor, start: Tensor) -> Tensor:
        return rollout(system.plant, replay(plan, times), start, times).path.states[-1]

    S = end(torch.eye(n, dtype=torch.float64)[..., None], torch.zeros(n, 2, dtype=torch.float64)).T
    drift = end(torch.zeros(n, 3, 1, dtype=torch.float64), start)
    plan = -S.T @ torch.linalg.solve(
        r * T / n / c * torch.eye(2, dtype=torch.float64) + S @ S.T, drift.T
    )
    objective, unforced = plan_cost(system, start, times), plan[..., None]
    assert slope(objective, unforced)[1].abs().max() < 1e-12
    assert (objective(unforced + 0.01 * draw(n, 3, 1, seed=1)) > objective(unforced)).all()
    assert torch.allclose(
        tangent_plan(S.expand(3, 2, n), drift, torch.full((3,), r * T / n / c).double()).T, plan
    )
    assert torch.allclose(
        cost(system, rollout(system.plant, replay(unforced, times), start, times)),
        objective(unforced),
    )


def test_as_many_steps_follow_as_are_announced():
    """(01.6): "four short steps solve the problem", and four numbered steps lead to it."""
    (path,) = [path for path in CHAPTERS if number(path) == "01"]
    word, steps = re.search(
        r"(\w+) short steps solve the problem\.(.*?)\\tag\{01\.6\}", prose(load(path)), re.DOTALL
    ).groups()
    assert word == "four" and re.findall(r"\*Step (\d)\.\*", steps) == ["1", "2", "3", "4"]
