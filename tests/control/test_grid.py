"""The grid solver: interpolation in a table, noise as a matrix, order of convergence against formulas, and steering by it."""

import pytest
import torch
from torch import Tensor

from minildm import UserError
from minildm.control.feedback import cost, rollout
from minildm.control.grid import CostToGo, Grid, greedy, moves, noise, solve
from minildm.control.hjb import costate, hopf_cole, hopf_lax, steer
from minildm.control.systems import DoubleIntegrator, Pendulum, PointMass, TwoWells

from .test_hjb import cart

F64 = torch.float64


def times(steps: int) -> Tensor:
    return torch.linspace(0, 1, steps + 1, dtype=F64)


def choices(reach: float, count: int, state: int = 1) -> Tensor:
    return Grid((-reach,) * state, (reach,) * state, (count,) * state).points()


def orders(errors: list[float]) -> Tensor:
    return torch.tensor(errors[:-1]).div(torch.tensor(errors[1:])).log2()


def test_a_table_is_interpolated_bilinearly_and_constant_beyond_the_edge():
    grid = Grid((-1.0, 0.0), (2.0, 4.0), (7, 9))
    q, v = grid.points().T.reshape(2, 7, 9)
    z = torch.tensor([[0.3, 1.7], [-1.0, 4.0], [1.99, 0.01], [5.0, 1.0], [0.0, -3.0]], dtype=F64)
    inside = z.clamp(torch.tensor(grid.low), torch.tensor(grid.high))
    found = grid.interpolate(1 + 2 * q - v + 3 * q * v, grid.places(z)[None])[0]
    assert torch.allclose(found, 1 + 2 * inside[:, 0] - inside[:, 1] + 3 * inside.prod(1))


def test_a_circle_closes():
    grid = Grid((0.0,), (2 * torch.pi,), (40,), circles=(0,))
    assert grid.spacing == [2 * torch.pi / 40] and grid.points().max() < 2 * torch.pi - 0.1
    values = torch.cos(grid.points())[:, 0]
    z = torch.tensor([[-0.05], [6.25], [2 * torch.pi + 1]], dtype=F64)
    assert torch.allclose(
        grid.interpolate(values, grid.places(z)[None])[0], torch.cos(z[:, 0]), atol=0.004
    )
    assert torch.allclose(
        grid.interpolate(values, grid.places(z)[None]),
        grid.interpolate(values, grid.places(z + 4 * torch.pi)[None]),
    )


def test_noise_has_the_right_mean_and_variance():
    """A row of the matrix is the distribution of where noise leads: mean zero and the variance asked for, away from the edge."""
    grid = Grid((-2.0, 0.0), (2.0, 6.0), (81, 60), circles=(1,))
    along, around = noise(grid, 0.04, torch.zeros((), dtype=F64))
    x = grid.axes()[0]
    for matrix in (along, around):
        assert (matrix >= 0).all() and torch.allclose(
            matrix.sum(1), torch.ones(len(matrix), dtype=F64)
        )
    middle = slice(25, 56)
    assert torch.allclose((along @ x)[middle], x[middle], atol=1e-6)
    assert torch.allclose((along @ x**2 - x**2)[middle], torch.tensor(0.04, dtype=F64), atol=1e-5)
    assert torch.allclose(around.roll((7, 7), (0, 1)), around)


def test_one_step_is_bellmans_principle():
    """(02.2): the table one step before the end, by loops over states and controls."""
    system, grid, controls = (
        DoubleIntegrator(),
        Grid((-2.0, -2.0), (2.0, 2.0), (9, 11)),
        choices(3.0, 5),
    )
    found = solve(system, grid, controls, times(4)).values
    best = torch.full((9 * 11,), torch.inf, dtype=F64)
    for i, z in enumerate(grid.points()):
        for u in controls:
            arrivals = z + 0.25 * torch.stack((z[1], u[0]))
            later = grid.interpolate(found[4], grid.places(arrivals[None, None]))[0, 0]
            best[i] = torch.minimum(best[i], 0.25 * u[0] ** 2 / 2 + later)
    assert torch.allclose(found[3].flatten(), best)
    arrivals, costs = moves(system, grid.points(), controls, torch.tensor(0.0), torch.tensor(0.25))
    assert arrivals.shape == (5, 99, 2) and torch.equal(
        costs[0], torch.full((99,), 0.25 * 4.5, dtype=F64)
    )


class Distance(PointMass):
    """A point mass that ends at the cost |z|."""

    def terminal(self, z):
        return z.abs().sum(-1)


