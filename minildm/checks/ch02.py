"""Checks of chapter 02: dynamic programming, a residual, controls towards ends, kinks."""

import math

import torch

from ..control.grid import Grid
from ..control.hjb import hopf_cole, hopf_lax
from ..control.systems import PointMass, TwoWells
from .draws import double, rand, randn
from .verdict import exercise


@exercise(
    "02.1",
    hints=(
        "what does one move cost from one cell, all in all?",
        "make a row for each move: what it costs from every cell; then compare the rows",
        "where a move leads out of the row, its entry is infinite; take the least of each column",
    ),
)
def check_1():
    """Moves that cost nothing, moves that cost too much, the chapter's table, and any row."""
    table = double(3.0, 1.0, 6.0, 4.0, 0.0)
    yield (table, [-1, 0, 1], [0.0, 0.0, 0.0]), double(1.0, 1, 1, 0, 0)
    yield (table, [-1, 0, 1], [9.0, 0.0, 9.0]), table
    yield (
        (table, [-1, 0, 1], [0.8, 0.0, 0.8]),
        double(1.8, 1, 1.8, 0.8, 0),
    )
    rng = torch.Generator().manual_seed(1)
    for n, moves in ((1, [0, 3]), (6, [-2, 1]), (9, [-4, -1, 0, 2, 5]), (5, [2]), (4, [-3, 1])):
        values = randn(rng, n)
        costs = randn(rng, len(moves)).abs().tolist()
        best = [
            min(
                (cost + float(values[i + m]) for m, cost in zip(moves, costs) if 0 <= i + m < n),
                default=math.inf,
            )
            for i in range(n)
        ]
        yield (values, moves, costs), torch.tensor(best, dtype=torch.float64)


@exercise(
    "02.2",
    hints=(
        "states of a batch do not influence each other: what is the gradient of their sum?",
        "two first derivatives from one call, and V_zz as the derivative of one of them",
        "for a second derivative, autograd must keep the graph of the first one",
    ),
)
def check_2():
    """Zero on the closed form, -V_z^2 on twice of it; a polynomial by hand."""
    rng = torch.Generator().manual_seed(2)
    for c, y, g in ((1.0, 0.0, 0.0), (4.0, 1.0, 0.0), (4.0, -1.0, 0.7)):
        z, t = randn(rng, 9), 0.9 * rand(rng, 9)

        def value(z, t, c=c, y=y, g=g):
            return c * (z - y) ** 2 / (2 * (1 + c * (1 - t))) + g**2 / 2 * torch.log(
                1 + c * (1 - t)
            )

        yield (value, z, t, g), torch.zeros(9, dtype=torch.float64)
        yield (
            (lambda z, t, value=value: 2 * value(z, t), z, t, g),
            -((c * (z - y) / (1 + c * (1 - t))) ** 2),
        )
    for g in (0.0, 0.5, 2.0):
        a, b = randn(rng, 2).tolist()
        z, t = randn(rng, 6), randn(rng, 6)
        by_hand = (
            a * z**3 - (3 * a * t * z**2 + 2 * b * z) ** 2 / 2 + g**2 / 2 * (6 * a * t * z + 2 * b)
        )
        yield (lambda z, t, a=a, b=b: a * t * z**3 + b * z**2, z, t, g), by_hand


@exercise(
    "02.3",
    hints=(
        "what does it cost from one state to go to one end, and to end there?",
        "collect the costs in a table (batch, end): a row has a best end, or, with noise, a mean",
        "the weights of (02.18) stay when the least cost of a row is taken from all of its costs",
    ),
)
def check_3():
    """One end; Hopf-Lax and Hopf-Cole on a grid; weights that underflow."""
    rng, t = torch.Generator().manual_seed(3), 0.4
    z = randn(rng, 7, 3)
    y = randn(rng, 1, 3)
    for g in (0.0, 0.3):
        yield (y, randn(rng, 1), z, t, g), (y - z) / (1 - t)
    line, wells = Grid((-3.0,), (3.0,), (601,)), TwoWells()
    z = randn(rng, 20, 1).clamp(-2, 2)
    for g in (0.2, 0.5, 1.0):
        expected = hopf_cole(wells.terminal, z, torch.tensor(t, dtype=torch.float64), g, line)[1]
        yield (line.points(), wells.terminal(line.points()), z, t, g), expected
    coarse = Grid((-2.0, -2.0), (2.0, 2.0), (9, 9))
    z = randn(rng, 10, 2)
    now = torch.tensor(t, dtype=torch.float64)
    terminal = PointMass(weight=3.0, target=0.3).terminal
    nearest = hopf_lax(terminal, z, now, coarse, halvings=0)[1]
    for g in (0.0, 1e-4):
        yield (coarse.points(), terminal(coarse.points()), z, t, g), nearest


@exercise(
    "02.4",
    hints=(
        "which of the two sorts of kink does (02.14) forbid?",
        "take the step of the grid for delta: each three neighbors give one second difference",
        "one of them that is too large, by more than rounding, is enough to refuse the whole row",
    ),
)
def check_4():
    """Lower envelopes of parabolas and ridges pass; sharp valleys and high curvature do not."""
    rng = torch.Generator().manual_seed(4)
    for count, tau in ((81, 0.1), (81, 0.5), (41, 1.0), (201, 2.0)):
        z = torch.linspace(-2, 2, count, dtype=torch.float64)
        dz = 4 / (count - 1)
        ends, costs = randn(rng, 6), randn(rng, 6)
        edge = (costs + (z[:, None] - ends) ** 2 / (2 * tau)).amin(1)
        yield (edge, dz, tau), True
        yield (edge - 0.3 * z.abs() / tau, dz, tau), True
        yield (edge + 10 * z.abs() / tau, dz, tau), False
        yield (-z.abs(), dz, tau), True
        yield (z.abs(), dz, tau), False
        yield (0.9 * z**2 / (2 * tau), dz, tau), True
        yield (1.1 * z**2 / (2 * tau), dz, tau), False
