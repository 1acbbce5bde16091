"""Steps against error: a solver carries noise to two modes on the straight path, beside the exact
flow.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from ...dynamics.records import Field, Trajectory
from ...dynamics.solvers import integrate
from ..core import style
from ..core.figures import panels
from ..core.knobs import Explorer

MODE = 2.0  # distance of a mode from zero
CALLS = {"euler": 1, "midpoint": 2, "heun": 2, "rk4": 4}  # of the field, a step
COLORS = dict(zip(CALLS, (style.ERROR, style.VALUE, style.CONTROL, style.DATA)))
STEPS = (8, 3, 4, 6, 12, 16, 24, 32, 48, 64)
GRIDS = ("even", "log-SNR", "warped")
STDS = (0.3, 0.05, 0.1, 0.2, 0.5, 1.0)
STARTS = torch.special.ndtri((torch.arange(40, dtype=torch.float64) + 0.5) / 40)[
    :, None
]  # quantiles of the noise
FINE = torch.linspace(0, 1, 101, dtype=torch.float64)


def velocity(std: float) -> Field:
    """The field of flow matching for two even modes at -m and m of this width.

    u = ((1 - t) m tanh(t m z/q) + (t s^2 - (1 - t)) z) / q,  q = (1 - t)^2 + t^2 s^2
    """

    def field(z: Tensor, t: Tensor) -> Tensor:
        q = (1 - t) ** 2 + (t * std) ** 2
        return ((1 - t) * MODE * torch.tanh(t * MODE / q * z) + (t * std**2 - (1 - t)) * z) / q

    return field


@lru_cache
def flow(std: float) -> Float[Tensor, "time start"]:
    """Where STARTS are at the times FINE: on the line a flow keeps quantiles, F_t(z_t) = F_0(z_0);
    by halving.
    """
    means, width = FINE[:, None] * MODE, ((1 - FINE) ** 2 + (FINE * std) ** 2).sqrt()[:, None]
    low = torch.full((len(FINE), len(STARTS)), -10.0, dtype=torch.float64)
    high = -low
    for _ in range(50):
        z = (low + high) / 2
        below = (
            torch.special.ndtr((z - means) / width) + torch.special.ndtr((z + means) / width)
        ) / 2
        less = below < torch.special.ndtr(STARTS[:, 0])
        low, high = torch.where(less, z, low), torch.where(less, high, z)
    return (low + high) / 2


@lru_cache
def warp(std: float) -> Callable[[Tensor], Tensor]:
    """F^-1 of the law of time that makes the loss of a perfect denoiser fall evenly, F = (L(0) -
    L(t)) / L(0).
    """
    t, z = (
        torch.linspace(0, 1, 401, dtype=torch.float64)[:, None],
        torch.linspace(-6, 6, 241, dtype=torch.float64),
    )
    q = (1 - t) ** 2 + (t * std) ** 2
    weights = (
        torch.cat([-((z - sign * t * MODE) ** 2) / (2 * q) for sign in (-1, 1)])
        .reshape(2, len(t), -1)
        .logsumexp(0)
    )
    spread = (1 - t) ** 2 * std**2 / q + (
        (1 - t) ** 2 / q * MODE / torch.cosh((t * MODE / q * z).clamp(-300, 300))
    ) ** 2
    loss = (weights.softmax(1) * spread).sum(1)
    share = (loss[0] - loss) / loss[0]
    return lambda v: torch.from_numpy(np.interp(v.numpy(), share.numpy(), t[:, 0].numpy()))


def grid(name: str, steps: int, std: float) -> Float[Tensor, " time"]:
    """Times from 0 to 1: even, even in the log-SNR between -8 and 8, or with even falls of the
    loss.
    """
    even = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    if name == "log-SNR":
        even[1:-1] = torch.linspace(-4, 4, steps - 1, dtype=torch.float64).sigmoid()
    return warp(std)(even) if name == "warped" else even


def error(path: Trajectory, std: float) -> float:
    """Root mean square distance of a path's end from the exact one."""
    return float((path.states[-1, :, 0] - flow(std)[-1]).square().mean().sqrt())


@lru_cache
def curves(name: str, std: float) -> dict[str, list[float]]:
    """The error at the end for each solver and each number of steps, small to large."""
    return {
        solver: [
            error(
                integrate(velocity(std), STARTS, grid(name, steps, std), solver, record=False), std
            )
            for steps in sorted(STEPS)
        ]
        for solver in CALLS
    }


@dataclass(frozen=True)
class Stepping:
    """What one picture shows: the path of a solver, the exact paths, and the errors of all solvers."""

    path: Trajectory
    exact: Float[Tensor, "time start"]
    solver: str
    error: float
    curves: dict[str, list[float]]


def stepping(steps: int, solver: str, grid: str, std: float) -> Stepping:
    """Carry quantiles of noise to two modes.

    Args:
        steps: Number of steps.
        solver: Of CALLS.
        grid: Of GRIDS.
        std: The width of a mode.

    Returns:
        A `Stepping`.
    """
    path = integrate(velocity(std), STARTS, globals()["grid"](grid, steps, std), solver)
    return Stepping(path, flow(std), solver, error(path, std), curves(grid, std))


def draw(shown: Stepping) -> Figure:
    """Paths over time, and errors against calls of the field."""
    figure, (space, errors) = panels(2, height=2.7)
    few, many = slice(1, None, 3), sorted(STEPS)
    exact, states, gap = shown.exact[:, few], shown.path.states[:, few, 0], torch.nan
    for times, lines, look in (
        (FINE, exact, {"color": style.NOISE, "lw": 1.0, "label": "exact"}),
        (
            shown.path.times,
            states,
            {
                "color": COLORS[shown.solver],
                "lw": 0.9,
                "marker": ".",
                "ms": 3,
                "label": shown.solver,
            },
        ),
    ):
        ends = torch.full((1, lines.shape[1]), gap)
        space.plot(
            torch.cat((times, ends[0, :1])).repeat(lines.shape[1]),
            torch.cat((lines, ends)).T.flatten(),
            **look,
        )
    space.set(
        xlabel="time t", ylabel="state z", ylim=(-4, 4), title=f"{len(shown.path.times) - 1} steps"
    )
    space.legend(loc="upper left", ncols=2)
    for solver, values in shown.curves.items():
        chosen = solver == shown.solver
        errors.plot(
            [CALLS[solver] * steps for steps in many],
            values,
            color=COLORS[solver],
            label=solver,
            lw=2.2 if chosen else 0.9,
        )
    calls = CALLS[shown.solver] * (len(shown.path.times) - 1)
    errors.plot(calls, shown.error, "o", color=COLORS[shown.solver], ms=7)
    errors.set(
        xlabel="calls of the field",
        ylabel="error at t = 1",
        xscale="log",
        yscale="log",
        xlim=(2.5, 300),
        ylim=(1e-8, 5),
        title=f"{calls} calls: error {shown.error:.1e}",
    )
    errors.set_xticks((3, 10, 30, 100, 300), ("3", "10", "30", "100", "300"))
    errors.minorticks_off()
    errors.legend(loc="lower left")
    return figure


def explorer() -> Explorer:
    """The explorer of chapter 08."""
    return Explorer(
        stepping,
        draw,
        {"steps": STEPS, "solver": tuple(CALLS), "grid": GRIDS, "std": STDS},
        "Left, paths of a solver from noise to two modes over the exact paths; right, the error at the end "
        "against calls of the field for four solvers, with a dot where the left panel is.",
        between=("steps", "std"),
    )