@pytest.mark.parametrize(
    ("system", "g", "nominal"),
    [
        (PointMass(1, weight=3.0, target=0.5), 0.0, 1.0),
        (PointMass(1, weight=3.0, target=0.5), 0.5, 1.0),
        (TwoWells(weight=3.0), 0.0, 1.0),
        (TwoWells(weight=3.0), 0.5, 1.0),
        (Distance(1), 0.5, 1.0),
        (Distance(1), 0.0, 0.5),  # a kink that opens into a fan: only half an order is promised
    ],
)
def test_three_routes_agree_in_one_dimension(system, g, nominal):
    """Value, and control -grad V away from the kink: order of convergence as spacing and step are halved."""
    ends, errors = Grid((-6.0,), (6.0,), (1201,)), []
    for k in (2, 4, 8):
        grid, controls = Grid((-3.0,), (3.0,), (60 * k + 1,)), choices(8.0, 80 * k + 1)
        found, t = solve(system, grid, controls, times(10 * k), g), torch.tensor(0.0, dtype=F64)
        z = torch.linspace(-1.2, 1.2, 49, dtype=F64)[:, None]
        away = z[:, 0].abs() > 0.29
        value, control = (
            hopf_cole(system.terminal, z, t, g, ends)
            if g
            else hopf_lax(system.terminal, z, t, ends)
        )
        errors.append(
            (
                (found.value(z, t) - value).abs().max(),
                (found.costate(z, t) + control)[away].abs().max(),
            )
        )
    values, controls = zip(*errors)
    assert orders(values).mean() > 0.9 * nominal and orders(controls).mean() > 0.9 * nominal
    assert values[-1] < 0.01 and controls[-1] < 0.03


def test_order_of_convergence_in_two_dimensions():
    """Value and costate of the cart against its closed form."""
    system, exact, errors, t = (
        DoubleIntegrator(weight=2.0),
        cart(2.0),
        [],
        torch.tensor(0.0, dtype=F64),
    )
    z = Grid((-0.8, -0.8), (0.8, 0.8), (7, 7)).points()
    for k in (2, 4):
        grid = Grid((-2.0, -3.0), (2.0, 3.0), (40 * k + 1, 60 * k + 1))
        found = solve(system, grid, choices(5.0, 20 * k + 1), times(10 * k))
        errors.append(
            (
                (found.value(z, t) - exact(z, t)).abs().max(),
                (found.costate(z, t) - costate(exact, z, t)).abs().max(),
            )
        )
    values, slopes = zip(*errors)
    assert (
        orders(values).min() > 0.9
        and orders(slopes).min() > 0.9
        and values[-1] < 0.05
        and slopes[-1] < 0.05
    )


@pytest.mark.parametrize("g", [0.0, 0.5])
def test_routes_agree_in_the_plane(g):
    system, grid, t = (
        TwoWells(2, weight=3.0),
        Grid((-2.5, -2.5), (2.5, 2.5), (61, 61)),
        torch.tensor(0.0, dtype=F64),
    )
    found = solve(system, grid, choices(3.0, 19, 2), times(10), g)
    z = torch.tensor([[0.3, 0.1], [-0.7, -0.4], [0.9, 1.0]], dtype=F64)
    value, control = (
        hopf_cole(system.terminal, z, t, g, grid) if g else hopf_lax(system.terminal, z, t, grid)
    )
    assert torch.allclose(found.value(z, t), value, atol=0.07) and torch.allclose(
        found.costate(z, t), -control, atol=0.1
    )


@pytest.mark.parametrize(
    ("system", "grid"),
    [
        (DoubleIntegrator(weight=2.0), Grid((-2.5, -3.0), (2.5, 3.0), (101, 121))),
        (Pendulum(weight=2.0), Grid((-torch.pi, -5.0), (torch.pi, 5.0), (120, 101), circles=(0,))),
    ],
)
def test_steering_costs_what_the_value_says(system, grid):
    """Both policies, one that tries every control for a step and -grad V, cost V(z, 0) up to the error of the grid."""
    controls, steps = choices(5.0, 41), times(25)
    value = solve(system, grid, controls, steps)
    start = torch.tensor([[1.0, 0.0], [-0.5, 1.0], [2.0, -0.5]], dtype=F64)
    for policy in (greedy(system, value, controls), steer(system, value.costate)):
        spent = cost(system, rollout(system.plant, policy, start, steps))
        assert torch.allclose(spent, value.value(start, steps[0]), rtol=0.1)


def test_float32_gives_the_same():
    system, grid, controls = Pendulum(), Grid((-3.0, -4.0), (3.0, 4.0), (31, 33)), choices(4.0, 9)
    wide = solve(system, grid, controls, times(20), g=0.3)
    narrow = solve(system, grid, controls.float(), times(20), g=0.3)
    assert narrow.values.dtype == torch.float32
    assert torch.allclose(narrow.values.double(), wide.values, rtol=1e-4, atol=1e-4)


def test_value_between_times_is_linear():
    grid = Grid((0.0,), (1.0,), (3,))
    table = CostToGo(grid, times(2), torch.tensor([[0.0, 1, 2], [4, 4, 4], [0, 0, 0]], dtype=F64))
    z = torch.tensor([[0.25]], dtype=F64)
    found = [float(table.value(z, torch.tensor(t, dtype=F64))) for t in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert found == [0.5, 2.25, 4.0, 2.0, 0.0]
    assert torch.allclose(
        table.costate(z, torch.tensor(0.25, dtype=F64)), torch.tensor([[1.0]], dtype=F64)
    )


def test_unequal_steps_are_refused():
    with pytest.raises(UserError, match="equal steps"):
        solve(
            PointMass(1),
            Grid((-1.0,), (1.0,), (5,)),
            choices(1.0, 3),
            torch.tensor([0.0, 0.1, 1.0]),
        )
