"""Chapter 04: bridges over noise levels, from noise to two modes, and which ends they join."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from ...control.bridges import Mixture, bridge_step
from ...control.sinkhorn import draw_pairs, half_squares, sinkhorn
from ...dynamics.records import Trajectory
from ...dynamics.solvers import integrate
from ..core import style
from ..core.figures import panels
from ..core.knobs import Explorer
from ..core.line import STANDARD, line_mixture, plot_paths

NOISES = (0.2, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 5.0)  # g
COUPLINGS = ("schroedinger", "independent", "pinned")
MOMENTS = (1.0, 0.75, 0.5, 0.25, 0.0)  # t of the histogram
SEEDS = (0, 1, 2, 3)
DRAWS = 2000
SHOWN = 24
PIN = 2.0
BLUR = 0.06  # standard deviation of an end about its place, which makes the density smooth
TIMES = torch.linspace(0, 1, 33, dtype=torch.float64)
PLACES = torch.linspace(-4.5, 4.5, 91, dtype=torch.float64)[:, None]  # cells of both distributions
LINE = torch.linspace(-6, 6, 121, dtype=torch.float64)  # where densities are drawn
TARGET = line_mixture([0.5, 0.5], [-2.0, 2.0], [0.4, 0.4])


def cell_of(place: float) -> Float[Tensor, " place"]:
    """All probability in the cell of PLACES that is nearest to a place."""
    probs = torch.zeros(len(PLACES), dtype=torch.float64)
    probs[(PLACES[:, 0] - place).abs().argmin()] = 1
    return probs


@lru_cache
def coupled(noise: float, coupling: str) -> Float[Tensor, "start end"]:
    """How much probability goes from each place to each place.

    Args:
        noise: g.
        coupling: A name of COUPLINGS.

    Returns:
        Probabilities of pairs of PLACES.
    """
    if coupling == "pinned":
        return torch.outer(cell_of(0.0), cell_of(PIN))
    a, b = (mixture.log_density(PLACES).softmax(0) for mixture in (STANDARD, TARGET))
    if coupling == "schroedinger":
        return sinkhorn(half_squares(PLACES, PLACES), a, b, noise**2).coupling
    return torch.outer(a, b)


@dataclass(frozen=True)
class Bridges:
    """What one picture shows: bridges of one coupling, and their density at one time."""

    path: Trajectory  # states (time, draw, 1)
    moment: float  # t, one of the times of the path
    density: Float[Tensor, " line"]  # exact, at that time, on LINE
    coupling: Float[Tensor, "start end"]
    pinned: bool

    @property
    def cloud(self) -> Float[Tensor, " draw"]:
        """The states at the moment that is shown."""
        return self.path.states[round(self.moment * (len(TIMES) - 1)), :, 0]


def marginal(coupling: Float[Tensor, "start end"], g: float, t: float) -> Float[Tensor, " line"]:
    """The density at time t of a mixture of Brownian bridges whose ends are blurred.

    p_t(z) = sum_ij P_ij N(z; (1 - t) x_i + t y_j, g^2 t (1 - t) + ((1 - t)^2 + t^2) blur^2)

    Args:
        coupling: P, the probabilities of pairs of PLACES.
        g: Noise.
        t: Time.

    Returns:
        The density on LINE.
    """
    i, j = (coupling > 1e-6).nonzero(as_tuple=True)
    means = ((1 - t) * PLACES[i] + t * PLACES[j]).round(decimals=3)
    means, same = means[:, 0].unique(return_inverse=True)
    mass = torch.zeros_like(means).index_add(0, same, coupling[i, j])
    variance = g**2 * t * (1 - t) + ((1 - t) ** 2 + t**2) * BLUR**2
    mixture = Mixture(mass.log(), means[:, None], torch.full_like(mass, variance))
    return mixture.log_density(LINE[:, None]).exp()


def bridges(noise: float, coupling: str, time: float, seed: int) -> Bridges:
    """Many exact Brownian bridges between ends drawn from a coupling.

    Args:
        noise: g.
        coupling: A name of COUPLINGS.
        time: That the histogram shows.
        seed: Seed of the random numbers.

    Returns:
        `Bridges`.
    """
    rng = torch.Generator().manual_seed(seed)
    probs = coupled(noise, coupling)
    z0, z1 = (
        PLACES[k] + BLUR * torch.randn(DRAWS, 1, generator=rng, dtype=torch.float64)
        for k in draw_pairs(probs, DRAWS, rng)
    )
    path = integrate(None, z0, TIMES, bridge_step(z1, noise), rng)
    return Bridges(path, time, marginal(probs, noise, time), probs, coupling == "pinned")


def draw(shown: Bridges) -> Figure:
    """Paths over time, their density at one time beside the target, and the coupling."""
    figure, (space, here, plan) = panels(3, height=2.2)
    states = shown.path.states[:, :SHOWN, 0]
    up = states[-1] > 0
    for chosen, color in ((~up, style.NOISE), (up, style.DATA)):
        plot_paths(space, TIMES, states[:, chosen], color=color, lw=0.6, alpha=0.8)
    space.axvline(shown.moment, color=style.VALUE, lw=1)
    space.set(xlabel="time t", ylabel="state z", ylim=(-5, 5), title="bridges")
    heights, edges = torch.histogram(shown.cloud, 60, range=(-5.0, 5.0), density=True)
    here.stairs(heights, edges, orientation="horizontal", fill=True, color=style.GRID)
    exact = {"color": style.VALUE, "lw": 1.4, "label": f"exact, t = {shown.moment:g}"}
    here.plot(shown.density, LINE, **exact)
    if not shown.pinned:
        target = TARGET.log_density(LINE[:, None]).exp()
        here.plot(target, LINE, color=style.DATA, lw=1, ls="--", label="target")
    here.set(
        xlabel="density",
        ylim=(-5, 5),
        xlim=(0, 4.0 if shown.pinned else 0.6),
        title="where they are",
    )
    here.legend(loc="upper right", handlelength=1.2)
    reach = float(PLACES[-1])
    plan.imshow(
        shown.coupling.T.sqrt().numpy(),
        origin="lower",
        extent=(-reach, reach, -reach, reach),
        cmap="Blues",
        aspect="auto",
    )
    plan.set(xlabel="start $z_0$", ylabel="end $z_1$", title="who goes where")
    plan.grid(False)
    if shown.pinned:
        plan.plot(0, PIN, "o", color=style.DATA)
    return figure


def explorer() -> Explorer:
    """The explorer of chapter 04: knobs `noise`, `coupling`, `time` and `seed`."""
    return Explorer(
        bridges,
        draw,
        {"noise": NOISES, "coupling": COUPLINGS, "time": MOMENTS, "seed": SEEDS},
        "Left, paths of Brownian bridges from noise to two modes; middle, a histogram of where "
        "they are at one time with the exact density and the target; right, the coupling of starts "
        "and ends.",
        between=("noise", "time"),
    )
