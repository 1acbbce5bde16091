"""Steering: the plans of the explorer are optima, and every knob changes the picture."""

from dataclasses import replace

import pytest
import torch

from minildm.control.gradients import plan_cost, slope
from minildm.viz.chapters.ch01 import (
    STEPS,
    TASKS,
    TIMES,
    WEIGHTS,
    best_plans,
    draw,
    explorer,
    steered,
    tangent_plan,
)

C = torch.tensor(WEIGHTS, dtype=torch.float64)


def test_the_plan_of_a_point_is_its_closed_form():
    for time in TIMES:
        plans, way = best_plans("point", time), torch.tensor([2.0, 1.5], dtype=torch.float64)
        assert torch.allclose(
            plans.controls, (C[:, None] * way / (1 + C[:, None] * time)).expand(STEPS, -1, -1)
        )
        assert torch.allclose(plans.effort, time * (C / (1 + C * time)) ** 2 * 6.25 / 2)
        assert torch.allclose(plans.terminal_error, (1 / (1 + C * time)) ** 2 * 6.25 / 2)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("weight", [0.2, 5.0, 100.0])
def test_no_plan_near_a_plan_of_the_explorer_is_cheaper(name, weight):
    task, time, k = TASKS[name], 3.0, WEIGHTS.index(weight)
    plans = best_plans(name, time)
    cost = plan_cost(
        replace(task.system, weight=weight),
        torch.tensor([task.start]).double(),
        plans.times,
        "midpoint",
    )
    plan = plans.controls[:, k : k + 1]
    total, gradient = slope(cost, plan)
    assert torch.allclose(total, plans.effort[k] + weight * plans.terminal_error[k])
    assert gradient.abs().max() < 1e-9
    change = torch.randn(
        STEPS,
        1,
        task.system.control,
        generator=torch.Generator().manual_seed(0),
        dtype=torch.float64,
    )
    assert cost(plan + 0.01 * change) > total and cost(plan - 0.01 * change) > total


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("time", TIMES)
def test_a_larger_weight_buys_a_smaller_error_with_more_effort(name, time):
    plans = best_plans(name, time)
    assert (plans.effort.diff() >= 0).all() and (plans.terminal_error.diff() <= 0).all()
    assert plans.effort[-1] > plans.effort[0] and plans.terminal_error[-1] < 0.01
    assert plans.states.shape == (STEPS + 1, len(WEIGHTS), 2)


def test_a_pendulum_is_left_hanging_where_the_swing_is_not_worth_its_effort():
    plans = best_plans("pendulum", 3.0)
    idle = C < 0.7  # between .63 and .8 the swing becomes worth its effort
    assert (plans.controls[:, idle] == 0).all() and (
        plans.controls[:, ~idle].abs().sum((0, 2)) > 0
    ).all()


def test_a_tangent_plan_solves_the_normal_equations():
    rng = torch.Generator().manual_seed(0)
    S, residual = (torch.randn(3, 2, n, generator=rng, dtype=torch.float64) for n in (7, 1))
    weight = torch.tensor([0.1, 1.0, 10.0], dtype=torch.float64)
    normal = weight[:, None, None] * torch.eye(7, dtype=torch.float64) + S.mT @ S
    assert torch.allclose(
        tangent_plan(S, residual[..., 0], weight),
        -torch.linalg.solve(normal, S.mT @ residual)[..., 0],
    )


def test_a_state_names_its_choice_and_its_figure_has_three_panels():
    shown = steered("cart", 2.0, 10.0)
    assert shown.plans is best_plans("cart", 2.0) and WEIGHTS[shown.chosen] == 10.0
    figure = draw(shown)
    assert len(figure.axes) == 3 and figure.axes[2].get_ylim()[1] > shown.plans.effort.max()


def test_every_knob_changes_the_picture():
    live = explorer().live()
    for knob in live.knobs.values():
        before = live.view.value
        knob.index += 1
        assert live.view.value != before


def test_the_menu_of_weights_is_fine_enough_to_play():
    assert len(WEIGHTS) >= 21 and list(WEIGHTS) == sorted(WEIGHTS)
    assert (C[:-1].log().diff() < 0.27).all()  # a step is a quarter, but for the last
