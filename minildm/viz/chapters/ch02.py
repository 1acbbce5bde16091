"""The cost-to-go as time runs backwards: a map of V with the flow that its policy makes, and a cut
through it.
"""

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

SHARES = tuple(round(1 - k / 10, 1) for k in range(11))  # of the horizon, from the end backwards
NOISES = (0.0, 0.3, 0.6, 1.0)
STEPS = 40


@dataclass(frozen=True)
class Stage:
    """A system with its horizon, its grid, the part of the grid that is shown, and how far controls
    reach.
    """

    system: System
    horizon: float
    grid: Grid
    low: tuple[float, float]
    high: tuple[float, float]
    reach: float
    names: tuple[str, str]
    tilt: float  # the cut goes along second = tilt * first
    cut: str


STAGES = {
    "two wells": Stage(
        TwoWells(2, weight=4.0),
        1.0,
        Grid((-3.0, -3.0), (3.0, 3.0), (61, 61)),
        (-2.0, -2.0),
        (2.0, 2.0),
        5.0,
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
        5.0,
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
        5.0,
        ("angle q, upright at π", "velocity v"),
        0.0,
        "a cut at v = 0",
    ),
}


@dataclass
class Scene:
    """One picture: the map of V on its axes, arrows of the steered flow, and cuts through V now and
    at the end.
    """

    stage: Stage
    time: float
    first: Tensor
    second: Tensor
    value: Tensor
    at: Tensor
    flow: Tensor
    cut: Tensor
    end: Tensor


@cache
def solution(name: str, g: float) -> CostToGo:
    """The cost-to-go of a stage under noise."""
    stage = STAGES[name]
    dims = stage.system.control
    controls = Grid(
        (-stage.reach,) * dims, (stage.reach,) * dims, (31 if dims == 1 else 13,) * dims
    ).points()
    times = torch.linspace(0, stage.horizon, STEPS + 1, dtype=controls.dtype)
    return solve(stage.system, stage.grid, controls, times, g)


def scene(system: str, time: float, g: float) -> Scene:
    """What the explorer shows, a pure function of its knobs.

    Args:
        system: A name of STAGES.
        time: As a share of the horizon.
        g: Noise.

    Returns:
        A `Scene`.
    """
    stage, ahead = STAGES[system], solution(system, g)
    t = time * ahead.times[-1]
    first, second = (
        torch.linspace(low, high, n, dtype=t.dtype)
        for low, high, n in zip(stage.low, stage.high, (61, 49))
    )
    value = ahead.value(torch.cartesian_prod(first, second), t).reshape(61, 49)
    at = Grid(stage.low, stage.high, (11, 9)).points()
    u = steer(stage.system, ahead.costate)(at, t)
    flow = stage.system.plant(at, u, t)
    line = torch.stack((first, stage.tilt * first), 1)
    end = ahead.value(line, ahead.times[-1])
    return Scene(stage, float(t), first, second, value, at, flow, ahead.value(line, t), end)


def draw(scene: Scene) -> Figure:
    """Left, V in purple with the steered flow in orange; right, V along a line, and Phi for
    comparison.
    """
    stage = scene.stage
    figure, (left, right) = panels(2)
    figure.set_size_inches(5.8, 2.0)  # frames of it are in the chapter's file
    top = float(scene.end.max()) * 1.2
    levels = top * torch.linspace(0, 1, 8) ** 2
    left.contourf(
        scene.first,
        scene.second,
        scene.value.T.clamp(0, top * 0.999),
        levels=levels,
        cmap="Purples",
    )
    arrows = scene.flow / (
        scene.flow.norm(dim=1, keepdim=True) + 0.2 * scene.flow.norm(dim=1).max() + 1e-9
    )
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
    """The explorer of chapter 02: knobs `time`, `system` and noise `g`."""
    return Explorer(
        scene,
        draw,
        {"system": tuple(STAGES), "time": SHARES, "g": NOISES},
        "Left: a map of the cost-to-go with arrows of the steered flow. Right: a cut through it at this time, and "
        "the terminal cost.",
        between=("time", "g"),
    )
