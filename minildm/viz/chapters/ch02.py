"""Chapter 02: the cost-to-go as time runs backwards, and the flow that its policy makes."""

from dataclasses import dataclass
from functools import cache
from math import pi

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ...control.grid import CostToGo, Grid, solve
from ...control.hjb import steer
from ...control.systems import DoubleIntegrator, Pendulum, System, TwoWells
from ..core import style
from ..core.figures import panels
from ..core.knobs import Explorer

FRACTIONS = tuple(round(1 - k / 10, 1) for k in range(11))  # of the horizon, from the end backwards
NOISES = (0.0, 0.3, 0.6, 1.0)
STEPS = 40
REACH = 5.0  # the largest control along each axis


@dataclass(frozen=True)
class Stage:
    """A system with its horizon, its grid, and the part of the grid that is shown."""

    system: System
    horizon: float
    grid: Grid
    low: tuple[float, float]
    high: tuple[float, float]
    names: tuple[str, str]
    slope: float  # the cut goes along second = slope * first
    cut: str


STAGES = {
    "two wells": Stage(
        TwoWells(2, weight=4.0),
        1.0,
        Grid((-3.0, -3.0), (3.0, 3.0), (61, 61)),
        (-2.0, -2.0),
        (2.0, 2.0),
        ("first coordinate", "second"),
        1.0,
        "a cut through both wells",
    ),
    "cart": Stage(
        DoubleIntegrator(weight=4.0),
        3.0,
        Grid((-5.0, -4.0), (5.0, 4.0), (81, 65)),
        (-2.5, -2.0),
        (2.5, 2.0),
        ("position q", "velocity v"),
        0.0,
        "a cut at v = 0",
    ),
    "pendulum": Stage(
        Pendulum(weight=4.0),
        3.0,
        Grid((0.0, -5.0), (2 * pi, 5.0), (72, 81), circles=(0,)),
        (0.0, -3.0),
        (2 * pi, 3.0),
        ("angle q, upright at π", "velocity v"),
        0.0,
        "a cut at v = 0",
    ),
}


@dataclass
class Scene:
    """One picture: V on its axes, the steered flow, and cuts through V now and at the end."""

    stage: Stage
    time: float
    first: Tensor  # coordinates along the first axis, (n,)
    second: Tensor  # along the second, (m,)
    value: Tensor  # V, (n, m)
    at: Tensor  # where the arrows of the flow are, (k, 2)
    flow: Tensor  # (k, 2)
    cut: Tensor  # V along the cut, (n,)
    end: Tensor  # the terminal cost along the cut, (n,)


@cache
def solution(name: str, g: float) -> CostToGo:
    """The cost-to-go of a stage under noise g."""
    stage = STAGES[name]
    dims = stage.system.control
    choices = 31 if dims == 1 else 13
    controls = Grid((-REACH,) * dims, (REACH,) * dims, (choices,) * dims).points()
    times = torch.linspace(0, stage.horizon, STEPS + 1, dtype=controls.dtype)
    return solve(stage.system, stage.grid, controls, times, g)


def scene(system: str, time: float, g: float) -> Scene:
    """What the explorer shows, a pure function of its knobs.

    Args:
        system: A name of STAGES.
        time: As a fraction of the horizon.
        g: Noise.

    Returns:
        A `Scene`.
    """
    stage = STAGES[system]
    cost_to_go = solution(system, g)
    t = time * cost_to_go.times[-1]
    first, second = (
        torch.linspace(low, high, n, dtype=t.dtype)
        for low, high, n in zip(stage.low, stage.high, (61, 49))
    )
    value = cost_to_go.value(torch.cartesian_prod(first, second), t).reshape(61, 49)
    at = Grid(stage.low, stage.high, (11, 9)).points()
    u = steer(stage.system, cost_to_go.costate)(at, t)
    flow = stage.system.plant(at, u, t)
    line = torch.stack((first, stage.slope * first), 1)
    cut = cost_to_go.value(line, t)
    end = cost_to_go.value(line, cost_to_go.times[-1])
    return Scene(stage, float(t), first, second, value, at, flow, cut, end)


def draw(scene: Scene) -> Figure:
    """Left, V in purple with the steered flow in orange; right, V along a line, beside Phi."""
    stage = scene.stage
    figure, (left, right) = panels(2)
    figure.set_size_inches(5.8, 2.0)  # frames of it are in the chapter's file
    top = 1.2 * float(scene.end.max())
    levels = top * torch.linspace(0, 1, 8) ** 2
    shown = scene.value.T.clamp(0, top * 0.999)
    left.contourf(scene.first, scene.second, shown, levels=levels, cmap="Purples")
    length = scene.flow.norm(dim=1, keepdim=True)
    arrows = scene.flow / (length + 0.2 * length.max() + 1e-9)
    left.quiver(
        *scene.at.T,
        *arrows.T,
        color=style.CONTROL,
        pivot="mid",
        scale=15,
        width=0.0065,
        headwidth=3.4,
        headlength=3.8,
        headaxislength=3.4,
    )
    left.set(
        xlabel=stage.names[0],
        ylabel=stage.names[1],
        title=f"V at t = {scene.time:.2f} of {stage.horizon:g}",
    )
    left.grid(False)
    right.plot(scene.first, scene.end, color=style.DATA, lw=1.1, ls="--", label="Φ, the end")
    right.plot(scene.first, scene.cut, color=style.VALUE, lw=2, label="V now")
    right.set(xlabel=stage.names[0], ylim=(-0.03 * top, 1.15 * top), title=stage.cut)
    right.legend(loc="upper center", ncol=2)
    return figure


def explorer() -> Explorer:
    """The explorer of chapter 02: knobs `system`, `time` and noise `g`."""
    return Explorer(
        scene,
        draw,
        {"system": tuple(STAGES), "time": FRACTIONS, "g": NOISES},
        "Left: a map of the cost-to-go with arrows of the steered flow. Right: a cut through it at "
        "this time, and the terminal cost.",
        between=("time", "g"),
    )
