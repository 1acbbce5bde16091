"""Answers to the exercises of chapter 01: wrong ones that its checks must refuse, right ones that they must accept."""

import torch

from minildm.checks import ch01
from minildm.control.gradients import plan_cost, slope
from minildm.control.systems import DoubleIntegrator, squares

from .answers import Answers

answers = Answers(ch01)


@answers.wrong(1)
def forgets_the_time(start, target, effort, weight, time):
    total = effort + weight
    return weight * (target - start) / total, effort * weight / total * squares(start - target)


@answers.wrong(1)
def walks_away(start, target, effort, weight, time):
    total = effort + weight * time
    return weight * (start - target) / total, effort * weight / total * squares(start - target)


@answers.wrong(1)
def arrives_exactly(start, target, effort, weight, time):
    return (target - start) / max(time, 1e-9), effort * squares(target - start) / max(time, 1e-9)


@answers.wrong(1)
def forgets_the_half(start, target, effort, weight, time):
    total = effort + weight * time
    return weight * (target - start) / total, effort * weight / total * (
        start - target
    ).square().sum(-1)


@answers.wrong(1)
def costs_nothing_without_time(start, target, effort, weight, time):
    total = effort + weight * time
    return weight * (target - start) / total, (
        effort * weight / total * squares(start - target)
    ) * (time > 0)


@answers.right(1)
def inserts_the_control_in_single_precision(start, target, effort, weight, time):
    start, target = start.float(), target.float()
    u = weight * (target - start) / (effort + weight * time)
    return [u, effort * time * squares(u) + weight * squares(start + time * u - target)]


@answers.right(1)
def stands_still_where_there_is_no_time(start, target, effort, weight, time):
    total = effort + weight * time
    u = weight * (target - start) / total if time else torch.zeros_like(start)
    return u.tolist(), effort * weight / total * squares(start - target)


def cart_objective(start, h, effort, weight, steps):
    times = h * torch.arange(steps + 1, dtype=torch.float64)
    return plan_cost(DoubleIntegrator(effort=effort, weight=weight), start, times, "euler")


@answers.wrong(2)
def by_autograd(plan, start, h, effort, weight):
    return slope(cart_objective(start, h, effort, weight, len(plan)), plan[..., None])[1][..., 0]


@answers.wrong(2)
def forgets_the_terminal_error(plan, start, h, effort, weight):
    return h * effort * plan


@answers.wrong(2)
def moves_the_costate_too_early(plan, start, h, effort, weight):
    q, v = start.T
    for u in plan:
        q, v = q + h * v, v + h * u
    p_q, p_v, gradient = weight * q, weight * v, torch.empty_like(plan)
    for k in reversed(range(len(plan))):
        p_v = p_v + h * p_q
        gradient[k] = h * p_v + h * effort * plan[k]
    return gradient


@answers.wrong(2)
def forgets_to_transpose(plan, start, h, effort, weight):
    q, v = start.T
    for u in plan:
        q, v = q + h * v, v + h * u
    p_q, p_v, gradient = weight * q, weight * v, torch.empty_like(plan)
    for k in reversed(range(len(plan))):
        gradient[k] = h * p_v + h * effort * plan[k]
        p_q = p_q + h * p_v
    return gradient


@answers.right(2)
def in_closed_form_and_single_precision(plan, start, h, effort, weight):
    plan, (q, v), n = plan.float(), start.float().T, len(plan)
    left = torch.arange(n - 1, -1, -1)[:, None]  # steps that remain after each push
    end_q, end_v = q + n * h * v + h * h * (left * plan).sum(0), v + h * plan.sum(0)
    return h * (weight * end_v + left * h * weight * end_q) + h * effort * plan


@answers.right(2)
def by_differences_as_lists(plan, start, h, effort, weight):
    objective, gradient = cart_objective(start, h, effort, weight, len(plan)), []
    for k in range(len(plan)):
        perturbation = torch.zeros(*plan.shape, 1, dtype=torch.float64)
        perturbation[k] = 1.0  # the cost is quadratic, so any perturbation is exact
        gradient.append(
            (
                (
                    objective(plan[..., None] + perturbation)
                    - objective(plan[..., None] - perturbation)
                )
                / 2
            ).tolist()
        )
    return gradient


@answers.wrong(3)
def by_euler(z, h, force):
    return torch.stack((z[:, 0] + h * z[:, 1], z[:, 1] + h * force(z[:, 0])), dim=1)


@answers.wrong(3)
def by_leapfrog_with_two_forces(z, h, force):
    q, v = z.T
    v = v + h / 2 * force(q)
    q = q + h * v
    return torch.stack((q, v + h / 2 * force(q)), dim=1)


@answers.wrong(3)
def by_midpoint_with_two_forces(z, h, force):
    q, v = z.T
    middle_q, middle_v = q + h / 2 * v, v + h / 2 * force(q)
    return torch.stack((q + h * middle_v, v + h * force(middle_q)), dim=1)


@answers.wrong(3)
def stands_still(z, h, force):
    return z.clone()


@answers.wrong(3)
def keeps_area_of_half_a_step(z, h, force):
    v = z[:, 1] + h / 2 * force(z[:, 0])
    return torch.stack((z[:, 0] + h / 2 * v, v), dim=1)


@answers.wrong(3)
def takes_the_old_pendulum_for_any_force(z, h, force):
    v = z[:, 1] - h * torch.sin(z[:, 0])
    return torch.stack((z[:, 0] + h * v, v), dim=1)


@answers.right(3)
def moves_the_angle_first_in_single_precision(z, h, force):
    q, v = z.float().T
    q = q + h * v
    return torch.stack((q, v + h * force(q)), dim=1)


@answers.right(3)
def with_the_force_in_the_middle_as_lists(z, h, force):
    q, v = z.T
    v_new = v + h * force(q + h / 2 * v)
    return [list(pair) for pair in zip((q + h / 2 * (v + v_new)).tolist(), v_new.tolist())]


@answers.wrong(4)
def pushes_all_the_time(q, v, time, t):
    return torch.full_like(t, -2 * q / time**2)


@answers.wrong(4)
def forgets_the_velocity(q, v, time, t):
    return -6 * q / time**2 * (1 - 2 * t / time)


@answers.wrong(4)
def arrives_but_does_not_rest(q, v, time, t):
    return -3 * (q + v * time) * (time - t) / time**3


@answers.right(4)
def by_two_equations_in_single_precision(q, v, time, t):
    rows = torch.tensor([[time, time**2 / 2], [time**2 / 2, time**3 / 6]], dtype=torch.float64)
    a, b = torch.linalg.solve(rows, torch.tensor([-v, -q - v * time], dtype=torch.float64))
    return (a + b * t).float()


@answers.right(4)
def as_a_list(q, v, time, t):
    return [
        -(6 * q + 4 * v * time) / time**2 + (12 * q + 6 * v * time) / time**3 * s
        for s in t.tolist()
    ]


test_answers = answers.test()
