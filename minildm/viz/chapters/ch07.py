"""Chapter 07: schedules, what a head finds hard on them, and the times to train at."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from ..core import style
from ..core.figures import panels
from ..core.knobs import Explorer
from ..core.line import interpolate, middles

SCHEDULES = ("tangent", "straight", "1 - s^3")
NOISIER = (3.0, 1.0, 1.5, 2.0, 5.0, 9.0)  # d, times the noise of the schedule of this name
HEADS = ("denoised", "noise", "velocity", "score")
BINS = 50
STEPS = 12
TIMES = middles(BINS)  # the middles of bins
EDGES = torch.linspace(0, 1, BINS + 1, dtype=torch.float64)
LOG_SNR = torch.linspace(-20, 20, 801, dtype=torch.float64)  # where the least error is given

Distribution = Callable[[Tensor], Tensor]  # a loss at TIMES -> distribution function at EDGES


@dataclass(frozen=True)
class TimeChange:
    """What one picture shows: a path at TIMES, the loss of a head, and the distribution of time."""

    a: Float[Tensor, " bins"]
    b: Float[Tensor, " bins"]
    log_snr: Float[Tensor, " bins"]
    loss: Float[Tensor, " bins"]
    cdf: Float[Tensor, " edges"]  # F at EDGES
    head: str

    @property
    def grid(self) -> Float[Tensor, " steps"]:
        """Times between which the distribution has equal mass, t_k = F^-1(k / STEPS)."""
        levels = torch.linspace(0, 1, STEPS + 1, dtype=torch.float64)
        return interpolate(levels, self.cdf, EDGES)

    @property
    def warped(self) -> Float[Tensor, " bins"]:
        """TIMES in warped time, v = F(t)."""
        return (self.cdf[1:] + self.cdf[:-1]) / 2


def coefficients(
    schedule: str, d: float, t: Float[Tensor, " n"]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A path with d times the noise of the schedule that it is named after.

    lambda + 2 log d is 2 log tan(pi t/2), 2 log(t/(1-t)), or log((1 - s^3)/s^3) with s = 1 - t

    Args:
        schedule: A name of SCHEDULES.
        d: Factor of the noise.
        t: Times inside (0, 1).

    Returns:
        a, b, log-SNR and its slope.
    """
    s = 1 - t
    if schedule == "tangent":
        log_snr = 2 * torch.log(torch.tan(math.pi / 2 * t))
        slope = 2 * math.pi / torch.sin(math.pi * t)
    elif schedule == "straight":
        log_snr = 2 * torch.log(t / s)
        slope = 2 / (t * s)
    else:
        log_snr = torch.log((1 - s**3) / s**3)
        slope = 3 / (s * (1 - s**3))
    log_snr = log_snr - 2 * math.log(d)
    power = 0.5 if schedule == "straight" else 1.0  # a + b = 1, or a^2 + b^2 = 1
    a, b = (torch.sigmoid(sign * power * log_snr) ** (0.5 / power) for sign in (1, -1))
    return a, b, log_snr, slope


def time_change(
    schedule: str, d: float, head: str, error: Float[Tensor, " n"], distribution: Distribution
) -> TimeChange:
    """One schedule and one head, for data whose least error is known against log-SNR.

    loss = w(t) error(lambda(t)) with w = 1, e^lambda, (a lambda'/2)^2 or (a/b^2)^2

    Args:
        schedule: A name of SCHEDULES.
        d: Factor of the noise.
        head: A name of HEADS.
        error: Of the data prediction, at LOG_SNR.
        distribution: A function from a loss at TIMES to a distribution function at EDGES.

    Returns:
        A `TimeChange`.
    """
    a, b, log_snr, slope = coefficients(schedule, d, TIMES)
    scale = {
        "denoised": torch.ones_like(a),
        "noise": a / b,
        "velocity": a * slope / 2,
        "score": a / b**2,
    }[head]
    loss = scale**2 * interpolate(log_snr, LOG_SNR, error)
    return TimeChange(a, b, log_snr, loss, distribution(loss), head)


def draw(shown: TimeChange) -> Figure:
    """Coefficients and log-SNR with the times of the grid, and the loss in both times."""
    figure, (left, middle, right) = panels(3, height=2.2)
    left.plot(TIMES, shown.a, color=style.DATA, label="a, data")
    left.plot(TIMES, shown.b, color=style.NOISE, label="b, noise")
    left.plot(shown.grid, torch.zeros(STEPS + 1), "|", color=style.CONTROL, ms=9, mew=1.4)
    left.set(xlabel="time t", ylim=(-0.06, 1.35), title="the path")
    middle.plot(TIMES, shown.log_snr, color=style.VALUE)
    inside = shown.grid[1:-1]
    middle.plot(inside, interpolate(inside, TIMES, shown.log_snr), "o", color=style.CONTROL, ms=3.5)
    middle.set(xlabel="time t", ylim=(-14, 14), title="log-SNR, 12 steps")
    loss = shown.loss / shown.loss.max()
    right.plot(TIMES, loss, color=style.NOISE, label="against t")
    right.plot(shown.warped, loss, ".-", color=style.CONTROL, ms=3, label="against v")
    right.set(xlabel="time", ylim=(-0.04, 1.35), title=f"relative loss: {shown.head}")
    for axes in (left, right):
        axes.legend(loc="upper center", ncols=2, handlelength=1.2, columnspacing=1)
    return figure


def explorer(errors: dict[float, Float[Tensor, " n"]], distribution: Distribution) -> Explorer:
    """The explorer of chapter 07: knobs `d`, `modes`, `schedule` and `head`.

    Args:
        errors: Standard deviation of two modes on the line -> least error of the data prediction
            at LOG_SNR.
        distribution: A function from a loss at TIMES to a distribution function at EDGES.

    Returns:
        An `Explorer`.
    """

    def state(d: float, modes: float, schedule: str, head: str) -> TimeChange:
        return time_change(schedule, d, head, errors[modes], distribution)

    return Explorer(
        state,
        draw,
        {"d": NOISIER, "modes": tuple(errors), "schedule": SCHEDULES, "head": HEADS},
        "Left, amounts of data and noise against time; middle, the log-SNR with twelve steps of "
        "the warped grid; right, the loss of a head against time and against warped time.",
        between=("d",),
    )
