"""The gradient of a cost with respect to a plan: one backward pass, or two rollouts for each
number; and the way down.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from ..dynamics.solvers import Step
from .feedback import cost, replay, rollout
from .systems import System

PlanCost = Callable[[Tensor], Tensor]  # plan (interval, batch, control) -> J (batch,)


def plan_cost(
    system: System,
    start: Float[Tensor, "batch state"],
    times: Float[Tensor, " time"],
    method: str | Step = "rk4",
) -> PlanCost:
    """The cost as a function of the plan alone: J(u_0, ..., u_{n-1}) of the rollout that holds u_k
    from t_k to t_{k+1}.

    Args:
        system: The controlled system.
        start: (batch, state).
        times: (time,).
        method: Of `integrate`.

    Returns:
        Plan (time - 1, batch, control) -> J (batch,).
    """

    def price(plan: Tensor) -> Tensor:
        return cost(system, rollout(system.plant, replay(plan, times), start, times, method))

    return price


def slope(price: PlanCost, plan: Float[Tensor, "interval batch control"]) -> tuple[Tensor, Tensor]:
    """J and dJ/du_k by autograd, back through the whole rollout: one rollout and one backward pass, however long the plan.

    Args: `price`, plan -> J (batch,), each row of the batch by itself; `plan`. Returns J (batch,) and its gradient, of the
    plan's shape. Derived in chapter 01. Source: textbook.
    """
    plan = plan.detach().requires_grad_()
    total = price(plan)
    (gradient,) = torch.autograd.grad(total.sum(), plan)
    return total.detach(), gradient


def differences(
    price: PlanCost, plan: Float[Tensor, "interval batch control"], tiny: float = 1e-5
) -> Tensor:
    """dJ/du_k by central differences, (J(u + e) - J(u - e)) / (2 |e|): two rollouts for each number of a plan.

    Args: `price`, plan -> J (batch,); `plan`; `tiny`, length of the nudge e in units of u. Returns the gradient, of the
    plan's shape. Derived in chapter 01. Source: textbook.
    """
    gradient = torch.empty_like(plan)
    for k, i in product(range(plan.shape[0]), range(plan.shape[2])):
        nudge = torch.zeros_like(plan)
        nudge[k, :, i] = tiny
        gradient[k, :, i] = (price(plan + nudge) - price(plan - nudge)) / (2 * tiny)
    return gradient


@dataclass
class Descent:
    """Where a descent ended, and the cost of its plan before every step and after the last."""

    plan: Float[Tensor, "interval batch control"]
    costs: Float[Tensor, "iteration batch"]


def descend(
    price: PlanCost,
    plan: Float[Tensor, "interval batch control"],
    rate: float,
    steps: int,
    grow: float = 1.0,
) -> Descent:
    """Gradient descent that never climbs: u <- u - rate dJ/du where this lowers J; where it does
    not, the rate is halved.

    Args:
        price: Plan -> J (batch,).
        plan: Where to start.
        rate: Of the first step.
        steps: Number of steps.
        grow: >= 1, the factor of the rate after a step that paid. Each row of the batch has its own
            rate.

    Returns:
        A `Descent`.
    """
    total, gradient = slope(price, plan)
    rates, costs = torch.full_like(total, rate), [total]
    for _ in range(steps):
        trial = plan - rates[:, None] * gradient
        ahead, steeper = slope(price, trial)
        lower = ahead < total
        plan, gradient = (
            torch.where(lower[:, None], new, old)
            for new, old in ((trial, plan), (steeper, gradient))
        )
        total, rates = torch.where(lower, ahead, total), torch.where(lower, grow * rates, rates / 2)
        costs.append(total)
    return Descent(plan, torch.stack(costs))
