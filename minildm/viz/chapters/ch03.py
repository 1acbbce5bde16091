"""The kick test: one push on the way, then go on by feedback or by the recorded plan."""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from ...control.feedback import Plant, Policy, disturb, transport
from ...control.linear_quadratic import linearize, pinned_control, riccati, soft_terminal_control
from ...control.systems import DoubleIntegrator, Pendulum
from ..core import style
from ..core.figures import panels
from ..core.knobs import Explorer

POINTS = {
    "pinned point": math.inf,
    "soft point, c = 10": 10.0,
    "soft point, c = 1": 1.0,
}  # name -> terminal weight c
SYSTEMS = (*POINTS, "cart", "pendulum")
MOMENTS = (
    0.3,
    0.0,
    0.1,
    0.2,
    0.4,
    0.5,
    0.6,
    0.7,
    0.8,
    0.9,
)  # of the kick, as a share of the whole time
SIZES = (0.6, 0.0, 0.2, 0.4, 0.8, 1.0)  # of the kick, in units of the state
DIRECTIONS = (90, 0, 45, 135, 180, 225, 270, 315)  # of the kick, in degrees
STEPS = 40


@dataclass(frozen=True)
class Task:
    """Something to steer to the target, with its law."""

    plant: Plant
    law: Policy
    start: tuple[float, float]
    target: tuple[float, float]
    end: float  # the last time
    axes: tuple[str, str]
    low: tuple[float, float]  # corners of a window that holds the paths of all pushes
    high: tuple[float, float]
    far: float  # no push of SIZES leads farther from the plan


@dataclass(frozen=True)
class Kicked:
    """What one picture shows: three paths (time, 2), and how far the two kicked ones are from the
    plan.
    """

    task: Task
    name: str
    times: Float[Tensor, " time"]
    at: int  # index of the time of the kick
    plan: Float[Tensor, "time 2"]
    closed: Float[Tensor, "time 2"]
    replayed: Float[Tensor, "time 2"]
    errors: Float[Tensor, "time 2"]  # of feedback and of the replayed plan
    law: (
        Float[Tensor, " after"] | None
    )  # what the formula says of the first, from the kick on; for points


def share_left(c: float, t: Tensor, s: Tensor) -> Tensor:
    """The share of an error at time s that is left at t >= s: (1/c + 1 - t) / (1/c + 1 - s), pinned
    for c = inf.
    """
    return (1 / c + 1 - t) / (1 / c + 1 - s)


@lru_cache
def task(name: str) -> Task:
    """A task by its name in SYSTEMS; the cart and the pendulum obey the Riccati equation of their
    linearization.
    """
    if name in POINTS:
        y, c = torch.tensor([[1.2, 0.4]], dtype=torch.float64), POINTS[name]
        law = (
            (lambda z, t: pinned_control(y, z, t))
            if c == math.inf
            else (lambda z, t: soft_terminal_control(y, z, t, c))
        )
        return Task(
            transport,
            law,
            (-1.2, -0.4),
            (1.2, 0.4),
            1.0,
            ("first coordinate", "second"),
            (-2.4, -1.6),
            (2.4, 1.6),
            1.0,
        )
    system, end, start, q = (
        (DoubleIntegrator(running_weight=1.0, weight=5.0), 5.0, (-1.5, 0.0), 0.0)
        if name == "cart"
        else (Pendulum(weight=5.0), 4.0, (math.pi - 0.5, 0.0), math.pi)
    )
    target = torch.tensor([q, 0.0], dtype=torch.float64)
    solution = riccati(
        linearize(system, target, torch.zeros(1, dtype=torch.float64)),
        torch.linspace(0, end, 10 * STEPS + 1, dtype=torch.float64),
    )
    names, window = (
        (("position q", "velocity v"), ((-5.4, -1.3), (5.4, 1.9), 5.2))
        if name == "cart"
        else (("angle q", "velocity v"), ((-2.2, -2.3), (10.2, 2.8), 6.7))
    )
    return Task(
        system.plant, lambda z, t: solution.policy(z - target, t), start, (q, 0.0), end, names, *window
    )


def kicked(system: str, time: float, size: float, direction: int) -> Kicked:
    """Steer, push once, and go on in both ways.

    Args:
        system: Of SYSTEMS.
        time: Of the kick, a share of the whole.
        size: Of the push.
        direction: In degrees.

    Returns:
        A `Kicked`.
    """
    todo, at, angle = task(system), round(time * STEPS), math.radians(direction)
    times = torch.linspace(0, todo.end, STEPS + 1, dtype=torch.float64)
    push = size * torch.tensor([[math.cos(angle), math.sin(angle)]], dtype=torch.float64)
    method = "euler" if system in POINTS else "rk4"  # a constant velocity needs no more
    paths = disturb(
        todo.plant,
        todo.law,
        torch.tensor([todo.start], dtype=torch.float64),
        times,
        at,
        push,
        method,
    )
    plan, closed, replayed = (
        path.states[:, 0] for path in (paths.plan, paths.closed, paths.replayed)
    )
    errors = torch.stack(((closed - plan).norm(dim=1), (replayed - plan).norm(dim=1)), dim=1)
    law = size * share_left(POINTS[system], times[at:], times[at]) if system in POINTS else None
    return Kicked(todo, system, times, at, plan, closed, replayed, errors, law)


def draw(shown: Kicked) -> Figure:
    """The three paths in the space of states, and the two errors over time."""
    figure, (space, over_time) = panels(2, height=2.7)
    at, after = shown.at, slice(shown.at, None)
    space.plot(*shown.plan.T, "--", color=style.NOISE, lw=1.2, label="plan")
    space.plot(
        *shown.replayed[after].T, ".-", color=style.ERROR, ms=3, lw=1.1, label="plan replayed"
    )
    space.plot(*shown.closed[after].T, ".-", color=style.CONTROL, ms=3, lw=1.1, label="feedback")
    space.plot(*torch.stack((shown.plan[at], shown.closed[at])).T, color=style.INK, lw=2.2)
    space.plot(*shown.task.target, "*", color=style.DATA, ms=12)
    (left, bottom), (right, top) = shown.task.low, shown.task.high
    space.set(
        xlabel=shown.task.axes[0],
        ylabel=shown.task.axes[1],
        xlim=(left, right),
        ylim=(bottom, top),
        title=shown.name,
    )
    over_time.plot(
        shown.times[after], shown.errors[after, 1], color=style.ERROR, label="plan replayed"
    )
    over_time.plot(
        shown.times[after], shown.errors[after, 0], color=style.CONTROL, lw=2.6, label="feedback"
    )
    if shown.law is not None:
        over_time.plot(shown.times[after], shown.law, ":", color=style.INK, label="the formula")
    far = shown.task.far
    over_time.set(
        xlabel="time t",
        ylabel="distance to the plan",
        xlim=(0, shown.task.end),
        ylim=(-0.06 * far, 1.25 * far),
        title=f"left at the end: {shown.errors[-1, 0]:.2f} and {shown.errors[-1, 1]:.2f}",
    )
    over_time.legend(loc="upper left", ncols=3, columnspacing=1, handlelength=1.4, fontsize=7)
    return figure


def explorer() -> Explorer:
    """The explorer of chapter 03."""
    return Explorer(
        kicked,
        draw,
        {"time": MOMENTS, "system": SYSTEMS, "size": SIZES, "direction": DIRECTIONS},
        "Left, a planned path, and from a kick on one path steered by feedback and one by the replayed plan; "
        "right, their distances to the plan over time.",
        between=("time", "size", "direction"),
    )
