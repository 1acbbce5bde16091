"""Two ways to one gradient, what each costs in rollouts, and the way down."""

import pytest
import torch

from minildm.control.gradients import descend, differences, plan_cost, slope
from minildm.control.systems import DoubleIntegrator, Pendulum, PointMass

SYSTEMS = {
    "point mass": PointMass(state=2, effort=0.5, target=1.0),
    "pendulum": Pendulum(effort=0.5),
    "double integrator": DoubleIntegrator(running_weight=2.0),
}


def grid(steps: int, end: float = 2.0) -> torch.Tensor:
    return torch.linspace(0, end, steps + 1, dtype=torch.float64)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Counted:
    """A plan cost that counts how often it is asked."""

    def __init__(self, cost):
        self.cost, self.evaluations = cost, 0

    def __call__(self, plan):
        self.evaluations += 1
        return self.cost(plan)


@pytest.mark.parametrize("method", ["euler", "midpoint", "rk4"])
@pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS)
def test_autograd_and_differences_agree(system, method):
    cost, plan = (
        plan_cost(system, draw(3, system.state), grid(8), method),
        draw(8, 3, system.control, seed=1),
    )
    total, gradient = slope(cost, plan)
    assert torch.equal(total, cost(plan)) and not gradient.requires_grad
    assert torch.allclose(gradient, differences(cost, plan), rtol=1e-6, atol=1e-8)


def test_a_gradient_takes_one_rollout_where_differences_take_two_for_each_number():
    system = PointMass(state=3)
    for steps in (2, 5, 11):
        cost, plan = (
            Counted(plan_cost(system, draw(4, 3), grid(steps), "euler")),
            draw(steps, 4, 3),
        )
        slope(cost, plan)
        assert cost.evaluations == 1
        differences(cost, plan)
        assert cost.evaluations == 1 + 2 * steps * 3


def test_rows_of_a_batch_do_not_meet():
    cost = plan_cost(Pendulum(), draw(3, 2), grid(6), "midpoint")
    alone = plan_cost(Pendulum(), draw(3, 2)[1:2], grid(6), "midpoint")
    plan = draw(6, 3, 1, seed=1)
    assert torch.allclose(slope(cost, plan)[1][:, 1:2], slope(alone, plan[:, 1:2])[1])
    in_one_batch, single = (
        descend(cost, plan, 0.05, 10, grow=1.5),
        descend(alone, plan[:, 1:2], 0.05, 10, grow=1.5),
    )
    assert torch.allclose(in_one_batch.plan[:, 1:2], single.plan) and torch.allclose(
        in_one_batch.costs[:, 1:2], single.costs
    )


def test_the_gradient_of_a_point_mass_in_closed_form():
    """dJ/du_k = h (r u_k + c (z_n - y))."""
    system, times, plan, z = (
        PointMass(state=2, effort=0.5, weight=3.0, target=1.0),
        grid(5),
        draw(5, 4, 2),
        draw(4, 2, seed=1),
    )
    h = 2.0 / 5
    end = z + h * plan.sum(0)
    assert torch.allclose(
        slope(plan_cost(system, z, times), plan)[1], h * (0.5 * plan + 3.0 * (end - 1.0))
    )


def test_descent_finds_the_optimum_of_a_point_mass():
    system, z, h = PointMass(effort=0.5, weight=3.0, target=1.0), draw(4, 2), 0.4
    found = descend(plan_cost(system, z, grid(5)), draw(5, 4, 2, seed=1), 0.2 / h, 200)
    best = (3.0 * (1.0 - z) / (0.5 + 3.0 * 2.0)).expand(5, 4, 2)
    assert torch.allclose(found.plan, best, atol=1e-8)
    assert torch.allclose(
        found.costs[-1], 0.5 * 3.0 / (0.5 + 3.0 * 2.0) * (z - 1.0).square().sum(-1) / 2
    )


def test_descent_never_climbs_even_from_a_rate_that_is_far_too_large():
    cost, plan = plan_cost(Pendulum(), draw(4, 2), grid(10), "midpoint"), draw(10, 4, 1, seed=1)
    found = descend(cost, plan, rate=1e3, steps=40, grow=1.3)
    assert found.costs.shape == (41, 4) and torch.equal(found.costs[0], cost(plan))
    assert (found.costs.diff(dim=0) <= 0).all() and (found.costs[-1] < found.costs[0]).all()
    assert torch.allclose(cost(found.plan), found.costs[-1])


def test_a_pendulum_at_rest_with_an_idle_motor_has_no_slope_and_a_perturbation_swings_it_up():
    system, times = Pendulum(weight=10.0), grid(30, 3.0)
    cost, idle = (
        plan_cost(system, torch.zeros(1, 2, dtype=torch.float64), times, "midpoint"),
        draw(30, 1, 1) * 0,
    )
    assert torch.equal(slope(cost, idle)[1], idle)
    stuck, moved = descend(cost, idle, 0.1, 5), descend(cost, idle + 0.01, 0.1, 150, grow=1.3)
    assert stuck.costs[-1].item() == pytest.approx(20.0) and moved.costs[-1].item() < 2.6
