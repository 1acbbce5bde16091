"""Density and particles together: one law on its way from noise to data, and particles that a flow
or noise moves.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor
from torch.func import jvp

from ...control.bridges import Mixture
from ...dynamics.records import Trajectory
from ...dynamics.solvers import euler_maruyama, integrate
from ..core import style
from ..core.figures import panels
from ..core.knobs import Explorer

LAWS = {
    "two modes": (
        [0.5, 0.5],
        [-2.0, 2.0],
        [0.5, 0.5],
    ),  # name -> shares, means, standard deviations
    "narrow modes": ([0.5, 0.5], [-2.0, 2.0], [0.25, 0.25]),
    "three, skewed": ([0.6, 0.3, 0.1], [-2.0, 0.5, 2.8], [0.6, 0.35, 0.25]),
}
NOISES = (1.0, 0.0, 0.25, 0.5, 1.5, 2.0)  # g
MOMENTS = (0.8, *(i / 10 for i in range(8)), 0.9, 1.0)  # t
DRIFTS = ("flow + score", "flow alone")
PARTICLES, SHOWN = 2000, 12
LEVELS = (0.03, 0.1, 0.2, 0.35, 0.6, 9.0)  # edges of bands of the density
SHADES = ("#efe9f6", "#dccdec", "#c5addf", "#ab8bcf", "#8f69bd")
TIMES = torch.cat(
    (torch.linspace(0, 0.7, 57), torch.linspace(0.7, 1, 85)[1:])
).double()  # finer where modes are narrow
LINE = torch.linspace(-5, 5, 201, dtype=torch.float64)


@lru_cache
def law_of(name: str) -> Mixture:
    """The law of data, by a name in LAWS."""
    shares, means, stds = (torch.tensor(numbers, dtype=torch.float64) for numbers in LAWS[name])
    return Mixture(shares.log(), means[:, None], stds**2)


def moved(data: Mixture, t: Tensor) -> Mixture:
    """The law of t z_1 + (1 - t) z_0 for data z_1 and Gaussian noise z_0.

    sum_k w_k N(t m_k, q_k) with q_k = t^2 s_k^2 + (1 - t)^2
    """
    return Mixture(data.log_weights, t * data.means, t**2 * data.variances + (1 - t) ** 2)


def flow_and_score(data: Mixture, z: Float[Tensor, " batch"], t: Tensor) -> tuple[Tensor, Tensor]:
    """The velocity that moves this law, and the slope of its log-density, both (batch,).

    u = sum_k r_k (m_k + q_k'/(2 q_k) (z - t m_k)) and -sum_k r_k (z - t m_k)/q_k, with r_k the
    share of mode k at z
    """
    now, gap = moved(data, t), z[:, None] - t * data.means[:, 0]
    r = (now.log_weights - gap**2 / (2 * now.variances) - now.variances.log() / 2).softmax(-1)
    growth = (t * data.variances - (1 - t)) / now.variances
    return (r * (data.means[:, 0] + growth * gap)).sum(-1), -(r * gap / now.variances).sum(-1)


@dataclass(frozen=True)
class Balance:
    """The terms of the Fokker-Planck equation on LINE, dp/dt = -d(p v)/dz + g^2/2 d^2p/dz^2."""

    rate: Float[Tensor, " line"]
    drift: Float[Tensor, " line"]
    noise: Float[Tensor, " line"]

    @property
    def residual(self) -> Float[Tensor, " line"]:
        """What is left of the equation: zero where particles keep to the law."""
        return self.rate - self.drift - self.noise


def balance(data: Mixture, t: Tensor, g: float, gathered: bool) -> Balance:
    """Each term, differentiated exactly.

    Args: `data`; `t` scalar; `g`; `gathered`, whether the drift has the score, g^2/2 grad log p. Returns a `Balance`.
    """

    def density(z: Tensor, t: Tensor) -> Tensor:
        return moved(data, t).log_density(z[:, None]).exp()

    def flux(z: Tensor) -> Tensor:
        u, score = flow_and_score(data, z, t)
        return density(z, t) * (u + gathered * g**2 / 2 * score)

    def slope(f, z: Tensor) -> Tensor:
        return jvp(f, (z,), (torch.ones_like(z),))[1]

    bend = slope(lambda z: slope(lambda z: density(z, t), z), LINE)
    return Balance(slope(lambda t: density(LINE, t), t), -slope(flux, LINE), g**2 / 2 * bend)


@lru_cache
def particles(name: str, noise: float, gathered: bool) -> Trajectory:
    """Particles that start as noise and move as dz = v dt + g dW; states (time, particle)."""
    data = law_of(name)

    def drift(z: Tensor, t: Tensor) -> Tensor:
        u, score = flow_and_score(data, z, t)
        return u + gathered * noise**2 / 2 * score

    rng = torch.Generator().manual_seed(5)
    start = torch.randn(PARTICLES, generator=rng, dtype=torch.float64)
    return integrate(drift, start, TIMES, euler_maruyama(noise) if noise else "heun", rng)


@dataclass(frozen=True)
class Moving:
    """What one picture shows: the exact law over time, particles, and the balance of mass at one
    time.
    """

    path: Trajectory  # states (time, particle)
    moment: float
    sheet: Float[Tensor, "line 41"]  # exact density over all times
    density: Float[Tensor, " line"]  # exact, at the moment
    balance: Balance
    top: float  # the largest term of the balance at all MOMENTS

    @property
    def now(self) -> int:
        """Index of the moment on the path."""
        return int((self.path.times - self.moment).abs().argmin())


@lru_cache
def sheet(name: str) -> Float[Tensor, "line 41"]:
    """The exact density of all places and times."""
    return torch.stack(
        [
            moved(law_of(name), t).log_density(LINE[:, None]).exp()
            for t in torch.linspace(0, 1, 41, dtype=torch.float64)
        ],
        dim=1,
    )


@lru_cache
def largest_term(name: str, noise: float, gathered: bool) -> float:
    """The largest absolute value of a term of the balance at all MOMENTS."""
    found = [
        balance(law_of(name), torch.tensor(t, dtype=torch.float64), noise, gathered)
        for t in MOMENTS
    ]
    return max(
        float(term.abs().max()) for b in found for term in (b.rate, b.drift, b.noise, b.residual)
    )


def moving(time: float, noise: float, law: str, drift: str) -> Moving:
    """Particles of one motion beside the law they should have.

    Args:
        time: Looked at.
        noise: g.
        law: Of LAWS.
        drift: Of DRIFTS.

    Returns:
        A `Moving`.
    """
    data, t, gathered = law_of(law), torch.tensor(time, dtype=torch.float64), drift == DRIFTS[0]
    return Moving(
        particles(law, noise, gathered),
        time,
        sheet(law),
        moved(data, t).log_density(LINE[:, None]).exp(),
        balance(data, t, noise, gathered),
        largest_term(law, noise, gathered),
    )


def draw(shown: Moving) -> Figure:
    """Paths on the sheet of the density, the particles of one time against the law, and the balance
    of mass there.
    """
    figure, (space, here, terms) = panels(3, height=2.4)
    space.contourf(torch.linspace(0, 1, 41), LINE, shown.sheet, LEVELS, colors=SHADES)
    until = slice(0, shown.now + 1, 3)
    times, states = shown.path.times[until], shown.path.states[until, :SHOWN].T
    gap = torch.full((SHOWN, 1), torch.nan)  # one line with gaps is drawn faster than many lines
    lines = torch.cat((states, gap), dim=1).flatten()
    space.plot(torch.cat((times, gap[0])).repeat(SHOWN), lines, color=style.INK, lw=0.6)
    space.axvline(shown.moment, color=style.VALUE, lw=1.2)
    space.set(
        xlabel="time t",
        ylabel="state z",
        xlim=(0, 1.01),
        ylim=(-4.5, 4.5),
        title="paths on the density",
        xticks=(0, 0.5, 1),
        yticks=(-4, -2, 0, 2, 4),
    )
    cloud = shown.path.states[shown.now]
    heights, edges = torch.histogram(cloud, 36, range=(-4.5, 4.5), density=True)
    here.stairs(heights, edges, fill=True, color=style.GRID, label="particles")
    here.plot(LINE, shown.density, color=style.VALUE, label="exact")
    here.set(
        xlabel="state z",
        xlim=(-4.5, 4.5),
        xticks=(-4, 0, 4),
        ylim=(0, 1.35 * float(shown.sheet.max())),
        title=f"law at t = {shown.moment:g}",
    )
    here.locator_params(axis="y", nbins=4)
    here.legend(loc="upper left", ncols=2, columnspacing=1, handlelength=1.2)
    parts = {
        "rate of p": (shown.balance.rate, style.INK, "-"),
        "drift": (shown.balance.drift, style.CONTROL, "-"),
        "noise": (shown.balance.noise, style.NOISE, "-"),
        "left over": (shown.balance.residual, style.ERROR, "--"),
    }
    for name, (values, color, look) in parts.items():
        terms.plot(
            LINE, values, look, color=color, lw=2.6 if name == "rate of p" else 1.2, label=name
        )
    terms.set(
        xlabel="state z",
        xlim=(-4.5, 4.5),
        xticks=(-4, 0, 4),
        ylim=(-1.1 * shown.top, 1.75 * shown.top),
        title=f"left over: at most {shown.balance.residual.abs().max():.2f}",
    )
    terms.locator_params(axis="y", nbins=4)
    terms.legend(loc="upper left", ncols=2, columnspacing=1, handlelength=1.2, fontsize=7)
    return figure


def explorer() -> Explorer:
    """The explorer of chapter 05."""
    return Explorer(
        moving,
        draw,
        {"time": MOMENTS, "noise": NOISES, "law": tuple(LAWS), "drift": DRIFTS},
        "Left, bands of the exact density over time with paths of particles; middle, a histogram of the "
        "particles at one time with the exact density; right, the terms of the Fokker-Planck equation, and "
        "what is left over.",
        between=("time", "noise"),
    )
