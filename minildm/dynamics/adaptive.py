"""Adaptive steps: the embedded pair of Dormand and Prince, orders 5 and 4, and its controller."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import UserError
from .records import Field

# Times, slopes and weights of the seven stages; the last stage is the first of the next step.
C = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
A = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
FOURTH = (5179 / 57600, 0.0, 7571 / 16695, 393 / 640, -92097 / 339200, 187 / 2100, 1 / 40)
ERROR = tuple(b - d for b, d in zip((*A[6], 0.0), FOURTH))


def combine(weights: Sequence[float], slopes: Sequence[Tensor]) -> Tensor:
    """The sum of slopes with these weights, where zero weights are left out."""
    terms = (w * k for w, k in zip(weights, slopes) if w)
    return sum(terms, torch.zeros_like(slopes[0]))


def dormand_prince(
    field: Field,
    z: Float[Tensor, "batch ..."],
    t: Tensor,
    s: Tensor,
    first: Float[Tensor, "batch ..."],
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of order 5 from time t to time s, and how far a step of order 4 ends from it.

    k_i = u(z + h sum_j a_ij k_j, t + c_i h),  z_s = z + h sum_i b_i k_i,
    error = h sum_i (b_i - d_i) k_i,  h = s - t

    Args:
        field: The vector field.
        z: State (batch, ...) at time t.
        t: Time at which the step begins.
        s: Time at which it ends.
        first: The slope u(z, t).

    Returns:
        The state at s, the error and the slope u(z_s, s), each (batch, ...).

    Derived in chapter 08. Source: Dormand and Prince.
    """
    h = s - t
    slopes = [first]
    for c, weights in zip(C[1:-1], A[1:-1]):
        slopes.append(field(z + h * combine(weights, slopes), s if c == 1 else t + c * h))
    end = z + h * combine(A[-1], slopes)
    slopes.append(field(end, s))
    return end, h * combine(ERROR, slopes), slopes[-1]


@dataclass(frozen=True)
class DormandPrince:
    """A method of `integrate` that takes steps of its own length, each with an error in tolerance.

    ratio = rms(error / (absolute + relative max(|z_t|, |z_s|))) <= 1

    accepts a step; the next one is 0.9 ratio^(-1/5) times as long, from a fifth to ten times. The
    batch is one system: its largest errors shorten the steps of all. The estimate is of order 5 and
    the error of order 6, so that error / tolerance falls as tolerance^(1/5): at tolerances of 1e-5
    and more, a step may have a few times the error that it should have.

    Derived in chapter 08. Source: Dormand and Prince.
    """

    relative: float = 1e-6  # tolerated error of a step, for each unit of the state
    absolute: float = 1e-6  # tolerated error of a step where the state is near zero

    def __call__(
        self, field: Field, z: Tensor, t: Tensor, s: Tensor, rng: torch.Generator | None = None
    ) -> Tensor:
        """The state at s, as a step function gives it."""
        *_, (_, end) = self.walk(field, z, torch.stack((t, s)))
        return end

    def walk(
        self, field: Field, z: Tensor, times: Float[Tensor, " time"]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield time and state after each accepted step; each of the given times is met exactly.

        Args:
            field: The vector field.
            z: State (batch, ...) at the first time.
            times: Times (time,) in either direction.

        Returns:
            An iterator over (time, state).

        Raises:
            UserError: Where no step is short enough, because the field is not finite or too stiff.
        """
        slope = field(z, times[0])
        h = self.first_step(z, slope, times)
        least = 10 * torch.finfo(times.dtype).eps * float(times.abs().max())  # below it is rounding
        for t, stop in pairwise(times):
            while t != stop:
                s = stop if abs(h) >= abs(stop - t) else t + h
                if s == t:
                    raise UserError(
                        f"a step of {float(h):.1g} does not move the time {float(t):g} in "
                        f"{times.dtype}: give times in float64 or near zero, or tolerate more"
                    )
                end, error, last = dormand_prince(field, z, t, s, slope)
                ratio = float(self.size(error, z, end))
                h = (s - t) * min(10.0, max(0.2, 0.9 * max(ratio, 1e-10) ** -0.2))
                if ratio <= 1:
                    t, z, slope = s, end, last
                    yield t, z
                elif not abs(h) > least:
                    raise UserError(
                        f"the field is not finite, or too stiff, at t = {float(t):g}: "
                        "end before or tolerate more"
                    )

    def size(self, error: Tensor, z: Tensor, end: Tensor) -> Tensor:
        """Root mean square of the error of a step from z to end, in units of what is tolerated."""
        tolerated = self.absolute + self.relative * torch.maximum(z.abs(), end.abs())
        return (error / tolerated).square().mean().sqrt()

    def first_step(self, z: Tensor, slope: Tensor, times: Tensor) -> Tensor:
        """A step with a hundredth of the tolerated error, if all derivatives equal the slope."""
        span = times[-1] - times[0]
        h = (0.01 / self.size(slope, z, z).clamp(min=1e-12)) ** 0.2
        return torch.sign(span) * torch.minimum(h, span.abs())
