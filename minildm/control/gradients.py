"""Open-loop planning by gradient descent: two ways to the gradient of a cost, and the descent."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from ..dynamics.solvers import Step
from . import feedback
from .systems import System

PlanCost = Callable[[Tensor], Tensor]  # plan (interval, batch, control) -> J (batch,)


def plan_cost(
    system: System,
    start: Float[Tensor, "batch state"],
    times: Float[Tensor, " time"],
    method: str | Step = "rk4",
) -> PlanCost:
    """The cost as a function of the plan alone, which holds u_k from t_k to t_{k+1}.

    Args:
        system: The controlled system.
        start: State (batch, state) at the first time.
        times: Times (time,).
        method: Solver of `integrate`.

    Returns:
        A function of a plan (time - 1, batch, control) that returns J (batch,).
    """

    def cost(plan: Tensor) -> Tensor:
        policy = feedback.replay(plan, times)
        return feedback.cost(system, feedback.rollout(system.plant, policy, start, times, method))

    return cost


def slope(cost: PlanCost, plan: Float[Tensor, "interval batch control"]) -> tuple[Tensor, Tensor]:
    """J and dJ/du_k by autograd: one rollout and one backward pass, however long the plan is.

    Args:
        cost: Plan -> J (batch,), each row of the batch by itself.
        plan: Controls (interval, batch, control).

    Returns:
        J (batch,), and its gradient of the plan's shape.
    """
    plan = plan.detach().requires_grad_()
    total = cost(plan)
    (gradient,) = torch.autograd.grad(total.sum(), plan)
    return total.detach(), gradient


def differences(
    cost: PlanCost, plan: Float[Tensor, "interval batch control"], tiny: float = 1e-5
) -> Tensor:
    """dJ/du_k by central differences: two rollouts for each number of a plan.

    (J(u + e) - J(u - e)) / (2 |e|)

    Args:
        cost: Plan -> J (batch,), each row of the batch by itself.
        plan: Controls (interval, batch, control).
        tiny: Length of the perturbation e, in units of u.

    Returns:
        The gradient, of the plan's shape.
    """
    gradient = torch.empty_like(plan)
    for k, i in product(range(plan.shape[0]), range(plan.shape[2])):
        e = torch.zeros_like(plan)
        e[k, :, i] = tiny
        gradient[k, :, i] = (cost(plan + e) - cost(plan - e)) / (2 * tiny)
    return gradient


@dataclass
class Descent:
    """Where a descent ended, and the cost of its plan before every step and after the last."""

    plan: Float[Tensor, "interval batch control"]
    costs: Float[Tensor, "iteration batch"]


def descend(
    cost: PlanCost,
    plan: Float[Tensor, "interval batch control"],
    rate: float,
    steps: int,
    grow: float = 1.0,
) -> Descent:
    """Gradient descent that never climbs: a step that would raise J is not taken.

    u <- u - rate dJ/du where this lowers J; where it does not, the rate is halved.

    Args:
        cost: Plan -> J (batch,), each row of the batch by itself.
        plan: Controls (interval, batch, control) at which to start.
        rate: Rate of the first step; later each row of the batch has its own.
        steps: Number of steps.
        grow: Factor >= 1 of the rate after a step that lowered J.

    Returns:
        A `Descent`.
    """
    total, gradient = slope(cost, plan)
    rates = torch.full_like(total, rate)
    costs = [total]
    for _ in range(steps):
        trial = plan - rates[:, None] * gradient
        after, steeper = slope(cost, trial)
        lower = after < total
        plan = torch.where(lower[:, None], trial, plan)
        gradient = torch.where(lower[:, None], steeper, gradient)
        total = torch.where(lower, after, total)
        rates = torch.where(lower, grow * rates, rates / 2)
        costs.append(total)
    return Descent(plan, torch.stack(costs))
