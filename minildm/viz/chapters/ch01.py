"""Chapter 01: the best plan of a system for each weight of its terminal error."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from ...control.feedback import replay, rollout
from ...control.systems import DoubleIntegrator, Pendulum, PointMass, System, squares
from ..core import style
from ..core.figures import panels
from ..core.knobs import Explorer

DECADE = (1.0, 1.25, 1.6, 2.0, 2.5, 3.2, 4.0, 5.0, 6.3, 8.0)  # ten steps of equal ratio, rounded
WEIGHTS = (*(round(c * scale, 4) for scale in (0.1, 1, 10) for c in DECADE), 100.0, 1000.0)  # c
TIMES = (3.0, 1.0, 2.0, 4.0)  # T, how long a system has
STEPS = 30
ROUNDS = 40


@dataclass(frozen=True)
class Task:
    """A system, where it starts, its residual at the end, and how to draw it."""

    system: System
    start: tuple[float, float]
    goal: tuple[float, float]
    residual: Callable[[Tensor], Tensor]  # ends (batch, state) -> (batch, residual)
    axes: tuple[str, str]


def point_residual(z: Tensor) -> Tensor:
    """The distance of a point from (1, 1)."""
    return z - 1


def cart_residual(z: Tensor) -> Tensor:
    """Position and velocity of a cart, which should rest at the origin."""
    return z


def pendulum_residual(z: Tensor) -> Tensor:
    """How far a pendulum is from standing upright, and its velocity."""
    return torch.stack((2 * torch.cos(z[:, 0] / 2), z[:, 1]), dim=1)


TASKS = {
    "point": Task(
        PointMass(target=1.0),
        (-1.0, -0.5),
        (1.0, 1.0),
        point_residual,
        ("first coordinate", "second"),
    ),
    "cart": Task(
        DoubleIntegrator(), (-2.0, 0.0), (0.0, 0.0), cart_residual, ("position q", "velocity v")
    ),
    "pendulum": Task(
        Pendulum(), (0.0, 0.0), (torch.pi, 0.0), pendulum_residual, ("angle q", "velocity v")
    ),
}


@dataclass(frozen=True)
class Plans:
    """The best plans of one task for a row of weights."""

    times: Float[Tensor, " time"]
    states: Float[Tensor, "time weight state"]
    controls: Float[Tensor, "interval weight control"]
    effort: Float[Tensor, " weight"]  # int |u|^2 / 2 dt
    terminal_error: Float[Tensor, " weight"]  # half the squared residual of the end


@dataclass(frozen=True)
class Steered:
    """What one picture shows: the plans of a task, and the weight whose plan is highlighted."""

    task: Task
    plans: Plans
    weight: float

    @property
    def chosen(self) -> int:
        """Index of the highlighted plan."""
        return WEIGHTS.index(self.weight)


def tangent_plan(
    slopes: Float[Tensor, "batch residual plan"],
    residual: Float[Tensor, "batch residual"],
    weight: Float[Tensor, " batch"],
) -> Float[Tensor, "batch plan"]:
    """The plan with the least cost of a linear problem, in closed form.

    min over x of weight |x|^2 + |d + S x|^2:  x = -S' (weight I + S S')^-1 d

    Args:
        slopes: S, the derivatives of the residual with respect to the plan.
        residual: d, the residual of the plan 0.
        weight: Weight of the plan's square.

    Returns:
        The plan x.

    Derived in chapter 01.
    """
    identity = torch.eye(residual.shape[1], dtype=residual.dtype)
    gram = weight[:, None, None] * identity + slopes @ slopes.mT
    return -(slopes.mT @ torch.linalg.solve(gram, residual[..., None]))[..., 0]


@lru_cache
def best_plans(name: str, time: float) -> Plans:
    """The best plans of a task for all WEIGHTS at once, by Gauss-Newton steps.

    Each step replaces the end by its tangent and goes most of the way to the plan that is best for
    it. At the end a plan is compared with doing nothing, and the cheaper of both is kept.

    Args:
        name: A name of TASKS.
        time: T.

    Returns:
        `Plans` with unit weight of effort.
    """
    task = TASKS[name]
    weights = torch.tensor(WEIGHTS, dtype=torch.float64)
    times = torch.linspace(0, time, STEPS + 1, dtype=torch.float64)
    start = torch.tensor(task.start, dtype=torch.float64).expand(len(weights), 2)
    h = time / STEPS

    def run(plan: Tensor) -> Tensor:
        return rollout(task.system.plant, replay(plan, times), start, times, "midpoint").path.states

    def costs(plan: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        effort = h * squares(plan.transpose(0, 1).flatten(1))
        return effort, squares(task.residual(states[-1]))

    def total(plan: Tensor) -> Tensor:
        effort, terminal_error = costs(plan, run(plan))
        return effort + weights * terminal_error

    plan = torch.ones(STEPS, len(weights), task.system.control, dtype=torch.float64)
    for _ in range(ROUNDS):
        plan.requires_grad_()
        residual = task.residual(run(plan)[-1])
        rows = [
            torch.autograd.grad(column.sum(), plan, retain_graph=True)[0]
            for column in residual.unbind(1)
        ]
        plan = plan.detach()
        slopes = torch.stack(rows, dim=2).permute(1, 2, 0, 3).flatten(2)
        flat = plan.transpose(0, 1).flatten(1)
        at_zero = residual.detach() - (slopes @ flat[..., None])[..., 0]
        step = tangent_plan(slopes, at_zero, h / weights) - flat
        plan = plan + 0.7 * step.view(len(weights), STEPS, -1).transpose(0, 1)
    idle = torch.zeros_like(plan)
    plan = torch.where((total(plan) < total(idle))[:, None], plan, idle)
    states = run(plan)
    return Plans(times, states, plan, *costs(plan, states))


def steered(system: str, time: float, weight: float) -> Steered:
    """The best plans of a system, and the one for a weight of its terminal error.

    Args:
        system: A name of TASKS.
        time: T, how long the system has.
        weight: c, one of WEIGHTS.

    Returns:
        A `Steered`.
    """
    return Steered(TASKS[system], best_plans(system, time), weight)


def draw(shown: Steered) -> Figure:
    """The path in the space of states, the controls over time, and effort against error."""
    figure, (space, over_time, trade) = panels(3, height=2.2)
    task = shown.task
    plans = shown.plans
    k = shown.chosen
    for i in range(len(WEIGHTS)):
        space.plot(*plans.states[:, i].T, color=style.GRID, lw=0.5)
    space.plot(*plans.states[:, k].T, ".-", color=style.INK, ms=3, lw=1.1)
    space.plot(*task.start, "o", color=style.NOISE)
    space.plot(*task.goal, "*", color=style.DATA, ms=11)
    space.set(xlabel=task.axes[0], ylabel=task.axes[1], title="path")
    for column, dashes in zip(plans.controls[:, k].T, ("-", "--")):
        over_time.stairs(column, plans.times, color=style.CONTROL, lw=1.6, ls=dashes, baseline=None)
    reach = 1.1 * float(plans.controls.abs().max())
    over_time.set(
        xlabel="time t",
        ylabel="control u",
        title="control",
        xlim=(0, max(TIMES)),
        ylim=(-reach, reach),
    )
    effort = float(plans.effort[k])
    error = float(plans.terminal_error[k])
    right = 1.1 * float(plans.terminal_error.max())
    top = 1.1 * float(plans.effort.max())
    trade.plot(plans.terminal_error, plans.effort, ".-", color=style.VALUE, ms=4, lw=1.1)
    trade.axline((error, effort), slope=-shown.weight, color=style.NOISE, ls="--", lw=0.9)
    trade.plot(error, effort, "o", color=style.CONTROL)
    trade.set(
        xlabel="terminal error",
        ylabel="effort",
        title=f"J = {effort + shown.weight * error:.3g}",
        xlim=(-right / 20, right),
        ylim=(-top / 20, top),
    )
    return figure


def explorer() -> Explorer:
    """The explorer of chapter 01: knobs `weight`, `system` and `time`."""
    return Explorer(
        steered,
        draw,
        {"weight": WEIGHTS, "system": tuple(TASKS), "time": TIMES},
        "Left, the path of a steered system in its space of states, with the paths of all other "
        "weights in gray; middle, its control over time; right, effort against the terminal error, "
        "with the chosen plan marked.",
    )
