"""The boxed equations of chapter 02, both sides evaluated; those of single functions are in tests/control/test_hjb.py."""

from itertools import product

import pytest
import torch
from torch import Tensor

from minildm.control.feedback import cost, replay, rollout, transport
from minildm.control.grid import Grid
from minildm.control.hjb import costate, hopf_cole, hopf_lax
from minildm.control.linear_quadratic import LinearQuadratic
from minildm.control.riccati import riccati
from minildm.control.systems import PointMass, TwoWells, squares


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def soft(z: Tensor, t: Tensor, c: float = 4.0, y: float = 0.7) -> Tensor:
    return c * squares(z - y) / (1 + c * (1 - t))


def test_the_tail_of_a_best_plan_is_a_best_plan():
    """(02.2): on random tables of cells and moves, the least cost over all plans is that by steps backwards."""
    for seed in range(5):
        end, move_cost = draw(6, seed=seed), draw(3, seed=seed + 10).abs()
        value = end
        for _ in range(4):
            ways = [move_cost[m + 1] + value[(torch.arange(6) + m).clamp(0, 5)] for m in (-1, 0, 1)]
            value = torch.stack(ways).amin(0)
        for start in range(6):
            least = torch.inf
            for plan in product((-1, 0, 1), repeat=4):
                cell, spent = start, 0.0
                for m in plan:
                    cell, spent = min(max(cell + m, 0), 5), spent + float(move_cost[m + 1])
                least = min(least, spent + float(end[cell]))
            assert float(value[start]) == pytest.approx(least)


def test_splitting_time_in_the_middle_changes_nothing():
    """(02.2) for the point mass: Hopf-Lax from t to 1 is Hopf-Lax from t to s with V(., s) as the terminal cost."""
    wells, ends = TwoWells(weight=3.0), Grid((-3.0,), (3.0,), (241,))
    t, s = torch.tensor(0.2, dtype=torch.float64), torch.tensor(0.7, dtype=torch.float64)
    z = draw(30, 1).clamp(-2, 2)
    whole = hopf_lax(wells.terminal, z, t, ends)[0]
    first = hopf_lax(
        lambda y: hopf_lax(wells.terminal, y, s, ends, halvings=12)[0],
        z,
        1 - (s - t),
        ends,
        halvings=12,
    )[0]
    assert torch.allclose(whole, first, atol=1e-6)


def test_what_a_wrong_plan_wastes():
    """(02.9): cost = least cost + half the squared distance from -grad V along the path, for random plans of the point mass."""
    system, times = (
        PointMass(3, weight=4.0, target=0.7),
        torch.linspace(0, 1, 3001, dtype=torch.float64),
    )
    a, b, start = draw(3, 8, 3)
    plan = a + b * torch.sin(9 * times[:-1, None, None])
    run = rollout(transport, replay(plan, times), start, times, "euler")
    spent = cost(system, run)
    middles = (run.path.states[1:] + run.path.states[:-1]) / 2
    moments = (times[1:] + times[:-1]) / 2
    gaps = torch.stack(
        [squares(u + costate(soft, z, t)) for z, u, t in zip(middles, plan, moments)]
    )
    waste = (gaps * times.diff()[:, None]).sum(0)
    assert torch.allclose(spent, soft(start, times[0]) + waste, rtol=1e-6)
    best = rollout(transport, lambda z, t: -costate(soft, z, t), start, times)
    assert (
        torch.allclose(cost(system, best), soft(start, times[0]), rtol=1e-6)
        and (spent > cost(system, best)).all()
    )


@pytest.mark.parametrize("t", [0.0, 0.6, 0.9])
def test_ridges_but_no_sharp_valleys(t):
    """(02.14): for a random terminal cost with kinks both ways, and nearly with equality at a sharp valley of it."""
    t, z = (
        torch.tensor(t, dtype=torch.float64),
        torch.linspace(-1, 1, 41, dtype=torch.float64)[:, None],
    )
    slopes, knots, ends = draw(7), draw(7), Grid((-4.0,), (4.0,), (801,))

    def move_cost(y: Tensor) -> Tensor:
        return (slopes * (y - knots).abs()).sum(1)

    def second_difference(move_cost, delta: float) -> Tensor:
        left, middle, right = (
            hopf_lax(move_cost, z + shift, t, ends)[0] for shift in (-delta, 0.0, delta)
        )
        return left - 2 * middle + right

    for delta in (0.02, 0.1, 0.5):
        assert (second_difference(move_cost, delta) <= delta**2 / (1 - t) + 1e-8).all()
    assert second_difference(lambda y: 9 * y.abs().sum(1), 0.05).max() == pytest.approx(
        0.05**2 / float(1 - t), rel=1e-5
    )


