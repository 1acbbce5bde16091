"""Control weight against path and effort: the best plan of each system at each price of missing the
target.
"""

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
WEIGHTS = (
    *(round(c * scale, 4) for scale in (0.1, 1, 10) for c in DECADE),
    100.0,
    1000.0,
)  # c, at unit price of effort
TIMES = (3.0, 1.0, 2.0, 4.0)  # T, how long a system has
STEPS, ROUNDS = 30, 40


@dataclass(frozen=True)
class Task:
    """A system, where it starts, by how much an end misses, and how to draw it."""

    system: System
    start: tuple[float, float]
    goal: tuple[float, float]
    miss: Callable[
        [Tensor], Tensor
    ]  # ends (batch, state) -> residuals whose half squared length is the miss
    axes: tuple[str, str]


TASKS = {
    "point": Task(
        PointMass(target=1.0),
        (-1.0, -0.5),
        (1.0, 1.0),
        lambda z: z - 1,
        ("first coordinate", "second"),
    ),
    "cart": Task(
        DoubleIntegrator(), (-2.0, 0.0), (0.0, 0.0), lambda z: z, ("position q", "velocity v")
    ),
    "pendulum": Task(
        Pendulum(),
        (0.0, 0.0),
        (torch.pi, 0.0),
        lambda z: torch.stack((2 * torch.cos(z[:, 0] / 2), z[:, 1]), dim=1),
        ("angle q", "velocity v"),
    ),
}


@dataclass(frozen=True)
class Plans:
    """The best plans of one task for a row of weights."""

    times: Float[Tensor, " time"]
    states: Float[Tensor, "time weight state"]
    controls: Float[Tensor, "interval weight control"]
    effort: Float[Tensor, " weight"]  # int |u|^2 / 2 dt
    miss: Float[Tensor, " weight"]  # half the squared residual of the end


@dataclass(frozen=True)
class Steered:
    """What one picture shows: the plans of a task and which of them is looked at."""

    task: Task
    plans: Plans
    weight: float

    @property
    def chosen(self) -> int:
        return WEIGHTS.index(self.weight)


def tangent_plan(
    slopes: Float[Tensor, "batch state plan"],
    rest: Float[Tensor, "batch state"],
    price: Float[Tensor, " batch"],
) -> Float[Tensor, "batch plan"]:
    """The plan x with the least price |x|^2 + |rest + S x|^2: x = -S' (price I + S S')^-1 rest, in
    closed form.

    Args:
        slopes: S.
        rest: The residual of the plan 0.
        price: Of a number of the plan.

    Returns:
        x (batch, plan).
    """
    among = price[:, None, None] * torch.eye(rest.shape[1], dtype=rest.dtype) + slopes @ slopes.mT
    return -(slopes.mT @ torch.linalg.solve(among, rest[..., None]))[..., 0]


@lru_cache
def best_plans(name: str, time: float) -> Plans:
    """The best plans of a task for all WEIGHTS at once, r = 1: replace the end by its tangent,
    solve, go there, repeat.

    For a linear plant one round is exact. The answer is compared with doing nothing, and the
    cheaper of both is kept.

    Args:
        name: Of TASKS.
        time: T.

    Returns:
        `Plans`.
    """
    task, weights = TASKS[name], torch.tensor(WEIGHTS, dtype=torch.float64)
    times = torch.linspace(0, time, STEPS + 1, dtype=torch.float64)
    start = torch.tensor(task.start, dtype=torch.float64).expand(len(weights), 2)
    h, shape = time / STEPS, (STEPS, len(weights), task.system.control)

    def run(plan: Tensor):
        return rollout(task.system.plant, replay(plan, times), start, times, "midpoint").path.states

    def prices(plan: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        return h * squares(plan.transpose(0, 1).flatten(1)), squares(task.miss(states[-1]))

    plan = torch.ones(shape, dtype=torch.float64)
    for _ in range(ROUNDS):
        plan.requires_grad_()
        rest = task.miss(run(plan)[-1])
        rows = [
            torch.autograd.grad(column.sum(), plan, retain_graph=True)[0]
            for column in rest.unbind(1)
        ]
        slopes, flat = (x.detach().transpose(-2, -3).flatten(-2) for x in (torch.stack(rows), plan))
        slopes = slopes.transpose(0, 1)
        wanted = tangent_plan(
            slopes, rest.detach() - (slopes @ flat[..., None])[..., 0], h / weights
        )
        plan = plan.detach() + 0.7 * (wanted - flat).view(len(weights), STEPS, -1).transpose(0, 1)
    idle = torch.zeros_like(plan)
    totals = [effort + weights * miss for effort, miss in (prices(p, run(p)) for p in (plan, idle))]
    plan = torch.where((totals[0] < totals[1])[:, None], plan, idle)
    states = run(plan)
    return Plans(times, states, plan, *prices(plan, states))


def steered(system: str, time: float, weight: float) -> Steered:
    """The best plans of a system that has `time`, and the one for a weight c of missing the target
    at unit effort.

    Args:
        system: A name of TASKS.
        time: T.
        weight: One of WEIGHTS.

    Returns:
        A `Steered`.
    """
    return Steered(TASKS[system], best_plans(system, time), weight)


def draw(shown: Steered) -> Figure:
    """The path in the space of states, the controls over time, and the trade of effort against the
    miss.
    """
    figure, (space, over_time, trade) = panels(3, height=2.2)
    task, plans, k = shown.task, shown.plans, shown.chosen
    for i in range(len(WEIGHTS)):
        space.plot(*plans.states[:, i].T, color=style.GRID, lw=0.5)
    space.plot(*plans.states[:, k].T, ".-", color=style.INK, ms=3, lw=1.1)
    space.plot(*task.start, "o", color=style.NOISE)
    space.plot(*task.goal, "*", color=style.DATA, ms=11)
    space.set(xlabel=task.axes[0], ylabel=task.axes[1], title="path")
    for column, look in zip(plans.controls[:, k].T, ("-", "--")):
        over_time.stairs(column, plans.times, color=style.CONTROL, lw=1.6, ls=look, baseline=None)
    reach = 1.1 * float(plans.controls.abs().max())
    over_time.set(
        xlabel="time t",
        ylabel="control u",
        title="control",
        ylim=(-reach, reach),
        xlim=(0, max(TIMES)),
    )
    trade.plot(plans.miss, plans.effort, ".-", color=style.VALUE, ms=4, lw=1.1)
    effort, miss = float(plans.effort[k]), float(plans.miss[k])
    right, top = 1.1 * float(plans.miss.max()), 1.1 * float(plans.effort.max())
    trade.axline((miss, effort), slope=-shown.weight, color=style.NOISE, ls="--", lw=0.9)
    trade.plot(miss, effort, "o", color=style.CONTROL)
    trade.set(
        xlabel="miss",
        ylabel="effort",
        title=f"J = {effort + shown.weight * miss:.3g}",
        xlim=(-right / 20, right),
        ylim=(-top / 20, top),
    )
    return figure


def explorer() -> Explorer:
    """The explorer of chapter 01."""
    return Explorer(
        steered,
        draw,
        {"weight": WEIGHTS, "system": tuple(TASKS), "time": TIMES},
        "Left, the path of a steered system in its space of states, with the paths of all other weights in gray; "
        "middle, its control over time; right, effort against the miss of the end, with the chosen plan marked.",
    )
