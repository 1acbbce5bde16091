"""Checks of chapter 02: a step backwards, a residual, controls towards ends, and a judge of kinks."""

import torch

from ..control.grid import Grid
from ..control.hjb import hopf_cole, hopf_lax
from ..control.systems import PointMass, TwoWells, squares
from .verdict import exercise


def draws(rng: torch.Generator, *shape: int) -> torch.Tensor:
    """Standard normal numbers in float64."""
    return torch.randn(shape, generator=rng, dtype=torch.float64)


@exercise("02.1", hints=("for each move: its price plus the value at clamp(i + m, 0, n - 1); then the minimum over moves",))
def check_1():
    """Free moves of one cell spread the minimum; dear ones change nothing; the chapter's table; any row otherwise."""
    table = torch.tensor([3.0, 1.0, 6.0, 4.0, 0.0], dtype=torch.float64)
    yield (table, [-1, 0, 1], [0.0, 0.0, 0.0]), torch.tensor([1.0, 1, 1, 0, 0], dtype=torch.float64)
    yield (table, [-1, 0, 1], [9.0, 0.0, 9.0]), table
    yield (table, [-1, 0, 1], [0.8, 0.0, 0.8]), torch.tensor([1.8, 1, 1.8, 0.8, 0], dtype=torch.float64)
    rng = torch.Generator().manual_seed(1)
    for n, moves in ((1, [0, 3]), (6, [-2, 1]), (9, [-4, -1, 0, 2, 5])):
        values, prices = draws(rng, n), draws(rng, len(moves)).abs().tolist()
        best = [min(p + float(values[min(max(i + m, 0), n - 1)]) for m, p in zip(moves, prices)) for i in range(n)]
        yield (values, moves, prices), torch.tensor(best, dtype=torch.float64)


@exercise("02.2", hints=("autograd of value(z, t).sum() in (t, z) with create_graph=True, and once more of V_z.sum() in z",))
def check_2():
    """Zero on the closed form, with noise and without; on a polynomial what differentiation by hand gives."""
    rng = torch.Generator().manual_seed(2)
    for c, y, g in ((1.0, 0.0, 0.0), (4.0, 1.0, 0.0), (4.0, -1.0, 0.7)):
        z, t = draws(rng, 9), 0.9 * torch.rand(9, generator=rng, dtype=torch.float64)

        def value(z, t, c=c, y=y, g=g):
            return c * (z - y) ** 2 / (2 * (1 + c * (1 - t))) + g**2 / 2 * torch.log(1 + c * (1 - t))

        yield (value, z, t, g), torch.zeros(9, dtype=torch.float64)
    for g in (0.0, 0.5, 2.0):
        a, b = draws(rng, 2).tolist()
        z, t = draws(rng, 6), draws(rng, 6)
        by_hand = a * z**3 - (3 * a * t * z**2 + 2 * b * z) ** 2 / 2 + g**2 / 2 * (6 * a * t * z + 2 * b)
        yield (lambda z, t, a=a, b=b: a * t * z**3 + b * z**2, z, t, g), by_hand


@exercise("02.3", hints=("costs (batch, end) = phi + |z - y|^2 / (2 (1 - t)); argmin, or softmax of -costs / g^2, over ends",))
def check_3():
    """One end leaves no choice; the formulas of Hopf-Lax and Hopf-Cole on a grid; weights so sharp that they underflow."""
    rng, t = torch.Generator().manual_seed(3), 0.4
    z = draws(rng, 7, 3)
    y = draws(rng, 1, 3)
    for g in (0.0, 0.3):
        yield (y, draws(rng, 1), z, t, g), (y - z) / (1 - t)
    line, wells = Grid((-3.0,), (3.0,), (601,)), TwoWells()
    z = draws(rng, 20, 1).clamp(-2, 2)
    for g in (0.2, 0.5, 1.0):
        expected = hopf_cole(wells.terminal, z, torch.tensor(t, dtype=torch.float64), g, line)[1]
        yield (line.points(), wells.terminal(line.points()), z, t, g), expected
    coarse = Grid((-2.0, -2.0), (2.0, 2.0), (9, 9))
    z, clock = draws(rng, 10, 2), torch.tensor(t, dtype=torch.float64)
    terminal = PointMass(weight=3.0, target=0.3).terminal
    nearest = hopf_lax(terminal, z, clock, coarse, halvings=0)[1]
    for g in (0.0, 1e-4):
        yield (coarse.points(), terminal(coarse.points()), z, t, g), nearest


@exercise("02.4", hints=("values[2:] - 2 values[1:-1] + values[:-2] must not exceed dz^2 / tau",))
def check_4():
    """Lower edges of parabolas pass, whatever their ends; sharp valleys fail, and so does too much curvature."""
    rng = torch.Generator().manual_seed(4)
    z = torch.linspace(-2, 2, 81, dtype=torch.float64)
    for tau in (0.1, 0.5, 1.0):
        ends, prices = draws(rng, 6), draws(rng, 6)
        edge = (prices + (z[:, None] - ends) ** 2 / (2 * tau)).amin(1)
        yield (edge, 0.05, tau), True
        yield (edge + 0.3 * (z - z[40]).abs() / tau, 0.05, tau), bool((edge.diff().diff()
               + (0.3 * (z - z[40]).abs() / tau).diff().diff() <= 0.05**2 / tau + 1e-9).all())
        yield (-z.abs(), 0.05, tau), True
        yield (z.abs(), 0.05, tau), False
        yield (0.9 * z**2 / (2 * tau), 0.05, tau), True
        yield (1.1 * z**2 / (2 * tau), 0.05, tau), False
    yield (squares(z[:, None]), 0.05, 1.0), True
