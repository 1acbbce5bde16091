"""Width of codes against stiffness and reading: words in a row on one channel, and a solver that
goes from noise to them.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from ...dynamics.records import Field, Trajectory
from ...dynamics.solvers import integrate
from ..core import style
from ..core.figures import panels
from ..core.knobs import Explorer

WIDTHS = (0.2, 0.03, 0.05, 0.1, 0.3, 0.4, 0.5, 0.7, 0.9)
WORDS = (4, 2, 3, 8)
STEPS = (8, 1, 2, 4, 16, 32, 64)
STARTS = torch.special.ndtri((torch.arange(48, dtype=torch.float64) + 0.5) / 48)[
    :, None
]  # quantiles of the noise
TIMES = 1 - torch.logspace(-2.5, 0, 120, dtype=torch.float64)
FINE = torch.cat((TIMES.flip(0), torch.ones(1, dtype=torch.float64)))


def places(width: float, words: int) -> Float[Tensor, " words"]:
    """Means of words in a row, as likely as each other, such that means and width together have
    variance one.
    """
    row = torch.arange(words, dtype=torch.float64) - (words - 1) / 2
    return row * math.sqrt((1 - width**2) / float(row.square().mean()))


def velocity(width: float, words: int) -> Field:
    """The field of flow matching for these words, u = l z + (1 - t l) sum_k r_k m_k, l = (t s^2 -
    (1 - t)) / q.
    """
    means = places(width, words)

    def field(z: Tensor, t: Tensor) -> Tensor:
        q = (1 - t) ** 2 + (t * width) ** 2
        rate, r = (t * width**2 - (1 - t)) / q, (-((z - t * means) ** 2) / (2 * q)).softmax(1)
        return rate * z + (1 - t * rate) * (r @ means)[:, None]

    return field


@lru_cache
def flow(width: float, words: int) -> Float[Tensor, "time start"]:
    """Where STARTS are at the times FINE: on the line a flow keeps quantiles; by halving."""
    means, std = (
        FINE[:, None, None] * places(width, words),
        ((1 - FINE) ** 2 + (FINE * width) ** 2).sqrt()[:, None, None],
    )
    low = torch.full((len(FINE), len(STARTS)), -10.0, dtype=torch.float64)
    high = -low
    for _ in range(45):
        z = (low + high) / 2
        less = torch.special.ndtr((z[..., None] - means) / std).mean(-1) < torch.special.ndtr(
            STARTS[:, 0]
        )
        low, high = torch.where(less, z, low), torch.where(less, high, z)
    return (low + high) / 2


def rates(width: float, words: int, z: Float[Tensor, "time start"]) -> Float[Tensor, "time start"]:
    """Stiffness du/dz at the times TIMES: l + t (1 - t) Var[m | z] / q^2."""
    means, t = places(width, words), TIMES[:, None]
    q = (1 - t) ** 2 + (t * width) ** 2
    r = (-((z[..., None] - t[..., None] * means) ** 2) / (2 * q[..., None])).softmax(-1)
    spread = r @ means**2 - (r @ means) ** 2
    return (t * width**2 - (1 - t)) / q + t * (1 - t) * spread / q**2


def confused(width: float, words: int) -> float:
    """Share of codes that the best reader takes for a neighbor's: 2 (K - 1) / K Phi(-half the
    distance / s).
    """
    half = float(places(width, words).diff()[0]) / 2
    return (
        2
        * (words - 1)
        / words
        * float(torch.special.ndtr(torch.tensor(-half / width, dtype=torch.float64)))
    )


@lru_cache
def walk(width: float, words: int, steps: int) -> Trajectory:
    """Euler's paths from STARTS in even steps."""
    return integrate(
        velocity(width, words), STARTS, torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    )


@lru_cache
def off(width: float, words: int, steps: int) -> float:
    """Root mean square error of Euler's ends, in standard deviations of the latents."""
    return float(
        (walk(width, words, steps).states[-1, :, 0] - flow(width, words)[-1]).square().mean().sqrt()
    )


