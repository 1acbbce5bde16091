"""Chapter 05: one density on its way from noise to data, and particles that follow it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor
from torch.func import jvp

from ...control.bridges import Mixture
from ...dynamics.records import Field, Trajectory
from ...dynamics.solvers import euler_maruyama, integrate
from ...transport.mass import noisy_drift
from ...transport.mixtures import marginal, mixture_score, mixture_velocity
from ...transport.schedules import Linear
from ..core import style
from ..core.figures import panels
from ..core.knobs import Explorer
from ..core.line import line_mixture, plot_paths

DATA = {
    "two modes": line_mixture([0.5, 0.5], [-2.0, 2.0], [0.5, 0.5]),
    "narrow modes": line_mixture([0.5, 0.5], [-2.0, 2.0], [0.25, 0.25]),
    "three, skewed": line_mixture([0.6, 0.3, 0.1], [-2.0, 0.5, 2.8], [0.6, 0.35, 0.25]),
}
NOISES = (1.0, 0.0, 0.25, 0.5, 1.5, 2.0)  # g
MOMENTS = (0.8, *(i / 10 for i in range(8)), 0.9, 1.0)  # t
DRIFTS = ("flow + score", "flow alone")
PARTICLES = 2000
SHOWN = 12
LEVELS = (0.03, 0.1, 0.2, 0.35, 0.6, 9.0)  # edges of bands of the density
SHADES = ("#efe9f6", "#dccdec", "#c5addf", "#ab8bcf", "#8f69bd")
COARSE = torch.linspace(0, 0.7, 57)
FINE = torch.linspace(0.7, 1, 85)  # where modes are narrow
TIMES = torch.cat((COARSE, FINE[1:])).double()
LINE = torch.linspace(-5, 5, 201, dtype=torch.float64)
MAP_TIMES = torch.linspace(0, 1, 41, dtype=torch.float64)


def density(data: Mixture, z: Float[Tensor, " n"], t: Float[Tensor, ""]) -> Float[Tensor, " n"]:
    """The density of t z_1 + (1 - t) z_0 for data z_1 and Gaussian noise z_0.

    Args:
        data: Distribution of z_1.
        z: Points on the line.
        t: Time.

    Returns:
        The density at each point.
    """
    return marginal(Linear(), data, t).log_density(z[:, None]).exp()


def drift_of(data: Mixture, g: float, with_score: bool) -> Field:
    """The flow of this data, with the score that balances noise g or without it."""
    velocity = mixture_velocity(Linear(), data)
    return noisy_drift(velocity, mixture_score(Linear(), data), g) if with_score else velocity


@dataclass(frozen=True)
class Balance:
    """The terms of the Fokker-Planck equation on LINE, dp/dt = -d(p v)/dz + g^2/2 d^2p/dz^2."""

    rate: Float[Tensor, " line"]
    drift: Float[Tensor, " line"]
    noise: Float[Tensor, " line"]

    @property
    def residual(self) -> Float[Tensor, " line"]:
        """What is left of the equation: zero where the particles have this density."""
        return self.rate - self.drift - self.noise

    @property
    def largest(self) -> float:
        """The largest absolute value of a term or of the residual."""
        terms = torch.stack((self.rate, self.drift, self.noise, self.residual))
        return float(terms.abs().max())


def balance(data: Mixture, t: Float[Tensor, ""], g: float, with_score: bool) -> Balance:
    """Each term of the Fokker-Planck equation, differentiated exactly.

    Args:
        data: Distribution of z_1.
        t: Time.
        g: Noise.
        with_score: Whether the drift has the score, g^2/2 grad log p.

    Returns:
        A `Balance`.
    """
    drift = drift_of(data, g, with_score)

    def at(z: Tensor) -> Tensor:
        return density(data, z, t)

    def flux(z: Tensor) -> Tensor:
        return at(z) * drift(z[:, None], t)[:, 0]

    def slope(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        return jvp(f, (x,), (torch.ones_like(x),))[1]

    curvature = slope(partial(slope, at), LINE)
    return Balance(slope(partial(density, data, LINE), t), -slope(flux, LINE), g**2 / 2 * curvature)


@lru_cache
def particles(name: str, noise: float, with_score: bool) -> Trajectory:
    """Particles that start as noise and move as dz = v dt + g dW; states (time, particle, 1)."""
    rng = torch.Generator().manual_seed(5)
    start = torch.randn(PARTICLES, generator=rng, dtype=torch.float64)[:, None]
    step = euler_maruyama(noise) if noise else "heun"
    return integrate(drift_of(DATA[name], noise, with_score), start, TIMES, step, rng)


@dataclass(frozen=True)
class Moving:
    """What one picture shows: the exact density over time, particles, and the balance of mass."""

    path: Trajectory  # states (time, particle, 1)
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
    """The exact density at all places of LINE and all times of the map."""
    return torch.stack([density(DATA[name], LINE, t) for t in MAP_TIMES], dim=1)


@lru_cache
def largest_term(name: str, noise: float, with_score: bool) -> float:
    """The largest absolute value of a term of the balance at all MOMENTS."""
    times = torch.tensor(MOMENTS, dtype=torch.float64)
    return max(balance(DATA[name], t, noise, with_score).largest for t in times)


def moving(time: float, noise: float, data: str, drift: str) -> Moving:
    """Particles of one process beside the density that they should have.

    Args:
        time: That is shown.
        noise: g.
        data: A name of DATA.
        drift: A name of DRIFTS.

    Returns:
        A `Moving`.
    """
    t = torch.tensor(time, dtype=torch.float64)
    with_score = drift == DRIFTS[0]
    return Moving(
        particles(data, noise, with_score),
        time,
        sheet(data),
        density(DATA[data], LINE, t),
        balance(DATA[data], t, noise, with_score),
        largest_term(data, noise, with_score),
    )


def draw(shown: Moving) -> Figure:
    """Paths on a map of the density, the particles of one time, and the balance of mass there."""
    figure, (space, here, terms) = panels(3, height=2.4)
    space.contourf(MAP_TIMES, LINE, shown.sheet, LEVELS, colors=SHADES)
    until = slice(0, shown.now + 1, 3)
    paths = shown.path.states[until, :SHOWN, 0]
    plot_paths(space, shown.path.times[until], paths, color=style.INK, lw=0.6)
    space.axvline(shown.moment, color=style.VALUE, lw=1.2)
    space.set(
        xlabel="time t",
        ylabel="state z",
        title="paths on the density",
        xlim=(0, 1.01),
        ylim=(-4.5, 4.5),
        xticks=(0, 0.5, 1),
        yticks=(-4, -2, 0, 2, 4),
    )
    cloud = shown.path.states[shown.now, :, 0]
    heights, edges = torch.histogram(cloud, 36, range=(-4.5, 4.5), density=True)
    here.stairs(heights, edges, fill=True, color=style.GRID, label="particles")
    here.plot(LINE, shown.density, color=style.VALUE, label="exact")
    here.set(ylim=(0, 1.35 * float(shown.sheet.max())), title=f"density at t = {shown.moment:g}")
    parts = {
        "rate of p": (shown.balance.rate, style.INK, "-"),
        "drift": (shown.balance.drift, style.CONTROL, "-"),
        "noise": (shown.balance.noise, style.NOISE, "-"),
        "left over": (shown.balance.residual, style.ERROR, "--"),
    }
    for name, (values, color, dashes) in parts.items():
        width = 2.6 if name == "rate of p" else 1.2
        terms.plot(LINE, values, dashes, color=color, lw=width, label=name)
    residual = float(shown.balance.residual.abs().max())
    terms.set(ylim=(-1.1 * shown.top, 1.75 * shown.top), title=f"left over: at most {residual:.2f}")
    for axes in (here, terms):
        axes.set(xlabel="state z", xlim=(-4.5, 4.5), xticks=(-4, 0, 4))
        axes.locator_params(axis="y", nbins=4)
    here.legend(loc="upper left", ncols=2, columnspacing=1, handlelength=1.2)
    terms.legend(loc="upper left", ncols=2, columnspacing=1, handlelength=1.2, fontsize=7)
    return figure


def explorer() -> Explorer:
    """The explorer of chapter 05: knobs `time`, `noise`, `data` and `drift`."""
    return Explorer(
        moving,
        draw,
        {"time": MOMENTS, "noise": NOISES, "data": tuple(DATA), "drift": DRIFTS},
        "Left, bands of the exact density over time with paths of particles; middle, a histogram "
        "of the particles at one time with the exact density; right, the terms of the "
        "Fokker-Planck equation, and what is left over.",
        between=("time", "noise"),
    )
