"""Rollouts, replays, costs and disturbances: equal to their hand loops, exact where they must be, second order where they may be."""

import math
from itertools import pairwise

import pytest
import torch

from minildm.control.feedback import cost, disturb, replay, rollout, transport
from minildm.control.systems import DoubleIntegrator, Pendulum, PointMass
from minildm.dynamics.solvers import STEPS, euler_maruyama
from minildm.errors import UserError

TIMES = torch.tensor([0.0, 0.1, 0.25, 0.7, 1.0], dtype=torch.float64)


def grid(steps: int, end: float = 1.0) -> torch.Tensor:
    return torch.linspace(0, end, steps + 1, dtype=torch.float64)


def start(batch: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def swing(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """A policy that depends on state and time."""
    return torch.cos(3 * t) - z[:, :1] * z[:, 1:]


@pytest.mark.parametrize("method", list(STEPS))
def test_a_rollout_is_its_hand_loop(method):
    plant, z, states, controls = Pendulum().plant, start(), [start()], []
    for t, s in pairwise(TIMES):
        u = swing(z, t)  # one control a step, however often the solver asks the plant
        z = STEPS[method](lambda z, t, u=u: plant(z, u, t), z, t, s)
        states.append(z)
        controls.append(u)
    run = rollout(plant, swing, start(), TIMES, method)
    assert torch.equal(run.path.states, torch.stack(states)) and torch.equal(
        run.controls, torch.stack(controls)
    )
    assert torch.equal(run.path.times, TIMES)


def test_without_a_record_start_end_and_the_last_control_are_kept():
    whole, kept = (
        rollout(Pendulum().plant, swing, start(), TIMES, record=record) for record in (True, False)
    )
    assert torch.equal(kept.path.states, whole.path.states[[0, -1]]) and torch.equal(
        kept.path.times, TIMES[[0, -1]]
    )
    assert torch.equal(kept.controls, whole.controls[-1:])


def test_a_transport_goes_where_its_control_says():
    u = torch.tensor([[[1.0, 2.0]], [[0.0, -1.0]]], dtype=torch.float64)
    times = torch.tensor([0.0, 0.5, 0.75], dtype=torch.float64)
    path = rollout(transport, replay(u, times), torch.zeros(1, 2, dtype=torch.float64), times).path
    assert torch.allclose(
        path.states[:, 0], torch.tensor([[0.0, 0.0], [0.5, 1.0], [0.5, 0.75]], dtype=torch.float64)
    )


def test_an_unknown_method_is_a_users_mistake():
    with pytest.raises(UserError, match="no solver 'simpson': choose one of euler, heun"):
        rollout(Pendulum().plant, swing, start(), TIMES, "simpson")


def test_a_method_that_draws_gets_its_generator():
    def run(seed: int) -> torch.Tensor:
        rng = torch.Generator().manual_seed(seed)
        return rollout(
            transport, lambda z, t: -z, start(), TIMES, euler_maruyama(0.5), rng
        ).path.states

    assert torch.equal(run(1), run(1)) and not torch.equal(run(1), run(2))


def test_a_replay_holds_each_control_until_the_next():
    controls = torch.arange(4.0, dtype=torch.float64)[:, None, None]
    policy, nowhere = replay(controls, TIMES), torch.zeros(1, 1, dtype=torch.float64)
    for t, k in (
        (-1.0, 0),
        (0.0, 0),
        (0.05, 0),
        (0.1, 1),
        (0.69, 2),
        (0.7, 3),
        (0.99, 3),
        (1.0, 3),
        (2.0, 3),
    ):
        assert policy(nowhere, torch.tensor(t, dtype=torch.float64)).item() == k


@pytest.mark.parametrize("method", list(STEPS))
def test_a_replay_without_a_disturbance_repeats_the_plan_exactly(method):
    plan = rollout(Pendulum().plant, swing, start(), TIMES, method)
    again = rollout(Pendulum().plant, replay(plan.controls, TIMES), start(), TIMES, method)
    assert torch.equal(again.path.states, plan.path.states) and torch.equal(
        again.controls, plan.controls
    )


def test_a_cost_is_its_trapezoids():
    system = DoubleIntegrator(effort=2.0, running_weight=3.0, weight=5.0)
    run = rollout(system.plant, swing, start(), TIMES)
    total = system.terminal(run.path.states[-1])
    for k, h in enumerate(TIMES.diff()):
        a, b, u = run.path.states[k], run.path.states[k + 1], run.controls[k]
        total = total + h * (1.5 * ((a**2).sum(1) + (b**2).sum(1)) / 2 + u[:, 0] ** 2)
    assert torch.allclose(cost(system, run), total)


def test_a_cost_is_of_second_order_in_the_step():
    """z(t) = (1 + t + t^2/2, 1 + t) under u = 1: the integral of |z|^2/2 over [0, 1] is 181/60 by hand."""
    system, exact = (
        DoubleIntegrator(effort=0.0, running_weight=1.0, weight=0.0),
        (1 + 1 + 2 / 3 + 1 / 4 + 1 / 20 + 7 / 3) / 2,
    )
    corner = torch.ones(1, 2, dtype=torch.float64)
    errors = [
        abs(
            cost(
                system, rollout(system.plant, lambda z, t: z[:, 1:] * 0 + 1, corner, grid(n))
            ).item()
            - exact
        )
        for n in (10, 20, 40)
    ]
    assert [math.log2(a / b) for a, b in pairwise(errors)] == pytest.approx([2, 2], abs=0.05)


def test_effort_of_a_zero_order_hold_is_counted_exactly():
    system = PointMass(effort=3.0, weight=0.0)
    u = torch.randn(4, 5, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    spent = cost(system, rollout(system.plant, replay(u, TIMES), start(5), TIMES, "euler"))
    assert torch.allclose(spent, 1.5 * (TIMES.diff()[:, None] * u.square().sum(-1)).sum(0))


def test_a_cost_is_differentiable_in_the_controls():
    system, u = (
        Pendulum(),
        torch.randn(4, 2, 1, generator=torch.Generator().manual_seed(2), dtype=torch.float64),
    )
    assert torch.autograd.gradcheck(
        lambda u: cost(system, rollout(system.plant, replay(u, TIMES), start(2), TIMES)),
        u.requires_grad_(),
    )


@pytest.mark.parametrize("batch", [1, 7])
def test_any_batch_and_each_row_by_itself(batch):
    system = Pendulum()
    whole = rollout(system.plant, swing, start(batch), TIMES)
    for b in range(batch):
        alone = rollout(system.plant, swing, start(batch)[b : b + 1], TIMES)
        assert torch.allclose(alone.path.states, whole.path.states[:, b : b + 1])
        assert torch.allclose(cost(system, alone), cost(system, whole)[b : b + 1])


@pytest.mark.parametrize("at", [0, 1, 3])
def test_the_three_paths_have_one_past_and_part_by_the_displacement(at):
    change = torch.tensor([0.5, -0.2], dtype=torch.float64).expand(3, 2)
    paths = disturb(Pendulum().plant, swing, start(), TIMES, (at, change))
    plan, closed, replayed = paths.plan.states, paths.closed.states, paths.replayed.states
    assert plan.shape == closed.shape == replayed.shape
    for pushed in (closed, replayed):
        assert torch.equal(pushed[:at], plan[:at]) and torch.equal(pushed[at], plan[at] + change)
    assert not torch.allclose(closed[-1], replayed[-1])
