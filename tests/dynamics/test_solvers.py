"""Solvers: their order of convergence on a field with an exact flow, and the record they leave."""

import math
from itertools import pairwise

import pytest
import torch

from minildm.dynamics.adaptive import DormandPrince
from minildm.dynamics.solvers import STEPS, integrate
from minildm.errors import UserError


def field(z, t):
    """dz/dt = -z^2 (1 + sin 3t), solved by 1/z = 1/z_0 + t + (1 - cos 3t)/3."""
    return -(z**2) * (1 + torch.sin(3 * t))


START = torch.tensor([[0.5], [1.0], [2.0]], dtype=torch.float64)


def times(steps: int, end: float = 1.0) -> torch.Tensor:
    return torch.linspace(0, end, steps + 1, dtype=torch.float64)


def error(method: str, steps: int, end: float = 1.0) -> float:
    exact = 1 / (1 / START + end + (1 - math.cos(3 * end)) / 3)
    return (
        (integrate(field, START, times(steps, end), method).states[-1] - exact).abs().max().item()
    )


@pytest.mark.parametrize("method, order", [("euler", 1), ("heun", 2), ("midpoint", 2), ("rk4", 4)])
def test_order_of_convergence(method, order):
    errors = [error(method, steps) for steps in (40, 80, 160)]
    orders = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert orders == pytest.approx([order, order], abs=0.15)


def test_steps_by_their_formulas():
    t, s = torch.tensor(0.2), torch.tensor(0.5)
    z = torch.tensor([[1.0]])
    u = field(z, t)
    end, middle = z + 0.3 * u, z + 0.15 * u
    assert torch.allclose(STEPS["euler"](field, z, t, s), end)
    assert torch.allclose(STEPS["heun"](field, z, t, s), z + 0.15 * (u + field(end, s)))
    assert torch.allclose(
        STEPS["midpoint"](field, z, t, s), z + 0.3 * field(middle, torch.tensor(0.35))
    )


@pytest.mark.parametrize("method", list(STEPS))
def test_a_constant_field_is_solved_exactly_on_any_grid(method):
    uneven = torch.tensor([0.0, 0.1, 0.15, 0.7, 1.0], dtype=torch.float64)
    path = integrate(lambda z, t: torch.full_like(z, 2.0), START, uneven, method)
    assert torch.allclose(path.states, START + 2 * uneven[:, None, None], atol=1e-14)


def test_a_record_has_every_state_or_only_the_ends():
    whole = integrate(field, START, times(5), "euler")
    ends = integrate(field, START, times(5), "euler", record=False)
    assert whole.states.shape == (6, 3, 1) and torch.equal(whole.times, times(5))
    assert torch.equal(whole.states[0], START)
    assert torch.equal(ends.states, whole.states[[0, -1]]) and torch.equal(
        ends.times, whole.times[[0, -1]]
    )


def test_a_step_of_ones_own_may_be_random():
    def walk(field, z, t, s, rng):
        return z + (s - t).sqrt() * torch.randn(z.shape, generator=rng, dtype=z.dtype)

    start = torch.zeros(20_000, 1, dtype=torch.float64)
    paths = [
        integrate(field, start, times(8), walk, torch.Generator().manual_seed(0)) for _ in range(2)
    ]
    assert torch.equal(paths[0].states, paths[1].states)
    assert paths[0].states[-1].var().item() == pytest.approx(1, rel=0.05)  # five standard errors


def test_states_of_any_shape_are_carried():
    start = torch.ones(2, 3, 4, 5, dtype=torch.float64)
    assert integrate(field, start, times(3), "midpoint").states.shape == (4, 2, 3, 4, 5)


def test_unknown_solvers_are_refused():
    with pytest.raises(
        UserError, match="no solver 'rk9': choose one of euler, heun, midpoint, rk4"
    ):
        integrate(field, START, times(2), "rk9")


@pytest.mark.parametrize(
    "wrong", [[0.0, 1.0, 0.5], [1.0, 0.0, 0.5], [0.0, math.nan], [0.0, math.inf], []]
)
@pytest.mark.parametrize("method", ["euler", DormandPrince()])
def test_times_that_turn_around_or_are_no_numbers_are_refused(wrong, method):
    with pytest.raises(UserError, match="times of a path"):
        integrate(field, START, torch.tensor(wrong, dtype=torch.float64), method)


def test_a_time_may_stand_still():
    still = integrate(field, START, torch.tensor([0.0, 0.5, 0.5, 1.0], dtype=torch.float64), "rk4")
    assert torch.equal(still.states[1], still.states[2])
