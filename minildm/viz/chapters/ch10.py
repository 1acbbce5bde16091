"""Chapter 10: what the width of codes costs a solver and a decoder, for tokens on the line."""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from ...control.bridges import Mixture
from ...dynamics.records import Trajectory
from ...dynamics.solvers import integrate
from ...transport.expansion_rate import mixture_jacobian
from ...transport.mixtures import mixture_velocity
from ...transport.schedules import Linear
from ..core import style
from ..core.figures import panels
from ..core.knobs import Explorer
from ..core.line import line_mixture, middles, quantile_flow

WIDTHS = (0.2, 0.03, 0.05, 0.1, 0.3, 0.4, 0.5, 0.7, 0.9)
TOKENS = (4, 2, 3, 8)
STEPS = (8, 1, 2, 4, 16, 32, 64)
STARTS = torch.special.ndtri(middles(48))[:, None]  # quantiles of the noise
TIMES = 1 - torch.logspace(-2.5, 0, 120, dtype=torch.float64)
FINE = torch.cat((TIMES.flip(0), torch.ones(1, dtype=torch.float64)))


def places(width: float, tokens: int) -> Float[Tensor, " tokens"]:
    """Means of equally probable tokens in a row, such that latents have variance one."""
    row = torch.arange(tokens, dtype=torch.float64) - (tokens - 1) / 2
    return row * math.sqrt((1 - width**2) / float(row.square().mean()))


def latents(width: float, tokens: int) -> Mixture:
    """The distribution of latents: a Gaussian of this standard deviation about each token."""
    means = places(width, tokens).tolist()
    return line_mixture([1 / tokens] * tokens, means, [width] * tokens)


@lru_cache
def flow(width: float, tokens: int) -> Float[Tensor, "time start"]:
    """Where STARTS are at the times FINE, exactly."""
    means = FINE[:, None] * places(width, tokens)
    return quantile_flow(means, ((1 - FINE) ** 2 + (FINE * width) ** 2).sqrt(), STARTS[:, 0])


def rates(width: float, tokens: int, z: Float[Tensor, "time start"]) -> Float[Tensor, "time start"]:
    """Expansion rates du/dz of the field at the times TIMES."""
    times = TIMES.repeat_interleave(z.shape[1])
    field = mixture_jacobian(Linear(), latents(width, tokens), z.reshape(-1, 1), times)
    return field.reshape(z.shape)


def decoding_error(width: float, tokens: int) -> float:
    """Fraction of codes that the best decoder takes for a neighbor's.

    2 (K - 1) / K Phi(-half the distance / s)

    Args:
        width: s, standard deviation of a code.
        tokens: K.

    Returns:
        The fraction.
    """
    half = places(width, tokens).diff()[0] / 2
    return 2 * (tokens - 1) / tokens * float(torch.special.ndtr(-half / width))


@lru_cache
def euler_path(width: float, tokens: int, steps: int) -> Trajectory:
    """Euler's paths from STARTS in equal steps."""
    field = mixture_velocity(Linear(), latents(width, tokens))
    return integrate(field, STARTS, torch.linspace(0, 1, steps + 1, dtype=torch.float64))


@lru_cache
def solver_error(width: float, tokens: int, steps: int) -> float:
    """Root mean square error of Euler's ends, in standard deviations of the latents."""
    ends = euler_path(width, tokens, steps).states[-1, :, 0]
    return float((ends - flow(width, tokens)[-1]).square().mean().sqrt())


@dataclass(frozen=True)
class Rectifying:
    """What one picture shows: paths, expansion rates, and what each width costs."""

    width: float
    means: Float[Tensor, " tokens"]
    path: Trajectory
    exact: Float[Tensor, "time start"]
    border: Float[Tensor, " time"]  # rates between two tokens
    typical: Float[Tensor, " time"]  # mean of the rates on exact paths
    decoding_errors: list[float]  # by width, small to large, and last at the width that is shown
    solver_errors: list[float]


def rectifying(width: float, tokens: int, steps: int) -> Rectifying:
    """Carry noise to tokens whose codes have some width.

    Args:
        width: s of a code, of latents with standard deviation one.
        tokens: Number of tokens.
        steps: Of Euler.

    Returns:
        A `Rectifying`.
    """
    exact = flow(width, tokens)
    means = places(width, tokens)
    border = means[tokens // 2 - 1 : tokens // 2 + 1].mean() * TIMES[:, None]
    widths = (*sorted(WIDTHS), width)
    return Rectifying(
        width,
        means,
        euler_path(width, tokens, steps),
        exact,
        rates(width, tokens, border)[:, 0],
        rates(width, tokens, exact.flip(0)[1:]).mean(1),
        [decoding_error(w, tokens) for w in widths],
        [solver_error(w, tokens, steps) for w in widths],
    )


def draw(shown: Rectifying) -> Figure:
    """Paths over time; expansion rates over time; errors over width."""
    figure, (space, rate, cost) = panels(3, height=2.7)
    few = slice(1, None, 3)
    steps = len(shown.path.times) - 1
    solved = shown.path.states[:, few, 0]
    space.plot(FINE, shown.exact[:, few], color=style.NOISE, lw=0.9)
    space.plot(shown.path.times, solved, color=style.CONTROL, lw=0.9, marker=".", ms=3)
    space.plot(torch.full_like(shown.means, 1.06), shown.means, "_", color=style.DATA, ms=8, mew=2)
    space.set(
        xlabel="time t",
        ylabel="latent z",
        ylim=(-3.2, 3.2),
        title=f"{steps} step{'s' * (steps > 1)} of Euler",
    )
    rate.plot(TIMES, shown.border, color=style.ERROR, label="border")
    rate.plot(TIMES, shown.typical, color=style.DATA, label="typical path")
    rate.set(xlabel="time t", title=f"expansion rate, s = {shown.width:.2g}")
    rate.set_yscale("symlog", linthresh=1)
    rate.set(ylim=(-50, 3e4))
    rate.set_yticks((-10, 0, 10, 100, 1000, 10_000), ("-10", "0", "10", "100", "1000", "10000"))
    rate.legend(loc="upper left")
    for values, color, name in (
        (shown.decoding_errors, style.ERROR, "decoding errors"),
        (shown.solver_errors, style.CONTROL, "error of Euler"),
    ):
        cost.plot(sorted(WIDTHS), values[:-1], color=color, label=name)
        cost.plot(shown.width, values[-1], "o", color=color, ms=6)
    cost.set(
        xlabel="width s",
        title="what a width costs",
        xscale="log",
        yscale="log",
        ylim=(1e-4, 2),
        xlim=(0.025, 1),
    )
    cost.set_xticks((0.03, 0.1, 0.3, 0.9), ("0.03", "0.1", "0.3", "0.9"))
    cost.set_yticks((1e-4, 1e-3, 1e-2, 0.1, 1), ("0.0001", "0.001", "0.01", "0.1", "1"))
    cost.minorticks_off()
    cost.legend(loc="lower right", fontsize=7)
    return figure


def explorer() -> Explorer:
    """The explorer of chapter 10: knobs `width`, `tokens` and `steps`."""
    return Explorer(
        rectifying,
        draw,
        {"width": WIDTHS, "tokens": TOKENS, "steps": STEPS},
        "Left, Euler's paths from noise to tokens over the exact paths; middle, expansion rates at "
        "a border and on typical paths; right, decoding errors and the error of Euler against the "
        "width of the codes.",
        between=("width", "tokens", "steps"),
    )
