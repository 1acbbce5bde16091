"""Bridges over noise levels: paths from noise to two modes, their law at one time, and who goes
where.
"""

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

NOISES = (0.2, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 5.0)  # g
COUPLINGS = ("schroedinger", "independent", "pinned")
MOMENTS = (1.0, 0.75, 0.5, 0.25, 0.0)  # t of the histogram
SEEDS = (0, 1, 2, 3)
DRAWS, SHOWN, PIN = 2000, 24, 2.0
SMEAR = 0.06  # standard deviation of an end about its place; it makes a smooth law of the places
TIMES = torch.linspace(0, 1, 33, dtype=torch.float64)
PLACES = torch.linspace(-4.5, 4.5, 91, dtype=torch.float64)[:, None]  # cells of both laws
LINE = torch.linspace(-6, 6, 121, dtype=torch.float64)  # where densities are drawn


def round_mixture(weights: list[float], means: list[float], std: float) -> Mixture:
    """A mixture of Gaussians of one width on the line.

    Args: `weights` and `means` (k,); `std`. Returns a `Mixture`.
    """
    means = torch.tensor(means, dtype=torch.float64)[:, None]
    return Mixture(
        torch.tensor(weights, dtype=torch.float64).log(),
        means,
        torch.full((len(means),), std**2).double(),
    )


START, TARGET = round_mixture([1.0], [0.0], 1.0), round_mixture([0.5, 0.5], [-2.0, 2.0], 0.4)


@lru_cache
def coupled(noise: float, coupling: str) -> Float[Tensor, "start end"]:
    """How much mass goes from each place to each place.

    Args:
        noise: g.
        coupling: A name of COUPLINGS.

    Returns:
        Probabilities of pairs of PLACES.
    """
    a, b = (law.log_density(PLACES).softmax(0) for law in (START, TARGET))
    if coupling == "schroedinger":
        return sinkhorn(half_squares(PLACES, PLACES), a, b, noise**2).coupling
    if coupling == "pinned":
        a, b = (
            (PLACES[:, 0] - place).abs().argmin() == torch.arange(len(PLACES))
            for place in (0.0, PIN)
        )
    return a.double()[:, None] * b.double()


@dataclass(frozen=True)
class Bridges:
    """What one picture shows: many bridges of one coupling, the law they have at one time, and that
    coupling.
    """

    path: Trajectory  # states (time, draw, 1)
    moment: float  # t, one of the times of the path
    density: Float[Tensor, " line"]  # exact, at that time, on LINE
    coupling: Float[Tensor, "start end"]
    pinned: bool

    @property
    def cloud(self) -> Float[Tensor, " draw"]:
        """The states at the moment that is looked at."""
        return self.path.states[round(self.moment * (len(TIMES) - 1)), :, 0]


def marginal(coupling: Float[Tensor, "start end"], g: float, t: float) -> Float[Tensor, " line"]:
    """The density at time t of a mixture of Brownian bridges whose ends are smeared about their places.

    p_t(z) = sum_ij P_ij N(z; (1 - t) x_i + t y_j, g^2 t (1 - t) + ((1 - t)^2 + t^2) smear^2)
    Args: `coupling` P of PLACES; `g`; `t`. Returns the density on LINE.
    """
    i, j = (coupling > 1e-6).nonzero(as_tuple=True)
    means = ((1 - t) * PLACES[i] + t * PLACES[j]).round(decimals=3)
    means, same = means[:, 0].unique(return_inverse=True)
    mass = torch.zeros_like(means).index_add(0, same, coupling[i, j])
    width = g**2 * t * (1 - t) + ((1 - t) ** 2 + t**2) * SMEAR**2
    return (
        Mixture(mass.log(), means[:, None], torch.full_like(mass, width))
        .log_density(LINE[:, None])
        .exp()
    )


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
    rng, plan = torch.Generator().manual_seed(seed), coupled(noise, coupling)
    i, j = draw_pairs(plan, DRAWS, rng)
    z0, z1 = (
        PLACES[k] + SMEAR * torch.randn(DRAWS, 1, generator=rng, dtype=torch.float64)
        for k in (i, j)
    )
    path = integrate(None, z0, TIMES, bridge_step(z1, noise), rng)
    return Bridges(path, time, marginal(plan, noise, time), plan, coupling == "pinned")


def draw(shown: Bridges) -> Figure:
    """Paths over time, the law at one time beside the target, and the coupling."""
    figure, (space, law, plan) = panels(3, height=2.2)
    states, gap = shown.path.states[:, :SHOWN, 0].T, torch.full((SHOWN, 1), torch.nan)
    lines = torch.cat((states, gap), dim=1)  # one line with gaps is drawn faster than many lines
    for up, color in ((False, style.NOISE), (True, style.DATA)):
        some = lines[(states[:, -1] > 0) == up]
        space.plot(
            torch.cat((TIMES, gap[0])).repeat(len(some)),
            some.flatten(),
            color=color,
            lw=0.6,
            alpha=0.8,
        )
    space.axvline(shown.moment, color=style.VALUE, lw=1)
    space.set(xlabel="time t", ylabel="state z", ylim=(-5, 5), title="bridges")
    shares, edges = torch.histogram(shown.cloud, 60, range=(-5.0, 5.0), density=True)
    law.stairs(shares, edges, orientation="horizontal", fill=True, color=style.GRID)
    law.plot(shown.density, LINE, color=style.VALUE, lw=1.4, label=f"law at t = {shown.moment:g}")
    if not shown.pinned:
        law.plot(
            TARGET.log_density(LINE[:, None]).exp(),
            LINE,
            color=style.DATA,
            lw=1,
            ls="--",
            label="target",
        )
    law.set(
        xlabel="density",
        ylim=(-5, 5),
        xlim=(0, 4.0 if shown.pinned else 0.6),
        title="where they are",
    )
    law.legend(loc="upper right", handlelength=1.2)
    reach = float(PLACES[-1])
    plan.imshow(
        shown.coupling.T.sqrt().numpy(),
        origin="lower",
        extent=(-reach, reach) * 2,
        cmap="Blues",
        aspect="auto",
    )
    plan.set(xlabel="start $z_0$", ylabel="end $z_1$", title="who goes where")
    plan.grid(False)
    if shown.pinned:
        plan.plot(0, PIN, "o", color=style.DATA)
    return figure


def explorer() -> Explorer:
    """The explorer of chapter 04."""
    return Explorer(
        bridges,
        draw,
        {"noise": NOISES, "coupling": COUPLINGS, "time": MOMENTS, "seed": SEEDS},
        "Left, paths of Brownian bridges from noise to two modes; middle, a histogram of where they are at one "
        "time with the exact law and the target; right, the coupling of starts and ends.",
        between=("noise", "time"),
    )
