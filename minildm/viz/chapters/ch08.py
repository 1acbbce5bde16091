"""Chapter 08: steps against error, for solvers that carry noise to two modes."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from ...dynamics.records import Field, Trajectory
from ...dynamics.solvers import integrate
from ...transport.mixtures import denoising_error
from ...transport.planar import two_modes
from ...transport.schedules import Linear
from ..core import style
from ..core.figures import panels
from ..core.knobs import Explorer
from ..core.line import interpolate, middles, plot_paths, quantile_flow

MODE = 2.0  # distance of a mode from zero
NFE = {"euler": 1, "midpoint": 2, "heun": 2, "rk4": 4}  # function evaluations of a step
COLORS = dict(zip(NFE, (style.ERROR, style.VALUE, style.CONTROL, style.DATA)))
STEPS = (8, 3, 4, 6, 12, 16, 24, 32, 48, 64)
GRIDS = ("uniform", "log-SNR", "warped")
STDS = (0.3, 0.05, 0.1, 0.2, 0.5, 1.0)
STARTS = torch.special.ndtri(middles(40))[:, None]  # quantiles of the noise
FINE = torch.linspace(0, 1, 101, dtype=torch.float64)


def velocity(std: float) -> Field:
    """The field of flow matching for two equal modes at -m and m on the straight path.

    u = ((1 - t) m tanh(t m z/q) + (t s^2 - (1 - t)) z) / q,  q = (1 - t)^2 + t^2 s^2

    Args:
        std: s of a mode.

    Returns:
        A field of z (batch, 1) and t.

    Derived in chapter 06.
    """

    def field(z: Tensor, t: Tensor) -> Tensor:
        q = (1 - t) ** 2 + (t * std) ** 2
        return ((1 - t) * MODE * torch.tanh(t * MODE / q * z) + (t * std**2 - (1 - t)) * z) / q

    return field


@lru_cache
def flow(std: float) -> Float[Tensor, "time start"]:
    """Where STARTS are at the times FINE, exactly."""
    means = FINE[:, None] * torch.tensor([-MODE, MODE], dtype=torch.float64)
    return quantile_flow(means, ((1 - FINE) ** 2 + (FINE * std) ** 2).sqrt(), STARTS[:, 0])


@lru_cache
def warped_time(std: float) -> tuple[Float[Tensor, " time"], Float[Tensor, " time"]]:
    """Times t, and the part of a perfect denoiser's loss that is gone at each.

    F = (L(0) - L(t)) / L(0)
    """
    t = torch.linspace(0, 1, 401, dtype=torch.float64)
    loss = denoising_error(Linear(), two_modes(std), t)
    return t, 1 - loss / loss[0]


def time_grid(name: str, steps: int, std: float) -> Float[Tensor, " time"]:
    """Times from 0 to 1.

    Args:
        name: "uniform"; "log-SNR", uniform in the log-SNR between -8 and 8; or "warped", with
            equal falls of the loss.
        steps: Number of steps.
        std: Of a mode.

    Returns:
        Times (steps + 1,).
    """
    times = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    if name == "log-SNR":
        times[1:-1] = torch.linspace(-4, 4, steps - 1, dtype=torch.float64).sigmoid()
    if name == "warped":
        t, fallen = warped_time(std)
        return interpolate(times, fallen, t)
    return times


def error(path: Trajectory, std: float) -> float:
    """Root mean square distance of a path's end from the exact one."""
    return float((path.states[-1, :, 0] - flow(std)[-1]).square().mean().sqrt())


@lru_cache
def curves(name: str, std: float) -> dict[str, list[float]]:
    """The error at the end for each solver and each number of steps, small to large."""
    field = velocity(std)
    grids = [time_grid(name, steps, std) for steps in sorted(STEPS)]
    return {
        solver: [error(integrate(field, STARTS, t, solver, record=False), std) for t in grids]
        for solver in NFE
    }


@dataclass(frozen=True)
class Stepping:
    """What one picture shows: the path of a solver, exact paths, and the errors of all solvers."""

    path: Trajectory
    exact: Float[Tensor, "time start"]
    solver: str
    error: float
    curves: dict[str, list[float]]


def stepping(steps: int, solver: str, grid: str, std: float) -> Stepping:
    """Carry quantiles of noise to two modes.

    Args:
        steps: Number of steps.
        solver: A name of NFE.
        grid: A name of GRIDS.
        std: Of a mode.

    Returns:
        A `Stepping`.
    """
    path = integrate(velocity(std), STARTS, time_grid(grid, steps, std), solver)
    return Stepping(path, flow(std), solver, error(path, std), curves(grid, std))


def draw(shown: Stepping) -> Figure:
    """Paths over time, and errors against function evaluations."""
    figure, (space, errors) = panels(2, height=2.7)
    few = slice(1, None, 3)
    color = COLORS[shown.solver]
    steps = len(shown.path.times) - 1
    plot_paths(space, FINE, shown.exact[:, few], color=style.NOISE, lw=1.0, label="exact")
    solved = shown.path.states[:, few, 0]
    line_style = {"lw": 0.9, "marker": ".", "ms": 3, "label": shown.solver}
    plot_paths(space, shown.path.times, solved, color=color, **line_style)
    space.set(xlabel="time t", ylabel="state z", ylim=(-4, 4), title=f"{steps} steps")
    space.legend(loc="upper left", ncols=2)
    for solver, values in shown.curves.items():
        width = 2.2 if solver == shown.solver else 0.9
        nfe = [NFE[solver] * steps for steps in sorted(STEPS)]
        errors.plot(nfe, values, color=COLORS[solver], label=solver, lw=width)
    nfe = NFE[shown.solver] * steps
    errors.plot(nfe, shown.error, "o", color=color, ms=7)
    errors.set(
        xlabel="function evaluations (NFE)",
        ylabel="error at t = 1",
        title=f"NFE {nfe}: error {shown.error:.1e}",
        xscale="log",
        yscale="log",
        xlim=(2.5, 300),
        ylim=(1e-8, 5),
    )
    errors.set_xticks((3, 10, 30, 100, 300), ("3", "10", "30", "100", "300"))
    errors.minorticks_off()
    errors.legend(loc="lower left")
    return figure


def explorer() -> Explorer:
    """The explorer of chapter 08: knobs `steps`, `solver`, `grid` and `std`."""
    return Explorer(
        stepping,
        draw,
        {"steps": STEPS, "solver": tuple(NFE), "grid": GRIDS, "std": STDS},
        "Left, paths of a solver from noise to two modes over the exact paths; right, the error at "
        "the end against function evaluations for four solvers, with a dot for the left panel.",
        between=("steps", "std"),
    )