def test_the_logarithm_of_a_mean():
    """(02.17): the mean over draws, within its own error, and by quadrature over noise in place of ends."""
    wells, g = TwoWells(weight=3.0), 0.8
    z, t = torch.tensor([[0.3]], dtype=torch.float64), torch.tensor(0.4, dtype=torch.float64)
    value = hopf_cole(wells.terminal, z, t, g, Grid((-6.0,), (6.0,), (4801,)))[0]
    good = torch.exp(-wells.terminal(z + g * (1 - t).sqrt() * draw(400_000, 1)) / g**2)
    error = g**2 * good.std() / good.mean() / len(good) ** 0.5
    assert abs(-(g**2) * good.mean().log() - value) < 4 * error
    xi = torch.linspace(-9, 9, 200_001, dtype=torch.float64)[:, None]
    weight = torch.exp(-squares(xi)) / (2 * torch.pi) ** 0.5 * (xi[1, 0] - xi[0, 0])
    mean = (weight * torch.exp(-wells.terminal(z + g * (1 - t).sqrt() * xi) / g**2)).sum()
    assert torch.allclose(-(g**2) * mean.log(), value, atol=1e-5)


def test_no_control_pays_less_than_the_value_falls():
    """(02.5): the sum is zero under the best control and never negative under another; two controls may both attain zero."""
    z, u, t = draw(200, 2), draw(200, 2, seed=1), torch.full((200,), 0.3, dtype=torch.float64)
    rate = torch.func.jvp(lambda t: soft(z, t), (t,), (torch.ones_like(t),))[1]
    p = costate(soft, z, t)
    assert torch.allclose(
        rate + squares(-p) - p.square().sum(1), torch.zeros(200).double(), atol=1e-10
    )
    assert (rate + squares(u) + (p * u).sum(1) > 0).all()
    pushes = torch.cat(
        (draw(200, seed=2), torch.tensor([0.5, 0.5]).double().sqrt() * torch.tensor([1, -1]))
    )
    sums = (
        -0.75 + (pushes**2 - 1) ** 2 + 1.0 * pushes**2
    )  # f = u^2, l = (u^2 - 1)^2, Phi = z: V = z + 3/4 (1 - t)
    assert (sums[:-2] > 0).all() and sums[-2:].abs().max() < 1e-12


def test_the_error_along_another_path_is_not_the_waste():
    """(02.9): for a feedback whose error is zero on the best paths, the error seen there is zero, and the waste is not."""
    system, times = (
        PointMass(2, weight=4.0, target=0.7),
        torch.linspace(0, 1, 2001, dtype=torch.float64),
    )
    begin, push = draw(6, 2), 0.3
    best = rollout(transport, lambda z, t: -costate(soft, z, t), begin, times)

    def learned(
        z: Tensor, t: Tensor
    ) -> Tensor:  # right on the best paths from these starts, wrong beside them
        on_path = best.path.states[int((t * 2000).round())]
        return -costate(soft, z, t) + 9 * (z - on_path)

    def error_along(states: Tensor) -> Tensor:
        return (
            sum(squares(learned(z, t) + costate(soft, z, t)) for z, t in zip(states[:-1], times))
            / 2000
        )

    run = rollout(transport, learned, begin + push, times, "euler")
    assert error_along(best.path.states).max() < 1e-20
    assert (cost(system, run) - soft(begin + push, times[0]) > 1).all()
    assert torch.allclose(
        cost(system, run) - soft(begin + push, times[0]), error_along(run.path.states), rtol=0.05
    )


@pytest.mark.parametrize("T", [0.4, 2.5, 10.0])
def test_the_last_time_is_free(T):
    """(02.8) with T for 1: the value of one well by the Riccati equation over any length of time."""
    c, one = 4.0, torch.ones(1, 1, dtype=torch.float64)
    times = torch.linspace(0, T, 2001, dtype=torch.float64)
    solution = riccati(LinearQuadratic(0 * one, one, 0 * one, one, c * one), times)
    assert torch.allclose(solution.P[:, 0, 0], c / (1 + c * (T - times)), rtol=1e-6)


def test_the_velocity_to_one_end_is_a_slope_that_solves_hjb_and_a_mean_of_two_is_not():
    """(02.7): a straight path to one end leaves no residual; the mean of two, by how likely each end is, accelerates."""
    ends, z, t = (
        torch.tensor([-1.0, 1.0], dtype=torch.float64),
        draw(50).clamp(-1, 1),
        torch.tensor(0.6, dtype=torch.float64),
    )

    def velocity(z: Tensor, t: Tensor) -> Tensor:
        """Towards each end, (2,)."""
        return (ends - z) / (1 - t)

    def mean(z: Tensor, t: Tensor) -> Tensor:
        """Over the ends of t y + (1 - t) noise that are possible at z."""
        return (-((z - t * ends) ** 2) / (2 * (1 - t) ** 2)).softmax(0) @ velocity(z, t)

    def acceleration(field, z: Tensor) -> Tensor:
        """du/dt + u du/dz, which is minus the slope of what is left of (02.7) for u = -dV/dz."""
        return torch.func.jacrev(field, 1)(z, t) + torch.func.jacrev(field)(z, t) * field(z, t)

    assert max(acceleration(velocity, point).abs().max() for point in z) < 1e-12
    assert max(acceleration(mean, point).abs() for point in z) > 1
