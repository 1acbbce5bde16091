"""The schedule explorer: how much data and noise a path holds, its log-SNR, the loss of a head, and
the times to train at.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from ..core import style
from ..core.figures import panels
from ..core.knobs import Explorer

SCHEDULES = ("tangent", "straight", "1 - s^3")
NOISIER = (
    3.0,
    1.0,
    1.5,
    2.0,
    5.0,
    9.0,
)  # d, noise to signal against that of the schedule without it
HEADS = ("denoised", "noise", "velocity", "score")
BINS, STEPS = 50, 12
TIMES = (torch.arange(BINS, dtype=torch.float64) + 0.5) / BINS  # the middles of bins
EDGES = torch.linspace(0, 1, BINS + 1, dtype=torch.float64)
LOG_SNR = torch.linspace(-20, 20, 801, dtype=torch.float64)  # where the least error is handed in

Law = Callable[[Tensor], Tensor]  # a loss at TIMES -> its distribution function of time at EDGES


@dataclass(frozen=True)
class Clock:
    """What one picture shows, at TIMES: the path's coefficients, its log-SNR, the loss of a head,
    and its law of time.
    """

    a: Float[Tensor, " bins"]
    b: Float[Tensor, " bins"]
    log_snr: Float[Tensor, " bins"]
    loss: Float[Tensor, " bins"]
    cdf: Float[Tensor, " edges"]  # F at EDGES
    head: str

    @property
    def grid(self) -> Float[Tensor, " steps"]:
        """Times between which the law has equal shares, t_k = F^-1(k / STEPS)."""
        return torch.from_numpy(
            np.interp(np.linspace(0, 1, STEPS + 1), self.cdf.numpy(), EDGES.numpy())
        )

    @property
    def warped(self) -> Float[Tensor, " bins"]:
        """TIMES in warped time, v = F(t)."""
        return (self.cdf[1:] + self.cdf[:-1]) / 2


def coefficients(
    schedule: str, d: float, t: Float[Tensor, " n"]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """a, b, log-SNR and its slope of a schedule whose noise is d times that of the one it is named after.

    tangent 2 log tan(pi t/2),  straight 2 log(t/(1-t)),  1 - s^3: log((1 - s^3)/s^3) with s = 1 - t;  all less 2 log d
    Args: `schedule`, a name of SCHEDULES; `d`; `t` (n,), inside (0, 1). Returns four (n,).
    """
    s = 1 - t
    log_snr, slope = {
        "tangent": (
            2 * torch.log(torch.tan(math.pi / 2 * t)),
            2 * math.pi / torch.sin(math.pi * t),
        ),
        "straight": (2 * torch.log(t / s), 2 / (t * s)),
        "1 - s^3": (torch.log((1 - s**3) / s**3), 3 / (s * (1 - s**3))),
    }[schedule]
    log_snr = log_snr - 2 * math.log(d)
    power = 0.5 if schedule == "straight" else 1.0  # a + b = 1, or a^2 + b^2 = 1
    a, b = (torch.sigmoid(sign * power * log_snr) ** (0.5 / power) for sign in (1, -1))
    return a, b, log_snr, slope


def clock(schedule: str, d: float, head: str, error: Float[Tensor, " n"], law: Law) -> Clock:
    """One schedule and one head, for data whose least error is known against log-SNR.

    loss = w(t) error(lambda(t)) with w = 1, e^lambda, (a lambda'/2)^2 or (a/b^2)^2
    Args: `schedule` of SCHEDULES; `d`; `head` of HEADS; `error` of the clean head at LOG_SNR; `law`, from a loss at TIMES to
    its distribution function at EDGES. Returns a `Clock`.
    """
    a, b, log_snr, slope = coefficients(schedule, d, TIMES)
    weight = {
        "denoised": torch.ones_like(a),
        "noise": a / b,
        "velocity": a * slope / 2,
        "score": a / b**2,
    }[head] ** 2
    loss = weight * torch.from_numpy(np.interp(log_snr.numpy(), LOG_SNR.numpy(), error.numpy()))
    return Clock(a, b, log_snr, loss, law(loss), head)


def draw(shown: Clock) -> Figure:
    """Coefficients and log-SNR against time, with the times of the grid as ticks, and the loss in
    both times.
    """
    figure, (left, middle, right) = panels(3, height=2.2)
    left.plot(TIMES, shown.a, color=style.DATA, label="a, data")
    left.plot(TIMES, shown.b, color=style.NOISE, label="b, noise")
    left.plot(shown.grid, torch.zeros(STEPS + 1), "|", color=style.CONTROL, ms=9, mew=1.4)
    left.set(xlabel="time t", ylim=(-0.06, 1.35), title="the path")
    left.legend(loc="upper center", ncols=2, handlelength=1.2, columnspacing=1)
    middle.plot(TIMES, shown.log_snr, color=style.VALUE)
    inside = shown.grid[1:-1]
    middle.plot(inside, np.interp(inside, TIMES, shown.log_snr), "o", color=style.CONTROL, ms=3.5)
    middle.set(xlabel="time t", ylim=(-14, 14), title="log-SNR, 12 steps")
    top = float(shown.loss.max())
    right.plot(TIMES, shown.loss / top, color=style.NOISE, label="against t")
    right.plot(shown.warped, shown.loss / top, ".-", color=style.CONTROL, ms=3, label="against v")
    right.set(xlabel="time", ylim=(-0.04, 1.35), title=f"{shown.head} head: loss/largest")
    right.legend(loc="upper center", ncols=2, handlelength=1.2, columnspacing=1)
    return figure


def explorer(errors: dict[float, Float[Tensor, " n"]], law: Law) -> Explorer:
    """The explorer of chapter 07, for two modes on the line of several widths.

    Args:
        errors: Standard deviation of a mode -> least error of a clean head at LOG_SNR.
        law: Of `clock`.

    Returns:
        An `Explorer`.
    """

    def state(d: float, modes: float, schedule: str, head: str) -> Clock:
        return clock(schedule, d, head, errors[modes], law)

    return Explorer(
        state,
        draw,
        {"d": NOISIER, "modes": tuple(errors), "schedule": SCHEDULES, "head": HEADS},
        "Left, amounts of data and noise against time; middle, the log-SNR with twelve steps of the warped grid; "
        "right, the loss of a head against time and against warped time.",
        between=("d",),
    )
