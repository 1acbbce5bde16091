"""The record of a path through state space: one time axis, and all that a widget needs."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float, Int, Shaped
from torch import Tensor

# (state (batch, ...), time scalar) -> velocity (batch, ...)
Field = Callable[[Tensor, Tensor], Tensor]


@dataclass
class Trajectory:
    """A recorded path, and for text what the model predicted on it.

    `denoised` has the shape of `states`; `tokens` and `confidence` are (time, batch, length).
    """

    times: Float[Tensor, "time ..."]
    states: Shaped[Tensor, "time batch ..."]
    denoised: Float[Tensor, "time batch ..."] | None = None
    tokens: Int[Tensor, "time batch length"] | None = None
    confidence: Float[Tensor, "time batch length"] | None = None
