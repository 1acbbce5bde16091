"""Chapter 03: one disturbance on the way, then feedback or the recorded plan."""

import math
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from ...control.feedback import Plant, Policy, disturb, transport
from ...control.linear_quadratic import linearize, pinned_control, soft_terminal_control
from ...control.riccati import riccati
from ...control.systems import DoubleIntegrator, Pendulum
from ..core import style
from ..core.figures import panels
from ..core.knobs import Explorer

# name -> weight c of the terminal cost
POINTS = {"pinned point": math.inf, "soft point, c = 10": 10.0, "soft point, c = 1": 1.0}
SYSTEMS = (*POINTS, "cart", "pendulum")
# of the disturbance: its time as a fraction of the whole, its size, and its direction in degrees
MOMENTS = (0.3, 0.0, 0.1, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SIZES = (0.6, 0.0, 0.2, 0.4, 0.8, 1.0)
DIRECTIONS = (90, 0, 45, 135, 180, 225, 270, 315)
STEPS = 40


@dataclass(frozen=True)
class Task:
    """A plant to steer to a target, with its policy."""

    plant: Plant
    policy: Policy
    start: tuple[float, float]
    target: tuple[float, float]
    end: float  # the last time
    axes: tuple[str, str]
    low: tuple[float, float]  # corners of a window that holds the paths of all disturbances
    high: tuple[float, float]
    far: float  # no disturbance of SIZES leads farther from the plan


@dataclass(frozen=True)
class Disturbed:
    """What one picture shows: three paths, and how far two of them are from the plan."""

    task: Task
    name: str
    times: Float[Tensor, " time"]
    at: int  # index of the time of the disturbance
    plan: Float[Tensor, "time 2"]
    closed: Float[Tensor, "time 2"]
    replayed: Float[Tensor, "time 2"]
    errors: Float[Tensor, "time 2"]  # of feedback and of the replayed plan
    formula: Float[Tensor, " after"] | None  # of the first, from the disturbance on; for points


def fraction_left(c: float, t: Tensor, s: Tensor) -> Tensor:
    """The fraction of an error at time s that feedback leaves at t >= s.

    (1/c + 1 - t) / (1/c + 1 - s), where c = inf is the pinned control

    Args:
        c: Weight of the terminal cost.
        t: Times (time,).
        s: Time of the error, a scalar.

    Returns:
        Fractions (time,).

    Derived in chapter 03.
    """
    return (1 / c + 1 - t) / (1 / c + 1 - s)


def point_task(c: float) -> Task:
    """A point whose velocity is the control, with a terminal cost of weight c."""
    y = torch.tensor([[1.2, 0.4]], dtype=torch.float64)
    pinned = c == math.inf
    return Task(
        transport,
        partial(pinned_control, y) if pinned else partial(soft_terminal_control, y, c=c),
        (-1.2, -0.4),
        (1.2, 0.4),
        1.0,
        ("first coordinate", "second"),
        (-2.4, -1.6),
        (2.4, 1.6),
        1.0,
    )


@lru_cache
def task(name: str) -> Task:
    """A task by its name in SYSTEMS.

    The policy of the cart and of the pendulum comes from the Riccati equation of their
    linearization about the target.
    """
    if name in POINTS:
        return point_task(POINTS[name])
    if name == "cart":
        system = DoubleIntegrator(running_weight=1.0, weight=5.0)
        end, start, goal = 5.0, -1.5, 0.0
        axes, low, high, far = ("position q", "velocity v"), (-5.4, -1.3), (5.4, 1.9), 5.2
    else:
        system = Pendulum(weight=5.0)
        end, start, goal = 4.0, math.pi - 0.5, math.pi
        axes, low, high, far = ("angle q", "velocity v"), (-2.2, -2.3), (10.2, 2.8), 6.7
    target = torch.tensor([goal, 0.0], dtype=torch.float64)
    linear = linearize(system, target, torch.zeros(1, dtype=torch.float64))
    times = torch.linspace(0, end, 10 * STEPS + 1, dtype=torch.float64)
    solution = riccati(linear, times)

    def policy(z: Tensor, t: Tensor) -> Tensor:
        return solution.policy(z - target, t)

    return Task(system.plant, policy, (start, 0.0), (goal, 0.0), end, axes, low, high, far)


def disturbed(system: str, time: float, size: float, direction: int) -> Disturbed:
    """Steer, disturb the state once, and go on in both ways.

    Args:
        system: A name of SYSTEMS.
        time: Of the disturbance, as a fraction of the whole.
        size: Of the disturbance, in units of the state.
        direction: In degrees.

    Returns:
        A `Disturbed`.
    """
    todo = task(system)
    at = round(time * STEPS)
    angle = math.radians(direction)
    times = torch.linspace(0, todo.end, STEPS + 1, dtype=torch.float64)
    start = torch.tensor([todo.start], dtype=torch.float64)
    change = size * torch.tensor([[math.cos(angle), math.sin(angle)]], dtype=torch.float64)
    method = "euler" if system in POINTS else "rk4"  # a constant velocity needs no more
    paths = disturb(todo.plant, todo.policy, start, times, (at, change), method)
    plan, closed, replayed = (
        path.states[:, 0] for path in (paths.plan, paths.closed, paths.replayed)
    )
    errors = torch.stack(((closed - plan).norm(dim=1), (replayed - plan).norm(dim=1)), dim=1)
    formula = None
    if system in POINTS:
        formula = size * fraction_left(POINTS[system], times[at:], times[at])
    return Disturbed(todo, system, times, at, plan, closed, replayed, errors, formula)


def draw(shown: Disturbed) -> Figure:
    """The three paths in the space of states, and the two errors over time."""
    figure, (space, over_time) = panels(2, height=2.7)
    task = shown.task
    after = slice(shown.at, None)
    replayed = {"color": style.ERROR, "label": "plan replayed"}
    feedback = {"color": style.CONTROL, "label": "feedback"}
    space.plot(*shown.plan.T, "--", color=style.NOISE, lw=1.2, label="plan")
    space.plot(*shown.replayed[after].T, ".-", ms=3, lw=1.1, **replayed)
    space.plot(*shown.closed[after].T, ".-", ms=3, lw=1.1, **feedback)
    jump = torch.stack((shown.plan[shown.at], shown.closed[shown.at]))
    space.plot(*jump.T, color=style.INK, lw=2.2)
    space.plot(*task.target, "*", color=style.DATA, ms=12)
    (left, bottom), (right, top) = task.low, task.high
    space.set(
        xlabel=task.axes[0],
        ylabel=task.axes[1],
        title=shown.name,
        xlim=(left, right),
        ylim=(bottom, top),
    )
    times = shown.times[after]
    over_time.plot(times, shown.errors[after, 1], **replayed)
    over_time.plot(times, shown.errors[after, 0], lw=2.6, **feedback)
    if shown.formula is not None:
        over_time.plot(times, shown.formula, ":", color=style.INK, label="the formula")
    closed_error, replayed_error = shown.errors[-1].tolist()
    over_time.set(
        xlabel="time t",
        ylabel="distance to the plan",
        title=f"left at the end: {closed_error:.2f} and {replayed_error:.2f}",
        xlim=(0, task.end),
        ylim=(-0.06 * task.far, 1.25 * task.far),
    )
    over_time.legend(loc="upper left", ncols=3, columnspacing=1, handlelength=1.4, fontsize=7)
    return figure


def explorer() -> Explorer:
    """The explorer of chapter 03: knobs `time`, `system`, `size` and `direction`."""
    return Explorer(
        disturbed,
        draw,
        {"time": MOMENTS, "system": SYSTEMS, "size": SIZES, "direction": DIRECTIONS},
        "Left, a planned path, and from a disturbance on one path steered by feedback and one by "
        "the replayed plan; right, their distances to the plan over time.",
        between=("time", "size", "direction"),
    )
