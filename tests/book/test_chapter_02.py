"""The boxed equations of chapter 02, both sides evaluated; those of single functions are in tests/control/test_hjb.py."""

from itertools import product

import pytest
import torch
from torch import Tensor

from minildm.checks import ch02
from minildm.control.feedback import cost, replay, rollout, transport
from minildm.control.grid import Grid
from minildm.control.hjb import costate, hopf_cole, hopf_lax
from minildm.control.systems import PointMass, TwoWells, squares


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def soft(z: Tensor, t: Tensor, c: float = 4.0, y: float = 0.7) -> Tensor:
    return c * squares(z - y) / (1 + c * (1 - t))


def test_the_tail_of_a_best_plan_is_a_best_plan():
    """(02.2): on random tables of cells and moves, the least cost over all plans is that by steps backwards."""
    for seed in range(5):
        end, price = draw(6, seed=seed), draw(3, seed=seed + 10).abs()
        value = end
        for _ in range(4):
            ways = [price[m + 1] + value[(torch.arange(6) + m).clamp(0, 5)] for m in (-1, 0, 1)]
            value = torch.stack(ways).amin(0)
        for start in range(6):
            least = torch.inf
            for plan in product((-1, 0, 1), repeat=4):
                cell, spent = start, 0.0
                for m in plan:
                    cell, spent = min(max(cell + m, 0), 5), spent + float(price[m + 1])
                least = min(least, spent + float(end[cell]))
            assert float(value[start]) == pytest.approx(least)


def test_splitting_time_in_the_middle_changes_nothing():
    """(02.2) for the point mass: Hopf-Lax from t to 1 is Hopf-Lax from t to s with V(., s) as the price of the end."""
    wells, ends = TwoWells(weight=3.0), Grid((-3.0,), (3.0,), (241,))
    t, s = torch.tensor(0.2, dtype=torch.float64), torch.tensor(0.7, dtype=torch.float64)
    z = draw(30, 1).clamp(-2, 2)
    whole = hopf_lax(wells.terminal, z, t, ends)[0]
    first = hopf_lax(lambda y: hopf_lax(wells.terminal, y, s, ends, halvings=12)[0], z, 1 - (s - t), ends, halvings=12)[0]
    assert torch.allclose(whole, first, atol=1e-6)


def test_what_a_wrong_plan_wastes():
    """(02.9): cost = least cost + half the squared distance from -grad V along the path, for random plans of the point mass."""
    system, times = PointMass(3, weight=4.0, target=0.7), torch.linspace(0, 1, 3001, dtype=torch.float64)
    a, b, start = draw(3, 8, 3)
    plan = a + b * torch.sin(9 * times[:-1, None, None])
    run = rollout(transport, replay(plan, times), start, times, "euler")
    spent = cost(system, run)
    middles = (run.path.states[1:] + run.path.states[:-1]) / 2
    moments = (times[1:] + times[:-1]) / 2
    gaps = torch.stack([squares(u + costate(soft, z, t)) for z, u, t in zip(middles, plan, moments)])
    waste = (gaps * times.diff()[:, None]).sum(0)
    assert torch.allclose(spent, soft(start, times[0]) + waste, rtol=1e-6)
    best = rollout(transport, lambda z, t: -costate(soft, z, t), start, times)
    assert torch.allclose(cost(system, best), soft(start, times[0]), rtol=1e-6) and (spent > cost(system, best)).all()


@pytest.mark.parametrize("t", [0.0, 0.6, 0.9])
def test_ridges_but_no_sharp_valleys(t):
    """(02.14): for a random price of the end with kinks both ways, and nearly with equality at a sharp valley of it."""
    t, z = torch.tensor(t, dtype=torch.float64), torch.linspace(-1, 1, 41, dtype=torch.float64)[:, None]
    slopes, knots, ends = draw(7), draw(7), Grid((-4.0,), (4.0,), (801,))

    def price(y: Tensor) -> Tensor:
        return (slopes * (y - knots).abs()).sum(1)

    def bend(price, delta: float) -> Tensor:
        left, middle, right = (hopf_lax(price, z + shift, t, ends)[0] for shift in (-delta, 0.0, delta))
        return left - 2 * middle + right

    for delta in (0.02, 0.1, 0.5):
        assert (bend(price, delta) <= delta**2 / (1 - t) + 1e-8).all()
    assert bend(lambda y: 9 * y.abs().sum(1), 0.05).max() == pytest.approx(0.05**2 / float(1 - t), rel=1e-5)


def test_the_logarithm_of_a_mean():
    """(02.17): the mean over draws, within its own error, and by quadrature over noise in place of ends."""
    wells, g = TwoWells(weight=3.0), 0.8
    z, t = torch.tensor([[0.3]], dtype=torch.float64), torch.tensor(0.4, dtype=torch.float64)
    value = hopf_cole(wells.terminal, z, t, g, Grid((-6.0,), (6.0,), (4801,)))[0]
    good = torch.exp(-wells.terminal(z + g * (1 - t).sqrt() * draw(400_000, 1)) / g**2)
    error = g**2 * good.std() / good.mean() / len(good) ** 0.5
    assert abs(-g**2 * good.mean().log() - value) < 4 * error
    xi = torch.linspace(-9, 9, 200_001, dtype=torch.float64)[:, None]
    weight = torch.exp(-squares(xi)) / (2 * torch.pi) ** 0.5 * (xi[1, 0] - xi[0, 0])
    mean = (weight * torch.exp(-wells.terminal(z + g * (1 - t).sqrt() * xi) / g**2)).sum()
    assert torch.allclose(-g**2 * mean.log(), value, atol=1e-5)


def residual_without_noise(value, z, t, g):
    z, t = z.clone().requires_grad_(), t.clone().requires_grad_()
    rate, slope = torch.autograd.grad(value(z, t).sum(), (t, z))
    return rate - slope**2 / 2


@pytest.mark.parametrize(("check", "wrong"), [
    (ch02.check_1, lambda values, moves, prices: torch.stack([p + values.roll(-m) for m, p in zip(moves, prices)]).amin(0)),
    (ch02.check_1, lambda values, moves, prices: torch.stack(
        [p + values[(torch.arange(len(values)) + m).clamp(0, len(values) - 1)] for m, p in zip(moves, prices)]).amax(0)),
    (ch02.check_2, residual_without_noise),
    (ch02.check_3, lambda y, phi, z, t, g: (y[(phi + torch.cdist(z, y) ** 2 / (2 * (1 - t))).argmin(1)] - z) / (1 - t)),
    (ch02.check_3, lambda y, phi, z, t, g: (
        torch.exp(-(phi + torch.cdist(z, y) ** 2 / (2 * (1 - t))) / max(g, 1e-3) ** 2) @ y - z) / (1 - t)),
    (ch02.check_4, lambda values, dz, tau: bool((values.diff().diff() <= 1e-9).all())),
    (ch02.check_4, lambda values, dz, tau: True),
])
def test_the_usual_mistakes_are_told_apart(check, wrong, capsys):
    check(wrong)
    said = capsys.readouterr().out
    assert "not yet" in said and "hint" in said