@dataclass(frozen=True)
class Rectifying:
    """What one picture shows: paths, stiffness at a border and on typical paths, and what each
    width costs.
    """

    width: float
    means: Float[Tensor, " words"]
    path: Trajectory
    exact: Float[Tensor, "time start"]
    border: Float[Tensor, " time"]
    typical: Float[Tensor, " time"]
    confused: list[float]  # by width, small to large, and last at the width that is shown
    off: list[float]


def rectifying(width: float, words: int, steps: int) -> Rectifying:
    """Carry noise to words of some width.

    Args: `width` s of a code, of latents with standard deviation one; `words`; `steps` of Euler. Returns a `Rectifying`.
    """
    exact, means = flow(width, words), places(width, words)
    middle = (means[words // 2 - 1] + means[words // 2]) / 2 * TIMES[:, None]
    every = (*sorted(WIDTHS), width)
    return Rectifying(
        width,
        means,
        walk(width, words, steps),
        exact,
        rates(width, words, middle)[:, 0],
        rates(width, words, exact.flip(0)[1:]).mean(1),
        [confused(w, words) for w in every],
        [off(w, words, steps) for w in every],
    )


def draw(shown: Rectifying) -> Figure:
    """Paths over time; expansion rates over time; errors over width."""
    figure, (space, stiff, cost) = panels(3, height=2.7)
    few, steps = slice(1, None, 3), len(shown.path.times) - 1
    space.plot(FINE, shown.exact[:, few], color=style.NOISE, lw=0.9)
    space.plot(
        shown.path.times,
        shown.path.states[:, few, 0],
        color=style.CONTROL,
        lw=0.9,
        marker=".",
        ms=3,
    )
    space.plot(torch.full_like(shown.means, 1.06), shown.means, "_", color=style.DATA, ms=8, mew=2)
    space.set(
        xlabel="time t",
        ylabel="latent z",
        ylim=(-3.2, 3.2),
        title=f"{steps} step{'s' * (steps > 1)} of Euler",
    )
    for values, color, name in (
        (shown.border, style.ERROR, "border"),
        (shown.typical, style.DATA, "typical path"),
    ):
        stiff.plot(TIMES, values, color=color, label=name)
    stiff.set(xlabel="time t", title=f"expansion rate, s = {shown.width:.2g}")
    stiff.set_yscale("symlog", linthresh=1)
    stiff.set(ylim=(-50, 3e4))
    stiff.set_yticks((-10, 0, 10, 100, 1000, 10_000), ("-10", "0", "10", "100", "1000", "10000"))
    stiff.legend(loc="upper left")
    every = sorted(WIDTHS)
    for values, color, name in (
        (shown.confused, style.ERROR, "misread codes"),
        (shown.off, style.CONTROL, "error of Euler"),
    ):
        cost.plot(every, values[:-1], color=color, label=name)
        cost.plot(shown.width, values[-1], "o", color=color, ms=6)
    cost.set(
        xlabel="width s",
        xscale="log",
        yscale="log",
        ylim=(1e-4, 2),
        xlim=(0.025, 1),
        title="what a width costs",
    )
    cost.set_xticks((0.03, 0.1, 0.3, 0.9), ("0.03", "0.1", "0.3", "0.9"))
    cost.set_yticks((1e-4, 1e-3, 1e-2, 0.1, 1), ("0.0001", "0.001", "0.01", "0.1", "1"))
    cost.minorticks_off()
    cost.legend(loc="lower right", fontsize=7)
    return figure


def explorer() -> Explorer:
    """The explorer of chapter 10."""
    return Explorer(
        rectifying,
        draw,
        {"width": WIDTHS, "words": WORDS, "steps": STEPS},
        "Left, Euler's paths from noise to words over the exact paths; middle, expansion rates at a border and "
        "on typical paths; right, misread codes and the error of Euler against the width of the codes.",
        between=("width", "words", "steps"),
    )
