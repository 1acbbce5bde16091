"""Steps as long as a tolerance allows: the embedded pair of Dormand and Prince, of orders 5 and 4,
and its controller.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import UserError
from .records import Field

# The times, slopes and weights of the seven stages; the last stage is the first one of the next step.
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


def combine(weights: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    """The sum of slopes with these weights, zeros left out."""
    return sum(w * k for w, k in zip(weights, slopes) if w)


def dormand_prince(
    field: Field,
    z: Float[Tensor, "batch ..."],
    t: Tensor,
    s: Tensor,
    first: Float[Tensor, "batch ..."],
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of order 5 from time t to time s, and how far from it a step of order 4 with the
    same slopes ends.

    k_i = u(z + h sum_j a_ij k_j, t + c_i h),  z_s = z + h sum_i b_i k_i,  error = h sum_i (b_i -
    d_i) k_i,  h = s - t

    Args:
        field: The vector field.
        z: (batch, ...).
        t, s: Scalars.
        first: The slope u(z, t).

    Returns:
        The state at s, the error and the slope u(z_s, s), each (batch, ...).

    Derived in chapter 08. Source: Dormand and Prince.
    """
    h, slopes = s - t, [first]
    for c, weights in zip(C[1:], A[1:]):
        ahead = z + h * combine(weights, slopes)
        slopes.append(field(ahead, s if c == 1 else t + c * h))
    return ahead, h * combine(ERROR, slopes), slopes[-1]


@dataclass(frozen=True)
class DormandPrince:
    """A method of `integrate` that chooses its own steps between the given times: each must err by
    less than a tolerance.

    ratio = rms(error / (absolute + relative max(|z_t|, |z_s|))) <= 1 accepts; the next step is 0.9
    ratio^(-1/5) times as long, from a fifth to ten times. The batch is one system: its largest
    errors shorten the steps of all. The estimate is of order 5 and the error of order 6, so that
    error/tolerance falls as tolerance^(1/5): at 1e-5 and more, a step may err a few times more than
    it should. It raises UserError where no step is short enough: a field that is not finite, or too
    stiff.

    Derived in chapter 08. Source: Dormand and Prince.
    """

    relative: float = 1e-6  # tolerated error of a step, for each unit of the state
    absolute: float = 1e-6  # tolerated error of a step where the state is near zero

    def __call__(self, field: Field, z: Tensor, t: Tensor, s: Tensor, rng=None) -> Tensor:
        """The state at s, as a step function gives it."""
        *_, (_, z) = self.walk(field, z, torch.stack((t, s)))
        return z

    def walk(
        self, field: Field, z: Tensor, times: Float[Tensor, " time"]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields (time, state) after each accepted step; each of `times` is met exactly."""
        slope = field(z, times[0])
        h = self.first(z, slope, times)
        least = (
            10 * torch.finfo(times.dtype).eps * float(times.abs().max())
        )  # below, a step is mostly rounding
        for t, end in pairwise(times):
            while t != end:
                s = end if abs(h) >= abs(end - t) else t + h
                if s == t:
                    raise UserError(
                        f"a step of {float(h):.1g} does not move the time {float(t):g} in {times.dtype}: "
                        "give times in float64 or near zero, or tolerate more"
                    )
                ahead, error, last = dormand_prince(field, z, t, s, slope)
                ratio = float(self.size(error, z, ahead))
                h = (s - t) * min(10.0, max(0.2, 0.9 * max(ratio, 1e-10) ** -0.2))
                if ratio <= 1:
                    t, z, slope = s, ahead, last
                    yield t, z
                elif not abs(h) > least:
                    raise UserError(
                        f"the field is not finite, or too stiff, at t = {float(t):g}: end before or tolerate more"
                    )

    def size(self, error: Tensor, z: Tensor, ahead: Tensor) -> Tensor:
        """Root mean square of the error in units of what is tolerated."""
        return (
            (error / (self.absolute + self.relative * torch.maximum(z.abs(), ahead.abs())))
            .square()
            .mean()
            .sqrt()
        )

    def first(self, z: Tensor, slope: Tensor, times: Tensor) -> Tensor:
        """A first step that would err by a hundredth of what is tolerated, were all derivatives as
        large as the slope.
        """
        reach = times[-1] - times[0]
        return torch.sign(reach) * torch.minimum(
            (0.01 / self.size(slope, z, z).clamp(min=1e-12)) ** 0.2, reach.abs()
        )
